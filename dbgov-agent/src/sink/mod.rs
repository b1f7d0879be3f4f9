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
//! file       ... into a file
//! stdout     ... to stdout
//! syslog     ... RFC 5424 over UDP, TCP, TLS
//! ```

mod backoff;
pub mod config;
mod cursor;
pub mod deliver;
pub mod encode;
pub mod file;
mod refused;
mod run;
mod sinks;
mod source;
pub mod status;
pub mod stdout;
mod stop;
pub mod syslog;
pub mod tls;

pub use config::SinkConfig;
pub use deliver::{Deliver, DeliverError, Item};
pub use encode::Format;
pub use sinks::{Boards, SinkError, Sinks, check};
pub use status::SinkStatus;
