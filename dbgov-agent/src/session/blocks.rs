//! The parts of a record that a statement and its result become.

use std::sync::Arc;

use crate::audit::record::{ResultBlock, StatementBlock};
use crate::protocol::{Direction, SessionFacts, StatementResult, Text, TimeNs};
use crate::sql::{Facts, Options, claims};

pub(super) fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

pub(super) fn result_block(sent_at: TimeNs, result: &mut StatementResult) -> ResultBlock {
    let (error, message) = match result.error.take() {
        Some(error) => (Some(error.code), Some(error.message)),
        None => (None, None),
    };
    ResultBlock {
        copy_in_bytes: result.copy_in_bytes,
        copy_out_bytes: result.copy_out_bytes,
        duration_us: result
            .finished_at
            .map(|at| at.saturating_sub(sent_at) / 1000),
        error,
        message,
        rows: result.rows,
        status: result.status.name(),
        tags: std::mem::take(&mut result.tags),
    }
}

/// How the server reads texts of this session. What it has not said is its default.
pub(super) fn options(facts: &SessionFacts) -> Options {
    Options {
        standard_conforming_strings: Some(facts.standard_conforming_strings.unwrap_or(true)),
    }
}

/// `text`: as it may be shown. `facts`: of the original.
pub(super) fn text_facts(block: &mut StatementBlock, text: &Arc<Text>, facts: &Facts) {
    block.bytes = text.bytes;
    block.comment.claimed = claims(&text.text);
    block.count = facts.count;
    block.encoding = text.encoding.as_deref().map(str::to_owned);
    block.fingerprint = Some(Arc::clone(&facts.fingerprint));
    block.lossy = text.lossy;
    block.missing_where = facts.missing_where;
    block.parse = facts.parse.name();
    block.sha256 = text.sha256.map(hex::encode);
    block.tables = Arc::clone(&facts.tables);
    block.truncated = text.truncated;
    block.verbs = Arc::clone(&facts.verbs);
    block.text = Some(Arc::clone(text));
}
