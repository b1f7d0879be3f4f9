//! Sinks over the network against real receivers that are stopped, killed, slow and wrong in the middle of 100,000
//! records: nothing is missing at the receiver, what came twice is counted, and the order of sessions holds.
//!
//! The journal is written with the library: what counts here begins behind it.

mod elastic;
mod kafka;
mod kafka_secured;
mod ledger;
mod memory;
mod nats;
mod nats_secured;
mod otlp;
mod proxy;
mod python;
mod refusals;
mod splunk;
mod stand;
mod webhook;
