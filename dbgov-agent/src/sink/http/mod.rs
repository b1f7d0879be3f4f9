//! What all sinks over HTTP share.
//!
//! ```text
//! config      the keys they have in common
//! connection  a client made of them, and made anew where that may help
//! client      POST with gzip, TLS, secrets in headers; answers that are bounded
//! answer      status codes and Retry-After -> taken, divide, later
//! ```

pub mod answer;
pub mod client;
pub mod config;
mod connection;

pub use client::{Client, Reply, Settings};
pub use config::{Auth, HttpConfig};
pub use connection::Connection;

#[cfg(test)]
pub(crate) fn test_client(url: &str) -> Client {
    Client::new(Settings {
        url: url.parse().unwrap(),
        tls: None,
        proxy: None,
        gzip: false,
        headers: Vec::new(),
        scrub: super::scrub::Scrub::default(),
    })
    .unwrap()
}
