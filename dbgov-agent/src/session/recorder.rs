//! What sessions share on their way to records.

use std::sync::Arc;

use super::figures::Figures;
use crate::audit::record::Record;
use crate::audit::writer::{JournalHandle, WriterEnded};
use crate::clock::Clock;
use crate::config::PolicyMode;
use crate::judge::Rulebook;
use crate::protocol::TimeNs;
use crate::redact::Redactor;
use crate::sql::{Dialect, FactsCache};

/// Records that are handed over together: few enough to be in the processor's nearest cache still. What is given up at
/// once after a loss may be a hundred thousand records, for which no room is kept here.
const RECORDS_MAX: usize = 32;

/// What sessions share on their way to records.
pub struct Recorder {
    pub clock: Clock,
    pub(super) facts: FactsCache,
    records: Vec<Record>,
    /// Where records go; without it they wait for [`take`](Self::take).
    pub journal: Option<JournalHandle>,
    /// Statements that became records, since start.
    pub statements: u64,
    /// What was counted of the records.
    pub figures: Figures,
    /// The policy in force ...
    pub rulebook: Option<Arc<Rulebook>>,
    /// ... and whether its verdicts are carried out.
    pub mode: PolicyMode,
    /// What of a statement the records keep.
    pub redactor: Arc<Redactor>,
    /// The kernel's boot clock, for how long something was held; a capture file has none.
    pub boot_clock: fn() -> TimeNs,
}

impl Recorder {
    pub fn new(clock: Clock) -> Self {
        Recorder {
            clock,
            facts: FactsCache::new(Dialect::Postgres),
            records: Vec::new(),
            journal: None,
            statements: 0,
            figures: Figures::default(),
            rulebook: None,
            mode: PolicyMode::Observe,
            redactor: Arc::default(),
            boot_clock: || 0,
        }
    }

    pub fn now(&self) -> TimeNs {
        (self.boot_clock)()
    }

    /// Waits where the journal does.
    pub fn push(&mut self, record: Record) {
        self.figures.count(&record);
        self.records.push(record);
        if self.records.len() >= RECORDS_MAX
            && let Some(journal) = &mut self.journal
        {
            // That the writer has ended is told by the next `send`.
            let _ = journal.add(self.records.drain(..));
        }
    }

    /// Hands all records over to the journal.
    pub fn send(&mut self) -> Result<(), WriterEnded> {
        match &mut self.journal {
            Some(journal) => journal.send(self.records.drain(..)),
            None => Ok(()),
        }
    }

    /// The records so far; what is not read of them is dropped.
    pub fn take(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.records.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::journal::{Journal, JournalConfig};
    use crate::audit::samples;

    #[test]
    fn a_burst_of_records_does_not_wait_for_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalConfig::new(dir.path(), "n")).unwrap();
        let mut recorder = Recorder::new(Clock::boot());
        recorder.journal = Some(JournalHandle::start(journal).unwrap());
        for number in 0..10_000 {
            recorder.push(samples::statement(&format!("SELECT {number}")));
        }
        assert!(recorder.records.capacity() <= 2 * RECORDS_MAX);
        recorder.send().unwrap();
        let stats = recorder.journal.take().unwrap().close();
        assert_eq!((stats.records, stats.dropped), (10_000, 0));
    }
}
