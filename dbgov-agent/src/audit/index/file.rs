//! The file of an index: a line of JSON, the filters of all blocks one behind the other, and a signature over both.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Block, Index, bloom};
use crate::audit::blocks::Span;
use crate::audit::lines::{Lines, open_regular};
use crate::audit::segment;
use crate::audit::view::View;

const FORMAT: u32 = 1;
const SUFFIX: &str = ".idx";
/// Begins what is signed, so that no signature of another kind passes for one.
const DOMAIN: &str = "dbgov index 1\n";
/// Hexadecimal digits of a signature, and a newline.
const SEAL_BYTES: usize = 129;
/// A segment of 64 MiB has an index of about one; beyond this it is none of ours.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// The journal's files are root's.
const MODE: u32 = 0o600;

/// `audit-….idx`, for either form of the segment.
pub(in crate::audit) fn name(segment: &str) -> String {
    let stem = segment
        .split_once(".jsonl")
        .map_or(segment, |(stem, _)| stem);
    format!("{stem}{SUFFIX}")
}

/// Whether an index of some segment would be called so.
pub(in crate::audit) fn is_name(file: &str) -> bool {
    let stem = file.strip_suffix(SUFFIX);
    stem.is_some_and(|stem| segment::first_seq(&format!("{stem}.jsonl")).is_some())
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    blocks: Vec<BlockFacts>,
    /// Length of the segment's file.
    file_bytes: u64,
    format: u32,
    /// Name of the segment's file.
    segment: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BlockFacts {
    bytes: u64,
    filter_bytes: u64,
    first_seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identities: Option<Vec<Box<str>>>,
    /// Whether texts can be looked up by pieces of five bytes.
    pub(super) long_pieces: bool,
    offset: u64,
    records: u64,
    time_max: u64,
    time_min: u64,
}

impl BlockFacts {
    pub(super) fn new(span: Span) -> Self {
        BlockFacts {
            bytes: span.bytes,
            filter_bytes: 0,
            first_seq: 0,
            identities: None,
            long_pieces: true,
            offset: span.offset,
            records: 0,
            time_max: 0,
            time_min: u64::MAX,
        }
    }

    /// One more record.
    pub(super) fn count(&mut self, seq: u64, time_unix_ns: u64) {
        if self.records == 0 {
            self.first_seq = seq;
        }
        self.records += 1;
        self.time_min = self.time_min.min(time_unix_ns);
        self.time_max = self.time_max.max(time_unix_ns);
    }
}

pub(super) struct Writer {
    header: Header,
    filters: Vec<u8>,
}

impl Writer {
    pub(super) fn new(segment: &str, file_bytes: u64) -> Self {
        Writer {
            header: Header {
                blocks: Vec::new(),
                file_bytes,
                format: FORMAT,
                segment: segment.to_owned(),
            },
            filters: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, mut facts: BlockFacts, filter: &[u8]) {
        facts.filter_bytes = filter.len() as u64;
        self.header.blocks.push(facts);
        self.filters.extend_from_slice(filter);
    }

    pub(super) fn finish(self, path: &Path, sign: impl Fn(&[u8]) -> String) -> io::Result<()> {
        let mut header = serde_json::to_vec(&self.header)?;
        header.push(b'\n');
        let seal = sign(&message(&[&header, &self.filters]));
        let temporary = path.with_extension("idx.tmp");
        // Left by a build that was cut short.
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&temporary)?;
        for part in [&header, &self.filters, seal.as_bytes(), b"\n"] {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// What is signed: a content in parts.
fn message(content: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in content {
        hash.update(part);
    }
    format!("{DOMAIN}{}", hex::encode(hash.finalize())).into_bytes()
}

/// Why an index is not used.
#[derive(Debug, thiserror::Error)]
pub enum IndexProblem {
    #[error("there is none")]
    Absent,
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
    #[error("it is none of this format")]
    Format,
    #[error("it is of another segment, or of an older state of this one")]
    OtherSegment,
    #[error("the segment's header names no key")]
    NoKey,
    #[error("the key that the segment's header names has not signed it")]
    Signature,
}

/// Whether a segment's index may be believed.
///
/// # Errors
/// Why it may not be; then a search reads the whole segment.
pub fn check(dir: &Path, segment: &str) -> Result<(), IndexProblem> {
    Index::load(dir, segment).map(|_| ())
}

impl Index {
    pub(in crate::audit) fn load(dir: &Path, segment: &str) -> Result<Self, IndexProblem> {
        let content = read(&dir.join(name(segment)))?;
        let (content, seal) = content
            .split_at_checked(content.len().saturating_sub(SEAL_BYTES))
            .ok_or(IndexProblem::Format)?;
        let end = memchr::memchr(b'\n', content).ok_or(IndexProblem::Format)?;
        let key = header_key(&dir.join(segment)).ok_or(IndexProblem::NoKey)?;
        if !is_signed(&key, content, seal) {
            return Err(IndexProblem::Signature);
        }
        let header: Header =
            serde_json::from_slice(&content[..end]).map_err(|_| IndexProblem::Format)?;
        if header.format != FORMAT {
            return Err(IndexProblem::Format);
        }
        let metadata = fs::symlink_metadata(dir.join(segment)).map_err(IndexProblem::Io)?;
        if header.segment != segment || header.file_bytes != metadata.len() {
            return Err(IndexProblem::OtherSegment);
        }
        let blocks =
            with_filters(header.blocks, &content[end + 1..]).ok_or(IndexProblem::Format)?;
        Ok(Index { blocks })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IndexProblem> {
    let file = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IndexProblem::Absent),
        file => file.map_err(IndexProblem::Io)?,
    };
    let mut content = Vec::new();
    let read = file.take(INDEX_BYTES_MAX + 1).read_to_end(&mut content);
    match read.map_err(IndexProblem::Io)? as u64 > INDEX_BYTES_MAX {
        true => Err(IndexProblem::Format),
        false => Ok(content),
    }
}

/// Whether there is an index that says it is of this file; whether that is so, the signature would tell.
pub(super) fn names(dir: &Path, segment: &str) -> bool {
    let Ok(mut lines) = Lines::open(&dir.join(name(segment))) else {
        return false;
    };
    let Ok(true) = lines.advance() else {
        return false;
    };
    let file_bytes = fs::symlink_metadata(dir.join(segment)).map(|metadata| metadata.len());
    serde_json::from_slice::<Header>(lines.line()).is_ok_and(|header| {
        header.format == FORMAT
            && header.segment == segment
            && file_bytes.is_ok_and(|bytes| bytes == header.file_bytes)
    })
}

/// Whether that key signs for the segment.
pub(super) fn is_key_of(dir: &Path, segment: &str, public_key_hex: &str) -> bool {
    let key = header_key(&dir.join(segment));
    key.is_some_and(|key| hex::encode(key.as_bytes()) == public_key_hex)
}

/// The public key that the first record of a segment names.
fn header_key(path: &Path) -> Option<VerifyingKey> {
    let mut lines = Lines::open(path).ok()?;
    if !lines.advance().ok()? {
        return None;
    }
    let view = View::parse(lines.line()).ok()?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(view.segment.public_key.as_bytes(), &mut bytes).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

fn is_signed(key: &VerifyingKey, content: &[u8], seal: &[u8]) -> bool {
    let mut bytes = [0; Signature::BYTE_SIZE];
    let digits = seal.strip_suffix(b"\n").unwrap_or_default();
    hex::decode_to_slice(digits, &mut bytes).is_ok()
        && key
            .verify_strict(&message(&[content]), &Signature::from_bytes(&bytes))
            .is_ok()
}

fn with_filters(facts: Vec<BlockFacts>, mut filters: &[u8]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    for facts in facts {
        let bytes = usize::try_from(facts.filter_bytes).ok()?;
        let (filter, rest) = filters.split_at_checked(bytes)?;
        if filter.is_empty() || filter.len() > bloom::BLOOM_BYTES_MAX {
            return None;
        }
        filters = rest;
        blocks.push(Block {
            span: Span {
                offset: facts.offset,
                bytes: facts.bytes,
            },
            first_seq: facts.first_seq,
            records: facts.records,
            time_min: facts.time_min,
            time_max: facts.time_max,
            identities: facts.identities,
            has_long_pieces: facts.long_pieces,
            filter: filter.into(),
        });
    }
    filters.is_empty().then_some(blocks)
}
