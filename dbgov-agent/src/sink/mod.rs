//! Journal -> SIEM. A sink reads the journal on its own, from its own durable place, so that a receiver that is slow or
//! away for days costs nobody else anything.
//!
//! ```text
//! config     [[sink]]: what every sink has, and the keys of its kind
//! tls        to the receiver, by whatever protocol
//! encode     a record as the receiver wants it: native, OCSF, ECS, CEF, LEEF
//! deliver    what every kind of sink can do: hand over a batch, or say why not
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

use std::time::Duration;

pub mod config;
pub mod deliver;
pub mod elastic;
pub mod encode;
pub mod file;
pub mod http;
pub mod kafka;
pub mod nats;
pub mod otlp;
pub mod parts;
pub mod progress;
pub mod splunk;
pub mod stdout;
pub mod syslog;
pub mod tls;
pub mod webhook;

#[cfg(test)]
pub(crate) mod test_items;

pub use config::SinkConfig;
pub use deliver::{Deliver, DeliverError, Item};
pub use encode::Format;

/// How long a sink waits where only a person can mend what is wrong (a token, an index, a topic): often enough to go on
/// soon after, seldom enough not to look like an attack.
pub const MISCONFIGURED_RETRY: Duration = Duration::from_secs(60);
