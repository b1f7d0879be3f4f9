//! A journal of several small segments, and what may happen to it in good order.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::super::journal::{Journal, JournalConfig};
use super::super::super::keeper::{KeeperConfig, Stop, Work};
use super::super::super::key::PrivateKey;
use super::super::super::record::{Kind, Record};
use super::super::super::retention::RetentionConfig;
use super::super::super::tombstone::Tombstone;
use super::super::super::{samples, segment, storage};
use super::super::Options;

/// Most records between two checkpoints.
const CHECKPOINT_RECORDS: u32 = 10;

pub(super) struct Made {
    dir: TempDir,
    node: String,
    pub(super) key: Arc<PrivateKey>,
}

impl Made {
    pub(super) fn new(node: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivateKey::load_or_create(&dir.path().join("k")).unwrap();
        Made::with_key(node, Arc::new(key))
    }

    pub(super) fn with_key(node: &str, key: Arc<PrivateKey>) -> Self {
        let made = Made {
            dir: tempfile::tempdir().unwrap(),
            node: node.to_owned(),
            key,
        };
        made.go_on(Arc::clone(&made.key), 150);
        made
    }

    fn open(&self, key: Arc<PrivateKey>) -> Journal {
        let config = JournalConfig {
            segment_bytes_max: 30_000,
            flush_records_max: 1,
            key: Some(key),
            checkpoint_records: CHECKPOINT_RECORDS,
            ..JournalConfig::new(self.dir(), self.node.as_str())
        };
        let (mut journal, notes) = Journal::open(config).unwrap();
        notes.iter().for_each(|note| journal.append(note));
        let mut start = Record::new(Kind::AgentStart, samples::TIME_UNIX_NS);
        start.agent.insert("pid", 1.into());
        journal.append(&start);
        journal
    }

    /// One run of an agent.
    pub(super) fn go_on(&self, key: Arc<PrivateKey>, statements: u32) {
        let mut journal = self.open(key);
        append(&mut journal, statements);
        let mut stop = Record::new(Kind::AgentStop, samples::TIME_UNIX_NS);
        stop.agent.insert("pid", 1.into());
        journal.append(&stop);
        journal.close();
    }

    /// A run that is killed after so many statements, less than a checkpoint's worth, and another that is not.
    pub(super) fn crash(&self, statements: u32) {
        let mut journal = self.open(Arc::clone(&self.key));
        append(&mut journal, statements);
        drop(journal);
        self.go_on(Arc::clone(&self.key), 20);
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn options(&self) -> Options {
        Options {
            keys: vec![self.key.public().clone()],
            expected: None,
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        segment::sorted(storage::names(self.dir()).unwrap())
    }

    pub(super) fn last_seq(&self) -> u64 {
        let config = JournalConfig::new(self.dir(), "n");
        let (journal, _) = Journal::open(config).unwrap();
        journal.stats().last_seq
    }

    pub(super) fn compress(&self, name: &str) {
        let content = fs::read(self.dir().join(name)).unwrap();
        let compressed = zstd::encode_all(&content[..], 3).unwrap();
        fs::write(self.dir().join(format!("{name}.zst")), compressed).unwrap();
        fs::remove_file(self.dir().join(name)).unwrap();
    }

    /// Lets retention remove so many segments.
    pub(super) fn retain(&self, segments: usize) -> Tombstone {
        let names = self.names();
        let size = |name: &String| fs::metadata(self.dir().join(name)).unwrap().len();
        let bytes_max: u64 = names[segments..].iter().map(size).sum();
        let mut work = Work::new(KeeperConfig {
            dir: self.dir().to_owned(),
            node: self.node.clone(),
            compress: false,
            retention: RetentionConfig {
                bytes_max,
                ..RetentionConfig::default()
            },
            key: Arc::clone(&self.key),
        });
        let records = work.run(&Stop::default());
        assert_eq!(records.len(), 1);
        assert_eq!(self.names(), names[segments..]);
        let text = fs::read(self.dir().join("tombstone.json")).unwrap();
        Tombstone::parse(&text).unwrap()
    }
}

fn append(journal: &mut Journal, statements: u32) {
    for number in 0..statements {
        journal.append(&samples::statement(&format!("SELECT {number}")));
    }
}
