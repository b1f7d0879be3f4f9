//! What is counted of statements on their way to records: plain integers of the thread that makes them, handed over a
//! few times a second.

use std::collections::HashMap;

use crate::audit::record::{Kind, Record, StatementBlock};

/// Upper bounds of the buckets of held times, microseconds: from what the gate costs an everyday statement to the longest
/// anybody waits for a person.
pub const HELD_BOUNDS_US: [u64; 14] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    50_000,
    250_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];

/// Statements of a protocol are told apart by what they do first and by what became of them. Both sets are of this
/// program's words: what a client sends makes no new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Counted {
    pub verb: &'static str,
    pub verdict: &'static str,
    pub status: &'static str,
}

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub statements: HashMap<Counted, u64, foldhash::fast::RandomState>,
    pub redacted: u64,
    /// By [`Kind::name`].
    pub records: HashMap<&'static str, u64, foldhash::fast::RandomState>,
    /// By [`crate::protocol::GapCause::name`].
    pub gaps: HashMap<&'static str, u64, foldhash::fast::RandomState>,
    pub held: Held,
}

/// A histogram of held times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Of each bucket by itself; the last is for what is above all bounds.
    pub buckets: [u64; HELD_BOUNDS_US.len() + 1],
    pub sum_us: u64,
}

impl Held {
    fn add(&mut self, us: u64) {
        let bucket = HELD_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Figures {
    /// A record on its way to the journal.
    pub fn count(&mut self, record: &Record) {
        *self.records.entry(record.kind.name()).or_default() += 1;
        if let Some(gap) = &record.gap {
            *self.gaps.entry(gap.cause).or_default() += 1;
        }
        let Some(statement) = record
            .statement
            .as_ref()
            .filter(|_| record.kind == Kind::Statement)
        else {
            return;
        };
        let verdict = record.verdict.as_ref();
        if let Some(held_us) = verdict.and_then(|verdict| verdict.held_us) {
            self.held.add(held_us);
        }
        self.redacted += u64::from(!statement.redacted.is_empty());
        let counted = Counted {
            verb: verb(statement),
            verdict: verdict.map_or("none", |verdict| verdict.action),
            status: record
                .result
                .as_ref()
                .map_or("none", |result| result.status),
        };
        *self.statements.entry(counted).or_default() += 1;
    }
}

fn verb(statement: &StatementBlock) -> &'static str {
    match statement.verbs.first() {
        Some(verb) => verb,
        None if statement.parse == "unseen" => "unseen",
        None if statement.function_oid.is_some() => "function_call",
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::VerdictBlock;
    use crate::audit::samples;

    #[test]
    fn statements_are_counted_by_what_they_do_and_what_became_of_them() {
        let mut figures = Figures::default();
        for (action, held_us) in [
            ("allow", Some(90)),
            ("allow", Some(100)),
            ("reset", Some(101)),
            ("hold", Some(u64::MAX)),
        ] {
            let mut record = samples::statement("SELECT 1");
            record.verdict = Some(Box::new(VerdictBlock {
                action,
                held_us,
                ..VerdictBlock::default()
            }));
            figures.count(&record);
        }
        let mut unseen = samples::statement("");
        unseen.statement.as_mut().unwrap().verbs = [].into();
        unseen.statement.as_mut().unwrap().parse = "unseen";
        figures.count(&unseen);
        figures.count(&samples::gap("ring_full", None));
        let of = |verb, verdict| {
            let counted = Counted {
                verb,
                verdict,
                status: "ok",
            };
            figures.statements.get(&counted).copied().unwrap_or(0)
        };
        assert_eq!(of("select", "allow"), 2);
        assert_eq!(of("select", "reset"), 1);
        assert_eq!(of("unseen", "none"), 1);
        assert_eq!(figures.gaps["ring_full"], 1);
        assert_eq!(figures.records["statement"], 5);
        assert_eq!(figures.held.count(), 4);
        assert_eq!((figures.held.buckets[0], figures.held.buckets[1]), (2, 1));
        assert_eq!(figures.held.buckets.last(), Some(&1), "above all bounds");
    }
}
