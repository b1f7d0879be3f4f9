//! One segment, line by line: what can be said of it without the others.

use std::io;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::canonical::Head;
use super::super::checkpoint::{ReadCheckpoint, Statement};
use super::super::header::{FORMAT_VERSION, ReadHeader};
use super::super::journal::CHECKPOINT_RECORDS_MAX;
use super::super::key::PublicKey;
use super::super::line::HASH_HEX_BYTES;
use super::super::lines::{Lines, LinesError};
use super::super::record::RECORD_VERSION;
use super::super::segment;
use super::report::{Break, Breaks, STRETCHES_MAX, Stretch};

/// Records that a stretch may be longer by than its header says: those of starts that were cut short.
const STRETCH_SLACK: u64 = 100;
/// An agent that is writing at this moment has half a line there now and the rest of it soon.
const HALF_LINE_WAIT: Duration = Duration::from_millis(200);
const HALF_LINE_TRIES: u32 = 3;
/// `{` and `"hash":"…",`: what the hash does not cover begins behind the former.
const HASH_MEMBER_BYTES: usize = "\"hash\":\"\",".len() + HASH_HEX_BYTES;

pub(super) struct Context<'a> {
    pub(super) dir: &'a Path,
    /// Whose signatures count.
    pub(super) keys: &'a [PublicKey],
    /// Numbers of records whose hashes are asked for.
    pub(super) watched: &'a [u64],
}

/// A record's number and one of its hashes.
pub(super) type Place = (u64, String);

#[derive(Default)]
pub(super) struct Pass {
    pub(super) name: String,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) breaks: Breaks,
    /// Number and `chain.prev` of the first record that could be read.
    pub(super) first: Option<Place>,
    /// Its time, as a segment's name has it.
    pub(super) first_time: String,
    /// Number and `chain.hash` of the last one.
    pub(super) last: Option<Place>,
    pub(super) has_header: bool,
    pub(super) key: Option<String>,
    /// Per key of the context.
    pub(super) checkpoints: Vec<u64>,
    pub(super) last_checkpoint: Option<Place>,
    pub(super) ends_signed: bool,
    /// Before crashes. `from` is 0 where the stretch begins in a segment before.
    pub(super) before_crashes: Vec<Stretch>,
    pub(super) before_crashes_total: u64,
    pub(super) watched: Vec<Place>,
}

impl Pass {
    pub(super) fn read(context: &Context<'_>, name: &str, is_newest: bool) -> Pass {
        let mut reading = Reading {
            context,
            pass: Pass {
                name: name.to_owned(),
                checkpoints: vec![0; context.keys.len()],
                ..Pass::default()
            },
            line: 0,
            next: None,
            unsigned: 0,
            unsigned_max: None,
        };
        match open(context.dir, name) {
            Ok(lines) => reading.run(lines, is_newest),
            Err(error) => reading.found(None, "file", format!("cannot open it: {error}")),
        }
        reading.pass
    }
}

/// Under its own name, or as it was compressed in the meantime.
fn open(dir: &Path, name: &str) -> io::Result<Lines> {
    match Lines::open(&dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !segment::is_compressed(name) => {
            Lines::open(&dir.join(format!("{name}{}", segment::COMPRESSED_SUFFIX)))
        }
        other => other,
    }
}

struct Reading<'a> {
    context: &'a Context<'a>,
    pass: Pass,
    /// From 1.
    line: u64,
    /// The number the next record must have, and the hash it must link to, as far as these are known.
    next: Option<(u64, Option<String>)>,
    /// Records since the last checkpoint of this segment.
    unsigned: u64,
    /// How many there may be, by the header.
    unsigned_max: Option<u64>,
}

impl Reading<'_> {
    fn run(&mut self, mut lines: Lines, is_newest: bool) {
        let mut tries = 0;
        loop {
            match lines.advance() {
                Ok(true) => {
                    self.line += 1;
                    self.pass.bytes += lines.line().len() as u64 + 1;
                    self.record(lines.line());
                }
                Ok(false) => {
                    let half_line_bytes = lines.half_line().len();
                    if half_line_bytes > 0 && is_newest && tries < HALF_LINE_TRIES {
                        tries += 1;
                        std::thread::sleep(HALF_LINE_WAIT);
                        continue;
                    }
                    return self.end(half_line_bytes);
                }
                Err(error) => {
                    self.line += 1;
                    let kind = match error {
                        LinesError::Io(_) => "file",
                        LinesError::Damaged(_) | LinesError::TooLong => "unreadable",
                    };
                    return self.found(self.next_seq(), kind, format!("{error}"));
                }
            }
        }
    }

    fn end(&mut self, half_line_bytes: usize) {
        self.line += 1;
        if half_line_bytes > 0 {
            let what = format!(
                "the file ends in the middle of a line ({half_line_bytes} bytes of it are there): it was cut, or its agent was killed and not started since"
            );
            self.found(self.next_seq(), "cut", what);
        } else if self.line == 1 {
            let seq = segment::first_seq(&self.pass.name);
            self.found(seq, "cut", "the file is empty".to_owned());
        }
    }

    fn next_seq(&self) -> Option<u64> {
        let next = self.next.as_ref().map(|(seq, _)| *seq);
        next.or_else(|| segment::first_seq(&self.pass.name))
    }

    fn found(&mut self, seq: Option<u64>, kind: &'static str, what: String) {
        self.pass.breaks.push(Break {
            kind,
            seq,
            file: self.pass.name.clone(),
            line: (self.line > 0).then_some(self.line),
            what,
        });
    }

    fn record(&mut self, line: &[u8]) {
        self.pass.records += 1;
        self.pass.ends_signed = false;
        let head = match Head::read(line) {
            Ok(head) => head,
            Err(reason) => {
                self.found(
                    self.next_seq(),
                    "unreadable",
                    format!("it is no record as dbgov writes them: {reason}"),
                );
                self.next = self.next_seq().map(|seq| (seq.saturating_add(1), None));
                return;
            }
        };
        let is_whole = self.check(line, &head);
        if self.pass.first.is_none() {
            self.pass.first = Some((head.seq, head.prev.to_owned()));
            self.pass.first_time = compact(head.time);
        }
        // Whatever is wrong with a line is told once: the next one is compared with what this one says.
        let next_seq = match &self.next {
            Some((seq, _)) if !is_whole => *seq,
            _ => head.seq,
        };
        self.next = Some((next_seq.saturating_add(1), Some(head.hash.to_owned())));
        self.pass.last = Some((next_seq, head.hash.to_owned()));
        if self.context.watched.contains(&head.seq) {
            self.pass.watched.push((head.seq, head.hash.to_owned()));
        }
        self.kind(&head, is_whole);
    }

    /// Whether the line is what its hash says; what does not fit is found here.
    fn check(&mut self, line: &[u8], head: &Head<'_>) -> bool {
        let hash_at = head.chain_at + 1;
        let digest = Sha256::new()
            .chain_update(&line[..hash_at])
            .chain_update(&line[hash_at + HASH_MEMBER_BYTES..])
            .finalize();
        let mut digits = [0; HASH_HEX_BYTES];
        let is_whole =
            hex::encode_to_slice(digest, &mut digits).is_ok() && digits == head.hash.as_bytes();
        let wrong = match &self.next {
            _ if !is_whole => {
                let seq = self.next.as_ref().map_or(head.seq, |(seq, _)| *seq);
                Some((
                    seq,
                    "changed",
                    "it was changed: it does not match its hash".to_owned(),
                ))
            }
            _ if head.v != u64::from(RECORD_VERSION) => {
                let what = format!(
                    "it has version {}, and this dbgov knows {RECORD_VERSION}",
                    head.v
                );
                Some((head.seq, "version", what))
            }
            Some((next, _)) if head.seq > *next => Some(missing(*next, head.seq - 1)),
            Some((next, _)) if head.seq < *next => Some(again(head.seq, *next)),
            Some((_, Some(prev))) if head.prev != prev => Some((head.seq, "link", LINK.to_owned())),
            _ => None,
        };
        if let Some((seq, kind, what)) = wrong {
            self.found(Some(seq), kind, what);
        }
        is_whole
    }

    fn kind(&mut self, head: &Head<'_>, is_whole: bool) {
        match head.kind {
            "segment" => self.header(head),
            "checkpoint" if is_whole => return self.checkpoint(head),
            "gap"
                if head
                    .gap
                    .is_some_and(|gap| gap.contains("\"cause\":\"crash\"")) =>
            {
                self.crash(head.seq.saturating_sub(1));
            }
            _ => {}
        }
        self.unsigned += 1;
        if self
            .unsigned_max
            .is_some_and(|most| self.unsigned == most + 1)
        {
            let from = head.seq.saturating_sub(self.unsigned - 1);
            let what = format!(
                "no signature in {} records from {from} on, and dbgov signs sooner: signatures were removed",
                self.unsigned
            );
            self.found(Some(from), "unsigned", what);
        }
    }

    fn header(&mut self, head: &Head<'_>) {
        if self.line != 1 {
            let what = "a segment's header within a segment: segments were joined".to_owned();
            return self.found(Some(head.seq), "header", what);
        }
        let header = head
            .block
            .and_then(|block| serde_json::from_str::<ReadHeader>(block).ok());
        let wrong = match &header {
            None => Some(("header", "its header cannot be read".to_owned())),
            Some(header) if header.format != FORMAT_VERSION => Some((
                "version",
                format!(
                    "the segment has format {}, and this dbgov knows {FORMAT_VERSION}",
                    header.format
                ),
            )),
            Some(header) if header.public_key().is_none() => Some((
                "header",
                "its header names a key whose id is another's".to_owned(),
            )),
            Some(header) if !self.context.keys.iter().any(|key| key.id() == header.key) => Some((
                "key",
                format!(
                    "from here on signed with the key {}, which was not given",
                    header.key
                ),
            )),
            Some(_) => None,
        };
        if let Some((kind, what)) = wrong {
            self.found(Some(head.seq), kind, what);
        }
        if let Some(header) = header {
            self.pass.has_header = true;
            let records = header.checkpoint_records.min(CHECKPOINT_RECORDS_MAX);
            self.unsigned_max = Some(u64::from(records) + STRETCH_SLACK);
            self.pass.key = Some(header.key);
        }
    }

    fn checkpoint(&mut self, head: &Head<'_>) {
        let block = head
            .block
            .and_then(|block| serde_json::from_str::<ReadCheckpoint>(block).ok());
        let node = serde_json::from_str::<String>(&format!("\"{}\"", head.node));
        let (Some(block), Ok(node)) = (block, node) else {
            let what = "its checkpoint cannot be read".to_owned();
            return self.found(Some(head.seq), "signature", what);
        };
        let statement = Statement {
            node: &node,
            seq: head.seq,
            prev: head.prev,
            time: head.time,
            reason: &block.reason,
            records: block.records,
        };
        let key = self
            .context
            .keys
            .iter()
            .position(|key| key.id() == block.key);
        match key {
            None => {
                let what = format!("signed with the key {}, which was not given", block.key);
                return self.found(Some(head.seq), "key", what);
            }
            Some(at) if !statement.is_signed(&self.context.keys[at], &block.signature) => {
                let from = self.pass.last_checkpoint.as_ref().map(|(seq, _)| seq + 1);
                let from = from.or_else(|| self.pass.first.as_ref().map(|(seq, _)| *seq));
                let what = format!(
                    "its signature does not hold: something in the records {} to {} was changed by somebody without the key",
                    from.unwrap_or(head.seq),
                    head.seq
                );
                return self.found(Some(head.seq), "signature", what);
            }
            Some(at) => self.pass.checkpoints[at] += 1,
        }
        // Signed by the next start, in the place of the agent that crashed.
        if block.reason == "recovery" {
            self.crash(head.seq.saturating_sub(1));
        }
        self.unsigned = 0;
        self.pass.ends_signed = true;
        self.pass.last_checkpoint = Some((head.seq, head.hash.to_owned()));
    }

    /// What came after the last checkpoint up to record `to`, an agent left unsigned when it crashed.
    fn crash(&mut self, to: u64) {
        let from = self
            .pass
            .last_checkpoint
            .as_ref()
            .map_or(0, |(seq, _)| seq + 1);
        if from > to {
            return;
        }
        self.pass.before_crashes_total += 1;
        if self.pass.before_crashes.len() < STRETCHES_MAX {
            self.pass.before_crashes.push(Stretch { from, to });
        }
    }
}

pub(super) const LINK: &str =
    "it does not follow the record before it: that one, or this, was put in the place of another";

pub(super) fn missing(from: u64, to: u64) -> (u64, &'static str, String) {
    let what = if from == to {
        format!("record {from} is missing before this line")
    } else {
        format!("records {from} to {to} are missing before this line")
    };
    (from, "missing", what)
}

pub(super) fn again(seq: u64, next: u64) -> (u64, &'static str, String) {
    let what =
        format!("record {seq} stands where {next} should: repeated, inserted or out of order");
    (next, "order", what)
}

/// `2026-11-22T23:59:59.123456789Z` as `20261122T235959Z`.
fn compact(time: &str) -> String {
    let second = time.split('.').next().unwrap_or_default();
    let mut compact: String = second.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    compact.push('Z');
    compact
}
