//! A record as canonical JSON, all but its place in the chain: what can be made of it before the records ahead of it are
//! in the journal, and on another thread than the journal's.

use serde::Serialize;

use super::record::{Kind, RECORD_VERSION, Record};
use super::time::TimeFormatter;
use super::{block, json};

/// Where a body lies in the bytes it was written to, and what stands in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    pub(super) kind: Kind,
    pub(super) time_unix_ns: u64,
    /// Absent where the record cannot be written as JSON.
    pub(super) parts: Option<Parts>,
}

/// Lengths of what stands before `chain`, between `chain` and the value of `seq`, and behind that, bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    before_chain: usize,
    before_seq: usize,
    rest: usize,
}

impl Parts {
    pub(super) fn len(self) -> usize {
        self.before_chain + self.before_seq + self.rest
    }

    /// The parts of a body that lies at the beginning of `bytes`.
    pub(super) fn of(self, bytes: &[u8]) -> [&[u8]; 3] {
        let (before_chain, bytes) = bytes.split_at(self.before_chain);
        let (before_seq, bytes) = bytes.split_at(self.before_seq);
        [before_chain, before_seq, &bytes[..self.rest]]
    }
}

/// Writes the bodies of one node's records.
#[derive(Debug)]
pub(super) struct Renderer {
    /// The node's name as JSON.
    node: Box<[u8]>,
    time: TimeFormatter,
}

impl Renderer {
    pub(super) fn new(node: &str) -> Self {
        let node = serde_json::Value::from(node).to_string();
        Renderer {
            node: node.into_bytes().into(),
            time: TimeFormatter::new(),
        }
    }

    /// Appends the body of `record`; nothing where it cannot be written.
    pub(super) fn body(&mut self, record: &Record, bytes: &mut Vec<u8>) -> Body {
        let parts = self.render(record, bytes);
        if let Err(error) = &parts {
            tracing::error!(%error, "a record cannot be written as JSON");
        }
        Body {
            kind: record.kind,
            time_unix_ns: record.time_unix_ns,
            parts: parts.ok(),
        }
    }

    /// Appends the body of `record`, or nothing where there is an error.
    pub(super) fn render(
        &mut self,
        record: &Record,
        bytes: &mut Vec<u8>,
    ) -> Result<Parts, serde_json::Error> {
        let start = bytes.len();
        let parts = self.parts(record, bytes);
        if parts.is_err() {
            bytes.truncate(start);
        }
        parts
    }

    fn parts(&mut self, record: &Record, bytes: &mut Vec<u8>) -> Result<Parts, serde_json::Error> {
        let start = bytes.len();
        bytes.push(b'{');
        if !record.agent.is_empty() {
            write_member(bytes, b"\"agent\":", &record.agent)?;
            bytes.push(b',');
        }
        if let Some(approval) = &record.approval {
            write_member(bytes, b"\"approval\":", approval)?;
            bytes.push(b',');
        }
        if let Some(cancel) = &record.cancel {
            write_member(bytes, b"\"cancel\":", cancel)?;
            bytes.push(b',');
        }
        let chain_at = bytes.len();
        self.write_until_seq(record, bytes)?;
        let seq_at = bytes.len();
        self.write_rest(record, bytes)?;
        Ok(Parts {
            before_chain: chain_at - start,
            before_seq: seq_at - chain_at,
            rest: bytes.len() - seq_at,
        })
    }

    /// What sorts between `chain` and the value of `seq`.
    fn write_until_seq(
        &self,
        record: &Record,
        bytes: &mut Vec<u8>,
    ) -> Result<(), serde_json::Error> {
        write_optional(bytes, b",\"checkpoint\":", &record.checkpoint)?;
        write_optional(bytes, b",\"close\":", &record.close)?;
        write_optional(bytes, b",\"control\":", &record.control)?;
        write_optional(bytes, b",\"error\":", &record.error)?;
        write_optional(bytes, b",\"gap\":", &record.gap)?;
        if let Some(identity) = &record.identity {
            bytes.extend_from_slice(b",\"identity\":");
            bytes.extend_from_slice(identity.json().as_bytes());
        }
        bytes.extend_from_slice(b",\"kind\":\"");
        bytes.extend_from_slice(record.kind.name().as_bytes());
        bytes.extend_from_slice(b"\",\"node\":");
        bytes.extend_from_slice(&self.node);
        write_optional(bytes, b",\"pods\":", &record.pods)?;
        if !record.policy.is_empty() {
            write_member(bytes, b",\"policy\":", &record.policy)?;
        }
        write_optional(bytes, b",\"process\":", &record.process)?;
        if let Some(result) = &record.result {
            bytes.extend_from_slice(b",\"result\":");
            block::write_result(result, bytes);
        }
        write_optional(bytes, b",\"retention\":", &record.retention)?;
        write_optional(bytes, b",\"segment\":", &record.segment)?;
        bytes.extend_from_slice(b",\"seq\":");
        Ok(())
    }

    fn write_rest(
        &mut self,
        record: &Record,
        bytes: &mut Vec<u8>,
    ) -> Result<(), serde_json::Error> {
        if let Some(session) = &record.session {
            bytes.extend_from_slice(b",\"session\":");
            bytes.extend_from_slice(session.json().as_bytes());
        }
        if let Some(statement) = &record.statement {
            bytes.extend_from_slice(b",\"statement\":");
            block::write_statement(statement, bytes);
        }
        write_optional(bytes, b",\"tag\":", &record.tag)?;
        bytes.extend_from_slice(b",\"time\":\"");
        self.time.write(record.time_unix_ns, bytes);
        bytes.extend_from_slice(b"\",\"v\":");
        json::write_number(bytes, RECORD_VERSION.into());
        write_optional(bytes, b",\"verdict\":", &record.verdict)?;
        bytes.push(b'}');
        Ok(())
    }
}

fn write_member<T: Serialize>(
    bytes: &mut Vec<u8>,
    key: &[u8],
    value: &T,
) -> Result<(), serde_json::Error> {
    bytes.extend_from_slice(key);
    serde_json::to_writer(bytes, value)
}

fn write_optional<T: Serialize>(
    bytes: &mut Vec<u8>,
    key: &[u8],
    value: &Option<T>,
) -> Result<(), serde_json::Error> {
    match value {
        Some(value) => write_member(bytes, key, value),
        None => Ok(()),
    }
}
