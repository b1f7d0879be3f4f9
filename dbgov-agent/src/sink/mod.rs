//! Journal -> SIEM. A sink reads the journal on its own, from its own durable place, so that a receiver that is slow or
//! away for days costs nobody else anything.
//!
//! ```text
//! config     [[sink]]: what every sink has, and the keys of its kind
//! tls        to the receiver, by whatever protocol
//! encode     a record as the receiver wants it: native, OCSF, ECS, CEF, LEEF
//! source     journal -> batches
//! cursor     how far the receiver has everything, on disk
//! run        the loop of one sink: batches, retries, confirmations
//! refused    what a receiver will never take, on disk
//! sinks      all of them: their threads, their end, their status
//! deliver    what every kind of sink can do: hand over a batch, or say why not
//! scrub      secrets out of what receivers say
//! progress   what became of each record of a batch, kept while it is tried again
//! parts      a batch as one request, or as several
//! file       ... into a file
//! stdout     ... to stdout
//! syslog     ... RFC 5424 over UDP, TCP, TLS
//! http       what all sinks over HTTP share
//! splunk     ... Splunk's HTTP Event Collector, with acknowledgement
//! elastic    ... the bulk interface of Elasticsearch and OpenSearch
//! webhook    ... any HTTP endpoint: JSON lines or an array
//! otlp       ... OpenTelemetry's protocol, over gRPC and HTTP
//! kafka      ... Kafka, by librdkafka
//! nats       ... NATS JetStream
//! ```

mod backoff;
pub mod config;
mod cursor;
pub mod deliver;
pub mod elastic;
pub mod encode;
pub mod file;
pub mod http;
pub mod kafka;
pub mod nats;
pub mod otlp;
mod parts;
mod progress;
mod refused;
mod run;
mod scrub;
mod sinks;
mod source;
pub mod splunk;
pub mod status;
pub mod stdout;
mod stop;
pub mod syslog;
pub mod tls;
pub mod webhook;

#[cfg(test)]
mod test_items;

use std::time::Duration;

pub use config::SinkConfig;
pub use deliver::{Deliver, DeliverError, Item};
pub use encode::Format;
pub use sinks::{Boards, SinkError, Sinks, check};
pub use status::SinkStatus;

/// How long a sink waits where only a person can mend what is wrong (a token, an index, a topic): often enough to go on
/// soon after, seldom enough not to look like an attack.
const MISCONFIGURED_RETRY: Duration = Duration::from_secs(60);
