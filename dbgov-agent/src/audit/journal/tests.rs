use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::super::key::PrivateKey;
use super::super::storage_fake::Disk;
use super::super::{samples, segment};
use super::disk::RETRY_DELAY_MIN;
use super::*;

const ROOMY_BYTES: usize = 1 << 30;

fn config() -> JournalConfig {
    JournalConfig::new("/fake", "n")
}

fn open(disk: &Disk) -> (Journal<Disk>, Vec<Record>) {
    Journal::open_in(disk.clone(), config()).expect("opens")
}

fn open_error(disk: &Disk) -> OpenError {
    match Journal::open_in(disk.clone(), config()) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

fn segments(disk: &Disk) -> Vec<String> {
    segment::sorted(disk.names().unwrap())
}

fn lines(disk: &Disk) -> Vec<Value> {
    let content: Vec<u8> = segments(disk)
        .iter()
        .flat_map(|name| disk.content(name))
        .collect();
    content
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).expect("a line is JSON"))
        .collect()
}

/// What the lines are about: the text of a statement, the cause of a gap, or the kind.
fn topics(disk: &Disk) -> Vec<String> {
    let topic = |line: Value| {
        let found = [
            &line["statement"]["text"],
            &line["gap"]["cause"],
            &line["kind"],
        ];
        let found = found.into_iter().find_map(Value::as_str);
        found.unwrap().to_owned()
    };
    lines(disk).into_iter().map(topic).collect()
}

fn stop() -> Record {
    Record::new(Kind::AgentStop, samples::TIME_UNIX_NS)
}

/// A journal of these statements, stopped in good order.
fn disk_with(texts: &[&str]) -> Disk {
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, notes) = open(&disk);
    assert!(notes.is_empty());
    for text in texts {
        journal.append(&samples::statement(text));
    }
    journal.append(&stop());
    journal.close();
    disk
}

#[test]
fn a_restart_goes_on_in_the_same_segment_and_chain() {
    let disk = disk_with(&["one"]);
    let (mut journal, notes) = open(&disk);
    assert!(notes.is_empty(), "stopped in good order");
    journal.append(&samples::statement("two"));
    let stats = journal.close();
    assert_eq!((stats.last_seq, stats.records), (3, 1));

    let lines = lines(&disk);
    assert_eq!(topics(&disk), ["one", "agent_stop", "two"]);
    for pair in lines.windows(2) {
        assert_eq!(pair[1]["chain"]["prev"], pair[0]["chain"]["hash"]);
    }
    assert_eq!(
        segments(&disk),
        ["audit-20261122T235959Z-00000000000000000001.jsonl"]
    );
}

#[test]
fn flushed_by_number_by_bytes_and_by_time() {
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, _) = Journal::open_in(
        disk.clone(),
        JournalConfig {
            flush_records_max: 3,
            flush_bytes_max: 100_000,
            ..config()
        },
    )
    .unwrap();
    let start = Instant::now();
    journal.tick(start);
    assert_eq!(journal.next_tick(), None, "nothing waits");

    for text in ["1", "2"] {
        journal.append(&samples::statement(text));
    }
    assert_eq!(journal.stats().unflushed, 2);
    assert_eq!(journal.next_tick(), Some(start + FLUSH_INTERVAL));
    journal.append(&samples::statement("3"));
    assert_eq!(journal.stats().unflushed, 0, "by number");

    journal.append(&samples::statement(&"x".repeat(100_000)));
    assert_eq!(journal.stats().unflushed, 0, "by bytes");

    journal.append(&samples::statement("5"));
    journal.tick(start + FLUSH_INTERVAL - Duration::from_nanos(1));
    assert_eq!(journal.stats().unflushed, 1);
    journal.tick(start + FLUSH_INTERVAL);
    assert_eq!(journal.stats().unflushed, 0, "by time");
    assert_eq!(lines(&disk).len(), 5);

    assert!(journal.stats().unsynced_bytes > 0);
    assert_eq!(journal.next_tick(), Some(start + SYNC_INTERVAL));
    journal.tick(start + SYNC_INTERVAL);
    assert_eq!(journal.stats().unsynced_bytes, 0, "synced by time");
    assert_eq!(journal.next_tick(), None);
}

#[test]
fn segments_end_between_records_and_stay_within_their_size() {
    const SEGMENT_BYTES_MAX: u64 = 5000;
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, _) = Journal::open_in(
        disk.clone(),
        JournalConfig {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            ..config()
        },
    )
    .unwrap();
    for number in 0..20 {
        journal.append(&samples::statement(&format!("statement {number}")));
    }
    journal.append(&samples::statement(&"longer than a segment ".repeat(500)));
    journal.append(&samples::statement("last"));
    journal.close();

    let names = segments(&disk);
    assert!(names.len() > 4);
    let mut next_seq = 1;
    for name in &names {
        let content = disk.content(name);
        let records = content.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(segment::first_seq(name), Some(next_seq));
        assert!(content.ends_with(b"\n"));
        assert!(
            content.len() as u64 <= SEGMENT_BYTES_MAX || records == 1,
            "{name}"
        );
        next_seq += records;
    }
    assert_eq!(next_seq, 23);
}

#[test]
fn a_torn_last_line_is_put_aside_at_every_length() {
    let disk = disk_with(&["one", "two"]);
    let name = segments(&disk).remove(0);
    let content = disk.content(&name);
    let second_end = content.len() - 1;
    let second_start = content[..second_end]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for cut in second_start + 1..=second_end {
        let disk = Disk::new(ROOMY_BYTES);
        disk.put(&name, content[..cut].to_vec());
        let (mut journal, notes) = open(&disk);
        let gap = notes[0].gap.clone().expect("a gap");
        assert_eq!((notes.len(), gap.cause), (1, "crash"));
        assert_eq!(gap.bytes, Some((cut - second_start) as u64));
        let side_file = gap.side_file.expect("put aside");
        assert_eq!(disk.content(&side_file), content[second_start..cut]);

        journal.append(&notes[0]);
        journal.append(&samples::statement("after"));
        assert_eq!(journal.close().last_seq, 4);
        assert_eq!(topics(&disk), ["one", "two", "crash", "after"]);
    }
}

#[test]
fn a_crash_between_two_lines_is_said() {
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, _) = open(&disk);
    journal.append(&samples::statement("one"));
    journal.close();
    let (_, notes) = open(&disk);
    let gap = notes[0].gap.clone().expect("a gap");
    assert_eq!((gap.cause, gap.bytes, gap.side_file), ("crash", None, None));
}

#[test]
fn a_first_line_that_is_torn_leaves_an_empty_journal() {
    let disk = disk_with(&[]);
    let name = segments(&disk).remove(0);
    disk.put(&name, disk.content(&name)[..40].to_vec());
    let (journal, notes) = open(&disk);
    assert_eq!((journal.stats().last_seq, notes.len()), (0, 1));
    assert!(segments(&disk).is_empty());
}

#[test]
fn empty_segments_are_passed_over() {
    let disk = disk_with(&["one"]);
    disk.put(&segment::name(u64::MAX, 3), Vec::new());
    let (journal, notes) = open(&disk);
    assert_eq!((journal.stats().last_seq, notes.len()), (2, 0));
    assert_eq!(segments(&disk).len(), 1);
}

#[test]
fn one_damaged_line_at_the_end_is_torn_two_are_not_ours() {
    let disk = disk_with(&["one", "two", "three"]);
    let name = segments(&disk).remove(0);
    let damage = |text: &str| {
        let content = String::from_utf8(disk.content(&name)).unwrap();
        disk.put(&name, content.replace(text, "forged").into_bytes());
    };
    damage("agent_stop");
    let (journal, notes) = open(&disk);
    drop(journal);
    assert!(
        notes[0].gap.as_ref().unwrap().side_file.is_some(),
        "kept as evidence"
    );
    assert_eq!(topics(&disk), ["one", "two", "three"]);

    damage("two");
    damage("three");
    let before = disk.content(&name);
    let error = open_error(&disk);
    assert!(matches!(&error, OpenError::Damaged { line: 2, .. }));
    let text = error.to_string();
    assert!(
        text.contains(&name) && text.contains("line 2") && text.contains("move this file out"),
        "{text}"
    );
    assert_eq!(disk.content(&name), before, "nothing touched");
}

#[test]
fn damage_further_up_does_not_stop_the_journal() {
    let disk = disk_with(&["one", "two"]);
    let name = segments(&disk).remove(0);
    let content = String::from_utf8(disk.content(&name)).unwrap();
    disk.put(&name, content.replace("one", "0ne").into_bytes());
    let (journal, notes) = open(&disk);
    assert_eq!((journal.stats().last_seq, notes.len()), (3, 0));
}

#[test]
fn a_newer_journal_is_left_alone() {
    let disk = disk_with(&[]);
    let name = segments(&disk).remove(0);
    let mut line = lines(&disk).remove(0);
    line["v"] = 2.into();
    line["chain"]["hash"] = super::super::jcs::chain_hash(&line).into();
    let content = format!("{}\n", super::super::jcs::canonical(&line));
    disk.put(&name, content.into_bytes());
    assert!(matches!(
        open_error(&disk),
        OpenError::Version { line: 1, .. }
    ));
}

#[test]
fn a_full_disk_keeps_then_drops_then_says_how_many() {
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, _) = Journal::open_in(
        disk.clone(),
        JournalConfig {
            flush_records_max: 1,
            pending_bytes_max: 3000,
            ..config()
        },
    )
    .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&seen);
    journal.set_observer(Box::new(move |lines| {
        for line in std::str::from_utf8(lines).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            observed.lock().unwrap().push(line["seq"].as_u64().unwrap());
        }
    }));
    let start = Instant::now();
    journal.tick(start);
    journal.append(&samples::statement("written"));

    // Room for half a line.
    disk.state().free_bytes = 400;
    for number in 0..10 {
        journal.append(&samples::statement(&format!("kept {number}")));
    }
    let stats = journal.stats();
    assert!(stats.degraded);
    assert_eq!(stats.write_errors, 1, "no try before its time");
    assert!(stats.last_error.unwrap().contains("No space left"));
    assert!(stats.dropped > 0 && stats.unflushed > 0);
    assert_eq!(stats.unflushed + stats.dropped, 10);
    journal.tick(start);
    assert_eq!(seen.lock().unwrap().len() as u64, stats.records);

    disk.state().free_bytes = ROOMY_BYTES;
    journal.tick(start + RETRY_DELAY_MIN);
    journal.append(&samples::statement("after"));
    let stats = journal.close();
    assert!(!stats.degraded && stats.unflushed == 0);
    let topics = topics(&disk);
    let gap_at = topics.len() - 2;
    assert_eq!(topics[gap_at..], ["disk_full", "after"]);
    assert_eq!(topics[gap_at - 1], format!("kept {}", gap_at - 2));
    let lines = lines(&disk);
    assert_eq!(lines[gap_at]["gap"]["records"], stats.dropped);
    assert_eq!(lines[gap_at]["seq"], gap_at as u64 + 1, "no hole");
    let all: Vec<u64> = (1..=lines.len() as u64).collect();
    assert_eq!(*seen.lock().unwrap(), all, "the journal's own gap too");
}

#[test]
fn the_wait_between_tries_grows_to_its_bound() {
    let disk = Disk::new(0);
    let (mut journal, _) = open(&disk);
    let mut now = Instant::now();
    journal.tick(now);
    journal.append(&samples::statement("kept"));
    now += FLUSH_INTERVAL;
    journal.tick(now);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let next = journal.next_tick().expect("tries again");
        waits.push((next - now).as_millis());
        now = next;
        journal.tick(now);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert_eq!(journal.stats().write_errors, 9);
}

#[test]
fn a_failed_sync_is_tried_again_and_said() {
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, _) = open(&disk);
    let start = Instant::now();
    journal.tick(start);
    journal.append(&samples::statement("one"));
    journal.tick(start + FLUSH_INTERVAL);
    disk.state().sync_errors = vec![libc::EIO];
    journal.tick(start + SYNC_INTERVAL * 2);
    assert!(journal.stats().degraded);
    journal.tick(start + SYNC_INTERVAL * 3);
    assert!(!journal.stats().degraded);
    journal.close();
    assert_eq!(topics(&disk), ["one", "sync_failed"]);
    assert!(lines(&disk)[1]["gap"]["bytes"].as_u64() > Some(500));
}

#[test]
fn a_record_beyond_all_bounds_is_counted() {
    let disk = Disk::new(ROOMY_BYTES);
    let (mut journal, _) = open(&disk);
    // Each takes six bytes in JSON.
    journal.append(&samples::statement(
        &"\u{1}".repeat(LINE_BYTES_MAX as usize / 6),
    ));
    journal.append(&samples::statement("after"));
    assert_eq!(journal.close().dropped, 1);
    assert_eq!(topics(&disk), ["record_too_large", "after"]);
}

/// `lcargo test --release -p dbgov-agent audit::journal -- --ignored --nocapture`
#[test]
#[ignore = "a measurement; wants a release build"]
fn measure_appending() {
    const RECORDS: u32 = 500_000;
    let keys = tempfile::tempdir().unwrap();
    let key = PrivateKey::load_or_create(&keys.path().join("k")).unwrap();
    for key in [None, Some(Arc::new(key))] {
        let is_signed = key.is_some();
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            key,
            ..JournalConfig::new(dir.path(), "host-1")
        };
        let (mut journal, _) = Journal::open(config).unwrap();
        let record = samples::statement("SELECT abalance FROM pgbench_accounts WHERE aid = $1");
        let start = Instant::now();
        for number in 0..RECORDS {
            if number % 64 == 0 {
                journal.tick(Instant::now());
            }
            journal.append(&record);
        }
        let stats = journal.close();
        let ns = start.elapsed().as_nanos() / u128::from(RECORDS);
        println!(
            "append, files included, signed {is_signed}: {ns} ns/record, {} MB",
            stats.bytes / 1_000_000
        );
    }
}

mod evidence;

mod on_a_real_directory {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &std::path::Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_files_one_writer_and_a_restart() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("lib").join("audit");
        let config = JournalConfig::new(&dir, "n");
        let (mut journal, _) = Journal::open(config.clone()).unwrap();
        journal.append(&samples::statement("one"));
        journal.append(&stop());

        let Err(second) = Journal::open(config.clone()) else {
            panic!("two writers");
        };
        assert!(matches!(second, OpenError::Locked { .. }));
        assert!(second.to_string().contains("another dbgov"), "{second}");

        let first = dir.join(&*journal.close().segment);
        assert_eq!((mode(&dir), mode(&first)), (0o700, 0o600));
        let (mut journal, notes) = Journal::open(config.clone()).unwrap();
        assert!(notes.is_empty());
        journal.append(&samples::statement("two"));
        journal.close();

        // Half a line more, as kill -9 in the middle of a write leaves it.
        let mut content = std::fs::read(&first).unwrap();
        let whole_bytes = content.len();
        content.extend_from_slice(b"{\"agent\":{\"ver");
        std::fs::write(&first, &content).unwrap();
        let (mut journal, notes) = Journal::open(config).unwrap();
        let gap = notes[0].gap.clone().unwrap();
        let side_file = dir.join(gap.side_file.unwrap());
        assert_eq!(std::fs::read(&side_file).unwrap(), content[whole_bytes..]);
        assert_eq!(mode(&side_file), 0o600);
        journal.append(&notes[0]);
        assert_eq!(journal.close().last_seq, 4);
    }

    #[test]
    fn a_segment_removed_while_written_is_said_in_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(JournalConfig::new(dir.path(), "n")).unwrap();
        let start = Instant::now();
        journal.tick(start);
        journal.append(&samples::statement("gone"));
        journal.tick(start + FLUSH_INTERVAL);
        let removed = dir.path().join(&*journal.stats().segment);
        std::fs::remove_file(&removed).unwrap();
        journal.tick(start + SYNC_INTERVAL * 2);
        journal.append(&samples::statement("after"));
        let segment = dir.path().join(&*journal.close().segment);
        assert_ne!(segment, removed);
        let content = std::fs::read_to_string(segment).unwrap();
        assert!(content.contains("segment_removed") && content.contains("after"));
    }

    #[test]
    fn an_unusable_directory_names_the_fix() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for dir in [file.path().to_owned(), "/proc/self/dbgov/audit".into()] {
            let Err(error) = Journal::open(JournalConfig::new(&dir, "n")) else {
                panic!("opened {}", dir.display());
            };
            assert!(matches!(error, OpenError::Unusable { .. }));
            let text = error.to_string();
            for part in [dir.to_str().unwrap(), "make it writable", "[audit] dir"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
