//! What makes the chain evidence: the header that begins each segment, and the checkpoints, which sign the chain so far.

use std::time::Instant;

use super::super::body::Renderer;
use super::super::checkpoint::Statement;
use super::super::header;
use super::super::record::{Kind, Record};
use super::super::storage::Storage;
use super::super::time::{self, TimeFormatter};
use super::{Journal, is_due};

/// What a checkpoint's line takes without the node's name, and some more: it is kept free at the end of a segment.
const CHECKPOINT_BYTES: usize = 768;

/// What came since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Unsigned {
    pub(super) records: u64,
    /// When the first of them came.
    pub(super) since: Option<Instant>,
    /// Some of them stood there when this run began: an agent before it crashed.
    is_recovered: bool,
}

impl Unsigned {
    /// What a journal ends with when it is opened.
    pub(super) fn recovered(ends_signed: bool) -> Self {
        Unsigned {
            records: u64::from(!ends_signed),
            since: None,
            is_recovered: !ends_signed,
        }
    }
}

impl<S: Storage> Journal<S> {
    /// Room that is kept for a checkpoint; none where nothing is signed.
    pub(super) fn checkpoint_bytes(&self) -> usize {
        match self.config.key {
            // A byte of the name takes six in JSON at most.
            Some(_) => CHECKPOINT_BYTES + self.config.node.len() * 6,
            None => 0,
        }
    }

    /// Where the next line begins a segment, that line is the header.
    pub(super) fn begin_segment_if_due(&mut self, time_unix_ns: u64) {
        let Some(key) = &self.config.key else {
            return;
        };
        if self.segment.is_none() && self.pending.bytes.is_empty() {
            let mut record = Record::new(Kind::Segment, time_unix_ns);
            let block = header::block(key, self.config.checkpoint_records);
            record.segment = Some(Box::new(block));
            self.take_own(&record);
        }
    }

    /// Counts a record that was taken, and signs where enough have come.
    pub(super) fn note_unsigned(&mut self) {
        if self.config.key.is_none() {
            return;
        }
        self.unsigned.records += 1;
        self.unsigned.since.get_or_insert(self.now);
        if self.unsigned.records >= u64::from(self.config.checkpoint_records) {
            self.sign("records");
        }
    }

    /// Signs where the oldest record has waited long enough.
    pub(super) fn sign_if_due(&mut self) {
        if is_due(
            self.unsigned.since,
            self.config.checkpoint_interval,
            self.now,
        ) {
            self.sign("time");
        }
    }

    /// Signs all records there are, unless the last one is a signature. The caller has seen to it that there is room.
    pub(super) fn sign(&mut self, reason: &'static str) {
        let Some(key) = &self.config.key else {
            return;
        };
        // At a stop also behind another one: the reason is what the next start looks for.
        if self.unsigned.records == 0 && reason != "stop" {
            return;
        }
        // Where the gap record that tells the crash has no place before the signature.
        let nothing_new = self.unsigned.since.is_none() && self.unsigned.is_recovered;
        let reason = if nothing_new { "recovery" } else { reason };
        let time_unix_ns = time::unix_now_ns();
        let mut text = Vec::new();
        TimeFormatter::new().write(time_unix_ns, &mut text);
        let prev = self.encoder.last_hash();
        let statement = Statement {
            node: &self.config.node,
            seq: self.encoder.last_seq() + 1,
            prev: prev.as_str(),
            time: &String::from_utf8_lossy(&text),
            reason,
            records: self.unsigned.records,
        };
        let mut record = Record::new(Kind::Checkpoint, time_unix_ns);
        record.checkpoint = Some(Box::new(statement.sign(key, reason)));
        self.take_own(&record);
        self.unsigned = Unsigned::default();
    }

    /// Before the journal is closed. A stop in good order can be told from all else by the reason.
    pub(super) fn sign_the_end(&mut self) {
        if self.retry.is_some() || self.gaps.lost.is_some() {
            return;
        }
        // Records of the keeper's, or gaps, may have come behind the agent_stop.
        let is_stopped = std::mem::take(&mut self.is_stopped);
        self.sign(if is_stopped { "stop" } else { "close" });
    }

    fn take_own(&mut self, record: &Record) {
        let mut bytes = Vec::new();
        let body = Renderer::new(&self.config.node).body(record, &mut bytes);
        if let Some(parts) = body.parts {
            self.take(&body, parts, &bytes);
        }
    }
}
