//! Journal -> SIEM. A sink reads the journal on its own, from its own durable place, so that a receiver that is slow or
//! away for days costs nobody else anything.
//!
//! ```text
//! config     [[sink]]: what every sink has, and the keys of its kind
//! tls        to the receiver, by whatever protocol
//! encode     a record as the receiver wants it: native, OCSF, ECS, CEF, LEEF
//! deliver    what every kind of sink can do: hand over a batch, or say why not
//! file       ... into a file
//! stdout     ... to stdout
//! syslog     ... RFC 5424 over UDP, TCP, TLS
//! ```

pub mod config;
pub mod deliver;
pub mod encode;
pub mod file;
pub mod stdout;
pub mod syslog;
pub mod tls;

pub use config::SinkConfig;
pub use deliver::{Deliver, DeliverError, Item};
pub use encode::Format;
