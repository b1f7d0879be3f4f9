//! Lines on their way to the disk: written, made durable, begun anew in the next segment, and tried again where the disk
//! refuses.

use std::io;
use std::time::{Duration, Instant};

use super::Journal;
use crate::audit::segment;
use crate::audit::storage::{self, SegmentFile, Storage};

/// First wait after a failed write, doubled up to the longest: room comes back within a minute or not by itself.
pub(super) const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

pub(super) struct Segment<F> {
    pub(super) file: F,
    pub(super) len: u64,
}

/// Lines that are not on disk.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    /// The first so many bytes were shown to the observer.
    pub(super) shown: usize,
    /// The first line, or half a line, came then.
    pub(super) since: Option<Instant>,
    /// Time and number of the first line, for the name of a segment that begins with it.
    pub(super) first: (u64, u64),
}

pub(super) struct Retry {
    pub(super) at: Instant,
    pub(super) delay: Duration,
    /// `gap.cause` of what is dropped meanwhile.
    pub(super) cause: &'static str,
}

impl<S: Storage> Journal<S> {
    /// Why the line cannot be taken, where it cannot.
    pub(super) fn no_room(&self, line_bytes: usize) -> Option<&'static str> {
        let retry = self.retry.as_ref()?;
        // A checkpoint goes with the record that makes it due.
        let needed = self.pending.bytes.len() + line_bytes + self.checkpoint_bytes();
        (needed > self.config.pending_bytes_max).then_some(retry.cause)
    }

    pub(super) fn rotate_if_due(&mut self, line_bytes: usize) {
        let len = self.segment.as_ref().map_or(0, |segment| segment.len)
            + self.pending.bytes.len() as u64;
        let more = (line_bytes + self.checkpoint_bytes()) as u64;
        let is_due = len > 0 && len + more > self.config.segment_bytes_max;
        if !is_due || self.retry.is_some() {
            return;
        }
        self.sign("rotation");
        match self.write_and_sync() {
            Ok(()) => self.segment = None,
            Err(error) => self.failed(&error),
        }
    }

    pub(super) fn flush(&mut self) {
        let sync_too = self.retry.is_some() || self.config.sync_interval.is_zero();
        let result = if sync_too {
            self.write_and_sync()
        } else {
            self.write_pending()
        };
        match result {
            Ok(()) => self.succeeded(),
            Err(error) => self.failed(&error),
        }
    }

    pub(super) fn sync(&mut self) {
        if let Err(error) = self.sync_segment() {
            self.failed(&error);
        }
    }

    pub(super) fn succeeded(&mut self) {
        if self.retry.take().is_some() {
            let dropped = self.gaps.lost.as_ref().map_or(0, |lost| lost.records);
            tracing::info!(dropped, "the journal is written again");
        }
        self.report_gaps();
    }

    pub(super) fn failed(&mut self, error: &io::Error) {
        self.stats.write_errors += 1;
        let text = error.to_string();
        if self.stats.last_error.as_deref() != Some(text.as_str()) {
            self.stats.last_error = Some(text.into());
        }
        let delay = match &self.retry {
            Some(retry) => (retry.delay * 2).min(RETRY_DELAY_MAX),
            None => {
                tracing::error!(
                    dir = %self.config.dir.display(),
                    segment = %self.stats.segment,
                    %error,
                    "the journal cannot be written; records are kept in memory and then dropped until it can"
                );
                RETRY_DELAY_MIN
            }
        };
        let is_full = storage::is_full(error);
        self.retry = Some(Retry {
            at: self.now + delay,
            delay,
            cause: if is_full { "disk_full" } else { "write_error" },
        });
    }

    pub(super) fn write_and_sync(&mut self) -> io::Result<()> {
        self.write_pending()?;
        self.sync_segment()
    }

    /// Writes what is pending. After an error the part that was written is forgotten here, and the next attempt goes on
    /// behind it, in the middle of a line if need be.
    fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.bytes.is_empty() {
            return Ok(());
        }
        self.show();
        self.open_segment()?;
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let mut written = 0;
        let result = storage::write_all_at(
            &mut segment.file,
            &self.pending.bytes,
            segment.len,
            &mut written,
        );
        if written > 0 {
            segment.len += written as u64;
            self.stats.unsynced_bytes += written as u64;
            self.unsynced_since.get_or_insert(self.now);
            self.pending.bytes.drain(..written);
            self.pending.shown = self.pending.bytes.len();
        }
        if self.pending.bytes.is_empty() {
            self.pending.since = None;
            self.pending
                .bytes
                .shrink_to(self.config.flush_bytes_max * 2);
            self.stats.unflushed = 0;
        }
        result
    }

    fn open_segment(&mut self) -> io::Result<()> {
        if self.segment.is_some() {
            return Ok(());
        }
        let (time_unix_ns, seq) = self.pending.first;
        let name = segment::name(time_unix_ns, seq);
        let file = self.storage.create(&name)?;
        self.segment = Some(Segment { file, len: 0 });
        self.stats.segment = name.into();
        self.dir_unsynced = true;
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        self.sync_dir()
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        if self.dir_unsynced {
            self.storage.sync_dir()?;
            self.dir_unsynced = false;
        }
        Ok(())
    }

    fn sync_segment(&mut self) -> io::Result<()> {
        self.sync_dir()?;
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        if self.stats.unsynced_bytes > 0 {
            if let Err(error) = segment.file.sync() {
                self.gaps.doubtful_bytes = self.stats.unsynced_bytes;
                return Err(error);
            }
            if segment.file.is_removed()? {
                tracing::error!(segment = %self.stats.segment, "the segment being written was removed; a new one is begun");
                self.gaps.removed_bytes += segment.len;
                self.segment = None;
            }
        }
        self.stats.unsynced_bytes = 0;
        self.unsynced_since = None;
        // What is in memory only comes after all that is in the file.
        self.durable
            .set(self.encoder.last_seq().saturating_sub(self.stats.unflushed));
        Ok(())
    }
}
