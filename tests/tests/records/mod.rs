//! Journals that are written with the library, so that no database is needed, and what a receiver has of one.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use dbgov_agent::audit::journal::{Journal, JournalConfig};
use dbgov_agent::audit::reader::Reader;
use dbgov_agent::audit::record::{Identity, Kind, Record, Rendered, Session, StatementBlock};
use dbgov_agent::protocol::Text;

/// Sessions whose records are mixed.
const SESSIONS: u32 = 7;
const FIRST_UNIX_NS: u64 = 1_795_391_999_123_456_789;

/// Writes a journal of numbered statements; some have a text with everything a line protocol can get wrong.
pub(crate) fn write_journal(dir: &Path, records: u32) {
    let (mut journal, notes) = Journal::open(JournalConfig::new(dir, "node-1")).unwrap();
    notes.iter().for_each(|note| journal.append(note));
    for number in 0..records {
        let text = match number % 50 {
            7 => format!("SELECT {number} -- \"]\\ \u{7}\t é漢😀 \n next line <13>1 x\r\n"),
            _ => format!("SELECT * FROM accounts WHERE id = {number}"),
        };
        journal.append(&statement(number % SESSIONS, u64::from(number), &text));
    }
    journal.close();
}

pub(crate) fn statement(session: u32, at_us: u64, text: &str) -> Record {
    let mut record = Record::new(Kind::Statement, FIRST_UNIX_NS + at_us * 1000);
    let identity = Identity {
        name: format!("service:app-{session}"),
        source: "tag",
        ..Identity::default()
    };
    record.identity = Some(Rendered::new(&identity).unwrap());
    let session = Session {
        database: Some("shop".to_owned()),
        id: format!("0a1b2c3d4e5f-{session}"),
        joined: "start",
        protocol: "postgresql",
        user: Some("app".to_owned()),
        ..Session::default()
    };
    record.session = Some(Rendered::new(&session).unwrap());
    record.statement = Some(StatementBlock {
        bytes: text.len() as u64,
        count: 1,
        parse: "ok",
        text: Some(Arc::new(Text {
            text: text.into(),
            bytes: text.len() as u64,
            truncated: false,
            tail_hit: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })),
        via: "simple",
        ..StatementBlock::default()
    });
    record
}

/// The lines of a journal, by number.
pub(crate) fn lines(dir: &Path) -> BTreeMap<u64, String> {
    let mut reader = Reader::open_after(dir, 0).unwrap();
    let mut lines = BTreeMap::new();
    while let Some(line) = reader.next_line().unwrap() {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        lines.insert(record["seq"].as_u64().unwrap(), line);
    }
    lines
}

/// What a receiver has, compared with the journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) records: usize,
    pub(crate) duplicates: usize,
    /// Lines that are no whole records: a receiver that is killed leaves them.
    pub(crate) torn: usize,
    pub(crate) missing: Vec<u64>,
    /// Records that came, for the first time, after a later one of their session.
    pub(crate) disordered: Vec<u64>,
}

impl Arrived {
    /// `seq` and text of each record that arrived, in order; none for what is none.
    pub(crate) fn compare(
        journal: &BTreeMap<u64, String>,
        received: impl Iterator<Item = Option<(u64, String)>>,
    ) -> Arrived {
        let mut arrived = Arrived::default();
        let mut seen = HashSet::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for record in received {
            let whole = record.filter(|(seq, text)| journal.get(seq) == Some(text));
            let Some((seq, text)) = whole else {
                arrived.torn += 1;
                continue;
            };
            arrived.records += 1;
            if !seen.insert(seq) {
                arrived.duplicates += 1;
                continue;
            }
            let record: serde_json::Value = serde_json::from_str(&text).unwrap();
            let session = record["session"]["id"].as_str().unwrap_or_default();
            let newest = newest.entry(session.to_owned()).or_default();
            if seq < *newest {
                arrived.disordered.push(seq);
            }
            *newest = seq.max(*newest);
        }
        let missing = journal.keys().filter(|seq| !seen.contains(seq));
        arrived.missing = missing.take(20).copied().collect();
        arrived
    }

    /// Every record, whole and in order; sent more than once only where `duplicates` allows it.
    #[track_caller]
    pub(crate) fn ensure_complete(&self) {
        assert_eq!(self.missing, [] as [u64; 0], "missing: {self:?}");
        assert_eq!(self.disordered, [] as [u64; 0], "out of order: {self:?}");
    }
}
