//! A record read back from its line, its texts borrowed from the line where JSON wrote them as they are.
//!
//! What is absent is empty, a block that is absent is one of empty fields, and what is unknown is passed over: lines of
//! an older and of a newer dbgov can be read too.

mod blocks;
mod text;

use jiff::Timestamp;
use serde::Deserialize;

pub use blocks::*;
pub use text::Text;

#[derive(Debug, Default, Deserialize)]
// As in `blocks`.
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct View<'a> {
    pub agent: Agent<'a>,
    pub approval: Approval<'a>,
    pub cancel: Cancel<'a>,
    pub chain: Chain<'a>,
    pub checkpoint: Checkpoint<'a>,
    pub close: Close<'a>,
    pub control: Control<'a>,
    pub error: ErrorFields<'a>,
    pub gap: Gap<'a>,
    pub identity: Identity<'a>,
    pub kind: Text<'a>,
    pub node: Text<'a>,
    pub pods: Pods<'a>,
    pub policy: Policy<'a>,
    pub process: Process<'a>,
    pub result: Outcome<'a>,
    pub retention: Retention<'a>,
    pub segment: Segment<'a>,
    pub seq: u64,
    pub session: Session<'a>,
    pub statement: Statement<'a>,
    pub tag: Tag<'a>,
    pub time: Text<'a>,
    pub v: u32,
    pub verdict: Verdict<'a>,
}

/// The line is none that dbgov writes.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error("the line is no record: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the line is no record: it has no `{0}`")]
    Missing(&'static str),
}

impl<'a> View<'a> {
    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// It is no JSON object, a field has another type than records have, or what every record has is not there.
    pub fn parse(line: &'a [u8]) -> Result<Self, ViewError> {
        let view: View = serde_json::from_slice(line)?;
        let missing = [
            ("kind", view.kind.is_empty()),
            ("time", view.time.is_empty()),
            ("chain.hash", view.chain.hash.is_empty()),
            ("seq", view.seq == 0),
        ];
        match missing.into_iter().find(|(_, missing)| *missing) {
            Some((name, _)) => Err(ViewError::Missing(name)),
            None => Ok(view),
        }
    }

    /// `time`, nanoseconds since the Unix epoch; none where it is no time, or before 1970.
    pub fn time_unix_ns(&self) -> Option<u64> {
        let moment: Timestamp = self.time.parse().ok()?;
        u64::try_from(moment.as_nanosecond()).ok()
    }
}

#[cfg(test)]
mod tests;
