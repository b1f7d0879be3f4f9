//! The server's own log as the truth: what it was asked, by whom, in which order.
//!
//! With `log_statement = all` a simple query is one entry (`statement: …`), an Execute is one (`execute NAME: …`) whose
//! detail holds the parameters. `log_min_duration_statement = 0` adds the durations, and entries for Parse and Bind.
//! Not logged, because the server runs nothing: an Execute of an empty statement, messages skipped until Sync. A
//! statement that does not parse is only an ERROR entry, which carries its text.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Simple,
    Parse,
    Bind,
    Execute,
    /// A further Execute of a suspended portal.
    Fetch,
    /// Fast-path function call; the text is the server's description of the function.
    Function,
    /// Failed before the server logged it: a simple query or a Parse that does not parse, or a Bind that does not fit.
    Failed,
    /// Failed with no statement at hand: an unknown prepared statement or portal, or an error that came at Sync.
    Error,
}

/// One thing a client had the server do.
#[derive(Debug, Clone, PartialEq)]
pub struct LogStatement {
    /// Backend process.
    pub pid: u32,
    /// Session id: start time and pid, in hex.
    pub session: String,
    /// Number of the entry within its session: the order of the statements.
    pub line: u64,
    pub user: String,
    pub database: String,
    pub application: String,
    /// `127.0.0.1:5432`, `[::1]:5432`, or `[local]`.
    pub remote: String,
    pub kind: Kind,
    /// Statement and portal as logged: `<unnamed>`, `S_1`, `S_1/C_2`.
    pub name: Option<String>,
    pub text: String,
    pub params: Vec<Option<String>>,
    pub duration_ms: Option<f64>,
    /// SQLSTATE, where it failed.
    pub error: Option<String>,
}

/// An entry of `log_destination = jsonlog` (PostgreSQL documentation, 20.8.5); absent fields are null there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    user: String,
    dbname: String,
    pid: u32,
    remote_host: String,
    remote_port: Option<u16>,
    session_id: String,
    line_num: u64,
    error_severity: String,
    state_code: String,
    message: String,
    detail: String,
    statement: Option<String>,
    application_name: String,
    backend_type: String,
}

pub fn parse(path: &Path) -> Result<Vec<LogStatement>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reading = Reading::default();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let entry: Entry = serde_json::from_str(&line?)
            .with_context(|| format!("{} line {}", path.display(), number + 1))?;
        reading.entry(&entry);
    }
    Ok(reading.statements)
}

#[derive(Default)]
struct Reading {
    statements: Vec<LogStatement>,
    /// Index of the latest statement of each session, while it runs.
    running: HashMap<String, usize>,
}

impl Reading {
    fn entry(&mut self, entry: &Entry) {
        if entry.backend_type == "walsender" && !entry.message.starts_with("statement: ") {
            return;
        }
        match entry.error_severity.as_str() {
            "LOG" => self.log(entry),
            "ERROR" | "FATAL" | "PANIC" => self.error(entry),
            _ => {}
        }
    }

    fn log(&mut self, entry: &Entry) {
        let (duration_ms, rest) = match duration(&entry.message) {
            Some((ms, rest)) => (Some(ms), rest),
            None => (None, entry.message.as_str()),
        };
        match statement(rest) {
            Some((kind, name, text)) => {
                let mut found = new_statement(entry, kind, text);
                found.name = name.map(str::to_string);
                found.params = parameters(&entry.detail);
                found.duration_ms = duration_ms;
                self.push(found);
            }
            // The duration of a statement that was logged when it began.
            None if duration_ms.is_some() => {
                if let Some(index) = self.running.remove(&entry.session_id) {
                    self.statements[index].duration_ms = duration_ms;
                }
            }
            None => {}
        }
    }

    fn error(&mut self, entry: &Entry) {
        let Some(text) = &entry.statement else {
            if entry.error_severity == "ERROR" {
                let mut failed = new_statement(entry, Kind::Error, "");
                failed.error = Some(entry.state_code.clone());
                self.statements.push(failed);
            }
            return;
        };
        match self.running.remove(&entry.session_id) {
            Some(index) if self.statements[index].text == *text => {
                self.statements[index].error = Some(entry.state_code.clone());
            }
            _ => {
                let mut failed = new_statement(entry, Kind::Failed, text);
                failed.error = Some(entry.state_code.clone());
                self.statements.push(failed);
            }
        }
    }

    fn push(&mut self, statement: LogStatement) {
        if statement.duration_ms.is_none() {
            self.running
                .insert(statement.session.clone(), self.statements.len());
        }
        self.statements.push(statement);
    }
}

fn new_statement(entry: &Entry, kind: Kind, text: &str) -> LogStatement {
    let remote = match entry.remote_port {
        Some(port) if entry.remote_host.contains(':') => format!("[{}]:{port}", entry.remote_host),
        Some(port) => format!("{}:{port}", entry.remote_host),
        None => entry.remote_host.clone(),
    };
    LogStatement {
        pid: entry.pid,
        session: entry.session_id.clone(),
        line: entry.line_num,
        user: entry.user.clone(),
        database: entry.dbname.clone(),
        application: entry.application_name.clone(),
        remote,
        kind,
        name: None,
        text: text.to_string(),
        params: Vec::new(),
        duration_ms: None,
        error: None,
    }
}

/// `duration: 0.123 ms` and what follows it: nothing, or two spaces and the statement.
fn duration(message: &str) -> Option<(f64, &str)> {
    let (number, rest) = message.strip_prefix("duration: ")?.split_once(" ms")?;
    Some((
        number.parse().ok()?,
        rest.strip_prefix("  ").unwrap_or(rest),
    ))
}

/// Kind, name and text of a message that tells of a statement. A name that contains `: ` would be cut there; the
/// tests use none.
fn statement(message: &str) -> Option<(Kind, Option<&str>, &str)> {
    if let Some(text) = message.strip_prefix("statement: ") {
        return Some((Kind::Simple, None, text));
    }
    if let Some(text) = message.strip_prefix("fastpath function call: ") {
        return Some((Kind::Function, None, text));
    }
    let named = [
        ("execute fetch from ", Kind::Fetch),
        ("execute ", Kind::Execute),
        ("parse ", Kind::Parse),
        ("bind ", Kind::Bind),
    ];
    let (rest, kind) = named
        .iter()
        .find_map(|(prefix, kind)| Some((message.strip_prefix(prefix)?, *kind)))?;
    let (name, text) = rest.split_once(": ")?;
    Some((kind, Some(name), text))
}

/// `parameters: $1 = 'it''s', $2 = NULL` (`Parameters:` from PostgreSQL 17 on).
fn parameters(detail: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let Some(mut rest) = detail
        .strip_prefix("parameters: ")
        .or_else(|| detail.strip_prefix("Parameters: "))
    else {
        return found;
    };
    while let Some((_, value)) = rest.split_once(" = ") {
        if let Some(after) = value.strip_prefix("NULL") {
            found.push(None);
            rest = after;
        } else {
            let (text, after) = quoted(value);
            found.push(Some(text));
            rest = after;
        }
    }
    found
}

/// Reads `'…'` with doubled quotes inside; returns the text and what follows the closing quote.
fn quoted(value: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = value.strip_prefix('\'').unwrap_or(value);
    while let Some((piece, after)) = rest.split_once('\'') {
        text.push_str(piece);
        match after.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return (text, after),
        }
    }
    text.push_str(rest);
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Options, Server};
    use crate::wire::{self, Client};
    use std::io::Write;

    #[test]
    fn parameters_with_quotes_commas_and_nulls() {
        let found = parameters("parameters: $1 = 'it''s', $2 = NULL, $3 = ', $9 = ''x''', $4 = ''");
        let expected = [Some("it's"), None, Some(", $9 = 'x'"), Some("")];
        assert_eq!(found, expected.map(|text| text.map(str::to_string)));
        assert!(parameters("prepare: PREPARE p AS SELECT 1").is_empty());
    }

    #[test]
    fn names_portals_and_fetches() {
        assert_eq!(
            statement("execute S_1/C_2: SELECT ': '"),
            Some((Kind::Execute, Some("S_1/C_2"), "SELECT ': '"))
        );
        assert_eq!(
            statement("execute fetch from a/b: X"),
            Some((Kind::Fetch, Some("a/b"), "X"))
        );
        assert_eq!(statement("checkpoint starting: time"), None);
    }

    /// One session does a bit of everything; the log tells it back in order.
    #[test]
    fn a_real_log_is_read_back() {
        let mut server = Server::start(&Options::default()).unwrap();
        let address = format!("[::1]:{}", server.port()).parse().unwrap();
        let mut client = Client::connect(address, "postgres", "postgres", "log-test").unwrap();
        let local = client.stream.local_addr().unwrap().to_string();
        client
            .query("SELECT 'a\n\tmulti-line Grüße \u{1F980}'")
            .unwrap();
        client.query("SELEKT 1").unwrap_err();
        client.query("SELECT 1/0").unwrap_err();
        client.query("").unwrap();
        let parse = wire::message(b'P', b"\0SELECT $1::text, $2::int\0\0\0");
        // Bind: unnamed portal and statement, text formats, "it's" and NULL, results as text.
        let bind = wire::message(b'B', b"\0\0\0\0\0\x02\0\0\0\x04it's\xff\xff\xff\xff\0\0");
        let execute = wire::message(b'E', b"\0\0\0\0\0");
        let sync = wire::message(b'S', b"");
        client
            .stream
            .write_all(&[parse, bind, execute, sync].concat())
            .unwrap();
        client.until_ready().unwrap();
        drop(client);
        server.stop().unwrap();

        let mine: Vec<LogStatement> = server
            .log()
            .unwrap()
            .into_iter()
            .filter(|s| s.application == "log-test")
            .collect();
        let told: Vec<(Kind, &str)> = mine.iter().map(|s| (s.kind, s.text.as_str())).collect();
        let extended = "SELECT $1::text, $2::int";
        assert_eq!(
            told,
            [
                (Kind::Simple, "SELECT 'a\n\tmulti-line Grüße \u{1F980}'"),
                (Kind::Failed, "SELEKT 1"),
                (Kind::Simple, "SELECT 1/0"),
                (Kind::Simple, ""),
                (Kind::Parse, extended),
                (Kind::Bind, extended),
                (Kind::Execute, extended),
            ]
        );
        assert!(
            mine.iter()
                .all(|s| s.remote == local && s.user == "postgres"),
            "{mine:?}"
        );
        assert!(mine.windows(2).all(|two| two[0].line < two[1].line));
        assert_eq!(mine[1].error.as_deref(), Some("42601"));
        assert_eq!(mine[2].error.as_deref(), Some("22012"));
        assert_eq!(mine[6].params, [Some("it's".to_string()), None]);
        assert!(mine[0].duration_ms.is_some() && mine[6].duration_ms.is_some());
    }
}
