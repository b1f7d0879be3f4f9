//! What the journal could not take, and the `gap` records that say so.

use super::Journal;
use crate::audit::record::{GapBlock, Kind, Record};
use crate::audit::storage::Storage;

/// What gap records have to be written for.
#[derive(Default)]
pub(super) struct Gaps {
    /// Dropped since the last such record.
    pub(super) lost: Option<Lost>,
    /// Bytes an fdatasync failed for. Linux may have thrown them away, and the next fdatasync says nothing of it.
    pub(super) doubtful_bytes: u64,
    /// Bytes of a segment that somebody removed while it was written.
    pub(super) removed_bytes: u64,
}

pub(super) struct Lost {
    pub(super) records: u64,
    pub(super) cause: &'static str,
    /// When the first of them happened.
    pub(super) since_unix_ns: u64,
}

impl<S: Storage> Journal<S> {
    pub(super) fn drop_record(&mut self, time_unix_ns: u64, cause: &'static str) {
        self.stats.dropped += 1;
        match &mut self.gaps.lost {
            Some(lost) => lost.records += 1,
            None => {
                tracing::error!(cause, "audit records are being dropped");
                self.gaps.lost = Some(Lost {
                    records: 1,
                    cause,
                    since_unix_ns: time_unix_ns,
                });
            }
        }
    }

    /// For a record that will never fit. The gap itself is small and takes the usual way.
    pub(super) fn drop_and_say(&mut self, time_unix_ns: u64, cause: &'static str) {
        self.drop_record(time_unix_ns, cause);
        self.report_gaps();
    }

    /// Appends the gap records that are owed, once the disk takes them.
    pub(super) fn report_gaps(&mut self) {
        if self.retry.is_some() {
            return;
        }
        if let Some(lost) = self.gaps.lost.take() {
            let records = Some(lost.records);
            self.append_gap(lost.cause, records, None, lost.since_unix_ns);
        }
        let doubtful_bytes = std::mem::take(&mut self.gaps.doubtful_bytes);
        if doubtful_bytes > 0 {
            self.append_gap("sync_failed", None, Some(doubtful_bytes), self.last_unix_ns);
        }
        let removed_bytes = std::mem::take(&mut self.gaps.removed_bytes);
        if removed_bytes > 0 {
            self.append_gap(
                "segment_removed",
                None,
                Some(removed_bytes),
                self.last_unix_ns,
            );
        }
    }

    fn append_gap(
        &mut self,
        cause: &'static str,
        records: Option<u64>,
        bytes: Option<u64>,
        time_unix_ns: u64,
    ) {
        let mut gap = Record::new(Kind::Gap, time_unix_ns);
        gap.gap = Some(Box::new(GapBlock {
            bytes,
            cause,
            records,
            ..GapBlock::default()
        }));
        self.append(&gap);
    }
}
