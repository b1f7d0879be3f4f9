//! What each kind of record says, in words: what the blocks of a record come to beside time and names.

use super::Style;
use super::text::{self, count, push_visible};
use crate::audit::view::{
    Approval, Control, Outcome, Person, Policy, Retention, Statement, Tag, Text, Verdict, View,
};

/// Of an error message: enough to know it.
const MESSAGE_COLUMNS_MAX: usize = 60;
/// Of all parameters together.
const PARAMS_COLUMNS_MAX: usize = 60;

/// What a line says beside time and names.
pub(super) struct Shown {
    pub(super) body: String,
    pub(super) body_style: Style,
    pub(super) tail: String,
    pub(super) tail_style: Style,
}

impl Shown {
    fn body(style: Style, body: String) -> Self {
        Shown {
            body,
            body_style: style,
            tail: String::new(),
            tail_style: Style::Plain,
        }
    }
}

pub(super) fn show(line: &View) -> Shown {
    match line.kind.as_str() {
        "statement" => show_statement(&line.statement, &line.result, &line.verdict),
        "session_open" => Shown::body(Style::Dim, show_open(line)),
        "session_close" => Shown::body(Style::Dim, show_close(line)),
        "cancel" => {
            let backend = line.cancel.backend_pid;
            Shown::body(
                Style::Bad,
                format!("asks to cancel what backend {backend} runs"),
            )
        }
        "session_error" => Shown::body(Style::Bad, show_session_error(line)),
        "protocol_error" => {
            let error = &line.error;
            let body = format!(
                "not decoded from here on: {} ({})",
                error.reason, error.direction
            );
            Shown::body(Style::Bad, body)
        }
        "gap" => Shown::body(Style::Alarm, show_gap(line)),
        "agent_start" => {
            let body = format!("dbgov {} started", line.agent.version);
            Shown::body(Style::Good, body)
        }
        "agent_stop" => Shown::body(Style::Good, "dbgov stopped".to_owned()),
        "approval" => Shown::body(Style::Alarm, show_approval(&line.approval)),
        "policy" => show_policy(&line.policy),
        "tag" => Shown::body(Style::Good, show_tag(&line.tag)),
        "control" => Shown::body(Style::Alarm, show_control(&line.control)),
        "segment" => {
            let key = &line.segment.key;
            let body = format!("journal segment begun, to be signed by {key}");
            Shown::body(Style::Dim, body)
        }
        "checkpoint" => {
            let body = format!("journal signed ({})", line.checkpoint.reason);
            Shown::body(Style::Dim, body)
        }
        "retention" => Shown::body(Style::Good, show_retention(&line.retention)),
        "verdict_unenforced" => Shown::body(Style::Alarm, show_unenforced(line)),
        other => Shown::body(Style::Plain, other.to_owned()),
    }
}

fn show_statement(statement: &Statement, result: &Outcome, verdict: &Verdict) -> Shown {
    let mut body = String::new();
    if !matches!(statement.via.as_str(), "simple" | "execute") {
        body.push_str(&format!("[{}] ", statement.via));
    }
    match (&statement.text, statement.function_oid) {
        (Some(text), _) if text.trim().is_empty() => body.push_str("(empty)"),
        (Some(text), _) => body.push_str(text),
        (None, Some(oid)) => body.push_str(&format!("function {oid}")),
        (None, None) => body.push_str("(prepared before dbgov saw the session)"),
    }
    if statement.truncated {
        body.push_str(&format!("… ({} in all)", text::bytes(statement.bytes)));
    }
    if !statement.params.is_empty() {
        push_params(&mut body, &statement.params);
    }
    let mut tail: Vec<String> = shown_verdict(verdict).into_iter().collect();
    let tail_style = match result.status.as_str() {
        _ if verdict.stopped() => Style::Bad,
        "error" => {
            let mut message = format!("ERROR {}", result.error);
            if !result.message.is_empty() {
                message.push_str(": ");
                push_visible(&mut message, &result.message, MESSAGE_COLUMNS_MAX);
            }
            tail.push(message);
            Style::Bad
        }
        "none" => {
            tail.push("no result".to_owned());
            Style::Dim
        }
        _ => Style::Good,
    };
    tail.extend(result.rows.map(|rows| count(rows, "row")));
    tail.extend(result.duration_us.map(text::duration));
    Shown {
        body,
        body_style: Style::Plain,
        tail: tail.join(" · "),
        tail_style,
    }
}

/// What is worth a word of a verdict: not that something is allowed.
fn shown_verdict(verdict: &Verdict) -> Option<String> {
    let rule = &verdict.rule;
    match verdict.action.as_str() {
        "reject" | "reset" if verdict.stopped() => Some(format!("STOPPED by {rule}")),
        "alert" => Some(format!("ALERT {rule}")),
        "hold" if verdict.mode == "enforce" => Some(format!("held by {rule}")),
        action if verdict.stops() => Some(format!("{rule} would {action} it")),
        _ => None,
    }
}

fn push_params(body: &mut String, params: &[Option<Text>]) {
    let mut list = String::new();
    for param in params {
        if !list.is_empty() {
            list.push_str(", ");
        }
        match param {
            Some(param) => list.push_str(&format!("'{param}'")),
            None => list.push_str("NULL"),
        }
        // More would be cut away; there may be 65,535 of them.
        if list.len() > PARAMS_COLUMNS_MAX * 4 {
            break;
        }
    }
    body.push_str(" [");
    push_visible(body, &list, PARAMS_COLUMNS_MAX);
    body.push(']');
}

fn show_open(line: &View) -> String {
    let session = &line.session;
    let mut body = format!("+ connected from {}", session.client_addr);
    if !session.application.is_empty() {
        body.push_str(&format!(" ({})", session.application));
    }
    if session.joined == "midstream" {
        body.push_str(", before dbgov saw it");
    }
    if !session.opaque.is_empty() {
        body.push_str(&format!(
            ", encrypted ({}): its statements cannot be read",
            session.opaque
        ));
    }
    body
}

fn show_close(line: &View) -> String {
    let close = &line.close;
    let mut body = format!(
        "- closed ({}): {}, {}, {}",
        close.reason,
        count(close.statements, "statement"),
        count(close.errors, "error"),
        text::duration(close.duration_us)
    );
    let lost_bytes = close
        .request_lost_bytes
        .saturating_add(close.response_lost_bytes);
    if lost_bytes > 0 {
        body.push_str(&format!(", {} not seen", text::bytes(lost_bytes)));
    }
    body
}

fn show_session_error(line: &View) -> String {
    let error = &line.error;
    let severity = match error.severity.as_str() {
        "" => "ERROR",
        severity => severity,
    };
    format!("{severity} {}: {}", error.code, error.message)
}

fn show_gap(line: &View) -> String {
    let gap = &line.gap;
    let mut what = Vec::new();
    what.extend(
        gap.records
            .map(|records| format!("{} lost", count(records, "record"))),
    );
    what.extend(
        gap.bytes
            .map(|bytes| format!("{} not seen", text::bytes(bytes))),
    );
    if what.is_empty() {
        what.push("something was not seen".to_owned());
    }
    let mut body = format!("!!! GAP: {} ({})", what.join(", "), gap.cause);
    if !gap.direction.is_empty() {
        body.push_str(&format!(", {}", gap.direction));
    }
    if !gap.side_file.is_empty() {
        body.push_str(&format!(", kept in {}", gap.side_file));
    }
    body
}

fn show_unenforced(line: &View) -> String {
    let verdict = &line.verdict;
    let text = line.statement.text.as_deref().unwrap_or_default();
    format!(
        "!!! NOT STOPPED, though {} would {} it: {text}",
        verdict.rule, verdict.action
    )
}

fn show_approval(approval: &Approval) -> String {
    let mut body = format!(
        "approval {} ({}) {}",
        approval.id, approval.rule, approval.state
    );
    if let Some(approver) = &approval.approver {
        body.push_str(&format!(" by {}", approver.shown()));
    }
    if !approval.reason.is_empty() {
        body.push_str(&format!(": {}", approval.reason));
    }
    body.push_str(&format!(": {}", approval.statement.head));
    body
}

fn show_tag(tag: &Tag) -> String {
    let mut body = match tag.event.as_str() {
        "set" => format!("{} goes by {}", tag.cgroup, tag.name),
        event => format!("{} no longer goes by {} ({event})", tag.cgroup, tag.name),
    };
    if let Some(by) = &tag.by {
        body.push_str(&format!(", by {}", by.shown()));
    }
    if !tag.purpose.is_empty() {
        body.push_str(&format!(": {}", tag.purpose));
    }
    body
}

fn show_control(control: &Control) -> String {
    let by = control.by.as_ref().map(Person::shown);
    format!(
        "!!! REFUSED {} to {}: {}",
        control.request,
        by.unwrap_or_default(),
        control.reason
    )
}

fn show_policy(policy: &Policy) -> Shown {
    match policy.event.as_str() {
        "loaded" => {
            let rules = count(policy.rules, "rule");
            let body = format!(
                "policy {} in force: {rules}, {}",
                policy.generation, policy.mode
            );
            Shown::body(Style::Good, body)
        }
        "refused" => {
            let body = format!(
                "!!! POLICY REFUSED, {} stays in force: {}",
                policy.generation, policy.error
            );
            Shown::body(Style::Alarm, body)
        }
        "gate_off" => {
            let body = format!("!!! GATE TAKEN AWAY by {}", policy.by);
            Shown::body(Style::Alarm, body)
        }
        other => Shown::body(Style::Plain, format!("policy {other}")),
    }
}

fn show_retention(retention: &Retention) -> String {
    let why = match retention.reason.as_str() {
        "age" => "too old",
        "size" => "no room for them",
        other => other,
    };
    format!(
        "removed {} with the records {} to {} ({why})",
        count(retention.segments, "segment"),
        retention.first_seq,
        retention.last_seq
    )
}
