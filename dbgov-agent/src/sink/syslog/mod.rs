//! RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).
//!
//! ```text
//! config      the keys
//! message     a record as a message
//! stream      a connection, and how it is known that the receiver has read everything
//! datagrams   UDP
//! deliver     batches over either
//! ```

mod config;
mod datagrams;
mod deliver;
mod message;
mod stream;

pub use config::SyslogConfig;
pub use deliver::Syslog;
