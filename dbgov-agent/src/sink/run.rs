//! One sink at work: batches from the journal to the receiver, the cursor behind them.
//!
//! ```text
//! read, filter, encode -> batch -> deliver -> confirm -> cursor
//!                                    |          |
//!                                    +-- wait, and again from the last that was confirmed
//! ```
//!
//! What holds: the cursor on disk is never ahead of what the receiver has confirmed, so every record arrives at least
//! once; one batch follows the other, so records arrive in the order of the journal (those that are sent again once
//! more); memory is that of one batch and one record.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::config::{SinkConfig, Start};
use super::cursor::{Cursor, Place};
use super::deliver::{Deliver, DeliverError, Item};
use super::refused::{self, Refused};
use super::source::{self, Batch, Filled, Source};
use super::status::{Board, State};
use super::stop::Stop;
use crate::audit::Durable;
use crate::audit::reader::ReadError;

/// How often a sink without work looks for more; records become durable once a second.
const POLL: Duration = Duration::from_millis(100);
/// A cursor is written at most so often: after a crash so much is sent again, and no disk is kept busy.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// What a sink works with.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub config: SinkConfig,
    /// Of the journal.
    pub audit_dir: PathBuf,
    pub node: String,
    pub durable: Durable,
    pub board: Board,
    pub stop: Stop,
    /// End when nothing is left.
    pub once: bool,
}

/// Until the agent stops.
pub(super) async fn run<D: Deliver>(job: &Job, to: &mut D) {
    let mut run = Run::new(job);
    loop {
        let next = tokio::select! {
            next = run.round(to) => next,
            () = job.stop.deadline() => Next::End,
        };
        match next {
            Next::Go => tokio::task::yield_now().await,
            Next::Wait(time) => {
                tokio::select! {
                    () = sleep(time) => {}
                    () = job.stop.asked() => {}
                }
            }
            Next::Retry(time) => {
                run.save_if_due(true);
                tokio::select! {
                    () = sleep(time) => {}
                    // There is no time for patience.
                    () = job.stop.asked() => break,
                }
            }
            Next::End => break,
        }
    }
    run.save_if_due(true);
    job.board.update(|status| status.state = State::Stopped);
}

#[derive(Debug)]
enum Next {
    Go,
    /// There is nothing to do.
    Wait(Duration),
    /// Something failed.
    Retry(Duration),
    End,
}

struct Run<'a> {
    job: &'a Job,
    place: Place,
    source: Option<Source>,
    batch: Batch,
    /// The batch is as full as it will be.
    is_due: bool,
    /// When its first record came.
    batch_since: Option<Instant>,
    /// Delivered up to here, but not confirmed.
    sent: Option<Cursor>,
    confirmed: Option<Cursor>,
    is_saved: bool,
    /// The disk does not take the cursor.
    is_blocked: bool,
    saved_at: Option<Instant>,
    loaded: bool,
    backoff: Backoff,
}

impl<'a> Run<'a> {
    fn new(job: &'a Job) -> Self {
        Run {
            job,
            place: Place::new(&job.audit_dir, &job.config.name),
            source: None,
            batch: Batch::default(),
            is_due: false,
            batch_since: None,
            sent: None,
            confirmed: None,
            is_saved: true,
            is_blocked: false,
            saved_at: None,
            loaded: false,
            backoff: Backoff::default(),
        }
    }

    async fn round<D: Deliver>(&mut self, to: &mut D) -> Next {
        if let Err(next) = self.open() {
            return next;
        }
        let filled = match self.fill() {
            Ok(filled) => filled,
            Err(next) => return next,
        };
        if self.is_due && !self.batch.is_empty() {
            if let Err(next) = self.hand_over(to).await {
                return next;
            }
        } else if filled == Filled::Drained && self.batch.is_empty() {
            // Records that are not for this sink are behind it too.
            self.pass(self.sent.is_none());
        }
        let ends = self.job.stop.is_asked() || self.job.once;
        let is_last = ends && filled == Filled::Drained && self.batch.is_empty();
        if self.sent.is_some()
            && let Err(next) = self.confirm(to, is_last).await
        {
            return next;
        }
        self.save_if_due(is_last);
        match filled {
            _ if is_last && self.sent.is_none() => Next::End,
            Filled::Full | Filled::More => Next::Go,
            Filled::Drained => Next::Wait(POLL),
        }
    }

    /// Reads the cursor and goes to its place in the journal.
    fn open(&mut self) -> Result<(), Next> {
        if self.source.is_some() {
            return Ok(());
        }
        if !self.loaded {
            if self.job.config.start == Start::Newest && self.job.durable.seq() == 0 {
                // Where the journal ends is known once its writer has begun.
                return Err(Next::Wait(POLL));
            }
            self.load()
                .map_err(|error| self.failed(State::Retrying, &error.to_string(), None))?;
            self.loaded = true;
        }
        let config = &self.job.config;
        let opened = Source::open(
            &self.job.audit_dir,
            self.confirmed.as_ref(),
            self.job.durable.clone(),
            &config.filter,
            config.format,
        )
        .map_err(|error| self.failed(State::Retrying, &error.to_string(), None))?;
        if opened.replaced {
            tracing::error!(
                sink = %config.name,
                "the journal is not the one that this sink was reading: it begins anew with the oldest record"
            );
            self.confirmed = None;
            self.job.board.update(|status| status.journal_replaced += 1);
        }
        self.skipped(opened.skipped);
        self.source = Some(opened.source);
        Ok(())
    }

    fn load(&mut self) -> Result<(), ReadError> {
        let config = &self.job.config;
        self.confirmed = match Cursor::load(&self.place) {
            Ok(Some(cursor)) => Some(cursor),
            Ok(None) => {
                let begin = source::start(&self.job.audit_dir, config.start)?;
                self.is_saved = begin.is_none();
                begin
            }
            Err(error) => {
                tracing::error!(
                    sink = %config.name,
                    path = %self.place.file("cursor").display(),
                    %error,
                    "the cursor cannot be read: the sink begins anew with the oldest record"
                );
                None
            }
        };
        let seq = self.confirmed.as_ref().map_or(0, |cursor| cursor.seq);
        self.job.board.reached(seq, None);
        Ok(())
    }

    fn fill(&mut self) -> Result<Filled, Next> {
        // A batch that was not taken is tried again as it is.
        if self.is_due {
            return Ok(Filled::Full);
        }
        let Some(source) = &mut self.source else {
            return Ok(Filled::Drained);
        };
        let limits = &self.job.config.batch;
        let filled = source.fill(&mut self.batch, limits);
        let missed = source.take_missed();
        self.skipped(missed);
        if let Some(first) = self.batch.items.first() {
            self.job.board.waits(first.time_unix_ns);
        }
        if !self.batch.is_empty() {
            let since = *self.batch_since.get_or_insert_with(Instant::now);
            let waited = since.elapsed() >= limits.interval;
            let hurries = self.job.stop.is_asked() || self.job.once;
            self.is_due = match filled {
                Ok(Filled::Full) | Err(_) => true,
                Ok(Filled::More) => false,
                Ok(Filled::Drained) => waited || hurries,
            };
        }
        match filled {
            Ok(filled) => Ok(filled),
            Err(error) => Err(self.failed(State::Retrying, &error.to_string(), None)),
        }
    }

    /// The batch to the receiver, once.
    async fn hand_over<D: Deliver>(&mut self, to: &mut D) -> Result<(), Next> {
        self.keep_unfit()?;
        let limit = self.job.config.timeout;
        let result = match self.batch.items.is_empty() {
            true => Ok(Ok(())),
            false => timeout(limit, to.deliver(&self.batch.items)).await,
        };
        match result.unwrap_or_else(|_| Err(no_answer(limit))) {
            Ok(()) => {}
            Err(DeliverError::Refused { what, places }) => self.keep_refused(&what, &places).await,
            Err(DeliverError::Retry { what, after }) => {
                return Err(self.again(&what, after));
            }
        }
        let (records, bytes) = (self.batch.items.len() as u64, self.batch.bytes as u64);
        self.job.board.update(|status| {
            status.delivered += records;
            status.delivered_bytes += bytes;
        });
        self.pass(false);
        Ok(())
    }

    /// What was read is behind the sink; `confirmed` where nothing of it was sent.
    fn pass(&mut self, confirmed: bool) {
        let last = std::mem::take(&mut self.batch).last;
        self.is_due = false;
        self.batch_since = None;
        match (last, confirmed) {
            (None, _) => {}
            (Some(last), false) => self.sent = Some(last),
            (Some(last), true) => {
                self.sent = Some(last);
                self.reached();
            }
        }
    }

    async fn confirm<D: Deliver>(&mut self, to: &mut D, now: bool) -> Result<(), Next> {
        let limit = self.job.config.timeout;
        let confirmed = timeout(limit, to.confirm(now)).await;
        match confirmed.unwrap_or_else(|_| Err(no_answer(limit))) {
            Ok(true) => self.reached(),
            Ok(false) => {}
            Err(error) => return Err(self.again(&error.to_string(), None)),
        }
        Ok(())
    }

    fn reached(&mut self) {
        if let Some(cursor) = self.sent.take() {
            // Only now: what a receiver that hangs has in its buffers was never taken.
            if !self.is_blocked {
                self.job.board.works();
            }
            self.backoff.reset();
            let waiting = self.source.as_ref().and_then(Source::held_time_unix_ns);
            self.job.board.reached(cursor.seq, waiting);
            self.confirmed = Some(cursor);
            self.is_saved = false;
        }
    }

    /// Where nothing is unconfirmed the batch is tried again, else everything since the last confirmation.
    fn again(&mut self, what: &str, after: Option<Duration>) -> Next {
        if self.sent.take().is_some() {
            self.source = None;
            self.batch = Batch::default();
            self.is_due = false;
            self.batch_since = None;
        }
        self.failed(State::Retrying, what, after)
    }

    fn failed(&mut self, state: State, what: &str, after: Option<Duration>) -> Next {
        self.job.board.failed(state, what);
        match self.job.once {
            true => Next::Retry(POLL),
            false => Next::Retry(self.backoff.wait(after)),
        }
    }

    fn keep_unfit(&mut self) -> Result<(), Next> {
        if self.batch.unfit.is_empty() {
            return Ok(());
        }
        let unfit = self.batch.unfit.iter();
        let refused: Vec<_> = unfit
            .map(|(seq, line, why)| Refused::new(*seq, line, why))
            .collect();
        if let Err(error) = refused::keep(&self.place, &refused) {
            let what = format!("records that are none cannot be kept: {error}");
            return Err(self.failed(State::Blocked, &what, None));
        }
        self.count_refused(self.batch.unfit.len() as u64, &self.batch.unfit[0].2);
        self.batch.unfit.clear();
        Ok(())
    }

    /// The others were taken, so nothing is sent again: only the disk is waited for.
    async fn keep_refused(&mut self, what: &str, places: &[usize]) {
        let items: Vec<&Item> = places
            .iter()
            .filter_map(|&place| self.batch.items.get(place))
            .collect();
        let refused: Vec<_> = items.iter().map(|item| Refused::of(item, what)).collect();
        while let Err(error) = refused::keep(&self.place, &refused) {
            let what = format!("records that were refused ({what}) cannot be kept: {error}");
            self.job.board.failed(State::Blocked, &what);
            sleep(self.backoff.wait(None)).await;
        }
        self.count_refused(refused.len() as u64, what);
    }

    fn count_refused(&self, records: u64, why: &str) {
        let file = self.place.file("refused.jsonl");
        tracing::error!(
            sink = %self.job.config.name,
            records,
            file = %file.display(),
            "records were refused: {why}"
        );
        self.job.board.update(|status| status.refused += records);
    }

    fn skipped(&self, records: u64) {
        if records > 0 {
            tracing::error!(
                sink = %self.job.config.name,
                records,
                "records were gone from the journal before they could be sent"
            );
            self.job.board.update(|status| status.skipped += records);
        }
    }

    fn save_if_due(&mut self, now: bool) {
        let Some(cursor) = &self.confirmed else {
            return;
        };
        let waits = self.saved_at.is_some_and(|at| at.elapsed() < SAVE_INTERVAL);
        if self.is_saved || (waits && !now) {
            return;
        }
        match cursor.save(&self.place) {
            Ok(()) => {
                self.is_saved = true;
                self.is_blocked = false;
                self.job.board.unblocked();
            }
            Err(error) => {
                let path = self.place.file("cursor");
                let what = format!("cannot write {}: {error}", path.display());
                self.is_blocked = true;
                self.job.board.failed(State::Blocked, &what);
            }
        }
        self.saved_at = Some(Instant::now());
    }
}

fn no_answer(limit: Duration) -> DeliverError {
    DeliverError::retry(format!("no answer within {} ms", limit.as_millis()))
}

#[cfg(test)]
mod tests;
