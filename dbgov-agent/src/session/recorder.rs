//! What sessions share on their way to records.

use std::sync::Arc;

use crate::audit::record::Record;
use crate::clock::Clock;
use crate::config::PolicyMode;
use crate::judge::Rulebook;
use crate::protocol::TimeNs;
use crate::sql::{Dialect, FactsCache};

/// What sessions share on their way to records.
pub struct Recorder {
    pub clock: Clock,
    pub(super) facts: FactsCache,
    records: Vec<Record>,
    /// Statements that became records, since start.
    pub statements: u64,
    /// The policy in force ...
    pub rulebook: Option<Arc<Rulebook>>,
    /// ... and whether its verdicts are carried out.
    pub mode: PolicyMode,
    /// The kernel's boot clock, for how long something was held; a capture file has none.
    pub boot_clock: fn() -> TimeNs,
}

impl Recorder {
    pub fn new(clock: Clock) -> Self {
        Recorder {
            clock,
            facts: FactsCache::new(Dialect::Postgres),
            records: Vec::new(),
            statements: 0,
            rulebook: None,
            mode: PolicyMode::Observe,
            boot_clock: || 0,
        }
    }

    pub fn now(&self) -> TimeNs {
        (self.boot_clock)()
    }

    pub fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    pub fn waiting(&self) -> usize {
        self.records.len()
    }

    /// The records so far; what is not read of them is dropped.
    pub fn take(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.records.drain(..)
    }
}
