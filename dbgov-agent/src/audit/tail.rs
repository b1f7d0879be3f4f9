//! The newest lines of a journal, and those to come.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::lines::Lines;
use super::reader::{ReadError, Reader};
use super::segment;

/// How often a follower looks for more: below what a person notices, and next to nothing in cost.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Stands before the newest `lines` lines of the journal that are `wanted` (others may be between them); with 0, at its
/// end. Reads as few segments as hold that many, from the newest on.
pub fn open(dir: &Path, lines: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<Reader, ReadError> {
    let mut missing = usize::try_from(lines).unwrap_or(usize::MAX);
    let mut start = None;
    for name in segment::list(dir)?.iter().rev() {
        let path = dir.join(name);
        let first_seq = segment::first_seq(name).unwrap_or_default();
        let found = match Lines::open(&path) {
            Ok(lines) => newest(lines, first_seq, missing, &wanted),
            // Removed since it was listed: then so was everything older.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(source) => return Err(ReadError::Segment { path, source }),
        };
        start = start.or(Some(found.end));
        start = found.seqs.front().copied().or(start);
        missing -= found.seqs.len();
        if missing == 0 {
            break;
        }
    }
    Reader::open_after(dir, start.map_or(0, |seq| seq.saturating_sub(1)))
}

/// What one segment has of the newest lines.
struct Newest {
    /// Numbers of the newest that are wanted, oldest first.
    seqs: VecDeque<u64>,
    /// Number of the line that would come next.
    end: u64,
}

/// What cannot be read of the segment, the reader will tell.
fn newest(
    mut lines: Lines,
    first_seq: u64,
    most: usize,
    wanted: &impl Fn(&[u8]) -> bool,
) -> Newest {
    let (mut seqs, mut seq) = (VecDeque::new(), first_seq);
    while let Ok(true) = lines.advance() {
        if most > 0 && wanted(lines.line()) {
            if seqs.len() == most {
                seqs.pop_front();
            }
            seqs.push_back(seq);
        }
        seq = seq.saturating_add(1);
    }
    Newest { seqs, end: seq }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt;

    use super::super::journal::{Journal, JournalConfig};
    use super::super::lines::READ_BYTES;
    use super::super::{samples, storage};
    use super::*;

    /// A journal of small segments, numbered statements in it.
    fn journal(dir: &Path) -> Journal {
        let config = JournalConfig {
            segment_bytes_max: 3000,
            flush_records_max: 1,
            ..JournalConfig::new(dir, "n")
        };
        Journal::open(config).unwrap().0
    }

    fn append(journal: &mut Journal, numbers: std::ops::Range<u32>) {
        for number in numbers {
            journal.append(&samples::statement(&number.to_string()));
        }
    }

    fn is_statement(line: &[u8]) -> bool {
        let line: serde_json::Value = serde_json::from_slice(line).expect("a whole line");
        line["kind"] == "statement"
    }

    fn text(line: &[u8]) -> String {
        let line: serde_json::Value = serde_json::from_slice(line).expect("a whole line");
        line["statement"]["text"].as_str().unwrap().to_owned()
    }

    fn rest(tail: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = tail.next_line().unwrap() {
            if is_statement(line) {
                found.push(text(line));
            }
        }
        found
    }

    fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    }

    #[test]
    fn the_newest_over_several_segments() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 0..20);
        for lines in 0..25 {
            let mut tail = open(dir.path(), lines, is_statement).unwrap();
            let from = 20u32.saturating_sub(lines as u32);
            assert_eq!(rest(&mut tail), numbers(from..20), "{lines} lines");
        }
    }

    #[test]
    fn following_over_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = open(dir.path(), 10, is_statement).unwrap();
        assert!(rest(&mut tail).is_empty(), "nothing there yet");
        let mut journal = journal(dir.path());
        for round in 0..10 {
            append(&mut journal, round * 5..round * 5 + 5);
            assert_eq!(rest(&mut tail), numbers(round * 5..round * 5 + 5));
        }
        let segments = segment::sorted(storage::names(dir.path()).unwrap());
        assert!(segments.len() > 5);
    }

    #[test]
    fn a_reader_far_behind_misses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 0..1);
        let mut tail = open(dir.path(), 0, is_statement).unwrap();
        append(&mut journal, 1..50);
        assert_eq!(rest(&mut tail), numbers(1..50));
    }

    #[test]
    fn half_a_line_is_waited_for_and_may_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 0..2);
        let segment = dir.path().join(&*journal.stats().segment);
        let content = std::fs::read(&segment).unwrap();
        let path = dir.path().join(segment::name(u64::MAX, 1000));
        let mut file = File::create(&path).unwrap();
        let mut tail = open(dir.path(), 1, is_statement).unwrap();
        assert_eq!(rest(&mut tail), numbers(1..2));

        let (half, other_half) = content.split_at(content.len() - 100);
        file.write_all(half).unwrap();
        assert_eq!(rest(&mut tail), numbers(0..1));
        file.write_all(&other_half[..50]).unwrap();
        assert!(rest(&mut tail).is_empty());
        file.write_all(&other_half[50..]).unwrap();
        assert_eq!(rest(&mut tail), numbers(1..2));

        file.write_all(b"{\"torn").unwrap();
        assert!(rest(&mut tail).is_empty());
        file.set_len(content.len() as u64).unwrap();
        FileExt::write_all_at(&file, &content, content.len() as u64).unwrap();
        assert_eq!(rest(&mut tail), numbers(0..2));
    }

    #[test]
    fn a_followed_segment_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let torn = dir.path().join(segment::name(0, 1));
        std::fs::write(&torn, b"{\"torn").unwrap();
        let mut tail = open(dir.path(), 5, is_statement).unwrap();
        assert!(rest(&mut tail).is_empty());
        // A restart finds no whole record in it and begins again at the same number.
        let mut journal = journal(dir.path());
        assert!(!torn.exists());
        append(&mut journal, 0..3);
        assert_eq!(rest(&mut tail), numbers(0..3));
    }

    #[test]
    fn a_line_longer_than_a_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        let long = "long ".repeat(READ_BYTES);
        journal.append(&samples::statement(&long));
        append(&mut journal, 1..2);
        let mut tail = open(dir.path(), 2, is_statement).unwrap();
        assert_eq!(rest(&mut tail), [long, "1".to_owned()]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = open(Path::new("/nowhere/audit"), 1, is_statement).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/audit") && text.contains("[audit] dir"),
            "{text}"
        );
    }
}
