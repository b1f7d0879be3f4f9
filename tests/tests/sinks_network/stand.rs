//! A journal of 100,000 records, and a sink on it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use dbgov_agent::audit::record::{Kind, Record, Rendered, Session, StatementBlock};
use dbgov_agent::audit::{Durable, Journal, JournalConfig};
use dbgov_agent::config::Config;
use dbgov_agent::sink::Sinks;
use dbgov_agent::sink::status::SinkStatus;
use dbgov_tests::scratch::Scratch;

use super::ledger::Entry;

pub(crate) const RECORDS: u64 = 100_000;
/// Sessions they are of, in turn.
const SESSIONS: u64 = 50;
/// All of them, with every outage of a test: many times what it takes here.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The host in the records.
pub(crate) const NODE: &str = "db1.example";
/// The name of the sink.
const NAME: &str = "siem";

/// Everything of one test: the journal, the sink's files, what the receiver keeps.
pub(crate) struct Stand {
    scratch: Scratch,
    expected: Cow<'static, [Entry]>,
}

/// The records of all tests, written once.
struct Written {
    dir: Scratch,
    entries: Vec<Entry>,
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| write().expect("the journal of the tests is written"))
}

fn write() -> Result<Written> {
    let dir = Scratch::new("sinks-journal")?;
    let text = |number| format!("UPDATE orders SET state = 'sent' WHERE id = {number}");
    let entries = journal(dir.path(), (0..RECORDS).map(text))?;
    ensure!(entries.len() as u64 == RECORDS, "{} records", entries.len());
    Ok(Written { dir, entries })
}

/// A journal in `dir` of these statements.
fn journal(dir: &Path, texts: impl Iterator<Item = String>) -> Result<Vec<Entry>> {
    let (mut journal, _) = Journal::open(JournalConfig::new(dir, NODE))?;
    let sessions: Vec<_> = (0..SESSIONS).map(session).collect::<Result<_>>()?;
    for (number, text) in texts.enumerate() {
        let time_unix_ns = 1_795_391_999_000_000_000 + number as u64 * 1_000;
        let mut record = Record::new(Kind::Statement, time_unix_ns);
        record.session = Some(sessions[number % sessions.len()].clone());
        record.statement = Some(statement(text));
        journal.append(&record);
        if number % 1_000 == 0 {
            journal.tick(Instant::now());
        }
    }
    let stats = journal.close();
    ensure!(stats.dropped == 0, "{} records were dropped", stats.dropped);
    entries(dir)
}

fn session(number: u64) -> Result<Rendered<Session>> {
    Ok(Rendered::new(&Session {
        database: Some("shop".to_owned()),
        id: format!("0a1b2c3d4e5f-{number}"),
        joined: "start",
        protocol: "postgresql",
        user: Some("app".to_owned()),
        ..Session::default()
    })?)
}

fn statement(text: String) -> StatementBlock {
    StatementBlock {
        bytes: text.len() as u64,
        count: 1,
        parse: "ok",
        tables: ["orders".into()].into(),
        text: Some(std::sync::Arc::new(dbgov_agent::protocol::Text {
            bytes: text.len() as u64,
            text: text.into(),
            truncated: false,
            tail_hit: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })),
        verbs: ["update"].into(),
        via: "execute",
        ..StatementBlock::default()
    }
}

fn segments(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn entries(dir: &Path) -> Result<Vec<Entry>> {
    #[derive(serde::Deserialize)]
    struct Line {
        seq: u64,
        chain: Chain,
        session: Option<Of>,
    }
    #[derive(serde::Deserialize)]
    struct Chain {
        hash: String,
    }
    #[derive(serde::Deserialize)]
    struct Of {
        id: String,
    }
    let mut entries = Vec::new();
    for path in segments(dir)? {
        for line in std::fs::read_to_string(path)?.lines() {
            let line: Line = serde_json::from_str(line)?;
            entries.push(Entry {
                seq: line.seq,
                id: line.chain.hash,
                session: line.session.map_or("-".to_owned(), |of| of.id),
            });
        }
    }
    Ok(entries)
}

impl Stand {
    pub(crate) fn new() -> Result<Self> {
        let scratch = Scratch::new("sinks")?;
        let audit = scratch.path().join("audit");
        std::fs::create_dir(&audit)?;
        for segment in segments(written().dir.path())? {
            let name = segment.file_name().context("a segment has a name")?;
            std::fs::hard_link(&segment, audit.join(name))?;
        }
        Ok(Stand {
            scratch,
            expected: Cow::Borrowed(&written().entries),
        })
    }

    /// On a journal of its own.
    pub(crate) fn with_statements(texts: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("sinks")?;
        let audit = scratch.path().join("audit");
        let expected = journal(&audit, texts.iter().map(ToString::to_string))?;
        Ok(Stand {
            scratch,
            expected: expected.into(),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// What has to arrive.
    pub(crate) fn expected(&self) -> &[Entry] {
        &self.expected
    }

    /// The sink begins anew.
    pub(crate) fn forget(&self) -> Result<()> {
        std::fs::remove_dir_all(self.audit().join("sinks"))?;
        Ok(())
    }

    fn audit(&self) -> PathBuf {
        self.path("audit")
    }

    /// `keys`: of the sink, beside its name.
    fn config(&self, keys: &str) -> Result<Config> {
        let text = format!("[[sink]]\nname = \"{NAME}\"\n{keys}");
        Ok(Config::parse(&text, &self.path("dbgov.toml"))?)
    }

    /// Delivers the whole journal while `meanwhile` does what it does; what that gives (a receiver) lives until all is
    /// delivered. Returns how the sink was in the end.
    pub(crate) fn deliver<T>(
        &self,
        keys: &str,
        meanwhile: impl FnOnce() -> Result<T>,
    ) -> Result<SinkStatus> {
        let config = self.config(keys)?;
        let last = self.expected().last().map_or(0, |entry| entry.seq);
        let begun = Instant::now();
        let sinks = Sinks::start(&config.sinks, &self.audit(), NODE, Durable::whole())?;
        let boards = sinks.boards();
        let _receiver = meanwhile()?;
        let ended = dbgov_tests::wait_for("all is delivered", TIMEOUT, || {
            let status = boards.shown().into_iter().next().context("one sink")?;
            ensure!(status.restarts == 0, "the sink was restarted: {status:?}");
            Ok((status.delivered_seq == last).then_some(status))
        });
        let shown = boards.shown();
        sinks.stop(Duration::from_secs(1));
        let status = ended.map_err(|error| anyhow!("{error}; the status is {shown:?}"))?;
        eprintln!(
            "{}: delivered in {:.1} s, {} attempts failed, {} refused",
            status.kind,
            begun.elapsed().as_secs_f64(),
            status.retries,
            status.refused
        );
        Ok(status)
    }

    /// Runs the sink until its status is as wanted, then stops it.
    pub(crate) fn until(
        &self,
        keys: &str,
        what: &str,
        mut wanted: impl FnMut(&SinkStatus) -> bool,
    ) -> Result<SinkStatus> {
        let config = self.config(keys)?;
        let sinks = Sinks::start(&config.sinks, &self.audit(), NODE, Durable::whole())?;
        let boards = sinks.boards();
        let found = dbgov_tests::wait_for(what, Duration::from_secs(20), || {
            let status = boards.shown().into_iter().next();
            Ok(status.filter(|status| wanted(status)))
        });
        let last = boards.shown();
        sinks.stop(Duration::ZERO);
        found.map_err(|error| anyhow!("{error}; the status is {last:?}"))
    }

    /// Records in the file of what was refused.
    pub(crate) fn refused(&self) -> Result<Vec<String>> {
        let path = self.audit().join(format!("sinks/{NAME}.refused.jsonl"));
        let text = std::fs::read_to_string(&path).context(path.display().to_string())?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}
