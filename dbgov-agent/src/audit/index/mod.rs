//! What a search needs to pass over most of a closed segment: `audit-….idx` beside it says of each block when its records
//! happened and which terms may be in it.
//!
//! An index hides what it does not name, so it counts only if it is signed by the key that the segment's header names:
//! who could forge that could as well forge the records. Any other index, an older one, one of another segment: the
//! search reads the whole segment, as it does where there is none.
//!
//! ```text
//! terms      what a record can be found by
//! bloom      which terms a block may hold
//! build      segment -> index
//! file       the file, and whether it may be believed
//! job        what the keeper does with each segment that is complete
//! ```

mod bloom;
mod build;
mod file;
mod job;
pub(crate) mod terms;

use super::blocks::Span;
use crate::glob::Glob;

pub use build::{BuildError, build};
pub use file::{IndexProblem, check};
pub(super) use file::{is_name, name};
pub(super) use job::BuildIndex;

/// The index of one segment, signed by its key.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) blocks: Vec<Block>,
}

impl Index {
    /// Number of the last record.
    pub(super) fn last_seq(&self) -> u64 {
        self.blocks
            .last()
            .map_or(0, |block| block.first_seq.saturating_add(block.records) - 1)
    }
}

/// What is known of a block without reading it.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) span: Span,
    pub(super) first_seq: u64,
    pub(super) records: u64,
    /// Of its records, nanoseconds since the Unix epoch.
    pub(super) time_min: u64,
    pub(super) time_max: u64,
    /// All identities in it; none where there are too many.
    identities: Option<Vec<Box<str>>>,
    has_long_pieces: bool,
    filter: Box<[u8]>,
}

impl Block {
    pub(super) fn may_hold(&self, term: u64) -> bool {
        bloom::may_hold(&self.filter, term)
    }

    pub(super) fn may_hold_identity(&self, glob: &Glob) -> bool {
        match glob.exact() {
            Some(name) => self.may_hold(terms::term(terms::Field::Identity, name)),
            None => self
                .identities
                .as_ref()
                .is_none_or(|names| names.iter().any(|name| glob.matches(name))),
        }
    }

    /// A text, in lower case, of which every piece is in the block.
    pub(super) fn may_hold_text(&self, folded: &str) -> bool {
        let bytes = if self.has_long_pieces && folded.len() >= terms::LONG_BYTES {
            terms::LONG_BYTES
        } else {
            terms::SHORT_BYTES
        };
        let mut pieces = folded.as_bytes().windows(bytes);
        pieces.all(|piece| self.may_hold(terms::piece(piece)))
    }
}
