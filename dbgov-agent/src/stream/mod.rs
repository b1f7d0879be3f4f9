//! TCP segments to ordered bytes, per direction. Pure: no socket, no clock; times are passed in.
//!
//! [`Reassembler`] is one direction of one connection, whoever captured the segments. [`flow`] finds the connections
//! in the packets of a capture file and drives two reassemblers for each.
#![forbid(unsafe_code)]

mod connection;
pub mod flow;
mod reassembler;
mod waiting;

#[cfg(test)]
mod flow_limit_tests;
#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod reassembler_tests;

pub use reassembler::{Counters, Output, Reassembler, Start};

/// Out-of-order data kept for one direction, bytes. The receiver holds at most its receive buffer
/// (`net.ipv4.tcp_rmem`, 6 MiB by default, about half of it payload), so this much loss-free reordering is enough.
pub const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Pieces of out-of-order data kept for one direction: [`WAITING_BYTES_MAX`] in pieces of 1 KiB, so that a sender of
/// one-byte segments cannot make the book-keeping outgrow the data.
pub const WAITING_SEGMENTS_MAX: usize = 4096;

/// How far from the expected byte a segment or an acknowledgment can be and still belong to the connection, bytes.
/// RFC 7323 section 2.3: a window is never larger than 2^30.
pub const WINDOW_BYTES_MAX: u64 = 1 << 30;

/// What one direction may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes; buffers grow by doubling, so up to twice as much memory.
    pub waiting_bytes_max: usize,
    pub waiting_segments_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            waiting_bytes_max: WAITING_BYTES_MAX,
            waiting_segments_max: WAITING_SEGMENTS_MAX,
        }
    }
}
