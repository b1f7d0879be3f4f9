//! Truth: the server's own log against the journal. Every statement the server logged must be in the journal, byte for
//! byte, once, in the order of its session, with the right user, database, process, parameters and SQLSTATE; and the
//! journal must hold nothing the server did not get.

mod align;
mod record;
mod sameness;
#[cfg(test)]
mod self_tests;
mod session;
mod witness;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use self::record::Record;
pub use self::sameness::Oracle;
pub use self::witness::Witness;

use self::session::Comparison;
use crate::log::{Kind, LogStatement};

/// How many differences a failure shows.
const DIFFERENCES_SHOWN: usize = 25;

/// A client program that was run, told apart by the application name its sessions end with.
#[derive(Debug, Clone)]
pub struct Client {
    pub application: String,
    pub pid: u32,
    pub comm: String,
    pub exe: PathBuf,
    pub params: Params,
}

/// How the parameters of a client compare with the log, which shows each as its type writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Params {
    /// All were sent in binary, or as the server itself would write them: equal to the byte.
    AsLogged,
    /// Some were sent as text in another spelling (`2026-01-01T00:00Z`), which the record keeps: of the same value.
    SameValue,
}

impl Client {
    /// A client whose process had `pid` and ran `program`, as it was named to execve(2).
    pub fn new(application: &str, pid: u32, program: &Path) -> Result<Self> {
        let name = program.file_name().context("a program has a name")?;
        Ok(Client {
            application: application.to_string(),
            pid,
            comm: comm(&name.to_string_lossy()),
            exe: resolve(program)?,
            params: Params::AsLogged,
        })
    }

    pub fn spelling_its_own(mut self) -> Self {
        self.params = Params::SameValue;
        self
    }
}

/// What the kernel keeps of a name: 15 bytes (TASK_COMM_LEN).
fn comm(name: &str) -> String {
    String::from_utf8_lossy(&name.as_bytes()[..name.len().min(15)]).into_owned()
}

/// The file behind a program's name, as /proc/PID/exe shows it.
fn resolve(program: &Path) -> Result<PathBuf> {
    let found = if program.components().count() > 1 {
        program.canonicalize().ok()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find_map(|dir| dir.join(program).canonicalize().ok())
    };
    found.with_context(|| format!("{} is not there", program.display()))
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Report {
    pub sessions: usize,
    /// Statements found on both sides, equal or not.
    pub compared: usize,
    pub params: usize,
    pub errors: usize,
    /// Recorded though the server does not log them: skipped until Sync after an error, and empty Executes.
    pub skipped: usize,
    pub empty: usize,
    pub differences: Vec<String>,
}

impl Report {
    /// Fails with the first differences, or if fewer than `at_least` statements were compared: then the client did
    /// not do what it was meant to, and the equality means nothing.
    pub fn ensure(&self, at_least: usize) -> Result<()> {
        let shown = self.differences.iter().take(DIFFERENCES_SHOWN);
        let shown: Vec<&str> = shown.map(String::as_str).collect();
        ensure!(
            self.differences.is_empty(),
            "{} differences between the server's log and the journal ({}):\n{}",
            self.differences.len(),
            self.figures(),
            shown.join("\n")
        );
        ensure!(
            self.compared >= at_least,
            "only {} of at least {at_least} statements were compared",
            self.compared
        );
        Ok(())
    }

    pub fn figures(&self) -> String {
        format!(
            "{} statements in {} sessions compared, {} parameters, {} errors; {} skipped, {} empty",
            self.compared, self.sessions, self.params, self.errors, self.skipped, self.empty
        )
    }
}

/// Compares the log with the journal. Sessions over UNIX sockets are left out: no packet hook sees them.
pub fn compare(
    log: &[LogStatement],
    journal: &[Value],
    clients: &[Client],
    oracle: &mut Oracle,
) -> Result<Report> {
    let records = record::read(journal)?;
    let mut report = Report::default();
    record::check_chain(&records, &mut report.differences);
    let mut recorded = record::by_session(&records, &mut report.differences);
    for (logged, entries) in logged_sessions(log) {
        report.sessions += 1;
        let found = recorded.take(entries[0].pid, &entries[0].remote);
        let Some(found) = found else {
            report.differences.push(format!(
                "session {logged} ({}): none of its {} log entries is in the journal; the first: {:?}",
                entries[0].remote,
                entries.len(),
                entries[0].text
            ));
            continue;
        };
        Comparison::new(logged, clients, oracle, &mut report).run(&entries, &found)?;
    }
    for (id, found) in recorded.rest() {
        report.sessions += 1;
        for record in found.iter().filter(|record| record.is_answerable()) {
            report.differences.push(format!(
                "session {id}: the server logged nothing of it: {}",
                record.brief()
            ));
        }
    }
    Ok(report)
}

/// The log's entries by session in the order the sessions appear, each in the order of its lines.
fn logged_sessions(log: &[LogStatement]) -> Vec<(&str, Vec<&LogStatement>)> {
    let mut order: HashMap<&str, usize> = HashMap::new();
    let mut sessions: BTreeMap<usize, (&str, Vec<&LogStatement>)> = BTreeMap::new();
    for entry in log.iter().filter(|entry| entry.remote.contains(':')) {
        // A Parse or a Bind that succeeds is no record of its own.
        if matches!(entry.kind, Kind::Parse | Kind::Bind) {
            continue;
        }
        let next = order.len();
        let index = *order.entry(&entry.session).or_insert(next);
        let session = sessions.entry(index);
        session
            .or_insert_with(|| (&entry.session, Vec::new()))
            .1
            .push(entry);
    }
    let mut sessions: Vec<_> = sessions.into_values().collect();
    for (_, entries) in &mut sessions {
        entries.sort_by_key(|entry| entry.line);
    }
    sessions
}
