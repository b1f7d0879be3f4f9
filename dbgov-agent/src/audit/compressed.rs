//! The last line of a compressed segment, where it is the newest one there is.

use std::io::{self, Read};

use super::recover::LINE_BYTES_MAX;
use super::storage::SegmentFile;

/// Bytes decompressed at a time.
const BLOCK_BYTES: usize = 256 * 1024;

pub(super) struct LastLine {
    pub(super) text: Vec<u8>,
    /// From 1.
    pub(super) number: u64,
}

/// What stands before the last newline; empty where there is none.
pub(super) fn last_line<F: SegmentFile>(file: &F) -> io::Result<LastLine> {
    let mut decoder = zstd::Decoder::new(FromStart { file, at: 0 })?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut last = LastLine {
        text: Vec::new(),
        number: 0,
    };
    let mut next = Vec::new();
    loop {
        let read = match decoder.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(last);
        }
        for piece in block[..read].split_inclusive(|byte| *byte == b'\n') {
            next.extend_from_slice(piece);
            if next.len() as u64 > LINE_BYTES_MAX {
                return Err(io::Error::other("a line in it has no end"));
            }
            if next.pop_if(|byte| *byte == b'\n').is_some() {
                std::mem::swap(&mut last.text, &mut next);
                last.number += 1;
                next.clear();
            }
        }
    }
}

struct FromStart<'a, F> {
    file: &'a F,
    at: u64,
}

impl<F: SegmentFile> Read for FromStart<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
