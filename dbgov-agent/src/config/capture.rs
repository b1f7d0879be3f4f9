//! `[capture]`: how much of the traffic is taken.

use serde::Deserialize;

use crate::capture::kernel::{PACKET_RING_BYTES_MAX, PACKET_RING_BYTES_MIN};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Also govern every database server found on the host, beside the configured ones.
    pub discover: bool,
    /// Bytes of the kernel's ring buffer, a power of two. A statement up to this size is safe from loss even when the
    /// agent gets no processor while it arrives.
    pub ring_bytes: u32,
    /// Statements are kept whole up to so many bytes.
    pub statement_bytes_max: usize,
    /// Of each parameter.
    pub param_bytes_max: usize,
    /// Debug lines of the kernel programs in the agent's log.
    pub kernel_debug: bool,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        CaptureConfig {
            discover: false,
            ring_bytes: dbgov_common::PACKET_RING_BYTES_DEFAULT,
            statement_bytes_max: 1 << 20,
            param_bytes_max: 4 << 10,
            kernel_debug: false,
        }
    }
}

impl CaptureConfig {
    pub(super) fn problem(&self) -> Option<String> {
        let ring = self.ring_bytes;
        if !ring.is_power_of_two()
            || !(PACKET_RING_BYTES_MIN..=PACKET_RING_BYTES_MAX).contains(&ring)
        {
            return Some(format!(
                "[capture] ring_bytes = {ring}: give a power of two from {PACKET_RING_BYTES_MIN} to {PACKET_RING_BYTES_MAX}"
            ));
        }
        if self.statement_bytes_max == 0 || self.statement_bytes_max > 64 << 20 {
            return Some("[capture] statement_bytes_max: give 1 to 67108864 (64 MiB)".to_owned());
        }
        None
    }
}
