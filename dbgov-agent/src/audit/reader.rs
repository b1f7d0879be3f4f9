//! Reads a journal forward, from any record on, while it is written, compressed and removed under the reader: how sinks
//! get their records. Reads the files alone; the agent need not run.

use std::io;
use std::path::{Path, PathBuf};

use super::lines::{Lines, LinesError};
use super::recover::LINE_BYTES_MAX;
use super::segment;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "cannot read the journal in {dir}: {source}; is this the [audit] dir, and may you read it (it is root's)?"
    )]
    Dir { dir: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Segment { path: PathBuf, source: io::Error },
    #[error("cannot read on in {path}: its compression is damaged: {source}")]
    Damaged { path: PathBuf, source: io::Error },
    #[error("{path} is not a journal: {LINE_BYTES_MAX} bytes without the end of a line")]
    NoLines { path: PathBuf },
}

/// Records that are no more in the journal, by their numbers; both ends are missing too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub from: u64,
    pub to: u64,
}

/// A place in a journal, moving forward line by line.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    current: Option<Current>,
    /// Number of the line that comes next.
    next_seq: u64,
    missed: Option<Missed>,
}

#[derive(Debug)]
struct Current {
    name: String,
    first_seq: u64,
    lines: Lines,
    /// Number of the next line of `lines`.
    next_seq: u64,
    /// It cannot be read on.
    is_damaged: bool,
}

impl Reader {
    /// Stands before the record number `seq + 1`, or before the oldest there is where that is gone. With 0: before the
    /// oldest. The directory must be there; records need not.
    pub fn open_after(dir: &Path, seq: u64) -> Result<Self, ReadError> {
        let mut reader = Reader {
            dir: dir.to_owned(),
            current: None,
            next_seq: seq.saturating_add(1),
            missed: None,
        };
        if let Some(name) = reader.next_segment()? {
            reader.enter(name)?;
        }
        Ok(reader)
    }

    /// Stands where `lines` do in the named segment, before the record number `seq`; without, at its beginning.
    pub(super) fn open_within(dir: &Path, name: String, lines: Lines, seq: Option<u64>) -> Self {
        let first_seq = segment::first_seq(&name).unwrap_or_default();
        let next_seq = seq.unwrap_or(first_seq);
        Reader {
            dir: dir.to_owned(),
            current: Some(Current {
                name,
                first_seq,
                lines,
                next_seq,
                is_damaged: false,
            }),
            next_seq,
            missed: None,
        }
    }

    /// The next line, without its newline; `None` where no more is there now: call again later. Half a line is not there
    /// yet. After [`ReadError::Damaged`] or [`ReadError::NoLines`], which are told once, it goes on with the next
    /// segment, and [`take_missed`](Self::take_missed) tells what could not be read.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        // The first look is cheap. Only where nothing came the names are read; and a segment is complete only once a
        // newer one is there, so it is looked at again then.
        while !self.advance()? {
            let Some(next) = self.next_segment()? else {
                return Ok(None);
            };
            if self.advance()? {
                break;
            }
            self.enter(next)?;
        }
        Ok(self.current.as_ref().map(|current| current.lines.line()))
    }

    /// Number of the record that [`next_line`](Self::next_line) gives next, as far as is known now.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Name of the segment that is being read.
    pub fn segment(&self) -> Option<&str> {
        self.current.as_ref().map(|current| current.name.as_str())
    }

    /// What was passed over since the last call: removed by retention, or not readable.
    pub fn take_missed(&mut self) -> Option<Missed> {
        self.missed.take()
    }

    /// Moves to the next line that is wanted within the segment.
    fn advance(&mut self) -> Result<bool, ReadError> {
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        if current.is_damaged {
            return Ok(false);
        }
        loop {
            match current.lines.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    let path = self.dir.join(&current.name);
                    current.is_damaged = !matches!(error, LinesError::Io(_));
                    return Err(match error {
                        LinesError::Io(source) => ReadError::Segment { path, source },
                        LinesError::Damaged(source) => ReadError::Damaged { path, source },
                        LinesError::TooLong => ReadError::NoLines { path },
                    });
                }
            }
            let seq = current.next_seq;
            current.next_seq = seq.saturating_add(1);
            if seq >= self.next_seq {
                self.next_seq = current.next_seq;
                return Ok(true);
            }
        }
    }

    /// The name of the segment after the current one; at first of the one that holds the record wanted, or the oldest.
    fn next_segment(&self) -> Result<Option<String>, ReadError> {
        let names = segment::list(&self.dir)?;
        let Some(current) = &self.current else {
            let behind = names.partition_point(|name| {
                segment::first_seq(name).is_some_and(|first_seq| first_seq <= self.next_seq)
            });
            return Ok(names.into_iter().nth(behind.saturating_sub(1)));
        };
        let stem = segment::stem(&current.name);
        let at = match names.iter().position(|name| segment::stem(name) == stem) {
            Some(at) => at + 1,
            // Removed; and one that held no whole line was followed by another of the same number.
            None => names.partition_point(|name| {
                segment::first_seq(name).is_some_and(|seq| seq < current.first_seq)
            }),
        };
        Ok(names.into_iter().nth(at))
    }

    /// Goes on at the beginning of the named segment; stays where it is when that is gone by now.
    fn enter(&mut self, name: String) -> Result<(), ReadError> {
        let first_seq = segment::first_seq(&name).unwrap_or_default();
        let path = self.dir.join(&name);
        let lines = match Lines::open(&path) {
            Ok(lines) => lines,
            // Removed, or compressed, since its name was read: the next look finds what is there then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(ReadError::Segment { path, source }),
        };
        // Within a run of the reader segments only go forward, but for one that was begun anew.
        let is_first = self.current.is_none();
        if first_seq > self.next_seq {
            self.pass_over(self.next_seq, first_seq - 1);
        }
        if !is_first || first_seq > self.next_seq {
            self.next_seq = first_seq;
        }
        self.current = Some(Current {
            name,
            first_seq,
            lines,
            next_seq: first_seq,
            is_damaged: false,
        });
        Ok(())
    }

    fn pass_over(&mut self, from: u64, to: u64) {
        let from = self.missed.map_or(from, |missed| missed.from.min(from));
        self.missed = Some(Missed { from, to });
    }
}

#[cfg(test)]
mod tests;
