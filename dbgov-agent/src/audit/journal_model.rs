//! Whatever happens to the disk and to the process: what is on disk is one unbroken chain, and every record is in it or
//! counted by a gap record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::journal::{Journal, JournalConfig};
use super::key::PrivateKey;
use super::record::{Kind, Record};
use super::storage::Storage;
use super::storage_fake::{Disk, PowerLoss};
use super::{jcs, samples, segment};

const NODE: &str = "model";
const FREE_BYTES: usize = 1 << 30;

#[derive(Debug, Clone)]
enum Action {
    Append {
        records: u8,
        text_bytes: u16,
    },
    Tick {
        ms: u16,
    },
    Free {
        bytes: u32,
    },
    FailWrites {
        errno: i32,
        times: u8,
    },
    FailSyncs {
        times: u8,
    },
    ShortWrite {
        bytes: u16,
    },
    /// The process is killed; the page cache lives on.
    Kill,
    LosePower(PowerLoss),
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    let errno = prop_oneof![
        Just(libc::ENOSPC),
        Just(libc::EIO),
        Just(libc::EROFS),
        Just(libc::EDQUOT)
    ];
    let power_loss = (
        0..=1000usize,
        prop_oneof![Just(0), 0..1500usize],
        any::<bool>(),
    )
        .prop_map(|(kept_permille, zero_bytes, forgets_names)| PowerLoss {
            kept_permille,
            zero_bytes,
            forgets_names,
        });
    prop_oneof![
        8 => (1..20u8, 0..300u16).prop_map(|(records, text_bytes)| Action::Append { records, text_bytes }),
        6 => (0..2000u16).prop_map(|ms| Action::Tick { ms }),
        3 => prop_oneof![0..5000u32, Just(FREE_BYTES as u32)].prop_map(|bytes| Action::Free { bytes }),
        2 => (errno, 1..4u8).prop_map(|(errno, times)| Action::FailWrites { errno, times }),
        1 => (1..3u8).prop_map(|times| Action::FailSyncs { times }),
        2 => (0..700u16).prop_map(|bytes| Action::ShortWrite { bytes }),
        1 => Just(Action::Kill),
        1 => power_loss.prop_map(Action::LosePower),
        1 => Just(Action::Close),
    ]
}

/// Most records between two checkpoints.
const CHECKPOINT_RECORDS: u32 = 10;

thread_local! {
    static KEY: Arc<PrivateKey> = {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(PrivateKey::load_or_create(&dir.path().join("k")).unwrap())
    };
}

/// The journal on disk, as far as it is whole.
#[derive(Debug, Default)]
struct OnDisk {
    /// The records of the test, by number.
    ids: Vec<u64>,
    dropped: u64,
    /// Since the last checkpoint, headers and gaps not counted.
    unsigned: u32,
    checkpoints: u64,
    signatures: bool,
}

/// Reads the segments, checking the chain with nothing of the code under test but the names.
fn read(disk: &Disk) -> OnDisk {
    read_with(disk, false)
}

/// Signatures are checked once in the end, which takes as long as all the rest.
fn read_with(disk: &Disk, signatures: bool) -> OnDisk {
    let mut found = OnDisk {
        signatures,
        ..OnDisk::default()
    };
    let (mut prev, mut seq) = ("0".repeat(64), 0);
    let names = segment::sorted(disk.names().unwrap());
    for (index, name) in names.iter().enumerate() {
        let content = disk.content(name);
        let whole = content
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let is_newest = index + 1 == names.len();
        assert!(
            is_newest || whole == content.len(),
            "only the newest may end in half a line"
        );
        for (nth, line) in content[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
        {
            let line = &line[..line.len() - 1];
            let value: Value = serde_json::from_slice(line).expect("a line is JSON");
            assert_eq!(jcs::canonical(&value).as_bytes(), line);
            assert_eq!(value["chain"]["prev"], prev);
            assert_eq!(value["chain"]["hash"], jcs::chain_hash(&value));
            seq += 1;
            assert_eq!(value["seq"], seq);
            let is_header = value["kind"] == "segment";
            assert_eq!(is_header, nth == 0, "the first line and no other");
            if is_header {
                assert_eq!(segment::first_seq(name), Some(seq));
                KEY.with(|key| assert_eq!(value["segment"]["public_key"], key.public().to_hex()));
            }
            prev = value["chain"]["hash"].as_str().unwrap().to_owned();
            found.take(&value);
        }
    }
    assert!(found.ids.is_sorted_by(|a, b| a < b), "in order, once");
    found
}

impl OnDisk {
    fn take(&mut self, value: &Value) {
        if let Some(id) = value["agent"]["id"].as_u64() {
            self.ids.push(id);
        }
        match value["kind"].as_str() {
            Some("checkpoint") => self.check(value),
            Some("segment" | "gap") => {}
            _ => self.unsigned += 1,
        }
        assert!(self.unsigned <= CHECKPOINT_RECORDS + 1, "signed in time");
        match value["gap"]["cause"].as_str() {
            Some("disk_full" | "write_error") => {
                self.dropped += value["gap"]["records"].as_u64().expect("how many");
            }
            Some("sync_failed" | "crash") | None => {}
            Some(other) => panic!("a gap of cause {other}"),
        }
    }

    /// As docs/journal.md says it.
    fn check(&mut self, value: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let block = &value["checkpoint"];
        let message = format!(
            "dbgov checkpoint 1\n{}\n{}\n{}\n{}\n{}\n{}\n{NODE}",
            text(&block["key"]),
            value["seq"],
            text(&value["chain"]["prev"]),
            text(&value["time"]),
            text(&block["reason"]),
            block["records"],
        );
        let signature = text(&block["signature"]);
        let is_signed = || KEY.with(|key| key.public().verifies(message.as_bytes(), &signature));
        assert!(!self.signatures || is_signed(), "{value}");
        self.checkpoints += 1;
        self.unsigned = 0;
    }
}

struct Model {
    disk: Disk,
    journal: Option<Journal<Disk>>,
    now: Instant,
    appended: u64,
    /// Records that a crash took and that nobody could count.
    taken_by_crashes: u64,
    /// The agent_start of this run is on disk for good.
    started: bool,
    /// Records on disk for good.
    settled_ids: usize,
}

impl Model {
    fn new() -> Self {
        let mut model = Model {
            disk: Disk::new(FREE_BYTES),
            journal: None,
            now: Instant::now(),
            appended: 0,
            taken_by_crashes: 0,
            started: false,
            settled_ids: 0,
        };
        model.open(false);
        model
    }

    /// Starts a run. `must_be_said`: the one before may have taken records along.
    fn open(&mut self, must_be_said: bool) {
        let config = JournalConfig {
            segment_bytes_max: 4000,
            flush_records_max: 7,
            pending_bytes_max: 6000,
            key: Some(KEY.with(Arc::clone)),
            checkpoint_records: CHECKPOINT_RECORDS,
            ..JournalConfig::new("/fake", NODE)
        };
        // A disk that fails while the torn end is put aside is an error; the supervisor tries again.
        let mut opened = Journal::open_in(self.disk.clone(), config.clone());
        for _ in 0..20 {
            if opened.is_ok() {
                break;
            }
            opened = Journal::open_in(self.disk.clone(), config.clone());
        }
        let (mut journal, notes) = opened.expect("opens once the errors are over");
        assert!(!must_be_said || !notes.is_empty(), "a crash is said");

        // Whatever is neither there nor counted now, the end of the last run took.
        let found = read(&self.disk);
        assert!(found.ids.len() >= self.settled_ids, "synced is synced");
        let taken = self.appended - found.ids.len() as u64 - found.dropped;
        assert!(taken >= self.taken_by_crashes);
        assert!(taken == self.taken_by_crashes || must_be_said || !self.started);
        self.taken_by_crashes = taken;

        journal.tick(self.now);
        for note in &notes {
            journal.append(note);
        }
        self.journal = Some(journal);
        self.append(Kind::AgentStart, 0);
        self.started = is_settled(self.journal.as_ref().unwrap());
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Append {
                records,
                text_bytes,
            } => (0..records).for_each(|_| self.append(Kind::Statement, text_bytes)),
            Action::Tick { ms } => {
                self.now += Duration::from_millis(ms.into());
                self.journal.as_mut().unwrap().tick(self.now);
            }
            Action::Free { bytes } => self.disk.state().free_bytes = bytes as usize,
            Action::FailWrites { errno, times } => {
                self.disk.state().write_errors = vec![errno; times.into()];
            }
            Action::FailSyncs { times } => {
                self.disk.state().sync_errors = vec![libc::EIO; times.into()];
            }
            Action::ShortWrite { bytes } => {
                self.disk.state().short_write = Some(usize::from(bytes).max(1));
            }
            Action::Kill => self.crash(None),
            Action::LosePower(loss) => self.crash(Some(loss)),
            Action::Close => self.close(),
        }
        self.check_settled();
    }

    fn append(&mut self, kind: Kind, text_bytes: u16) {
        self.appended += 1;
        let mut record = Record::new(kind, samples::TIME_UNIX_NS);
        record.agent.insert("id", self.appended.into());
        record
            .agent
            .insert("text", "x".repeat(text_bytes.into()).into());
        self.journal.as_mut().unwrap().append(&record);
    }

    fn crash(&mut self, loss: Option<PowerLoss>) {
        self.journal = None;
        if let Some(loss) = loss {
            self.disk.lose_power(loss);
        }
        self.open(self.started);
    }

    fn close(&mut self) {
        let dropped_before = self.journal.as_ref().unwrap().stats().dropped;
        self.append(Kind::AgentStop, 0);
        let stats = self.journal.take().unwrap().close();
        // Where the agent_stop was dropped, so was something before it.
        let is_lost = stats.unflushed > 0 || stats.dropped > dropped_before;
        self.open(is_lost && self.started);
    }

    fn check_settled(&mut self) {
        if is_settled(self.journal.as_ref().unwrap()) {
            self.settled_ids = self.assert_complete().ids.len();
            self.started = true;
        }
    }

    fn assert_complete(&self) -> OnDisk {
        let found = read(&self.disk);
        assert_eq!(
            found.ids.len() as u64 + found.dropped + self.taken_by_crashes,
            self.appended,
            "there, or counted by a gap"
        );
        found
    }

    /// In the end there is room, and everything owed is written.
    fn finish(mut self) {
        {
            let mut state = self.disk.state();
            state.free_bytes = FREE_BYTES;
            state.write_errors.clear();
            state.sync_errors.clear();
            state.short_write = None;
        }
        for _ in 0..3 {
            self.now += Duration::from_secs(10);
            self.journal.as_mut().unwrap().tick(self.now);
        }
        let stats = self.journal.take().unwrap().close();
        assert!(!stats.degraded && stats.unflushed == 0 && stats.unsynced_bytes == 0);
        self.assert_complete();
        let found = read_with(&self.disk, true);
        assert_eq!(found.unsigned, 0, "the end is signed");
        assert!(found.checkpoints > 0);
    }
}

fn is_settled(journal: &Journal<Disk>) -> bool {
    let stats = journal.stats();
    !stats.degraded && stats.unflushed == 0 && stats.unsynced_bytes == 0
}

proptest! {
    #[test]
    fn a_valid_chain_with_every_record_there_or_counted(actions in prop::collection::vec(action(), 1..60)) {
        let mut model = Model::new();
        for action in &actions {
            model.act(action);
        }
        model.finish();
    }
}
