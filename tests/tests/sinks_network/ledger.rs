//! What arrived, compared with what was in the journal.

use std::collections::{HashMap, HashSet};

pub(crate) use dbgov_tests::receivers::Entry;

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) missing: Vec<u64>,
    pub(crate) duplicates: usize,
    /// Records that came for the first time behind a later one of their session.
    pub(crate) disordered: usize,
    /// What is not in the journal.
    pub(crate) strange: usize,
}

pub(crate) fn account(expected: &[Entry], arrived: &[Entry]) -> Account {
    let known: HashMap<&str, &Entry> = expected.iter().map(|e| (e.id.as_str(), e)).collect();
    let mut seen = HashSet::new();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut account = Account {
        missing: Vec::new(),
        duplicates: 0,
        disordered: 0,
        strange: 0,
    };
    for entry in arrived {
        if known.get(entry.id.as_str()) != Some(&entry) {
            account.strange += 1;
            continue;
        }
        if !seen.insert(entry.id.as_str()) {
            account.duplicates += 1;
            continue;
        }
        let newest = newest.entry(&entry.session).or_default();
        account.disordered += usize::from(*newest > entry.seq);
        *newest = entry.seq.max(*newest);
    }
    let is_missing = |entry: &&Entry| !seen.contains(entry.id.as_str());
    account.missing = expected.iter().filter(is_missing).map(|e| e.seq).collect();
    account
}

impl Account {
    /// Fails where something is missing, strange or out of order; says how often something came twice.
    pub(crate) fn settle(&self, what: &str) {
        eprintln!(
            "{what}: {} missing, {} twice, {} out of order",
            self.missing.len(),
            self.duplicates,
            self.disordered
        );
        let first: Vec<_> = self.missing.iter().take(5).collect();
        assert!(
            self.missing.is_empty(),
            "{what}: {} missing, such as {first:?}",
            self.missing.len()
        );
        assert_eq!(
            self.strange, 0,
            "{what}: records that are not in the journal"
        );
        assert_eq!(self.disordered, 0, "{what}: records out of order");
    }
}

#[test]
fn an_account_sees_what_is_wrong() {
    let entry = |seq: u64| Entry {
        seq,
        id: format!("id{seq}"),
        session: format!("s{}", seq % 2),
    };
    let expected: Vec<Entry> = (1..=6).map(entry).collect();
    let mut other = entry(2);
    other.session = "s9".to_owned();
    let arrived = [
        entry(1),
        entry(5),
        entry(3),
        entry(2),
        entry(2),
        entry(4),
        other,
    ];
    let account = account(&expected, &arrived);
    assert_eq!(account.missing, [6]);
    assert_eq!(account.duplicates, 1);
    assert_eq!(account.disordered, 1);
    assert_eq!(account.strange, 1);
}
