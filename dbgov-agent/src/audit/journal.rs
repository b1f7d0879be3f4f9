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
//! Time comes in with the records and with [`Journal::tick`]. Here lines get their place in the chain and what is due is
//! done; `disk` writes them, `gaps` says what could not be taken, `evidence` signs.

mod config;
mod disk;
mod evidence;
mod gaps;

use std::time::{Duration, Instant};

pub use config::*;

use self::disk::{Pending, Retry, Segment};
use self::evidence::Unsigned;
use self::gaps::Gaps;
use super::body::{Body, Parts, Renderer};
use super::durable::Durable;
use super::keeper::Bell;
use super::line::LineEncoder;
use super::record::{Kind, Record};
use super::recover::{self, LINE_BYTES_MAX, OpenError};
use super::storage::{Directory, Storage};

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
}

fn is_due(since: Option<Instant>, interval: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) >= interval)
}

#[cfg(test)]
mod tests;
