//! A journal of some segments, compressed and indexed by the keeper as an agent's are, and the binary put to it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dbgov_agent::audit::keeper::KeeperConfig;
use dbgov_agent::audit::key::PrivateKey;
use dbgov_agent::audit::record::{
    ApprovalBlock, ApprovalStatement, ApproverBlock, GapBlock, Identity, Kind, Record, Rendered,
    ResultBlock, Session, StatementBlock, VerdictBlock,
};
use dbgov_agent::audit::retention::RetentionConfig;
use dbgov_agent::audit::{Journal, JournalConfig, JournalHandle};
use dbgov_agent::protocol::Text;
use dbgov_tests::agent::{binary, segments};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{agent, wait_for};
use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const RECORDS: u64 = 3_000;
/// 2026-11-18T11:13:20Z.
pub(crate) const START_NS: u64 = 1_795_000_400_000_000_000;
pub(crate) const NS_PER_S: u64 = 1_000_000_000;

pub(crate) struct Made {
    pub(crate) scratch: Scratch,
    pub(crate) key: Arc<PrivateKey>,
    /// All lines, as they stand in the files.
    pub(crate) lines: Vec<String>,
    pub(crate) records: Vec<Value>,
}

impl Made {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new("search").unwrap();
        let key = Arc::new(PrivateKey::load_or_create(&scratch.path().join("key")).unwrap());
        fs::write(scratch.path().join("key.pub"), key.public().to_pem()).unwrap();
        let mut made = Made {
            scratch,
            key,
            lines: Vec::new(),
            records: Vec::new(),
        };
        let config = KeeperConfig {
            dir: made.dir(),
            node: "db-1".to_owned(),
            compress: true,
            retention: RetentionConfig::default(),
            key: Arc::clone(&made.key),
        };
        let mut handle = JournalHandle::start_with_keeper(made.open(), config).unwrap();
        handle.send((1..=RECORDS).map(record)).unwrap();
        let has_index = |path: &Path| path.with_extension("").with_extension("idx").exists();
        wait_for("indexes", PATIENCE, || {
            let segments = segments(&made.dir())?;
            let Some((_, complete)) = segments.split_last() else {
                return Ok(None);
            };
            let done = complete.iter().all(|(_, path)| has_index(path));
            Ok((complete.len() > 4 && done).then_some(()))
        })
        .unwrap();
        handle.close();
        made.read();
        made
    }

    pub(crate) fn open(&self) -> Journal {
        let config = JournalConfig {
            segment_bytes_max: 300_000,
            flush_records_max: 1,
            key: Some(Arc::clone(&self.key)),
            ..JournalConfig::new(self.dir(), "db-1")
        };
        let (mut journal, notes) = Journal::open(config).unwrap();
        notes.iter().for_each(|note| journal.append(note));
        journal
    }

    pub(crate) fn read(&mut self) {
        let segments = segments(&self.dir()).unwrap();
        let text = |path: &PathBuf| agent::segment_text(path).unwrap();
        let all: String = segments.iter().map(|(_, path)| text(path)).collect();
        self.lines = all.lines().map(str::to_owned).collect();
        let values = self.lines.iter().map(|line| serde_json::from_str(line));
        self.records = values.collect::<Result<_, _>>().unwrap();
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.scratch.path().join("audit")
    }

    pub(crate) fn command(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = Command::new(binary().unwrap());
        let dir = self.dir();
        command.args(["audit", verb]).arg("--dir").arg(dir);
        command.args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, verb: &str, args: &[&str]) -> Output {
        self.command(verb, args).output().unwrap()
    }

    /// The lines a search gives, all being well.
    pub(crate) fn search(&self, args: &[&str]) -> Vec<String> {
        let output = self.run("search", args);
        assert!(output.status.success(), "{args:?} {output:?}");
        assert!(output.stderr.is_empty(), "{args:?} {}", err(&output));
        out(&output).lines().map(str::to_owned).collect()
    }

    pub(crate) fn expected(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let both = self.lines.iter().zip(&self.records);
        both.filter(|(_, record)| wanted(record))
            .map(|(line, _)| line.clone())
            .collect()
    }

    /// The report as JSON, and its exit status.
    pub(crate) fn report(&self, args: &[&str]) -> (Value, Option<i32>) {
        let key = self.scratch.path().join("key.pub");
        let mut all = vec!["--since", "2026-11-01", "--until", "2100-01-01T00:00:00Z"];
        all.extend(["--json", "--key", key.to_str().unwrap()]);
        all.extend(args);
        let output = self.run("report", &all);
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (report, output.status.code())
    }
}

pub(crate) fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

pub(crate) fn time(number: u64) -> u64 {
    START_NS + number * NS_PER_S
}

pub(crate) fn of(kind: Kind, number: u64) -> Record {
    let who = ["agent:sync", "agent:etl", "alice", "svc:billing"][number as usize % 4];
    let user = ["app", "alice", "postgres"][number as usize % 3];
    let mut record = Record::new(kind, time(number));
    let identity = Identity {
        comm: Some("psql".to_owned()),
        name: who.to_owned(),
        pid: Some(1000 + (number / 100) as u32),
        run: (number.is_multiple_of(5)).then(|| format!("run-{}", number / 500)),
        source: "tag",
        ..Identity::default()
    };
    let session = Session {
        client_addr: Some("10.9.0.2:41884".to_owned()),
        database: Some(["shop", "hr"][number as usize / 2 % 2].to_owned()),
        id: format!("5e551011-{:x}", number / 40),
        joined: "start",
        protocol: "postgresql",
        user: Some(user.to_owned()),
        ..Session::default()
    };
    record.identity = Some(Rendered::new(&identity).unwrap());
    record.session = Some(Rendered::new(&session).unwrap());
    record
}

/// The nth of a day's work.
pub(crate) fn record(number: u64) -> Record {
    match number % 50 {
        7 => of(Kind::SessionOpen, number),
        17 => approval(number),
        27 => gap(number),
        _ => statement(number),
    }
}

pub(crate) fn statement(number: u64) -> Record {
    let verb = ["select", "select", "update", "delete", "drop", "grant"][number as usize % 6];
    let table = ["orders", "public.salaries", "carts"][number as usize / 3 % 3];
    let text = format!("{} /* Order-{number} */ FROM {table}", verb.to_uppercase());
    let mut record = of(Kind::Statement, number);
    record.statement = Some(StatementBlock {
        bytes: text.len() as u64,
        count: 1,
        params: vec![Some(format!("Ünit {}", number % 90)), None],
        parse: "ok",
        tables: [table.into()].into(),
        text: Some(Arc::new(Text {
            bytes: text.len() as u64,
            text: text.into(),
            truncated: false,
            tail_hit: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })),
        verbs: [verb].into(),
        via: "simple",
        ..StatementBlock::default()
    });
    record.result = Some(ResultBlock {
        status: "ok",
        ..ResultBlock::default()
    });
    let verdict = match number % 31 {
        0 => Some(("reset", "no-drop", "enforce")),
        1 => Some(("reject", "no-writes", "enforce")),
        2 => Some(("reject", "trial", "observe")),
        3 => Some(("alert", "watch", "enforce")),
        _ => None,
    };
    record.verdict = verdict.map(|(action, rule, mode)| {
        Box::new(VerdictBlock {
            action,
            approval: None,
            held_us: None,
            matched: None,
            mode,
            reason: None,
            rule: rule.into(),
            wanted: None,
        })
    });
    record
}

pub(crate) fn approval(number: u64) -> Record {
    let mut record = of(Kind::Approval, number);
    let decided = number.is_multiple_of(3);
    record.approval = Some(Box::new(ApprovalBlock {
        approver: decided.then(|| ApproverBlock {
            uid: 0,
            user: Some("root".to_owned()),
        }),
        id: format!("a-{number}"),
        reason: None,
        requester: "agent:sync".to_owned(),
        rule: "ask".to_owned(),
        state: if decided { "approved" } else { "timed_out" },
        statement: ApprovalStatement {
            bytes: 20,
            head: format!("TRUNCATE ledger_{number}"),
            sha256: None,
        },
        waited_us: 12_000_000,
    }));
    record
}

pub(crate) fn gap(number: u64) -> Record {
    let mut record = Record::new(Kind::Gap, time(number));
    record.gap = Some(Box::new(GapBlock {
        bytes: Some(number),
        cause: "ring_full",
        direction: None,
        records: None,
        side_file: None,
    }));
    record
}
