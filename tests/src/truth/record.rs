//! The journal's records, as far as the truth needs them.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// A record; what is absent has its default (RECORD.md: absent is absent).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Record {
    pub seq: u64,
    pub time: String,
    pub kind: String,
    pub session: Session,
    pub identity: Identity,
    pub statement: Statement,
    pub result: Outcome,
    pub error: ErrorBlock,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Session {
    pub id: String,
    pub client_addr: String,
    pub server_pid: Option<u32>,
    pub user: Option<String>,
    pub database: Option<String>,
    pub application: Option<String>,
    pub joined: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Identity {
    pub pid: Option<u32>,
    pub comm: Option<String>,
    pub exe: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Statement {
    pub text: Option<String>,
    pub params: Vec<Option<String>>,
    pub params_truncated: bool,
    pub bytes: u64,
    pub truncated: bool,
    pub lossy: bool,
    pub sha256: Option<String>,
    pub encoding: Option<String>,
    pub count: u32,
    pub via: String,
    pub function_oid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Outcome {
    pub status: String,
    pub error: Option<String>,
    pub rows: Option<u64>,
    pub tags: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ErrorBlock {
    pub code: Option<String>,
}

impl Record {
    /// Whether it tells of something the server answers for in its log.
    pub fn is_answerable(&self) -> bool {
        self.kind == "statement" || self.kind == "session_error"
    }

    /// SQLSTATE of what it tells of.
    pub fn sqlstate(&self) -> Option<&str> {
        let of_statement = self.result.error.as_deref();
        of_statement.or(self.error.code.as_deref())
    }

    /// An Execute the server passed over after an error.
    pub fn is_skipped(&self) -> bool {
        self.kind == "statement" && self.result.status == "none"
    }

    /// An Execute of nothing, which the server does not log.
    pub fn is_empty_execute(&self) -> bool {
        self.statement.via == "execute"
            && self.statement.count == 0
            && self.statement.text.is_some()
            && self.result.status == "ok"
    }

    /// For people: enough to find it in the journal.
    pub fn brief(&self) -> String {
        format!(
            "seq {} {} {} {:?} {:?} {:?}",
            self.seq,
            self.kind,
            self.statement.via,
            shorten(self.statement.text.as_deref().unwrap_or_default()),
            self.statement.params,
            self.sqlstate()
        )
    }
}

/// The head of a text for a message.
pub(super) fn shorten(text: &str) -> String {
    const CHARS_SHOWN: usize = 120;
    match text.char_indices().nth(CHARS_SHOWN) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_string(),
    }
}

pub(super) fn read(journal: &[Value]) -> Result<Vec<Record>> {
    let read = |value: &Value| {
        Record::deserialize(value).with_context(|| format!("no audit record: {value}"))
    };
    journal.iter().map(read).collect()
}

/// Numbers that grow, and no record that tells of a loss. That there is no hole in them is for who checks the whole
/// journal: its own book-keeping is not among these records.
pub(super) fn check_chain(records: &[Record], differences: &mut Vec<String>) {
    for two in records.windows(2) {
        if two[1].seq <= two[0].seq {
            differences.push(format!("seq {} follows {}", two[1].seq, two[0].seq));
        }
    }
    for record in records {
        if matches!(record.kind.as_str(), "gap" | "protocol_error") {
            differences.push(format!("a record of a loss: {record:?}"));
        }
    }
}

/// The journal's sessions, each to be taken once.
pub(super) struct BySession<'a> {
    /// Ids of the sessions of a backend and a client address, oldest first: both numbers come round again.
    ids: HashMap<(u32, &'a str), VecDeque<&'a str>>,
    records: HashMap<&'a str, Vec<&'a Record>>,
}

pub(super) fn by_session<'a>(
    records: &'a [Record],
    differences: &mut Vec<String>,
) -> BySession<'a> {
    let mut sessions = BySession {
        ids: HashMap::new(),
        records: HashMap::new(),
    };
    for record in records
        .iter()
        .filter(|record| !record.session.id.is_empty())
    {
        let found = sessions.records.entry(&record.session.id).or_default();
        if found.is_empty() {
            match record.session.server_pid {
                Some(pid) => sessions
                    .ids
                    .entry((pid, &record.session.client_addr))
                    .or_default()
                    .push_back(&record.session.id),
                None if record.is_answerable() => {
                    differences.push(format!("no server_pid: {}", record.brief()));
                }
                None => {}
            }
        }
        found.push(record);
    }
    sessions
}

impl<'a> BySession<'a> {
    pub(super) fn take(&mut self, pid: u32, remote: &'a str) -> Option<Vec<&'a Record>> {
        let id = self.ids.get_mut(&(pid, remote))?.pop_front()?;
        self.records.remove(id)
    }

    /// What nobody took.
    pub(super) fn rest(self) -> impl Iterator<Item = (&'a str, Vec<&'a Record>)> {
        self.records.into_iter()
    }
}
