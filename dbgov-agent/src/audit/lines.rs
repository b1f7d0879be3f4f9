//! The lines of one segment, compressed or not, forward and in bounded memory. The file may be another's: nothing but
//! a regular file is opened, and no line or zstd frame may ask for more memory than ours do.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use memchr::memchr;

use super::recover::LINE_BYTES_MAX;
use super::segment;

/// Bytes read at a time.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// zstd's window, as a power of two: 8 MiB, many times what we compress with. A frame that wants more is refused.
const WINDOW_LOG_MAX: u32 = 23;

/// What keeps a segment from being read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinesError {
    #[error("cannot read it: {0}")]
    Io(#[source] io::Error),
    /// It will not get better by itself.
    #[error("its compression is damaged: {0}")]
    Damaged(#[source] io::Error),
    #[error("it has {LINE_BYTES_MAX} bytes without the end of a line")]
    TooLong,
}

#[derive(Debug)]
pub(super) struct Lines {
    source: Source,
    /// Bytes that are read already; for a plain file those from `at` on.
    buffer: Vec<u8>,
    /// Where in `buffer` the current line stands.
    line: Range<usize>,
    /// Of `buffer`, handed out.
    taken: usize,
}

enum Source {
    Plain { file: File, at: u64 },
    Compressed(Box<zstd::Decoder<'static, BufReader<File>>>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::Plain { .. } => "Plain",
            Source::Compressed(_) => "Compressed",
        })
    }
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let is_compressed = path.to_str().is_some_and(segment::is_compressed);
        if !is_compressed {
            return Ok(Lines::plain(file, 0));
        }
        let mut decoder = zstd::Decoder::new(file)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Lines::of(Source::Compressed(Box::new(decoder))))
    }

    /// The lines of a file that is not compressed, from the one on that begins at this byte.
    pub(super) fn plain(file: File, at: u64) -> Self {
        Lines::of(Source::Plain { file, at })
    }

    fn of(source: Source) -> Self {
        Lines {
            source,
            buffer: Vec::new(),
            line: 0..0,
            taken: 0,
        }
    }

    /// The next line, without its newline; `None` where no more is there now. Half a line is not there yet.
    #[cfg(test)]
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, LinesError> {
        Ok(self.advance()?.then(|| self.line()))
    }

    /// Moves to the next line; says whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, LinesError> {
        let mut end = memchr(b'\n', &self.buffer[self.taken..]);
        if end.is_none() && self.read_more()? {
            end = memchr(b'\n', &self.buffer[self.taken..]);
        }
        let Some(bytes) = end else {
            return Ok(false);
        };
        self.line = self.taken..self.taken + bytes;
        self.taken += bytes + 1;
        Ok(true)
    }

    /// The line moved to, without its newline.
    pub(super) fn line(&self) -> &[u8] {
        &self.buffer[self.line.clone()]
    }

    /// What stands behind the last line, after there was no next one.
    pub(super) fn half_line(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Says whether a whole line came.
    fn read_more(&mut self) -> Result<bool, LinesError> {
        match &mut self.source {
            // Half a line is read anew each time: a restarting agent may have cut it off and written another.
            Source::Plain { at, .. } => {
                *at += self.taken as u64;
                self.buffer.clear();
            }
            Source::Compressed(_) => drop(self.buffer.drain(..self.taken)),
        }
        (self.line, self.taken) = (0..0, 0);
        loop {
            let have = self.buffer.len();
            self.buffer.resize(have + READ_BYTES, 0);
            let result = self.source.read(&mut self.buffer[have..], have as u64);
            let read = result.as_ref().copied().unwrap_or(0);
            self.buffer.truncate(have + read);
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.source.failed(error)),
                Ok(0) => return Ok(false),
                Ok(_) if memchr(b'\n', &self.buffer[have..]).is_some() => return Ok(true),
                Ok(_) if self.buffer.len() as u64 > LINE_BYTES_MAX => {
                    return Err(LinesError::TooLong);
                }
                Ok(_) => {}
            }
        }
    }
}

impl Source {
    /// `have`: bytes of a plain file from `at` on that the caller has.
    fn read(&mut self, buffer: &mut [u8], have: u64) -> io::Result<usize> {
        match self {
            Source::Plain { file, at } => file.read_at(buffer, *at + have),
            Source::Compressed(decoder) => decoder.read(buffer),
        }
    }

    fn failed(&self, error: io::Error) -> LinesError {
        // zstd's own errors have no number of the system's.
        match self {
            Source::Compressed(_) if error.raw_os_error().is_none() => LinesError::Damaged(error),
            _ => LinesError::Io(error),
        }
    }
}

/// Opens a file for reading that may have been put there by somebody else: no link is followed, no pipe waited for.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not a regular file",
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        found
    }

    fn plain(dir: &Path, content: &[u8]) -> PathBuf {
        let path = dir.join(segment::name(0, 1));
        std::fs::write(&path, content).unwrap();
        path
    }

    fn compressed(dir: &Path, frames: &[&[u8]]) -> PathBuf {
        let path = dir.join(format!("{}.zst", segment::name(0, 1)));
        let mut file = File::create(&path).unwrap();
        for frame in frames {
            file.write_all(&zstd::encode_all(*frame, 3).unwrap())
                .unwrap();
        }
        path
    }

    #[test]
    fn compressed_and_plain_are_the_same_lines() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(READ_BYTES * 3);
        let content = format!("one\n\n{long}\nhalf");
        let (head, tail) = content.as_bytes().split_at(READ_BYTES + 7);
        for path in [
            plain(dir.path(), content.as_bytes()),
            compressed(dir.path(), &[head, tail]),
        ] {
            let mut lines = Lines::open(&path).unwrap();
            assert_eq!(all(&mut lines), ["one", "", &long]);
            assert_eq!(lines.half_line(), b"half");
            assert!(lines.next().unwrap().is_none(), "and again");
            assert_eq!(lines.half_line(), b"half");
        }
    }

    #[test]
    fn a_truncated_compressed_segment_gives_what_is_whole_and_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = compressed(dir.path(), &[b"one\n", b"two\n"]);
        let content = std::fs::read(&path).unwrap();
        for cut in content.len() / 2 + 1..content.len() {
            std::fs::write(&path, &content[..cut]).unwrap();
            let mut lines = Lines::open(&path).unwrap();
            let mut found = 0;
            let error = loop {
                match lines.next() {
                    Ok(Some(_)) => found += 1,
                    Ok(None) => panic!("{cut} bytes pass for whole"),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, LinesError::Damaged(_)), "{error}");
            assert!(found <= 2);
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_file_asks_for() {
        let dir = tempfile::tempdir().unwrap();
        // 200 MiB of one line in a few KiB.
        let path = dir.path().join(format!("{}.zst", segment::name(0, 1)));
        let mut encoder = zstd::Encoder::new(File::create(&path).unwrap(), 3).unwrap();
        let block = vec![b'x'; 1 << 20];
        (0..200).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert!(matches!(lines.next(), Err(LinesError::TooLong)));
        assert!(lines.buffer.capacity() as u64 <= 4 * LINE_BYTES_MAX);

        // A window of 128 MiB.
        let mut encoder = zstd::Encoder::new(File::create(&path).unwrap(), 3).unwrap();
        encoder.window_log(27).unwrap();
        (0..200).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert!(matches!(lines.next(), Err(LinesError::Damaged(_))));
    }

    #[test]
    fn nothing_but_regular_files_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let target = plain(dir.path(), b"{}\n");
        let path = dir.path().join(segment::name(0, 2));
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(Lines::open(&path).is_err(), "a link");
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Lines::open(&path).is_err(), "a pipe");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Lines::open(&path).is_err(), "a directory");
    }
}
