//! One session: its log entries against its records.

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::align::{Step, align};
use super::record::{Record, shorten};
use super::{Client, Oracle, Params, Report};
use crate::log::{Kind, LogStatement};

/// Compares the sessions one by one into the report.
pub(super) struct Comparison<'a> {
    name: &'a str,
    clients: &'a [Client],
    oracle: &'a mut Oracle,
    report: &'a mut Report,
    /// Aspects already reported of this session: a wrong user is one difference, not one per statement.
    told: Vec<&'static str>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        name: &'a str,
        clients: &'a [Client],
        oracle: &'a mut Oracle,
        report: &'a mut Report,
    ) -> Self {
        Comparison {
            name,
            clients,
            oracle,
            report,
            told: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, entries: &[&LogStatement], found: &[&Record]) -> Result<()> {
        self.check_frame(found);
        let client = self.client(entries);
        let params = client.map_or(Params::AsLogged, |client| client.params);
        let answerable = self.answerable(found);
        let oracle = &mut *self.oracle;
        let steps = align(entries.len(), answerable.len(), |left, right| {
            same(entries[left], answerable[right], params, oracle)
        })?;
        for step in &steps {
            match *step {
                Step::Pair { left, right, equal } => {
                    self.pair(entries[left], answerable[right], equal, client);
                }
                Step::Left(left) => self.missing(entries[left], &steps, &answerable),
                Step::Right(right) => self.extra(right, &steps, &answerable),
            }
        }
        Ok(())
    }

    /// One beginning, one end, time that does not run backwards.
    fn check_frame(&mut self, found: &[&Record]) {
        for kind in ["session_open", "session_close"] {
            let count = found.iter().filter(|record| record.kind == kind).count();
            if count != 1 {
                self.differ(format!("{count} records of kind {kind}"));
            }
        }
        let statements = found.iter().filter(|record| record.kind == "statement");
        let times: Vec<&Record> = statements.copied().collect();
        if let Some(two) = times.windows(2).find(|two| two[1].time < two[0].time) {
            self.differ(format!(
                "time runs backwards at seq {}: {} after {}",
                two[1].seq, two[1].time, two[0].time
            ));
        }
    }

    /// A driver may give its application name late, so the session's last one counts.
    fn client(&mut self, entries: &[&LogStatement]) -> Option<&'a Client> {
        let last = &entries[entries.len() - 1].application;
        let found = self.clients.iter().find(|c| c.application == *last);
        if found.is_none() {
            self.differ(format!("is of application {last:?}, which nobody ran"));
        }
        found
    }

    /// The records the log must hold a match of; the others are checked here.
    fn answerable<'r>(&mut self, found: &[&'r Record]) -> Vec<&'r Record> {
        let mut answerable: Vec<&Record> = Vec::new();
        for record in found.iter().filter(|record| record.is_answerable()) {
            if record.is_empty_execute() {
                self.report.empty += 1;
            } else if record.is_skipped() {
                self.report.skipped += 1;
                if answerable
                    .last()
                    .is_none_or(|last| last.sqlstate().is_none())
                {
                    self.differ(format!("skipped with no error before: {}", record.brief()));
                }
            } else {
                answerable.push(record);
            }
        }
        answerable
    }

    fn pair(
        &mut self,
        entry: &LogStatement,
        record: &Record,
        equal: bool,
        client: Option<&Client>,
    ) {
        self.report.compared += 1;
        self.report.params += record.statement.params.len();
        self.report.errors += usize::from(entry.error.is_some());
        if !equal {
            self.differ(format!(
                "altered:\n    logged   {}\n    recorded {}",
                brief(entry),
                record.brief()
            ));
        }
        let status = if entry.error.is_some() { "error" } else { "ok" };
        if record.sqlstate() != entry.error.as_deref()
            || (record.kind == "statement" && record.result.status != status)
        {
            self.differ(format!(
                "result: logged {:?}, recorded {:?} {:?}: {}",
                entry.error,
                record.result.status,
                record.sqlstate(),
                record.brief()
            ));
        }
        self.check_who(entry, record, client);
    }

    fn check_who(&mut self, entry: &LogStatement, record: &Record, client: Option<&Client>) {
        let session = &record.session;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        self.aspect("user", record, some(&entry.user), session.user.clone());
        self.aspect(
            "database",
            record,
            some(&entry.database),
            session.database.clone(),
        );
        let application = session.application.clone().filter(|name| !name.is_empty());
        self.aspect("application", record, some(&entry.application), application);
        self.aspect("joined", record, some("start"), some(&session.joined));
        let Some(client) = client else { return };
        let who = &record.identity;
        let number = |pid: u32| pid.to_string();
        self.aspect("pid", record, Some(number(client.pid)), who.pid.map(number));
        self.aspect("comm", record, some(&client.comm), who.comm.clone());
        let exe = client.exe.display().to_string();
        self.aspect("exe", record, Some(exe), who.exe.clone());
    }

    fn aspect(
        &mut self,
        name: &'static str,
        record: &Record,
        expected: Option<String>,
        found: Option<String>,
    ) {
        if expected != found && !self.told.contains(&name) {
            self.told.push(name);
            self.differ(format!(
                "{name} is {found:?} instead of {expected:?} from {} on",
                record.brief()
            ));
        }
    }

    fn missing(&mut self, entry: &LogStatement, steps: &[Step], records: &[&Record]) {
        let elsewhere = steps.iter().find_map(|step| match step {
            Step::Right(right) if alike(entry, records[*right]) => Some(records[*right].seq),
            _ => None,
        });
        self.differ(match elsewhere {
            Some(seq) => format!("out of order (seq {seq}): {}", brief(entry)),
            None => format!("missing: {}", brief(entry)),
        });
    }

    fn extra(&mut self, right: usize, steps: &[Step], records: &[&Record]) {
        let record = records[right];
        let is_match = |step: &&Step| matches!(step, Step::Pair { right: other, equal: true, .. } if records[*other].is_like(record));
        self.differ(match steps.iter().find(is_match) {
            Some(_) => format!("doubled, or too many: {}", record.brief()),
            None => format!("not in the log: {}", record.brief()),
        });
    }

    fn differ(&mut self, what: String) {
        self.report
            .differences
            .push(format!("session {}: {what}", self.name));
    }
}

impl Record {
    fn is_like(&self, other: &Record) -> bool {
        self.statement.text == other.statement.text
            && self.statement.params == other.statement.params
    }
}

fn brief(entry: &LogStatement) -> String {
    format!(
        "{:?} (line {}) {:?} {:?} {:?}",
        entry.kind,
        entry.line,
        shorten(&entry.text),
        entry.params,
        entry.error
    )
}

fn alike(entry: &LogStatement, record: &Record) -> bool {
    record.statement.text.as_deref() == Some(entry.text.as_str())
        && record.statement.params == entry.params
}

fn same(
    entry: &LogStatement,
    record: &Record,
    params: Params,
    oracle: &mut Oracle,
) -> Result<bool> {
    Ok(same_way(entry, record)
        && same_text(entry, record)
        && same_params(entry, record, params, oracle)?)
}

/// Whether a message of this kind leads to such an entry.
fn same_way(entry: &LogStatement, record: &Record) -> bool {
    let via = record.statement.via.as_str();
    match entry.kind {
        Kind::Simple => via == "simple",
        Kind::Execute => via == "execute",
        Kind::Fetch => via == "fetch",
        Kind::Function => via == "function_call",
        Kind::Failed => matches!(via, "simple" | "prepare" | "bind"),
        Kind::Error => matches!(via, "bind" | "execute") || record.kind == "session_error",
        Kind::Parse | Kind::Bind => false,
    }
}

fn same_text(entry: &LogStatement, record: &Record) -> bool {
    let statement = &record.statement;
    match (entry.kind, &statement.text) {
        // `"int4pl" (OID 177)`: the log names the function only.
        (Kind::Function, None) => statement
            .function_oid
            .is_some_and(|oid| entry.text.ends_with(&format!("(OID {oid})"))),
        (Kind::Error, None) => true,
        (_, None) => false,
        (_, Some(_)) if statement.lossy => false,
        (_, Some(head)) if statement.truncated => {
            let digest = format!("{:x}", Sha256::digest(entry.text.as_bytes()));
            entry.text.starts_with(head.as_str())
                && head.len() < entry.text.len()
                && statement.bytes == entry.text.len() as u64
                && statement.sha256 == Some(digest)
        }
        // The server logs in its own encoding, so the length on the wire is known of UTF-8 only.
        (_, Some(text)) => {
            *text == entry.text
                && (statement.encoding.is_some() || statement.bytes == text.len() as u64)
        }
    }
}

fn same_params(
    entry: &LogStatement,
    record: &Record,
    params: Params,
    oracle: &mut Oracle,
) -> Result<bool> {
    let recorded = &record.statement.params;
    // An error entry shows none, nor does that of a function call.
    if matches!(entry.kind, Kind::Failed | Kind::Error | Kind::Function) {
        return Ok(true);
    }
    if entry.params.len() != recorded.len() {
        return Ok(false);
    }
    for (logged, sent) in entry.params.iter().zip(recorded) {
        let equal = match (logged, sent) {
            (Some(logged), Some(sent)) => {
                logged == sent
                    || (record.statement.params_truncated && is_head(sent, logged))
                    || (params == Params::SameValue && oracle.same_value(sent, logged)?)
            }
            (None, None) => true,
            _ => false,
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `sent` is `logged`, cut near the limit for parameters.
fn is_head(sent: &str, logged: &str) -> bool {
    /// `param_bytes_max` (RECORD.md), less the longest UTF-8 character that was not cut in two.
    const CUT_BYTES_MIN: usize = 4096 - 3;
    const CUT_BYTES_MAX: usize = 4096;
    (CUT_BYTES_MIN..=CUT_BYTES_MAX).contains(&sent.len()) && logged.starts_with(sent)
}
