//! One record, one line: canonical JSON (RFC 8785) linked to the line before by its hash.
//!
//! The keys of every object are written in canonical order, so the line *is* the canonical form and whoever checks the
//! chain can hash the bytes as they are. `chain.hash` is SHA-256 over the line without `"hash":"…",`: room for it is
//! left while the line is put together, what stands around it is hashed, and the hash is put in.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::body::Renderer;
use super::json;
use super::record::{RECORD_VERSION, Record};

/// SHA-256 in hexadecimal digits.
pub const HASH_HEX_BYTES: usize = 64;
/// `chain.prev` of the first record of a journal.
pub const FIRST_PREV: HashHex = HashHex([b'0'; HASH_HEX_BYTES]);

const CHAIN_OPEN: &[u8] = b"\"chain\":{";
const HASH_OPEN: &[u8] = b"\"hash\":\"";
const HASH_CLOSE: &[u8] = b"\",";
/// `"hash":"…",`, what the hash does not cover.
const HASH_MEMBER_BYTES: usize = HASH_OPEN.len() + HASH_HEX_BYTES + HASH_CLOSE.len();

/// A SHA-256 as it stands in the record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashHex(pub [u8; HASH_HEX_BYTES]);

impl HashHex {
    fn of(before: &[u8], after: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(before)
            .chain_update(after)
            .finalize();
        let mut hash = HashHex([0; HASH_HEX_BYTES]);
        for (digits, byte) in hash.0.chunks_exact_mut(2).zip(digest) {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            digits[0] = HEX[usize::from(byte >> 4)];
            digits[1] = HEX[usize::from(byte & 15)];
        }
        hash
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for HashHex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes lines of records and knows where in the chain the next one stands.
#[derive(Debug)]
pub struct LineEncoder {
    renderer: Renderer,
    /// The body in the making.
    body: Vec<u8>,
    last_seq: u64,
    last_hash: HashHex,
}

impl LineEncoder {
    /// At the start of a journal.
    pub fn new(node: &str) -> Self {
        LineEncoder::resume(node, 0, FIRST_PREV)
    }

    /// After the record numbered `last_seq` with the hash `last_hash`.
    pub fn resume(node: &str, last_seq: u64, last_hash: HashHex) -> Self {
        LineEncoder {
            renderer: Renderer::new(node),
            body: Vec::new(),
            last_seq,
            last_hash,
        }
    }

    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub fn last_hash(&self) -> HashHex {
        self.last_hash
    }

    /// Replaces `line` by the next line of the journal, with its newline. The record has no place in the chain before
    /// its hash is given to [`accept`](Self::accept): a line that finds no room leaves no hole.
    pub fn encode(
        &mut self,
        record: &Record,
        line: &mut Vec<u8>,
    ) -> Result<HashHex, serde_json::Error> {
        self.body.clear();
        let parts = self.renderer.render(record, &mut self.body)?;
        Ok(self.link(parts.of(&self.body), line))
    }

    /// As [`encode`](Self::encode), of a body.
    pub(super) fn link(&self, body: [&[u8]; 3], line: &mut Vec<u8>) -> HashHex {
        let [before_chain, before_seq, rest] = body;
        line.clear();
        line.extend_from_slice(before_chain);
        let hash_at = self.write_chain(line);
        line.extend_from_slice(before_seq);
        json::write_number(line, self.last_seq + 1);
        line.extend_from_slice(rest);

        let (before, after) = (&line[..hash_at], &line[hash_at + HASH_MEMBER_BYTES..]);
        let hash = HashHex::of(before, after);
        let digits_at = hash_at + HASH_OPEN.len();
        line[digits_at..digits_at + HASH_HEX_BYTES].copy_from_slice(&hash.0);
        line.push(b'\n');
        hash
    }

    /// Length of the next line, with its newline, where the parts of its body are `body_bytes` long.
    pub(super) fn line_bytes(&self, body_bytes: usize) -> usize {
        const PREV_MEMBER_BYTES: usize = "\"prev\":\"\"}".len() + HASH_HEX_BYTES;
        let digits = (self.last_seq + 1).ilog10() as usize + 1;
        CHAIN_OPEN.len() + HASH_MEMBER_BYTES + PREV_MEMBER_BYTES + body_bytes + digits + 1
    }

    /// The line just encoded belongs to the chain.
    pub fn accept(&mut self, hash: HashHex) {
        self.last_seq += 1;
        self.last_hash = hash;
    }

    /// Writes `chain` with room for the hash; says where the member `hash` begins.
    fn write_chain(&self, line: &mut Vec<u8>) -> usize {
        line.extend_from_slice(CHAIN_OPEN);
        let hash_at = line.len();
        line.extend_from_slice(HASH_OPEN);
        line.extend_from_slice(&FIRST_PREV.0);
        line.extend_from_slice(HASH_CLOSE);
        line.extend_from_slice(b"\"prev\":\"");
        line.extend_from_slice(&self.last_hash.0);
        line.extend_from_slice(b"\"}");
        hash_at
    }
}

/// What links a line to its neighbours, read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    pub seq: u64,
    pub hash: HashHex,
    pub prev: HashHex,
    pub kind: String,
    /// It is the last thing an agent writes that is stopped: a checkpoint of that reason.
    pub is_stop: bool,
}

/// Why a line is no record of this journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("it is not a record: {0}")]
    NotARecord(String),
    #[error("its content does not match its hash")]
    HashMismatch,
    #[error("it has record version {0}, and this dbgov writes version {RECORD_VERSION}")]
    Version(u64),
}

/// Reads the link of one line (without its newline) and checks the line against its hash.
pub fn check_line(line: &[u8]) -> Result<Link, LineError> {
    #[derive(Deserialize)]
    struct Head {
        chain: Chain,
        checkpoint: Option<Checkpoint>,
        kind: String,
        seq: u64,
        v: u64,
    }
    #[derive(Deserialize)]
    struct Checkpoint {
        reason: Box<str>,
    }
    #[derive(Deserialize)]
    struct Chain {
        hash: String,
        prev: String,
    }
    let head: Head =
        serde_json::from_slice(line).map_err(|error| LineError::NotARecord(error.to_string()))?;
    let hash = hash_hex(&head.chain.hash)?;
    let prev = hash_hex(&head.chain.prev)?;

    // A quotation mark inside a string is written as \", so these bytes in this order are never part of a text.
    let member_at = line
        .windows(CHAIN_OPEN.len())
        .position(|bytes| bytes == CHAIN_OPEN)
        .map(|at| at + CHAIN_OPEN.len())
        .ok_or(LineError::HashMismatch)?;
    let after = line
        .get(member_at + HASH_MEMBER_BYTES..)
        .ok_or(LineError::HashMismatch)?;
    if HashHex::of(&line[..member_at], after) != hash {
        return Err(LineError::HashMismatch);
    }
    if head.v != u64::from(RECORD_VERSION) {
        return Err(LineError::Version(head.v));
    }
    Ok(Link {
        seq: head.seq,
        hash,
        prev,
        is_stop: head
            .checkpoint
            .is_some_and(|checkpoint| &*checkpoint.reason == "stop"),
        kind: head.kind,
    })
}

fn hash_hex(text: &str) -> Result<HashHex, LineError> {
    let digits: [u8; HASH_HEX_BYTES] = text
        .as_bytes()
        .try_into()
        .map_err(|_| LineError::NotARecord(format!("{text:?} is no SHA-256")))?;
    if !digits
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(LineError::NotARecord(format!("{text:?} is no SHA-256")));
    }
    Ok(HashHex(digits))
}

#[cfg(test)]
mod tests;
