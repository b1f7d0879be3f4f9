//! The newest lines of a journal, and those to come. Reads the files alone; the agent need not run.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::recover::LINE_BYTES_MAX;
use super::segment;
use super::storage;

/// How often a follower looks for more: below what a person notices, and next to nothing in cost.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error(
        "cannot read the journal in {dir}: {source}; is this the [audit] dir, and may you read it (it is root's)?"
    )]
    Dir { dir: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Segment { path: PathBuf, source: io::Error },
    #[error("{path} is not a journal: {LINE_BYTES_MAX} bytes without the end of a line")]
    NoLines { path: PathBuf },
}

/// A place in a journal, moving forward line by line.
#[derive(Debug)]
pub struct Tail {
    dir: PathBuf,
    current: Option<Current>,
    /// Bytes of the current segment from `line_at` on that are read already.
    buffer: Vec<u8>,
    /// Of `buffer`, handed out.
    taken: usize,
}

#[derive(Debug)]
struct Current {
    name: String,
    first_seq: u64,
    file: File,
    /// Where in the file `buffer` begins.
    buffer_at: u64,
}

impl Tail {
    /// Stands before the newest `lines` lines of the journal; with 0, at its end.
    pub fn open(dir: &Path, lines: u64) -> Result<Self, TailError> {
        let mut tail = Tail {
            dir: dir.to_owned(),
            current: None,
            buffer: Vec::new(),
            taken: 0,
        };
        let mut missing = lines;
        for name in tail.segments()?.into_iter().rev() {
            // Removed since it was listed: then so was everything older.
            let Some(mut current) = tail.open_segment(name)? else {
                break;
            };
            let (offset, found) =
                last_lines(&current.file, missing).map_err(tail.unreadable(&current.name))?;
            current.buffer_at = offset;
            missing -= found;
            tail.current = Some(current);
            if missing == 0 {
                break;
            }
        }
        Ok(tail)
    }

    /// The next line, without its newline; `None` where no more is there now. Half a line is not there yet.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, TailError> {
        loop {
            if let Some(end) = newline(&self.buffer[self.taken..]) {
                let start = self.taken;
                self.taken += end + 1;
                return Ok(Some(&self.buffer[start..start + end]));
            }
            // In this order: a segment is complete once a newer one is there.
            let newer = self.newer_segment()?;
            if self.read_more()? {
                continue;
            }
            match newer {
                Some(current) => self.switch_to(current),
                None => return Ok(None),
            }
        }
    }

    fn switch_to(&mut self, current: Current) {
        self.buffer.clear();
        self.taken = 0;
        self.current = Some(current);
    }

    /// Reads on in the current segment; says whether a whole line came. Half a line is read anew each time, since a
    /// restarting agent may have cut it off and written another in its place.
    fn read_more(&mut self) -> Result<bool, TailError> {
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        current.buffer_at += self.taken as u64;
        self.buffer.clear();
        self.taken = 0;
        loop {
            let have = self.buffer.len();
            self.buffer.resize(have + READ_BYTES, 0);
            let read = current
                .file
                .read_at(&mut self.buffer[have..], current.buffer_at + have as u64);
            let read = match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.buffer.truncate(have);
                    continue;
                }
                Err(source) => {
                    self.buffer.truncate(have);
                    let path = self.dir.join(&current.name);
                    return Err(TailError::Segment { path, source });
                }
                Ok(read) => read,
            };
            self.buffer.truncate(have + read);
            if newline(&self.buffer[have..]).is_some() {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            if self.buffer.len() as u64 > LINE_BYTES_MAX {
                let path = self.dir.join(&current.name);
                return Err(TailError::NoLines { path });
            }
        }
    }

    /// The segment after the current one.
    fn newer_segment(&self) -> Result<Option<Current>, TailError> {
        let names = self.segments()?;
        let at = match &self.current {
            None => 0,
            Some(current) => match names.iter().position(|name| *name == current.name) {
                Some(at) => at + 1,
                // Removed; and one that held no whole line was followed by another of the same number.
                None => names.partition_point(|name| {
                    segment::first_seq(name).is_some_and(|seq| seq < current.first_seq)
                }),
            },
        };
        match names.into_iter().nth(at) {
            Some(name) => self.open_segment(name),
            None => Ok(None),
        }
    }

    fn segments(&self) -> Result<Vec<String>, TailError> {
        let names = storage::names(&self.dir).map_err(|source| TailError::Dir {
            dir: self.dir.clone(),
            source,
        })?;
        Ok(segment::sorted(names))
    }

    /// `None` where it is gone by now.
    fn open_segment(&self, name: String) -> Result<Option<Current>, TailError> {
        let first_seq = segment::first_seq(&name).unwrap_or_default();
        match File::open(self.dir.join(&name)) {
            Ok(file) => Ok(Some(Current {
                name,
                first_seq,
                file,
                buffer_at: 0,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(&name)(error)),
        }
    }

    fn unreadable(&self, name: &str) -> impl FnOnce(io::Error) -> TailError {
        let path = self.dir.join(name);
        move |source| TailError::Segment { path, source }
    }
}

/// Where the last `lines` whole lines of a file begin, and how many there are.
fn last_lines(file: &File, lines: u64) -> io::Result<(u64, u64)> {
    let whole = storage::line_start(file, file.metadata()?.len())?;
    // The last line's own newline is the first that is met.
    let back = storage::back(file, whole, lines.saturating_add(1))?;
    Ok((back.offset, back.newlines.min(lines)))
}

fn newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::journal::{Journal, JournalConfig};
    use super::super::samples;
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

    fn text(line: &[u8]) -> String {
        let line: serde_json::Value = serde_json::from_slice(line).expect("a whole line");
        line["statement"]["text"].as_str().unwrap().to_owned()
    }

    fn rest(tail: &mut Tail) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = tail.next_line().unwrap() {
            found.push(text(line));
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
            let mut tail = Tail::open(dir.path(), lines).unwrap();
            let from = 20u32.saturating_sub(lines as u32);
            assert_eq!(rest(&mut tail), numbers(from..20), "{lines} lines");
        }
    }

    #[test]
    fn following_over_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = Tail::open(dir.path(), 10).unwrap();
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
        let mut tail = Tail::open(dir.path(), 0).unwrap();
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
        let mut tail = Tail::open(dir.path(), 1).unwrap();
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
        let mut tail = Tail::open(dir.path(), 5).unwrap();
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
        let mut tail = Tail::open(dir.path(), 2).unwrap();
        assert_eq!(rest(&mut tail), [long, "1".to_owned()]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Tail::open(Path::new("/nowhere/audit"), 1).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/audit") && text.contains("[audit] dir"),
            "{text}"
        );
    }
}
