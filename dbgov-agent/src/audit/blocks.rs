//! A segment in pieces of about a mebibyte that each hold whole lines: the zstd frames of a compressed one, stretches of a
//! plain one. Any of them can be read without those before it. The file may be another's: memory is bounded whatever it
//! says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memrchr;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::lines::open_regular;
use super::recover::LINE_BYTES_MAX;
use super::segment;

/// Of a plain segment, content of one block: as of the frames of a compressed one.
const BLOCK_BYTES: usize = 1 << 20;
/// Read and decompressed at a time.
const READ_BYTES: usize = 128 * 1024;
/// Content of one frame: the longest line and what is before it. Beyond, it is none of ours.
const CONTENT_BYTES_MAX: usize = LINE_BYTES_MAX as usize + BLOCK_BYTES;
/// zstd's window, as a power of two: as in `lines`.
const WINDOW_LOG_MAX: u32 = 23;

/// Where a block lies in the file, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

pub(super) struct Blocks {
    file: File,
    compressed: bool,
    /// Where the next block begins.
    at: u64,
    input: Vec<u8>,
}

impl Blocks {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Blocks {
            file: open_regular(path)?,
            compressed: path.to_str().is_some_and(segment::is_compressed),
            at: 0,
            input: Vec::new(),
        })
    }

    /// Length of the file, bytes.
    pub(super) fn file_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Replaces `content` by the next block, lines with their newlines; `None` at the end. Of a plain segment half a line
    /// is not there yet.
    pub(super) fn next(&mut self, content: &mut Vec<u8>) -> io::Result<Option<Span>> {
        let offset = self.at;
        let bytes = if self.compressed {
            self.read_frame(offset, content)?
        } else {
            self.read_stretch(offset, content)?
        };
        self.at = offset + bytes;
        Ok((bytes > 0).then_some(Span { offset, bytes }))
    }

    /// Replaces `content` by this block.
    ///
    /// # Errors
    /// Of kind `InvalidData` also where there is none like it.
    pub(super) fn read(&mut self, span: Span, content: &mut Vec<u8>) -> io::Result<()> {
        let bytes = if self.compressed {
            self.read_frame(span.offset, content)?
        } else {
            let bytes = usize::try_from(span.bytes)
                .ok()
                .filter(|bytes| *bytes <= CONTENT_BYTES_MAX);
            content.clear();
            content.resize(bytes.ok_or_else(|| damaged("a block is too long"))?, 0);
            self.file.read_exact_at(content, span.offset)?;
            span.bytes
        };
        if bytes != span.bytes || content.last() != Some(&b'\n') {
            return Err(damaged("a block is not where the index has it"));
        }
        Ok(())
    }

    /// Says how many bytes of the file it takes; 0 at the end.
    fn read_stretch(&mut self, offset: u64, content: &mut Vec<u8>) -> io::Result<u64> {
        content.clear();
        let mut wanted = BLOCK_BYTES;
        loop {
            let have = content.len();
            content.resize(wanted, 0);
            let read = read_up_to(&self.file, &mut content[have..], offset + have as u64)?;
            content.truncate(have + read);
            if let Some(end) = memrchr(b'\n', &content[have..]) {
                content.truncate(have + end + 1);
                return Ok(content.len() as u64);
            }
            if content.len() < wanted {
                content.clear();
                return Ok(0);
            }
            if wanted >= CONTENT_BYTES_MAX {
                return Err(damaged("a line has no end"));
            }
            wanted = (wanted * 2).min(CONTENT_BYTES_MAX);
        }
    }

    /// As [`read_stretch`](Self::read_stretch), of a frame.
    fn read_frame(&mut self, offset: u64, content: &mut Vec<u8>) -> io::Result<u64> {
        content.clear();
        // Of most frames all: growing would double it.
        content.reserve_exact(BLOCK_BYTES + 2 * READ_BYTES);
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        let mut at = offset;
        loop {
            self.input.resize(READ_BYTES, 0);
            let read = read_up_to(&self.file, &mut self.input, at)?;
            if read == 0 {
                return match at == offset {
                    true => Ok(0),
                    false => Err(damaged("it ends within a frame")),
                };
            }
            let mut input = InBuffer::around(&self.input[..read]);
            let ended = decompress(&mut decoder, &mut input, content)?;
            at += input.pos() as u64;
            if ended {
                return Ok(at - offset);
            }
        }
    }
}

/// Takes all of the input unless the frame ends; says whether it does.
fn decompress(
    decoder: &mut Decoder<'static>,
    input: &mut InBuffer,
    content: &mut Vec<u8>,
) -> io::Result<bool> {
    loop {
        let have = content.len();
        if have > CONTENT_BYTES_MAX {
            return Err(damaged("a frame of it is larger than dbgov makes them"));
        }
        content.resize(have + READ_BYTES, 0);
        let mut output = OutBuffer::around(&mut content[have..]);
        let left = decoder.run(input, &mut output);
        let written = output.pos();
        content.truncate(have + written);
        if left? == 0 {
            return Ok(true);
        }
        if input.pos() == input.src.len() && written < READ_BYTES {
            return Ok(false);
        }
    }
}

/// Less only at the end of the file.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read_at(&mut buffer[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The lines of a block without their newlines.
pub(super) fn lines(content: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let whole = content.strip_suffix(b"\n");
    // An empty block has no line rather than an empty one.
    let lines = whole.map(|whole| whole.split(|byte| *byte == b'\n'));
    lines.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Content in frames, each of so many lines.
    fn compressed(lines: &[&str], each: usize) -> Vec<u8> {
        let frames = lines.chunks(each).map(|lines| {
            let content: String = lines.iter().map(|line| format!("{line}\n")).collect();
            zstd::encode_all(content.as_bytes(), 1).unwrap()
        });
        frames.collect::<Vec<_>>().concat()
    }

    fn write(name: &str, content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        File::create(&path).unwrap().write_all(content).unwrap();
        (dir, path)
    }

    fn walk(path: &Path) -> io::Result<(Vec<Span>, Vec<String>)> {
        let mut blocks = Blocks::open(path)?;
        let (mut spans, mut all, mut content) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(span) = blocks.next(&mut content)? {
            spans.push(span);
            all.extend(lines(&content).map(|line| String::from_utf8(line.to_vec()).unwrap()));
        }
        Ok((spans, all))
    }

    #[test]
    fn both_forms_forward_and_at_any_place() {
        let long = "x".repeat(BLOCK_BYTES * 3);
        let texts = ["a", "", &long, "b", "c"];
        let plain: String = texts.iter().map(|text| format!("{text}\n")).collect();
        for (name, content) in [
            ("s.jsonl", format!("{plain}torn").into_bytes()),
            ("s.jsonl.zst", compressed(&texts, 2)),
        ] {
            let (_dir, path) = write(name, &content);
            let (spans, all) = walk(&path).unwrap();
            assert_eq!(all, texts);
            assert!(spans.len() >= 2, "{name} {spans:?}");
            let mut blocks = Blocks::open(&path).unwrap();
            let mut backwards = Vec::new();
            let mut content = Vec::new();
            for span in spans.iter().rev() {
                blocks.read(*span, &mut content).unwrap();
                backwards.extend(
                    lines(&content)
                        .rev()
                        .map(|line| String::from_utf8(line.to_vec()).unwrap()),
                );
            }
            backwards.reverse();
            assert_eq!(backwards, texts);
            let wrong = Span {
                offset: spans[0].offset,
                bytes: spans[0].bytes - 2,
            };
            assert!(blocks.read(wrong, &mut content).is_err());
        }
    }

    #[test]
    fn damage_is_an_error() {
        let whole = compressed(&["a", "b"], 1);
        let (_dir, path) = write("s.jsonl.zst", &whole[..whole.len() - 1]);
        assert!(walk(&path).is_err());
        let (_dir, path) = write("s.jsonl.zst", b"no zstd");
        assert!(walk(&path).is_err());
        // A bomb: far more content than a frame of ours has.
        let zeros =
            zstd::encode_all(io::repeat(b'a').take(CONTENT_BYTES_MAX as u64 * 2), 1).unwrap();
        let (_dir, path) = write("s.jsonl.zst", &zeros);
        assert!(walk(&path).unwrap_err().to_string().contains("larger"));
    }

    use std::io::Read;
}
