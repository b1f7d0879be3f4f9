//! The lines of a plain segment, the last first: only as much of the file is read as holds those that are asked for. The
//! file may be another's, and grows meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memrchr;

use super::lines::{READ_BYTES, open_regular};
use super::recover::LINE_BYTES_MAX;

pub(super) struct Backwards {
    file: File,
    /// A stretch of the file that ends where the line handed out does.
    buffer: Vec<u8>,
    /// Where in the file `buffer` begins.
    at: u64,
    /// Where in the file the newline of the next line stands; `None` at the beginning.
    newline: Option<u64>,
    /// Where in the file the line handed out begins.
    line: u64,
    /// Behind the last whole line of the file.
    end: u64,
}

impl Backwards {
    /// Stands behind the last whole line.
    ///
    /// # Errors
    /// Of kind `InvalidData` where half a line is longer than one of ours may be; so has [`Self::advance`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let len = file.metadata()?.len();
        let mut lines = Backwards {
            file,
            buffer: Vec::new(),
            at: len,
            newline: None,
            line: len,
            end: 0,
        };
        lines.newline = lines.newline_before(len)?;
        lines.end = lines.newline.map_or(0, |newline| newline + 1);
        lines.line = lines.end;
        Ok(lines)
    }

    /// Moves to the line before; says whether there is one.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        let Some(newline) = self.newline else {
            return Ok(false);
        };
        self.newline = self.newline_before(newline)?;
        self.line = self.newline.map_or(0, |before| before + 1);
        Ok(true)
    }

    /// The line moved to, without its newline.
    pub(super) fn line(&self) -> &[u8] {
        let begin = self.line.saturating_sub(self.at) as usize;
        self.buffer.get(begin..).unwrap_or_default()
    }

    /// Where the line moved to begins, bytes from the beginning of the file.
    pub(super) fn offset(&self) -> u64 {
        self.line
    }

    /// Behind the last whole line, bytes from the beginning of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The file, also where its name has gone meanwhile.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Where the last newline before `offset` stands. What is behind `offset` is given up.
    fn newline_before(&mut self, offset: u64) -> io::Result<Option<u64>> {
        self.buffer
            .truncate(offset.saturating_sub(self.at) as usize);
        let mut unseen = self.buffer.len();
        loop {
            if let Some(index) = memrchr(b'\n', &self.buffer[..unseen]) {
                return Ok(Some(self.at + index as u64));
            }
            if self.at == 0 {
                return Ok(None);
            }
            if self.buffer.len() as u64 > LINE_BYTES_MAX {
                let what = format!("{LINE_BYTES_MAX} bytes without the end of a line");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            unseen = self.read_before()?;
        }
    }

    /// Says how many bytes came. As many as there are already: a long line is not copied once for each read.
    fn read_before(&mut self) -> io::Result<usize> {
        let bytes = (READ_BYTES.max(self.buffer.len()) as u64).min(self.at);
        let at = self.at - bytes;
        let mut buffer = vec![0; bytes as usize];
        self.file.read_exact_at(&mut buffer, at)?;
        buffer.append(&mut self.buffer);
        (self.buffer, self.at) = (buffer, at);
        Ok(bytes as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a file with this content, the last first, and where the last whole one ends.
    fn backwards(content: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        std::fs::write(&path, content).unwrap();
        let mut lines = Backwards::open(&path).unwrap();
        let mut found = Vec::new();
        while lines.advance().unwrap() {
            let (offset, line) = (lines.offset() as usize, lines.line());
            assert_eq!(&content[offset..offset + line.len()], line);
            found.push(line.to_vec());
        }
        assert!(!lines.advance().unwrap(), "and again");
        (found, lines.end())
    }

    #[test]
    fn all_lines_but_half_a_one() {
        let long = vec![b'x'; READ_BYTES * 3 + 7];
        let lines: [&[u8]; 6] = [
            b"one",
            b"",
            &long,
            b"two",
            &long[..READ_BYTES - 1],
            b"three",
        ];
        let whole: Vec<u8> = lines.iter().flat_map(|l| [*l, b"\n"].concat()).collect();
        let reversed: Vec<Vec<u8>> = lines.iter().rev().map(|line| line.to_vec()).collect();
        for half in [&b""[..], b"half", &long] {
            let content = [&whole, half].concat();
            assert_eq!(backwards(&content), (reversed.clone(), whole.len() as u64));
        }
    }

    #[test]
    fn no_whole_line() {
        for content in [&b""[..], b"half", &[b'x'; READ_BYTES + 1]] {
            assert_eq!(backwards(content), (Vec::new(), 0));
        }
        assert_eq!(backwards(b"\n"), (vec![Vec::new()], 1));
    }

    #[test]
    fn only_the_end_is_read_and_memory_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        // A hole of 64 GiB: reading it would not end, keeping it not fit.
        let file = File::create(&path).unwrap();
        let end = b"\nlast but one\nlast\n";
        file.write_all_at(end, 1 << 36).unwrap();
        let mut lines = Backwards::open(&path).unwrap();
        for expected in [&b"last"[..], b"last but one"] {
            assert!(lines.advance().unwrap());
            assert_eq!(lines.line(), expected);
        }
        assert!(lines.buffer.capacity() <= 2 * READ_BYTES);
        let error = lines.advance().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(lines.buffer.capacity() as u64 <= 4 * LINE_BYTES_MAX);
    }
}
