//! Where the journal goes on. The newest segment is read from its end: what a crash or a power loss left half-written
//! is cut off into a file beside it, and the last whole record gives the next number and the hash to link to. What stands
//! before that record is not read: a hole there (blocks of the last second that a power loss kept from the disk while
//! later ones reached it) is for whoever checks the chain, and the gap of cause `crash` behind it says what it is.

use std::io;
use std::path::{Path, PathBuf};

use super::compressed;
use super::header::{FORMAT_VERSION, ReadHeader};
use super::line::{self, FIRST_PREV, HashHex, LineError};
use super::record::{GapBlock, Kind, Record};
use super::segment;
use super::storage::{self, SegmentFile, Storage};
use super::time;

/// A line longer than this is never written, so none is read: a full statement escaped at its worst is 6 MiB, and the
/// rest is room for parameters.
pub(super) const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Whole lines at the end that may be damaged. A power loss leaves a half line and, where a block before it was not on
/// disk yet, one line with a hole. More is not what a crash does, and not ours to put aside.
const TORN_LINES_MAX: u32 = 1;
/// Side files of one place before we give up: each is left by a recovery that was itself cut short.
const TORN_COPIES_MAX: u32 = 1000;
const COPY_BLOCK_BYTES: usize = 64 * 1024;
/// A header's line is some 600 bytes and the node's name.
const HEADER_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "cannot {action} {path}: {source}; make it writable for the user dbgov runs as (root), or set another [audit] dir"
    )]
    Unusable {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "another dbgov writes the journal in {dir}: stop it, or set another [audit] dir (see `fuser {dir}/audit.lock`)"
    )]
    Locked { dir: PathBuf },
    #[error("cannot {action} {path}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "{path} line {line}: {reason}, so the journal cannot go on after it; move this file out of the directory and \
         keep it as evidence: dbgov then goes on after the last record of the segment before"
    )]
    Damaged {
        path: PathBuf,
        line: u64,
        reason: LineError,
    },
    #[error(
        "{path} line {line}: {reason}; run the dbgov that wrote it, or set another [audit] dir"
    )]
    Version {
        path: PathBuf,
        line: u64,
        reason: LineError,
    },
}

impl OpenError {
    pub(super) fn unusable(path: &Path, action: &'static str, source: io::Error) -> Self {
        OpenError::Unusable {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

/// Where to go on.
#[derive(Debug)]
pub(super) struct Recovered<F> {
    /// The segment to go on in: its name, the file and its length. None: a new one is begun.
    pub(super) segment: Option<(String, F, u64)>,
    pub(super) last_seq: u64,
    pub(super) last_hash: HashHex,
    /// No record stands behind the last signature.
    pub(super) ends_signed: bool,
    /// Gaps to be recorded.
    pub(super) notes: Vec<Record>,
}

/// `dir` is for messages only. The journal goes on in the newest segment only where that is signed with this `key`; with
/// none given it always does.
pub(super) fn recover<S: Storage>(
    storage: &S,
    dir: &Path,
    key: Option<&str>,
) -> Result<Recovered<S::File>, OpenError> {
    let recovery = Recovery { storage, dir };
    let names = storage.names().map_err(recovery.failed("list", ""))?;
    let mut notes = Vec::new();
    for name in segment::sorted(names).into_iter().rev() {
        let mut file = storage
            .open(&name)
            .map_err(recovery.failed("open", &name))?;
        if segment::is_compressed(&name) {
            // Complete, so nothing in it is torn. What came after it was moved away.
            let link = recovery.last_of_compressed(&name, &file)?;
            if notes.is_empty() {
                notes.push(crash_gap(None, None));
            }
            return Ok(Recovered {
                segment: None,
                last_seq: link.seq,
                last_hash: link.hash,
                ends_signed: link.kind == Kind::Checkpoint.name(),
                notes,
            });
        }
        if let Some((end, link)) = recovery.cut_torn_end(&name, &mut file, &mut notes)? {
            let header = header(&file, end).map_err(recovery.failed("read", &name))?;
            // Who stops in good order says so last. Anything else may have taken records along that were on no disk.
            let is_stop = match &header {
                Some(_) => link.is_stop,
                None => link.is_stop || link.kind == Kind::AgentStop.name(),
            };
            if !is_stop && notes.is_empty() {
                notes.push(crash_gap(None, None));
            }
            let goes_on = key.is_none_or(|key| {
                header.is_some_and(|header| header.key == key && header.format == FORMAT_VERSION)
            });
            return Ok(Recovered {
                segment: goes_on.then_some((name, file, end)),
                last_seq: link.seq,
                last_hash: link.hash,
                ends_signed: link.kind == Kind::Checkpoint.name(),
                notes,
            });
        }
        drop(file);
        storage
            .remove(&name)
            .and_then(|()| storage.sync_dir())
            .map_err(recovery.failed("remove the empty segment", &name))?;
    }
    Ok(Recovered {
        segment: None,
        last_seq: 0,
        last_hash: FIRST_PREV,
        ends_signed: true,
        notes,
    })
}

struct Recovery<'a, S> {
    storage: &'a S,
    dir: &'a Path,
}

impl<S: Storage> Recovery<'_, S> {
    fn failed(&self, action: &'static str, name: &str) -> impl Fn(io::Error) -> OpenError {
        let path = self.dir.join(name);
        move |source| OpenError::Io {
            path: path.clone(),
            action,
            source,
        }
    }

    fn last_of_compressed(&self, name: &str, file: &S::File) -> Result<line::Link, OpenError> {
        let last = compressed::last_line(file).map_err(self.failed("read", name))?;
        line::check_line(&last.text).map_err(|reason| OpenError::Damaged {
            path: self.dir.join(name),
            line: last.number,
            reason,
        })
    }

    /// Makes the segment end with a whole record; `None` where none is left.
    fn cut_torn_end(
        &self,
        name: &str,
        file: &mut S::File,
        notes: &mut Vec<Record>,
    ) -> Result<Option<(u64, line::Link)>, OpenError> {
        let unreadable = self.failed("read", name);
        let len = file.size().map_err(&unreadable)?;
        let mut end = storage::line_start(file, len).map_err(&unreadable)?;
        let mut torn_lines = 0;
        let last = loop {
            if end == 0 {
                break None;
            }
            let start = storage::line_start(file, end - 1).map_err(&unreadable)?;
            match check(file, start, end - 1).map_err(&unreadable)? {
                Ok(link) => break Some(link),
                Err(reason @ LineError::Version(_)) => {
                    return Err(OpenError::Version {
                        path: self.dir.join(name),
                        line: line_number(file, start).map_err(&unreadable)?,
                        reason,
                    });
                }
                Err(reason) if torn_lines == TORN_LINES_MAX => {
                    return Err(OpenError::Damaged {
                        path: self.dir.join(name),
                        line: line_number(file, start).map_err(&unreadable)?,
                        reason,
                    });
                }
                Err(_) => {
                    torn_lines += 1;
                    end = start;
                }
            }
        };
        if end < len {
            notes.push(self.cut(name, file, end, len)?);
        }
        // Also where nothing was cut: a killed process may have left content and name in the cache of the kernel, and no
        // later sync comes where the segment is full.
        file.sync()
            .and_then(|()| self.storage.sync_dir())
            .map_err(self.failed("sync", name))?;
        Ok(last.map(|link| (end, link)))
    }

    /// Moves the bytes from `end` on into a side file. They are durable there before they go from here.
    fn cut(&self, name: &str, file: &mut S::File, end: u64, len: u64) -> Result<Record, OpenError> {
        let side_file = match self.keep_aside(name, file, end, len) {
            Ok(side_file) => Some(side_file),
            // A disk that is full is no reason not to start: the gap says what is gone, only the half line is not kept.
            Err(error) if storage::is_full(&error) => {
                tracing::error!(segment = name, bytes = len - end, %error, "the torn end of the journal cannot be kept");
                None
            }
            Err(source) => return Err(self.failed("keep the torn end of", name)(source)),
        };
        file.set_size(end)
            .map_err(self.failed("cut the torn end off", name))?;
        tracing::warn!(
            segment = name,
            bytes = len - end,
            side_file,
            "cut off the torn end of the journal"
        );
        Ok(crash_gap(Some(len - end), side_file))
    }

    fn keep_aside(&self, name: &str, file: &S::File, end: u64, len: u64) -> io::Result<String> {
        let (side_name, mut side) = self.create_side(name, end)?;
        match copy(file, &mut side, end, len).and_then(|()| self.storage.sync_dir()) {
            Ok(()) => Ok(side_name),
            Err(error) => {
                drop(side);
                // Half a side file would pass for a whole one.
                self.storage.remove(&side_name)?;
                Err(error)
            }
        }
    }

    fn create_side(&self, name: &str, end: u64) -> io::Result<(String, S::File)> {
        let mut copy = 0;
        loop {
            let side_name = segment::torn_name(name, end, copy);
            match self.storage.create(&side_name) {
                Ok(side) => return Ok((side_name, side)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && copy < TORN_COPIES_MAX =>
                {
                    copy += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The header of a segment of `end` bytes, where it has one.
fn header<F: SegmentFile>(file: &F, end: u64) -> io::Result<Option<ReadHeader>> {
    let mut head = vec![0; end.min(HEADER_BYTES_MAX) as usize];
    storage::read_exact_at(file, &mut head, 0)?;
    let first = head.split(|byte| *byte == b'\n').next();
    Ok(first.and_then(ReadHeader::of_line))
}

fn copy<F: SegmentFile>(from: &F, to: &mut F, start: u64, end: u64) -> io::Result<()> {
    let mut block = vec![0; COPY_BLOCK_BYTES];
    let mut at = start;
    while at < end {
        let bytes = COPY_BLOCK_BYTES.min((end - at) as usize);
        storage::read_exact_at(from, &mut block[..bytes], at)?;
        storage::write_all_at(to, &block[..bytes], at - start, &mut 0)?;
        at += bytes as u64;
    }
    to.sync()
}

fn check<F: SegmentFile>(
    file: &F,
    start: u64,
    end: u64,
) -> io::Result<Result<line::Link, LineError>> {
    if end - start > LINE_BYTES_MAX {
        return Ok(Err(LineError::NotARecord(format!(
            "a line of {} bytes",
            end - start
        ))));
    }
    let mut bytes = vec![0; (end - start) as usize];
    storage::read_exact_at(file, &mut bytes, start)?;
    Ok(line::check_line(&bytes))
}

/// The number, from 1, of the line that begins at `start`.
fn line_number<F: SegmentFile>(file: &F, start: u64) -> io::Result<u64> {
    let mut block = vec![0; COPY_BLOCK_BYTES];
    let (mut at, mut newlines) = (0, 0);
    while at < start {
        let bytes = COPY_BLOCK_BYTES.min((start - at) as usize);
        storage::read_exact_at(file, &mut block[..bytes], at)?;
        newlines += block[..bytes].iter().filter(|byte| **byte == b'\n').count() as u64;
        at += bytes as u64;
    }
    Ok(newlines + 1)
}

/// When the crash was nobody knows; the record has the time of its discovery.
fn crash_gap(bytes: Option<u64>, side_file: Option<String>) -> Record {
    let mut record = Record::new(Kind::Gap, time::unix_now_ns());
    record.gap = Some(Box::new(GapBlock {
        bytes,
        cause: "crash",
        side_file,
        ..GapBlock::default()
    }));
    record
}
