//! The first record of a segment: what it is, and which key its checkpoints are signed with.

use serde::Deserialize;

use super::key::{PrivateKey, PublicKey};
use super::record::SegmentBlock;

/// Of the whole segment: its records, its checkpoints and what they sign.
pub(super) const FORMAT_VERSION: u32 = 1;

pub(super) fn block(key: &PrivateKey, checkpoint_records: u32) -> SegmentBlock {
    SegmentBlock {
        agent_version: env!("CARGO_PKG_VERSION"),
        checkpoint_records,
        format: FORMAT_VERSION,
        key: key.public().id().to_owned(),
        public_key: key.public().to_hex(),
    }
}

/// The block as it is read back.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ReadHeader {
    pub(super) checkpoint_records: u32,
    pub(super) format: u32,
    pub(super) key: String,
    public_key: String,
}

impl ReadHeader {
    /// Of a segment's first line; `None` where that is no header (an older dbgov wrote none).
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            kind: Box<str>,
            segment: ReadHeader,
        }
        let line: Line = serde_json::from_slice(line).ok()?;
        (&*line.kind == "segment").then_some(line.segment)
    }

    /// `None` where the key is none, or another than its id says.
    pub(super) fn public_key(&self) -> Option<PublicKey> {
        PublicKey::from_hex(&self.public_key).filter(|key| key.id() == self.key)
    }
}
