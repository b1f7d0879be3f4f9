//! Segment -> index.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::bloom;
use super::file;
use super::terms::{self, LONG_BYTES, SHORT_BYTES};
use crate::audit::blocks::{self, Blocks, Span};
use crate::audit::view::{View, ViewError};

/// Names listed of one block; where there are more, a pattern reads the block.
const IDENTITIES_MAX: usize = 64;
/// Distinct pieces of five bytes of one block, as prose has them; where there are more, it is looked up by three.
const LONG_PIECES_MAX: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    /// It would hide this record.
    #[error("{path} cannot be indexed: {source}")]
    NotARecord { path: PathBuf, source: ViewError },
}

/// Writes the index of a closed segment, in the form (compressed or not) the segment stays in, beside it: a temporary
/// file, synced, in the place of one that may be there. `sign` makes an Ed25519 signature (128 hexadecimal digits) with
/// the key that the segment's header names.
///
/// # Errors
/// A file cannot be read or written, or the segment holds what is no record; then there is no index, and a search reads
/// the segment.
pub fn build(dir: &Path, segment: &str, sign: impl Fn(&[u8]) -> String) -> Result<(), BuildError> {
    build_within(dir, segment, sign, |_| true).map(|_| ())
}

/// As [`build`]. After each block `goes_on` is told how long that took; where it says no, there is no index (`None`).
pub(super) fn build_within(
    dir: &Path,
    segment: &str,
    sign: impl Fn(&[u8]) -> String,
    goes_on: impl Fn(Duration) -> bool,
) -> Result<Option<PathBuf>, BuildError> {
    let path = dir.join(segment);
    let unreadable = |source| BuildError::Read {
        path: path.clone(),
        source,
    };
    let mut blocks = Blocks::open(&path).map_err(unreadable)?;
    let mut writer = file::Writer::new(segment, blocks.file_bytes().map_err(unreadable)?);
    let mut collector = Collector::default();
    let mut content = Vec::new();
    let mut start = Instant::now();
    while let Some(span) = blocks.next(&mut content).map_err(unreadable)? {
        let facts = collector.collect(span, &content);
        let facts = facts.map_err(|source| BuildError::NotARecord {
            path: path.clone(),
            source,
        })?;
        writer.add(facts, &collector.filter());
        if !goes_on(start.elapsed()) {
            return Ok(None);
        }
        start = Instant::now();
    }
    drop((blocks, content, collector));
    let index = dir.join(file::name(segment));
    writer
        .finish(&index, sign)
        .map_err(|source| BuildError::Write {
            path: index.clone(),
            source,
        })?;
    Ok(Some(index))
}

/// The distinct terms of a block.
#[derive(Default)]
struct Collector {
    fields: HashSet<u64, foldhash::fast::RandomState>,
    long_pieces: HashSet<u64, foldhash::fast::RandomState>,
    short_pieces: ShortPieces,
    folded: String,
}

impl Collector {
    fn collect(&mut self, span: Span, content: &[u8]) -> Result<file::BlockFacts, ViewError> {
        self.fields.clear();
        self.long_pieces.clear();
        self.short_pieces.clear();
        let mut facts = file::BlockFacts::new(span);
        let mut identities = BTreeSet::new();
        for line in blocks::lines(content) {
            let view = View::parse(line)?;
            // A time that is none matches no range, and hides nothing else.
            facts.count(view.seq, view.time_unix_ns().unwrap_or(0));
            terms::fields(&view, |term| {
                self.fields.insert(term);
            });
            for text in terms::texts(&view) {
                terms::fold(text, &mut self.folded);
                self.short_pieces.add(self.folded.as_bytes());
                self.add_long_pieces(&mut facts.long_pieces);
            }
            if identities.len() <= IDENTITIES_MAX && !identities.contains(&*view.identity.name) {
                identities.insert(view.identity.name.to_string());
            }
        }
        if identities.len() <= IDENTITIES_MAX {
            facts.identities = Some(identities.into_iter().map(Into::into).collect());
        }
        Ok(facts)
    }

    fn add_long_pieces(&mut self, wanted: &mut bool) {
        if !*wanted {
            return;
        }
        let pieces = self.folded.as_bytes().windows(LONG_BYTES);
        self.long_pieces.extend(pieces.map(terms::piece));
        if self.long_pieces.len() > LONG_PIECES_MAX {
            self.long_pieces.clear();
            *wanted = false;
        }
    }

    fn filter(&self) -> Vec<u8> {
        let pieces = self
            .short_pieces
            .seen
            .iter()
            .map(|piece| terms::piece(piece));
        let terms: Vec<u64> = self
            .fields
            .iter()
            .chain(&self.long_pieces)
            .copied()
            .chain(pieces)
            .collect();
        bloom::build(&terms)
    }
}

/// A set of three bytes: one bit for each there can be, 2 MiB, since a text adds one at each of its bytes.
struct ShortPieces {
    bits: Vec<u64>,
    seen: Vec<[u8; SHORT_BYTES]>,
}

impl Default for ShortPieces {
    fn default() -> Self {
        ShortPieces {
            bits: vec![0; (1 << 24) / 64],
            seen: Vec::new(),
        }
    }
}

impl ShortPieces {
    fn add(&mut self, text: &[u8]) {
        for piece in text.windows(SHORT_BYTES) {
            let piece = [piece[0], piece[1], piece[2]];
            let (word, bit) = place(piece);
            if self.bits[word] & bit == 0 {
                self.bits[word] |= bit;
                self.seen.push(piece);
            }
        }
    }

    fn clear(&mut self) {
        for piece in self.seen.drain(..) {
            self.bits[place(piece).0] = 0;
        }
    }
}

fn place([a, b, c]: [u8; SHORT_BYTES]) -> (usize, u64) {
    let number = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    (number / 64, 1 << (number % 64))
}
