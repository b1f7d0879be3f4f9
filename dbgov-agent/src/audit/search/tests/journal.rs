//! A journal of several segments, and the records that are looked for in it.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::audit::compress::Compress;
use crate::audit::keeper::{SegmentJob, Stop};
use crate::audit::key::PrivateKey;
use crate::audit::line::LineEncoder;
use crate::audit::record::{Identity, Kind, Record, Rendered, SegmentBlock, Session, VerdictBlock};
use crate::audit::search::{Filters, Order, Query, Stats, search};
use crate::audit::{index, samples, segment};

pub(super) const RECORDS_PER_SEGMENT: u64 = 1_600;
pub(super) const SEGMENTS: u64 = 6;
pub(super) const START_NS: u64 = samples::TIME_UNIX_NS;
/// Between two records.
pub(super) const STEP_NS: u64 = 1_000_000_000;

pub(super) struct Journal {
    pub(super) dir: TempDir,
    key: PrivateKey,
    pub(super) lines: Vec<Value>,
}

impl Journal {
    /// Segments in every form: compressed or not, indexed or not; the newest is being written.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("audit")).unwrap();
        let key = PrivateKey::load_or_create(&dir.path().join("key")).unwrap();
        let mut journal = Journal {
            dir,
            key,
            lines: Vec::new(),
        };
        let mut random = fastrand::Rng::with_seed(5);
        let mut encoder = LineEncoder::new("db-1");
        for number in 0..SEGMENTS {
            let mut name = journal.write_segment(&mut encoder, &mut random);
            if number == SEGMENTS - 1 {
                let path = journal.path().join(&name);
                let whole = fs::read(&path).unwrap();
                fs::write(&path, [&whole, &b"{\"torn"[..]].concat()).unwrap();
                break;
            }
            if number % 2 == 0 {
                Compress
                    .run(&journal.path(), &name, &Stop::default())
                    .unwrap();
                name.push_str(".zst");
            }
            if number % 3 != 2 {
                journal.index(&name);
            }
        }
        journal
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    pub(super) fn index(&self, name: &str) {
        index::build(&self.path(), name, |message| self.key.sign(message)).unwrap();
        index::check(&self.path(), name).unwrap();
    }

    fn write_segment(&mut self, encoder: &mut LineEncoder, random: &mut fastrand::Rng) -> String {
        let mut content = Vec::new();
        let mut line = Vec::new();
        let first_seq = encoder.last_seq() + 1;
        for number in 0..RECORDS_PER_SEGMENT {
            let time = START_NS + (first_seq + number) * STEP_NS;
            let record = match number {
                0 => header(&self.key, time),
                _ => record(random, time),
            };
            let hash = encoder.encode(&record, &mut line).unwrap();
            encoder.accept(hash);
            content.extend_from_slice(&line);
            self.lines.push(serde_json::from_slice(&line).unwrap());
        }
        let name = segment::name(START_NS, first_seq);
        fs::write(self.path().join(&name), content).unwrap();
        name
    }

    /// Numbers of the records that are found, in the order they come.
    pub(super) fn found(&self, filters: Filters, order: Order) -> (Vec<u64>, Stats) {
        let mut seqs = Vec::new();
        let stats = search(&self.path(), &mut Query::new(filters), order, |_, view| {
            seqs.push(view.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(stats.matches, seqs.len() as u64);
        (seqs, stats)
    }

    pub(super) fn segments(&self) -> Vec<String> {
        segment::list(&self.path()).unwrap()
    }
}

fn header(key: &PrivateKey, time: u64) -> Record {
    let mut record = Record::new(Kind::Segment, time);
    record.segment = Some(Box::new(SegmentBlock {
        agent_version: "0.1.0",
        checkpoint_records: 1000,
        format: 1,
        key: key.public().id().to_owned(),
        public_key: key.public().to_hex(),
    }));
    record
}

fn record(random: &mut fastrand::Rng, time: u64) -> Record {
    let table = ["carts", "shop.orders", "Ünïcode", "audit.log"][random.usize(..4)];
    let number = random.u32(..100_000);
    let text = match random.u8(..10) {
        0 => format!("DELETE FROM {table} WHERE note = 'Größe \\ \"{number}\"'"),
        1 => format!("select\n* from {table} where id = {number}"),
        _ => format!(
            "SELECT note FROM {table} WHERE id = $1 /* {number} and a little more text than that, to fill blocks */"
        ),
    };
    let mut record = samples::statement(&text);
    record.time_unix_ns = time;
    let session = random.u32(..200);
    record.session = Some(
        Rendered::new(&Session {
            database: Some(["shop", "stock"][random.usize(..2)].to_owned()),
            id: format!("s-{session}"),
            user: Some(["app", "root \"quoted\"", "näme"][random.usize(..3)].to_owned()),
            ..samples::session()
        })
        .unwrap(),
    );
    record.identity = Some(
        Rendered::new(&Identity {
            name: format!("agent:{}", random.u32(..100)),
            pid: Some(session + 1000),
            run: (session < 5).then(|| format!("run-{session}")),
            ..samples::identity()
        })
        .unwrap(),
    );
    let statement = record.statement.as_mut().unwrap();
    statement.params = vec![Some(format!("Param{number}")), None];
    statement.tables = [table.into()].into();
    statement.verbs = [if text.starts_with("DELETE") {
        "delete"
    } else {
        "select"
    }]
    .into();
    record.verdict = Some(Box::new(VerdictBlock {
        action: if random.u8(..50) == 0 {
            "reset"
        } else {
            "allow"
        },
        mode: "enforce",
        rule: ["(default)", "no-delete"][random.usize(..2)].into(),
        ..VerdictBlock::default()
    }));
    record
}
