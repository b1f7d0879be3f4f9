//! Ring buffer (or a capture file) -> typed events.

pub mod event;
pub mod kernel;
pub mod pcap;
