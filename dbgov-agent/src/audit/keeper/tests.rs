use std::fs;
use std::time::Instant;

use super::super::index::{self, IndexProblem};
use super::super::journal::{Journal, JournalConfig};
use super::super::retention::delivered_seq;
use super::super::samples;
use super::super::search::{Filters, Order, Query, search};
use super::super::tombstone::TOMBSTONE_NAME;
use super::super::verify::{Options, verify};
use super::super::writer::JournalHandle;
use super::*;

struct Stand {
    dir: tempfile::TempDir,
    key: Arc<PrivateKey>,
}

impl Stand {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = PrivateKey::load_or_create(&dir.path().join("k")).unwrap();
        Stand {
            dir,
            key: Arc::new(key),
        }
    }

    fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn journal(&self) -> (Journal, Vec<Record>) {
        let config = JournalConfig {
            segment_bytes_max: 20_000,
            flush_records_max: 1,
            key: Some(Arc::clone(&self.key)),
            ..JournalConfig::new(self.audit(), "n")
        };
        Journal::open(config).unwrap()
    }

    fn fill(&self, records: u32) {
        let (mut journal, notes) = self.journal();
        notes.iter().for_each(|note| journal.append(note));
        (0..records).for_each(|n| journal.append(&samples::statement(&n.to_string())));
        journal.close();
    }

    fn config(&self, retention: RetentionConfig) -> KeeperConfig {
        KeeperConfig {
            dir: self.audit(),
            node: "n".to_owned(),
            compress: retention.bytes_max == 0,
            retention,
            key: Arc::clone(&self.key),
        }
    }

    fn names(&self) -> Vec<String> {
        segment::sorted(storage::names(&self.audit()).unwrap())
    }

    fn assert_intact(&self) {
        let options = Options {
            keys: vec![self.key.public().clone()],
            expected: None,
        };
        let report = verify(&self.audit(), &options).unwrap();
        assert!(report.intact, "{report}");
    }
}

fn keep_all() -> RetentionConfig {
    RetentionConfig::default()
}

#[test]
fn complete_segments_are_compressed_and_the_newest_is_not() {
    let stand = Stand::new();
    stand.fill(100);
    let count = stand.names().len();
    assert!(count > 3);
    let records = Work::new(stand.config(keep_all())).run(&Stop::default());
    assert!(records.is_empty());
    let names = stand.names();
    assert_eq!(names.len(), count);
    let (newest, complete) = names.split_last().unwrap();
    assert!(!segment::is_compressed(newest));
    assert!(complete.iter().all(|name| segment::is_compressed(name)));
    stand.assert_intact();
    // The journal goes on in the newest, and where that was moved away behind the compressed one.
    stand.fill(1);
    assert_eq!(stand.names().len(), count);
    stand.assert_intact();
    fs::remove_file(stand.audit().join(newest)).unwrap();
    stand.fill(1);
    assert_eq!(stand.names().len(), count);
    stand.assert_intact();
}

#[test]
fn interrupted_anywhere_the_next_start_makes_it_good() {
    let stand = Stand::new();
    stand.fill(100);
    let first = stand.names()[0].clone();
    let path = |name: &str| stand.audit().join(name);
    let content = fs::read(path(&first)).unwrap();
    let whole = zstd::encode_all(&content[..], 3).unwrap();
    // While it is written; before its source goes, as it may be after a power loss too.
    fs::write(path(&format!("{first}.zst.new")), &whole[..whole.len() / 2]).unwrap();
    fs::write(path(&format!("{first}.zst")), &whole).unwrap();
    stand.assert_intact();
    Work::new(stand.config(keep_all())).run(&Stop::default());
    assert!(!path(&first).exists() && !path(&format!("{first}.zst.new")).exists());
    stand.assert_intact();
}

#[test]
fn retention_by_size_leaves_a_tombstone_and_a_record() {
    let stand = Stand::new();
    stand.fill(100);
    let names = stand.names();
    let keep: u64 = names[2..]
        .iter()
        .map(|name| fs::metadata(stand.audit().join(name)).unwrap().len())
        .sum();
    let config = RetentionConfig {
        bytes_max: keep,
        ..keep_all()
    };
    let records = Work::new(stand.config(config.clone())).run(&Stop::default());
    let block = records[0].retention.as_ref().unwrap();
    assert_eq!(
        (block.segments, block.first_seq, block.reason),
        (2, 1, "size")
    );
    assert_eq!(Some(block.last_seq + 1), segment::first_seq(&names[2]));
    stand.assert_intact();
    let records = Work::new(stand.config(config)).run(&Stop::default());
    assert!(records.is_empty(), "nothing more to do");

    // Cut short after the tombstone: what it stands for goes at the next start.
    fs::write(stand.audit().join(&names[1]), "left").unwrap();
    Work::new(stand.config(keep_all())).run(&Stop::default());
    assert!(!stand.audit().join(&names[1]).exists());
    stand.assert_intact();
}

#[test]
fn retention_by_age_goes_by_the_time_of_the_next_segment() {
    let stand = Stand::new();
    // The samples are of a fixed day.
    stand.fill(100);
    let days = |days_max| RetentionConfig {
        days_max,
        ..keep_all()
    };
    let age_days = (super::super::time::unix_now_ns().saturating_sub(samples::TIME_UNIX_NS))
        / (24 * 3600 * 1_000_000_000);
    let count = stand.names().len();
    Work::new(stand.config(days(age_days as u32 + 2))).run(&Stop::default());
    assert_eq!(stand.names().len(), count, "not old enough");
    if age_days > 1 {
        let records = Work::new(stand.config(days(age_days as u32 - 1))).run(&Stop::default());
        assert_eq!(records[0].retention.as_ref().unwrap().reason, "age");
        assert_eq!(stand.names().len(), 1, "never the newest");
        stand.assert_intact();
    }
}

#[test]
fn what_sinks_have_not_had_stays() {
    let stand = Stand::new();
    stand.fill(100);
    let names = stand.names();
    let third = segment::first_seq(&names[2]).unwrap();
    let config = RetentionConfig {
        bytes_max: 1,
        wait_for_sinks: vec!["a".to_owned(), "b".to_owned()],
        ..keep_all()
    };
    let run = || Work::new(stand.config(config.clone())).run(&Stop::default());
    assert!(run().is_empty(), "no place yet: nothing was delivered");
    let sinks = stand.audit().join("sinks");
    fs::create_dir(&sinks).unwrap();
    let cursor = |name: &str, seq: u64| {
        fs::write(
            sinks.join(format!("{name}.cursor")),
            format!("{{\"hash\":\"x\",\"seq\":{seq}}}"),
        )
        .unwrap();
    };
    cursor("a", 1000);
    assert_eq!(
        delivered_seq(&stand.audit(), &config.wait_for_sinks),
        Some(0)
    );
    cursor("b", third - 1);
    assert_eq!(
        delivered_seq(&stand.audit(), &config.wait_for_sinks),
        Some(third - 1)
    );
    assert_eq!(delivered_seq(&stand.audit(), &[]), None);
    let block = run().remove(0).retention.unwrap();
    assert_eq!((block.segments, block.last_seq), (2, third - 1));
    assert_eq!(segment::first_seq(&stand.names()[0]), Some(third));
}

#[test]
fn nothing_is_removed_from_a_journal_that_is_broken_there() {
    let stand = Stand::new();
    stand.fill(100);
    let names = stand.names();
    fs::remove_file(stand.audit().join(&names[1])).unwrap();
    let config = RetentionConfig {
        bytes_max: 1,
        ..keep_all()
    };
    assert!(
        Work::new(stand.config(config))
            .run(&Stop::default())
            .is_empty()
    );
    assert_eq!(stand.names().len(), names.len() - 1);
    assert!(!stand.audit().join(TOMBSTONE_NAME).exists());
}

#[test]
fn the_thread_works_while_the_journal_is_written_and_ends_with_it() {
    let stand = Stand::new();
    let (journal, _) = stand.journal();
    let mut config = stand.config(RetentionConfig {
        bytes_max: 60_000,
        ..keep_all()
    });
    config.compress = true;
    let mut handle = JournalHandle::start_with_keeper(journal, config).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_compressed = |name: &String| segment::is_compressed(name);
    while !(stand.audit().join(TOMBSTONE_NAME).exists() && stand.names().iter().any(is_compressed))
    {
        assert!(
            Instant::now() < deadline,
            "nothing was removed or compressed"
        );
        let statements = (0..20).map(|n| samples::statement(&n.to_string()));
        handle.send(statements).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    handle
        .send([Record::new(super::super::record::Kind::AgentStop, 0)])
        .unwrap();
    handle.close();
    let (_, notes) = stand.journal();
    assert!(notes.is_empty(), "stopped in good order");
    stand.assert_intact();
    let names = stand.names();
    let text: String = names
        .iter()
        .map(|name| {
            let content = fs::read(stand.audit().join(name)).unwrap();
            match segment::is_compressed(name) {
                true => String::from_utf8(zstd::decode_all(&content[..]).unwrap()).unwrap(),
                false => String::from_utf8(content).unwrap(),
            }
        })
        .collect();
    assert!(text.contains("\"kind\":\"retention\""));
}

/// The names of the indexes there are, in order.
fn index_names(stand: &Stand) -> Vec<String> {
    let names = storage::names(&stand.audit()).unwrap();
    let mut names: Vec<String> = names
        .into_iter()
        .filter(|name| name.contains(".idx"))
        .collect();
    names.sort();
    names
}

#[test]
fn each_complete_segment_has_an_index_that_goes_with_it() {
    for compress in [true, false] {
        let stand = Stand::new();
        stand.fill(100);
        let keep = |retention| KeeperConfig {
            compress,
            ..stand.config(retention)
        };
        let mut work = Work::new(keep(keep_all()));
        assert!(work.run(&Stop::default()).is_empty());
        assert!(work.last_error.is_empty(), "{}", work.last_error);
        let names = stand.names();
        let (newest, complete) = names.split_last().unwrap();
        assert!(complete.len() > 3);
        for segment in complete {
            assert_eq!(segment::is_compressed(segment), compress);
            index::check(&stand.audit(), segment).unwrap();
        }
        let check = index::check(&stand.audit(), newest);
        assert!(matches!(check, Err(IndexProblem::Absent)), "{check:?}");
        // A search goes by them, and each is made once.
        let mut found = 0;
        let mut query = Query::new(Filters {
            texts: vec!["nowhere".to_owned()],
            ..Filters::default()
        });
        let stats = search(&stand.audit(), &mut query, Order::OldestFirst, |_, _| {
            found += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((found, stats.indexed), (0, complete.len() as u64));
        assert_eq!(stats.blocks_read, 1, "of the newest alone");
        let path = stand.audit().join(index::name(&complete[0]));
        let made = fs::metadata(&path).unwrap().modified().unwrap();
        Work::new(keep(keep_all())).run(&Stop::default());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), made);

        let size = |name: &String| fs::metadata(stand.audit().join(name)).unwrap().len();
        let bytes_max = names[2..].iter().map(size).sum();
        let records = Work::new(keep(RetentionConfig {
            bytes_max,
            ..keep_all()
        }))
        .run(&Stop::default());
        assert_eq!(records[0].retention.as_ref().unwrap().segments, 2);
        let expected: Vec<String> = complete[2..].iter().map(|name| index::name(name)).collect();
        assert_eq!(index_names(&stand), expected);
        stand.assert_intact();
    }
}

/// Between the index and its segment, or before both.
#[test]
fn a_removal_that_was_interrupted_leaves_no_index() {
    let stand = Stand::new();
    stand.fill(100);
    let keep = |retention| KeeperConfig {
        compress: true,
        ..stand.config(retention)
    };
    Work::new(keep(keep_all())).run(&Stop::default());
    let names = stand.names();
    let first = stand.audit().join(&names[0]);
    let index = stand.audit().join(index::name(&names[0]));
    let contents = (fs::read(&first).unwrap(), fs::read(&index).unwrap());
    let size = |name: &String| fs::metadata(stand.audit().join(name)).unwrap().len();
    let bytes_max = names[1..].iter().map(size).sum();
    Work::new(keep(RetentionConfig {
        bytes_max,
        ..keep_all()
    }))
    .run(&Stop::default());
    assert!(!first.exists() && !index.exists());
    for with_index in [false, true] {
        fs::write(&first, &contents.0).unwrap();
        if with_index {
            fs::write(&index, &contents.1).unwrap();
        }
        Work::new(keep(keep_all())).run(&Stop::default());
        assert!(!first.exists() && !index.exists(), "{with_index}");
        stand.assert_intact();
    }
}
