use std::io::Write as _;

use super::super::journal::{Journal, JournalConfig};
use super::super::samples;
use super::*;

/// A journal of small segments.
fn journal(dir: &Path) -> Journal {
    let config = JournalConfig {
        segment_bytes_max: 3000,
        flush_records_max: 1,
        ..JournalConfig::new(dir, "n")
    };
    Journal::open(config).unwrap().0
}

fn append(journal: &mut Journal, records: u32) {
    for number in 0..records {
        journal.append(&samples::statement(&number.to_string()));
    }
}

fn seq(line: &[u8]) -> u64 {
    let line: serde_json::Value = serde_json::from_slice(line).expect("a whole line");
    line["seq"].as_u64().unwrap()
}

fn rest(reader: &mut Reader) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        found.push(seq(line));
    }
    found
}

fn names(dir: &Path) -> Vec<String> {
    segment::list(dir).unwrap()
}

fn compress(dir: &Path, name: &str) {
    let path = dir.join(name);
    let content = std::fs::read(&path).unwrap();
    let compressed = dir.join(format!("{name}.zst"));
    std::fs::write(compressed, zstd::encode_all(&content[..], 3).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn from_any_record_on_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    append(&mut journal, 20);
    let last = journal.close().last_seq;
    for compressed in 0..names(dir.path()).len() {
        for after in 0..=last + 3 {
            let mut reader = Reader::open_after(dir.path(), after).unwrap();
            let all: Vec<u64> = (after + 1..=last).collect();
            assert_eq!(rest(&mut reader), all, "after {after}");
            assert_eq!(reader.take_missed(), None);
            assert_eq!(reader.next_seq(), (after.max(last)) + 1);
        }
        compress(dir.path(), &names(dir.path())[compressed]);
    }
}

#[test]
fn what_is_read_is_compressed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    append(&mut journal, 30);
    let mut reader = Reader::open_after(dir.path(), 0).unwrap();
    let mut next = 1;
    for name in names(dir.path()) {
        assert_eq!(reader.next_line().unwrap().map(seq), Some(next));
        next += 1;
        // Under the reader, in the middle of it.
        if reader.segment() == Some(&name) && name != *journal.stats().segment {
            compress(dir.path(), &name);
            std::fs::remove_file(dir.path().join(format!("{name}.zst"))).unwrap();
        }
    }
    append(&mut journal, 5);
    let last = journal.close().last_seq;
    let all: Vec<u64> = (next..=last).collect();
    assert_eq!(rest(&mut reader), all);
    assert_eq!(reader.take_missed(), None);
}

#[test]
fn what_retention_took_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    append(&mut journal, 30);
    let last = journal.stats().last_seq;
    let names = names(dir.path());
    let third = segment::first_seq(&names[2]).unwrap();

    let mut behind = Reader::open_after(dir.path(), 0).unwrap();
    assert_eq!(behind.next_line().unwrap().map(seq), Some(1));
    let second = segment::first_seq(&names[1]).unwrap();
    for name in &names[..2] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    // What it has open it reads to its end.
    let found: Vec<u64> = (2..second).chain(third..=last).collect();
    assert_eq!(rest(&mut behind), found);
    let missed = Missed {
        from: second,
        to: third - 1,
    };
    assert_eq!(behind.take_missed(), Some(missed));
    assert_eq!(behind.take_missed(), None, "once");

    let mut late = Reader::open_after(dir.path(), 1).unwrap();
    assert_eq!(rest(&mut late).first(), Some(&third));
    let missed = Missed {
        from: 2,
        to: third - 1,
    };
    assert_eq!(late.take_missed(), Some(missed));
}

#[test]
fn a_damaged_segment_is_told_once_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    append(&mut journal, 20);
    let last = journal.stats().last_seq;
    let names = names(dir.path());
    compress(dir.path(), &names[1]);
    let path = dir.path().join(format!("{}.zst", names[1]));
    let content = std::fs::read(&path).unwrap();
    std::fs::write(&path, &content[..content.len() / 2]).unwrap();
    let (second, third) = (
        segment::first_seq(&names[1]).unwrap(),
        segment::first_seq(&names[2]).unwrap(),
    );

    let mut reader = Reader::open_after(dir.path(), 0).unwrap();
    let mut found = Vec::new();
    let error = loop {
        match reader.next_line() {
            Ok(line) => found.push(seq(line.expect("an error first"))),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    let missed_from = found.last().unwrap() + 1;
    assert!((second..third).contains(&missed_from));
    let all: Vec<u64> = (third..=last).collect();
    assert_eq!(rest(&mut reader), all);
    let missed = Missed {
        from: missed_from,
        to: third - 1,
    };
    assert_eq!(reader.take_missed(), Some(missed));
}

#[test]
fn a_journal_that_is_not_there_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut reader = Reader::open_after(dir.path(), 0).unwrap();
    assert!(reader.next_line().unwrap().is_none());
    let mut journal = journal(dir.path());
    append(&mut journal, 30);
    let last = journal.stats().last_seq;
    let all: Vec<u64> = (1..=last).collect();
    assert_eq!(rest(&mut reader), all);
    assert!(Reader::open_after(Path::new("/nowhere/audit"), 0).is_err());
}

#[test]
fn half_a_line_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(segment::name(0, 7));
    let mut file = std::fs::File::create(path).unwrap();
    let mut reader = Reader::open_after(dir.path(), 6).unwrap();
    for part in ["{\"se", "q\":7}", "\n{\"seq\":8"] {
        assert!(reader.next_line().unwrap().is_none());
        file.write_all(part.as_bytes()).unwrap();
    }
    assert_eq!(rest(&mut reader), [7]);
    file.write_all(b"}\n").unwrap();
    assert_eq!(rest(&mut reader), [8]);
}
