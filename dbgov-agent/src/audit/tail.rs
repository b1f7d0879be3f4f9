//! The newest lines of a journal, and those to come.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::backwards::Backwards;
use super::lines::Lines;
use super::reader::{ReadError, Reader};
use super::segment;
use super::view::View;

/// How often a follower looks for more: below what a person notices, and next to nothing in cost.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Stands before the newest `lines` lines of the journal that are `wanted` (others may be between them); with 0, at its
/// end. Reads as few segments as hold that many, from the newest on, and of one that is not compressed no more than its
/// end.
pub fn open(dir: &Path, lines: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<Reader, ReadError> {
    let mut missing = usize::try_from(lines).unwrap_or(usize::MAX);
    let mut start = None;
    for name in segment::list(dir)?.into_iter().rev() {
        let path = dir.join(&name);
        let found = match segment::is_compressed(&name) {
            true => forwards(&path, missing, &wanted),
            false => from_the_end(&path, missing, &wanted),
        };
        let found = match found {
            Ok(found) => found,
            // Removed since it was listed: then so was everything older.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(source) => return Err(ReadError::Segment { path, source }),
        };
        missing -= found.wanted;
        if start.is_none() || found.wanted > 0 {
            start = Some((name, found.place));
        }
        if missing == 0 {
            break;
        }
    }
    match start {
        None => Reader::open_after(dir, 0),
        Some((name, Place::Line(number))) => {
            let first_seq = segment::first_seq(&name).unwrap_or_default();
            Reader::open_after(dir, first_seq.saturating_add(number).saturating_sub(1))
        }
        Some((name, Place::Byte { lines, seq })) => Ok(Reader::open_within(dir, name, lines, seq)),
    }
}

/// What one segment has of the newest lines.
struct Found {
    /// So many that are wanted.
    wanted: usize,
    /// Before the first of them, or behind the last line.
    place: Place,
}

enum Place {
    /// Behind so many lines of the segment.
    Line(u64),
    /// There `lines` stand, before the record of this number; `None`: at the beginning of the segment.
    Byte { lines: Lines, seq: Option<u64> },
}

/// Of a segment that can only be read from its beginning. What cannot be read of it, the reader will tell.
fn forwards(path: &Path, most: usize, wanted: &impl Fn(&[u8]) -> bool) -> io::Result<Found> {
    let mut lines = Lines::open(path)?;
    let (mut places, mut number) = (VecDeque::new(), 0);
    while let Ok(true) = lines.advance() {
        if most > 0 && wanted(lines.line()) {
            if places.len() == most {
                places.pop_front();
            }
            places.push_back(number);
        }
        number += 1;
    }
    Ok(Found {
        wanted: places.len(),
        place: Place::Line(places.front().copied().unwrap_or(number)),
    })
}

/// As [`forwards`], of a segment that is not compressed.
fn from_the_end(path: &Path, most: usize, wanted: &impl Fn(&[u8]) -> bool) -> io::Result<Found> {
    let mut lines = match Backwards::open(path) {
        // No journal: the reader comes upon the same.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Ok(Found {
                wanted: 0,
                place: Place::Line(0),
            });
        }
        lines => lines?,
    };
    let (mut found, mut offset, mut seq) = (0, lines.end(), None);
    let mut is_last = true;
    while found < most || is_last {
        if !matches!(lines.advance(), Ok(true)) {
            break;
        }
        if is_last {
            seq = number(lines.line()).map(|seq| seq.saturating_add(1));
        }
        if found < most && wanted(lines.line()) {
            (offset, seq) = (lines.offset(), number(lines.line()));
            found += 1;
        }
        is_last = false;
    }
    Ok(Found {
        wanted: found,
        place: Place::Byte {
            lines: Lines::plain(lines.into_file(), offset),
            seq,
        },
    })
}

fn number(line: &[u8]) -> Option<u64> {
    View::parse(line).ok().map(|view| view.seq)
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
    fn of_a_segment_only_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 0..2);
        let content = std::fs::read(dir.path().join(&*journal.stats().segment)).unwrap();
        let path = dir.path().join(segment::name(u64::MAX, 1000));
        let file = File::create(&path).unwrap();
        // Before its lines 64 GiB of nothing, which nobody could read in the time of a test.
        let begin = 1 << 36;
        file.write_all_at(b"\n", begin - 1).unwrap();
        file.write_all_at(&content, begin).unwrap();
        file.write_all_at(b"{\"torn", begin + content.len() as u64)
            .unwrap();
        for lines in 0..=2 {
            let mut tail = open(dir.path(), lines, is_statement).unwrap();
            assert_eq!(rest(&mut tail), numbers(2 - lines as u32..2));
            assert_eq!(tail.next_seq(), 1 + journal.stats().last_seq);
        }
    }

    #[test]
    fn more_lines_than_there_are_and_a_compressed_segment_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        append(&mut journal, 0..20);
        let segments = segment::sorted(storage::names(dir.path()).unwrap());
        let (newest, complete) = segments.split_last().unwrap();
        assert!(!complete.is_empty() && !segment::is_compressed(newest));
        for name in complete {
            let path = dir.path().join(name);
            let content = std::fs::read(&path).unwrap();
            let compressed = zstd::encode_all(content.as_slice(), 1).unwrap();
            let name = format!("{name}{}", segment::COMPRESSED_SUFFIX);
            std::fs::write(dir.path().join(name), compressed).unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        for lines in [0, 1, 2, 5, 19, 20, 21, 1000, u64::MAX] {
            let mut tail = open(dir.path(), lines, is_statement).unwrap();
            let from = 20 - u32::try_from(lines).unwrap_or(20).min(20);
            assert_eq!(rest(&mut tail), numbers(from..20), "{lines} lines");
            assert_eq!(tail.next_seq(), 1 + journal.stats().last_seq);
        }
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
