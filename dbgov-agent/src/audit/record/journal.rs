//! The journal's own book-keeping.

use super::form::exact;
use serde::Serialize;

/// Begins a segment of the journal.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentBlock {
    pub agent_version: &'static str,
    /// At most so many records stand between two checkpoints.
    pub checkpoint_records: u32,
    /// Version of the segment's format.
    pub format: u32,
    /// Id of the key that signs the checkpoints.
    pub key: String,
    /// That key's public part: its 32 bytes in hexadecimal digits.
    pub public_key: String,
}

/// A signature; `checkpoint` says over what.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointBlock {
    pub key: String,
    /// `start`, `records`, `time`, `rotation`, `stop`, `close`, `recovery`.
    pub reason: &'static str,
    /// Records since the checkpoint before, as far as this run of the agent wrote them.
    #[serde(serialize_with = "exact")]
    pub records: u64,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
}

/// Segments that were removed.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionBlock {
    /// Of the files.
    #[serde(serialize_with = "exact")]
    pub bytes: u64,
    #[serde(serialize_with = "exact")]
    pub first_seq: u64,
    /// `chain.hash` of the last record that is gone.
    pub last_hash: String,
    #[serde(serialize_with = "exact")]
    pub last_seq: u64,
    /// `age` or `size`.
    pub reason: &'static str,
    #[serde(serialize_with = "exact")]
    pub segments: u64,
}
