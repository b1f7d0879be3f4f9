//! What is intact, what is not, and how it is told; the files below try one way each to change a journal.

mod chain;
mod files;
mod forge;
mod indexes;
mod made;
mod records;

use std::fs;
use std::sync::Arc;

use super::super::key::PrivateKey;
use super::super::segment;
use super::super::tombstone::Tombstone;
use super::*;
use forge::{Forge, Line};
use made::Made;

/// Kind and first record of what is found first.
fn first(dir: &Path, options: &Options) -> Option<(&'static str, Option<u64>)> {
    let report = verify(dir, options).unwrap();
    assert_eq!(report.intact, report.breaks.is_empty());
    assert_eq!(report.intact, report.breaks_total == 0);
    report.breaks.first().map(|first| (first.kind, first.seq))
}

#[test]
fn an_untouched_journal_is_intact() {
    let made = Made::new("host-1");
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.origin_proven, "{report}");
    assert_eq!(
        (report.first_seq, report.last_seq),
        (Some(1), Some(made.last_seq()))
    );
    assert_eq!(report.records, made.last_seq());
    assert_eq!(
        report.last_checkpoint_seq,
        Some(made.last_seq()),
        "stopped in good order"
    );
    assert_eq!(
        (report.unsigned_tail, report.unsigned_before_crashes_total),
        (None, 0)
    );
    assert!(report.segments > 4 && report.checkpoints > 8);
    // Compressed, partly or wholly, it is the same.
    let hash = report.last_hash.clone();
    for name in made.names() {
        made.compress(&name);
        let report = verify(made.dir(), &made.options()).unwrap();
        assert!(report.intact, "{report}");
        assert_eq!(report.last_hash, hash);
    }
    // Without a key it is consistent, and the report says that this is all.
    let report = verify(made.dir(), &Options::default()).unwrap();
    assert!(report.intact && !report.origin_proven);
    assert!(report.to_string().contains("not who wrote it"), "{report}");
}

#[test]
fn a_crash_and_what_was_changed_before_it() {
    let made = Made::new("host-1");
    made.crash(7);
    let forge = Forge::read(made.dir());
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact, "{report}");
    assert_eq!(report.unsigned_before_crashes_total, 1);
    let stretch = report.unsigned_before_crashes[0];
    let gap = forge.find("gap") as u64 + 1;
    assert_eq!(stretch.to, gap - 1);
    assert!(stretch.to - stretch.from >= 4, "{stretch:?}");
    // Changed by somebody who hashes anew, while the agent was down: only the stretch is told, as nothing can.
    assert!(
        report.to_string().contains("while the agent was down"),
        "{report}"
    );
    // Afterwards it is signed, by what the agent wrote when it came back.
    let mut changed = forge.clone();
    changed.replace(gap as usize - 2, "SELECT", "DELETE");
    changed.rehash();
    changed.write(made.dir());
    assert_eq!(first(made.dir(), &made.options()).unwrap().0, "signature");
}

#[test]
fn a_flood_of_breaks_is_counted() {
    let made = Made::new("host-1");
    let mut forge = Forge::read(made.dir());
    for line in &mut forge.lines {
        line.text = line.text.replace("SELECT", "DELETE");
    }
    forge.write(made.dir());
    let report = verify(made.dir(), &made.options()).unwrap();
    assert_eq!(report.breaks.len(), report::BREAKS_MAX);
    assert!(report.breaks_total > report::BREAKS_MAX as u64);
    assert!(report.to_string().contains("more places"));
    assert!(report.breaks.is_sorted_by_key(|found| found.seq));
}
