//! What lies in a journal's directory.

use std::io;
use std::path::Path;

use super::super::tombstone::TOMBSTONE_NAME;
use super::super::{segment, storage};

/// Other files that are named in the report.
const FOREIGN_NAMED_MAX: usize = 10;
/// What the agent keeps beside the segments: its lock, the sinks' places. Indexes go with their segments.
const OURS: [&str; 2] = ["audit.lock", "sinks"];

#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Oldest first.
    pub(super) segments: Vec<String>,
    pub(super) tombstone: Option<()>,
    /// What was cut off the end of a segment after crashes.
    pub(super) torn: u64,
    /// The first few of them, and how many there are.
    pub(super) foreign: (Vec<String>, u64),
}

impl Listing {
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let names = storage::names(dir)?;
        let mut listing = Listing::default();
        for name in &names {
            if segment::first_seq(name).is_some() || is_ours(name) {
                continue;
            }
            if name == TOMBSTONE_NAME {
                listing.tombstone = Some(());
            } else if name.starts_with("torn-") && name.ends_with(".bin") {
                listing.torn += 1;
            } else {
                listing.foreign.1 += 1;
                if listing.foreign.0.len() < FOREIGN_NAMED_MAX {
                    listing.foreign.0.push(name.clone());
                }
            }
        }
        listing.foreign.0.sort_unstable();
        listing.segments = segment::sorted(names);
        Ok(listing)
    }
}

/// Also what is left of something interrupted, and what goes with a segment (its index).
fn is_ours(name: &str) -> bool {
    let goes_with_segment = name
        .split_once(".jsonl")
        .or_else(|| name.split_once('.'))
        .is_some_and(|(stem, _)| segment::first_seq(&format!("{stem}.jsonl")).is_some());
    OURS.contains(&name) || goes_with_segment || name == format!("{TOMBSTONE_NAME}.new")
}
