//! What all sinks over HTTP share.
//!
//! ```text
//! client     POST with gzip, TLS, secrets in headers; answers that are bounded
//! answer     status codes and Retry-After -> taken, divide, later
//! ```

pub mod answer;
pub mod client;

pub use client::{Client, Reply, Settings};
