//! The indexes beside the segments. They are no part of the chain: a search believes only those that the segment's key
//! has signed, and reads the whole segment where there is no such one. So a bad one hides nothing, and is a note; but
//! somebody, or a disk, has written into the directory.

use std::path::Path;

use super::super::index::{self, IndexProblem};
use super::super::storage;

/// Bad ones that are told one by one; more are counted.
const NAMED_MAX: usize = 10;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    /// Those that a search uses.
    pub(super) usable: u64,
    pub(super) bad: u64,
    pub(super) notes: Vec<String>,
}

/// None is missed where there is none: they may be removed at any time.
pub(super) fn look_at(dir: &Path, segments: &[String]) -> Indexes {
    let mut indexes = Indexes::default();
    for segment in segments {
        match index::check(dir, segment) {
            Ok(()) => indexes.usable += 1,
            Err(IndexProblem::Absent) => {}
            Err(problem) => indexes.add(&index::name(segment), &problem.to_string()),
        }
    }
    for name in without_segment(dir, segments) {
        indexes.add(&name, "there is no segment it could be of");
    }
    if let Some(more @ 1..) = indexes.bad.checked_sub(NAMED_MAX as u64) {
        let note = format!("{more} more indexes are not used by searches");
        indexes.notes.push(note);
    }
    indexes
}

impl Indexes {
    fn add(&mut self, name: &str, why: &str) {
        self.bad += 1;
        if self.notes.len() < NAMED_MAX {
            let note = format!("{name} is not used by searches, which hides no record: {why}");
            self.notes.push(note);
        }
    }
}

/// In order, so that the same directory gives the same report.
fn without_segment(dir: &Path, segments: &[String]) -> Vec<String> {
    let mut used: Vec<String> = segments
        .iter()
        .map(|segment| index::name(segment))
        .collect();
    used.sort_unstable();
    // What cannot be listed any more was listed a moment ago.
    let names = storage::names(dir).unwrap_or_default();
    let is_index = |name: &String| index::is_name(name) && used.binary_search(name).is_err();
    let mut lost: Vec<String> = names.into_iter().filter(is_index).collect();
    lost.sort_unstable();
    lost
}
