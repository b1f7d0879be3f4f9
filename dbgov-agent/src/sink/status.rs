//! How the sinks are doing, for `dbgov status` and for metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::audit::Durable;
use crate::clock::unix_ns;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    pub name: String,
    /// `type` of the configuration.
    pub kind: String,
    pub state: State,
    /// The newest record that the receiver has, and with it all before.
    pub delivered_seq: u64,
    /// Durable records of the journal that the sink is not past; some of them may not be for it.
    pub lag_records: u64,
    /// Age of the oldest of them that is for it.
    pub lag_seconds: u64,
    // Counted since the agent started; with repetitions.
    pub delivered: u64,
    pub delivered_bytes: u64,
    /// Attempts that failed.
    pub retries: u64,
    /// Records that the receiver will never take; they are in `<name>.refused.jsonl`.
    pub refused: u64,
    /// Records that were gone from the journal before they could be sent.
    pub skipped: u64,
    /// The cursor did not fit the journal, and the sink began anew.
    pub journal_replaced: u64,
    /// Times the sink ended by a fault of its own and was started again.
    pub restarts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_unix_ns: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Starting,
    /// The receiver took the last batch.
    Delivering,
    /// It did not; the batch is tried again.
    Retrying,
    /// The receiver goes on taking records, but the disk does not take the cursor or those it refused.
    Blocked,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Delivering => "delivering",
            State::Retrying => "retrying",
            State::Blocked => "blocked",
            State::Stopped => "stopped",
        }
    }
}

/// The status of one sink, written by its thread.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<Figures>>);

#[derive(Debug, Default)]
struct Figures {
    status: SinkStatus,
    /// Time of the oldest record that was read for the receiver and is not known to be there.
    oldest_unix_ns: Option<u64>,
}

impl Board {
    pub(super) fn new(name: &str, kind: &str) -> Self {
        let status = SinkStatus {
            name: name.to_owned(),
            kind: kind.to_owned(),
            ..SinkStatus::default()
        };
        Board(Arc::new(Mutex::new(Figures {
            status,
            oldest_unix_ns: None,
        })))
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut SinkStatus)) {
        change(&mut self.lock().status);
    }

    /// Said once while it stays the same; counted each time.
    pub(super) fn failed(&self, state: State, error: &str) {
        let mut figures = self.lock();
        let status = &mut figures.status;
        status.retries += 1;
        let is_news = status.state != state || status.last_error.as_deref() != Some(error);
        status.state = state;
        status.last_error = Some(error.to_owned());
        status.last_error_unix_ns = Some(unix_ns());
        if is_news {
            tracing::warn!(sink = status.name, state = state.name(), "{error}");
        }
    }

    pub(super) fn works(&self) {
        let mut figures = self.lock();
        let status = &mut figures.status;
        if matches!(status.state, State::Retrying | State::Blocked) {
            tracing::info!(sink = status.name, "the receiver takes records again");
        }
        status.state = State::Delivering;
    }

    /// The disk takes the cursor again.
    pub(super) fn unblocked(&self) {
        let mut figures = self.lock();
        let status = &mut figures.status;
        if status.state == State::Blocked {
            tracing::info!(sink = status.name, "the disk takes the cursor again");
            status.state = State::Delivering;
        }
    }

    /// A record was read that is for the receiver.
    pub(super) fn waits(&self, time_unix_ns: u64) {
        self.lock().oldest_unix_ns.get_or_insert(time_unix_ns);
    }

    /// The receiver has everything up to this record.
    pub(super) fn reached(&self, seq: u64, next_unix_ns: Option<u64>) {
        let mut figures = self.lock();
        figures.status.delivered_seq = seq;
        figures.oldest_unix_ns = next_unix_ns;
    }

    pub(super) fn shown(&self, durable: &Durable) -> SinkStatus {
        let figures = self.lock();
        let mut status = figures.status.clone();
        let newest = match durable.seq() {
            u64::MAX => status.delivered_seq,
            seq => seq,
        };
        status.lag_records = newest.saturating_sub(status.delivered_seq);
        if let (1.., Some(oldest)) = (status.lag_records, figures.oldest_unix_ns) {
            status.lag_seconds = unix_ns().saturating_sub(oldest) / 1_000_000_000;
        }
        status
    }

    /// Plain figures are right also when their last writer panicked.
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
