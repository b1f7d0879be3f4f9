//! The journal on disk: hash-chained lines in segment files.
//!
//! What holds, whatever the disk does:
//!
//! * On disk `seq` grows by 1 from line to line and `chain.prev` is the hash of the line before, over segments and
//!   restarts. A record has its place in the chain once it is in the buffer; one that is dropped takes none.
//! * A record is in the journal or counted by a `gap` record behind the last one kept. Only what was in the buffer when
//!   the agent was killed is without a number; the gap of cause `crash` at the next start says that this happened.
//! * Memory is bounded: [`JournalConfig::pending_bytes_max`] and one line.
//! * Nothing here waits for a disk that refuses: it is tried again later, at the same place in the file.
//!
//! Time comes in with the records and with [`Journal::tick`].

mod config;
mod evidence;

use std::io;
use std::time::{Duration, Instant};

pub use config::*;

use self::evidence::Unsigned;
use super::body::{Body, Parts, Renderer};
use super::durable::Durable;
use super::keeper::Bell;
use super::line::LineEncoder;
use super::record::{GapBlock, Kind, Record};
use super::recover::{self, LINE_BYTES_MAX, OpenError};
use super::segment;
use super::storage::{self, Directory, SegmentFile, Storage};

/// First wait after a failed write, doubled up to the longest: room comes back within a minute or not by itself.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// Scratch memory kept after a long line has passed.
const LINE_KEPT_BYTES: usize = 64 * 1024;

/// Told of every line that has its place in the journal, in order, a batch of whole lines at a time. It must not wait: a
/// terminal that is stopped would stop the journal.
pub type Observer = Box<dyn FnMut(&[u8]) + Send>;

pub struct Journal<S: Storage = Directory> {
    config: JournalConfig,
    storage: S,
    renderer: Renderer,
    encoder: LineEncoder,
    observer: Option<Observer>,
    bell: Option<Bell>,
    segment: Option<Segment<S::File>>,
    /// The name of a new segment is not durable yet.
    dir_unsynced: bool,
    /// The body and the line in the making.
    body: Vec<u8>,
    line: Vec<u8>,
    pending: Pending,
    unsynced_since: Option<Instant>,
    /// Some while the disk refuses.
    retry: Option<Retry>,
    gaps: Gaps,
    unsigned: Unsigned,
    /// What the last tick said.
    now: Instant,
    /// Time of the newest record.
    last_unix_ns: u64,
    /// The agent_stop is taken.
    is_stopped: bool,
    stats: JournalStats,
    durable: Durable,
}

struct Segment<F> {
    file: F,
    len: u64,
}

/// Lines that are not on disk.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// The first so many bytes were shown to the observer.
    shown: usize,
    /// The first line, or half a line, came then.
    since: Option<Instant>,
    /// Time and number of the first line, for the name of a segment that begins with it.
    first: (u64, u64),
}

struct Retry {
    at: Instant,
    delay: Duration,
    /// `gap.cause` of what is dropped meanwhile.
    cause: &'static str,
}

/// What gap records have to be written for.
#[derive(Default)]
struct Gaps {
    /// Dropped since the last such record.
    lost: Option<Lost>,
    /// Bytes an fdatasync failed for. Linux may have thrown them away, and the next fdatasync says nothing of it.
    doubtful_bytes: u64,
    /// Bytes of a segment that somebody removed while it was written.
    removed_bytes: u64,
}

struct Lost {
    records: u64,
    cause: &'static str,
    /// When the first of them happened.
    since_unix_ns: u64,
}

impl Journal {
    /// Opens the journal in `config.dir` for writing. The records say what a crash before did to it (kind `gap`) and
    /// are to be appended first.
    pub fn open(config: JournalConfig) -> Result<(Self, Vec<Record>), OpenError> {
        let storage = Directory::open(&config.dir)?;
        Journal::open_in(storage, config)
    }
}

impl<S: Storage> Journal<S> {
    pub fn open_in(storage: S, config: JournalConfig) -> Result<(Self, Vec<Record>), OpenError> {
        let key = config.key.as_ref().map(|key| key.public().id());
        let recovered = recover::recover(&storage, &config.dir, key)?;
        let mut stats = JournalStats {
            last_seq: recovered.last_seq,
            ..JournalStats::default()
        };
        let segment = recovered.segment.map(|(name, file, len)| {
            stats.segment = name.into();
            Segment { file, len }
        });
        let journal = Journal {
            renderer: Renderer::new(&config.node),
            encoder: LineEncoder::resume(&config.node, recovered.last_seq, recovered.last_hash),
            config,
            storage,
            observer: None,
            bell: None,
            segment,
            dir_unsynced: false,
            body: Vec::new(),
            line: Vec::new(),
            pending: Pending::default(),
            unsynced_since: None,
            retry: None,
            gaps: Gaps::default(),
            unsigned: Unsigned::recovered(recovered.ends_signed),
            now: Instant::now(),
            last_unix_ns: 0,
            is_stopped: false,
            stats,
            durable: Durable::default(),
        };
        Ok((journal, recovered.notes))
    }

    /// What writes the bodies that [`Self::append_body`] takes.
    pub(super) fn renderer(&self) -> Renderer {
        Renderer::new(&self.config.node)
    }

    /// Gap records that the journal makes itself reach the observer too.
    pub fn set_observer(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// How far the journal is safe from a power loss, from the first sync on.
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// Rung when a segment is complete.
    pub(super) fn set_bell(&mut self, bell: Bell) {
        self.bell = Some(bell);
    }

    pub fn stats(&self) -> JournalStats {
        JournalStats {
            last_seq: self.encoder.last_seq(),
            degraded: self.retry.is_some(),
            unsigned: self.unsigned.records,
            unsigned_since: self.unsigned.since,
            ..self.stats.clone()
        }
    }

    /// Takes a record. Where the disk refuses and the buffer is full it is dropped and counted.
    pub fn append(&mut self, record: &Record) {
        let mut bytes = std::mem::take(&mut self.body);
        bytes.clear();
        let body = self.renderer.body(record, &mut bytes);
        self.append_body(&body, &bytes);
        if bytes.capacity() <= LINE_KEPT_BYTES {
            self.body = bytes;
        }
    }

    /// Takes a record whose body lies at the beginning of `bytes`.
    pub(super) fn append_body(&mut self, body: &Body, bytes: &[u8]) {
        let time_unix_ns = body.time_unix_ns;
        // Once something is dropped nothing is taken before its gap record: the hole is where the gap says it is.
        if let Some(lost) = &self.gaps.lost {
            return self.drop_record(time_unix_ns, lost.cause);
        }
        let Some(parts) = body.parts else {
            return self.drop_and_say(time_unix_ns, "unencodable");
        };
        let line_bytes = self.encoder.line_bytes(parts.len());
        if line_bytes as u64 > LINE_BYTES_MAX {
            return self.drop_and_say(time_unix_ns, "record_too_large");
        }
        self.rotate_if_due(line_bytes);
        self.begin_segment_if_due(time_unix_ns);
        if let Some(cause) = self.no_room(line_bytes) {
            return self.drop_record(time_unix_ns, cause);
        }
        self.take(body, parts, bytes);
        self.note_unsigned();
        let is_due = self.stats.unflushed >= u64::from(self.config.flush_records_max)
            || self.pending.bytes.len() >= self.config.flush_bytes_max;
        if is_due && self.retry.is_none() {
            self.flush();
        }
        // From here on a crash is seen at the next start: the journal then does not end with what a stop leaves.
        if body.kind == Kind::AgentStart && self.retry.is_none() {
            self.sign("start");
            self.flush();
            self.sync();
        }
    }

    /// Gives a record its place in the chain. There is room for it.
    fn take(&mut self, body: &Body, parts: Parts, bytes: &[u8]) {
        let hash = self.encoder.link(parts.of(bytes), &mut self.line);
        self.encoder.accept(hash);
        self.last_unix_ns = body.time_unix_ns;
        match body.kind {
            Kind::AgentStart => self.is_stopped = false,
            Kind::AgentStop => self.is_stopped = true,
            _ => {}
        }
        self.buffer_line(body.time_unix_ns);
        if self.line.capacity() > LINE_KEPT_BYTES {
            self.line = Vec::new();
        }
    }

    /// Lets the time pass: flushes, syncs and tries again what is due at `now`. The observer is told what came since.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.show();
        match &self.retry {
            Some(retry) if now >= retry.at => self.flush(),
            Some(_) => {}
            None => {
                if is_due(self.pending.since, self.config.flush_interval, now) {
                    self.flush();
                }
                if is_due(self.unsynced_since, self.config.sync_interval, now) {
                    self.sync();
                }
                self.report_gaps();
                self.sign_if_due();
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do next; `None` while nothing is waiting.
    pub fn next_tick(&self) -> Option<Instant> {
        if let Some(retry) = &self.retry {
            return Some(retry.at);
        }
        let flush_at = self.pending.since.map(|at| at + self.config.flush_interval);
        let sync_at = self.unsynced_since.map(|at| at + self.config.sync_interval);
        let sign_at = self
            .unsigned
            .since
            .map(|at| at + self.config.checkpoint_interval);
        [flush_at, sync_at, sign_at].into_iter().flatten().min()
    }

    /// Writes everything and makes it durable. What the disk refuses even now is lost; the half line or the missing
    /// `agent_stop` at the end of the journal makes the next start say so.
    pub fn close(mut self) -> JournalStats {
        self.sign_the_end();
        let mut result = self.write_and_sync();
        if result.is_ok() {
            self.succeeded();
            self.sign_the_end();
            result = self.write_and_sync();
        }
        if let Err(error) = result {
            self.failed(&error);
            tracing::error!(
                records = self.stats.unflushed,
                %error,
                "the journal is closed and its last records could not be written"
            );
        }
        self.stats()
    }

    fn show(&mut self) {
        let new = &self.pending.bytes[self.pending.shown..];
        if let Some(observer) = &mut self.observer
            && !new.is_empty()
        {
            observer(new);
        }
        self.pending.shown = self.pending.bytes.len();
    }

    fn buffer_line(&mut self, time_unix_ns: u64) {
        if self.pending.bytes.is_empty() {
            self.pending.since = Some(self.now);
            self.pending.first = (time_unix_ns, self.encoder.last_seq());
        }
        self.pending.bytes.extend_from_slice(&self.line);
        self.stats.unflushed += 1;
        self.stats.records += 1;
        self.stats.bytes += self.line.len() as u64;
    }

    /// Why the line cannot be taken, where it cannot.
    fn no_room(&self, line_bytes: usize) -> Option<&'static str> {
        let retry = self.retry.as_ref()?;
        // A checkpoint goes with the record that makes it due.
        let needed = self.pending.bytes.len() + line_bytes + self.checkpoint_bytes();
        (needed > self.config.pending_bytes_max).then_some(retry.cause)
    }

    fn drop_record(&mut self, time_unix_ns: u64, cause: &'static str) {
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
    fn drop_and_say(&mut self, time_unix_ns: u64, cause: &'static str) {
        self.drop_record(time_unix_ns, cause);
        self.report_gaps();
    }

    /// Appends the gap records that are owed, once the disk takes them.
    fn report_gaps(&mut self) {
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

    fn rotate_if_due(&mut self, line_bytes: usize) {
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

    fn flush(&mut self) {
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

    fn sync(&mut self) {
        if let Err(error) = self.sync_segment() {
            self.failed(&error);
        }
    }

    fn succeeded(&mut self) {
        if self.retry.take().is_some() {
            let dropped = self.gaps.lost.as_ref().map_or(0, |lost| lost.records);
            tracing::info!(dropped, "the journal is written again");
        }
        self.report_gaps();
    }

    fn failed(&mut self, error: &io::Error) {
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

    fn write_and_sync(&mut self) -> io::Result<()> {
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

fn is_due(since: Option<Instant>, interval: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) >= interval)
}

#[cfg(test)]
mod tests;
