//! A line of the journal as a person wants to read it: one line of the terminal, and no text from the wire in it that
//! could speak to the terminal.
//!
//! ```text
//! 14:03:12.123 agent:sync       app@prod         DELETE FROM t WHERE id = $1 ['7']  3 rows  812 µs
//! 14:03:12.130 agent:sync       app@prod         SELEC 1  ERROR 42601: syntax error at or near "SELEC"  95 µs
//! 14:03:13.001 -                -                !!! GAP: 12 records lost (disk_full)
//! ```

pub(crate) mod text;

use std::borrow::Cow;

use jiff::{Timestamp, tz::TimeZone};

use super::view::{
    Approval, Control, Identity, Outcome, Person, Policy, Retention, Statement, Tag, Text, Verdict,
    View,
};
use text::{count, push_visible, width_columns};

/// Columns of the two that say who; longer names are cut so that the statements stand below each other.
const NAME_COLUMNS: usize = 16;
/// Of an error message: enough to know it.
const MESSAGE_COLUMNS_MAX: usize = 60;
/// Of all parameters together.
const PARAMS_COLUMNS_MAX: usize = 60;
/// What a statement gets at least before its result is cut instead.
const BODY_COLUMNS_MIN: usize = 20;

/// SGR parameters (ECMA-48 section 8.3.117).
#[derive(Debug, Clone, Copy)]
enum Style {
    Plain,
    Dim,
    Who,
    Good,
    Bad,
    Alarm,
}

impl Style {
    fn sgr(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Dim => "2",
            Style::Who => "36",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Alarm => "1;97;41",
        }
    }
}

/// How lines are shown. The same for `run` and for `audit tail`.
#[derive(Debug, Clone)]
pub struct Renderer {
    pub color: bool,
    /// Width of the terminal; without one nothing is cut but names, parameters and messages.
    pub width_columns: Option<usize>,
    /// Of the times shown: [`TimeZone::system`], or a fixed one in tests.
    pub zone: TimeZone,
}

/// Whether a line of the journal is shown at all.
pub fn is_shown(line: &[u8]) -> bool {
    // Nearly always enough, and much cheaper than to read the line.
    let may_be_hidden = HIDDEN_KINDS
        .iter()
        .any(|kind| memchr::memmem::find(line, kind.as_bytes()).is_some());
    !may_be_hidden || !serde_json::from_slice::<View>(line).is_ok_and(|line| is_hidden(&line))
}

/// The journal's own book-keeping.
const HIDDEN_KINDS: [&str; 2] = ["checkpoint", "segment"];

fn is_hidden(line: &View) -> bool {
    HIDDEN_KINDS.contains(&line.kind.as_str())
}

/// What a line says beside time and names.
struct Shown {
    body: String,
    body_style: Style,
    tail: String,
    tail_style: Style,
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

impl Renderer {
    /// Renders one line of the journal (with or without its newline), without a newline; `None` where it says nothing to
    /// somebody who watches.
    pub fn render(&self, line: &[u8]) -> Option<String> {
        is_shown(line).then(|| self.render_all(line))
    }

    /// As [`render`](Self::render), whatever it says.
    pub fn render_all(&self, line: &[u8]) -> String {
        match serde_json::from_slice::<View>(line) {
            Ok(line) => self.render_fields(&line),
            Err(_) => {
                let mut out = Out::new(self);
                let raw = String::from_utf8_lossy(line);
                out.push(Style::Bad, &format!("not a record: {raw}"), usize::MAX);
                out.text
            }
        }
    }

    fn render_fields(&self, line: &View) -> String {
        let mut out = Out::new(self);
        out.push(Style::Dim, &self.local_time(&line.time), usize::MAX);
        out.space(1);
        out.push_padded(Style::Who, &shown_identity(&line.identity), NAME_COLUMNS);
        out.space(1);
        out.push_padded(Style::Plain, &place(line), NAME_COLUMNS);
        out.space(1);

        let shown = show(line);
        let tail_columns = visible_columns(&shown.tail);
        let body_columns = match tail_columns {
            0 => out.columns_left,
            _ => out
                .columns_left
                .saturating_sub(tail_columns + 2)
                .max(BODY_COLUMNS_MIN),
        };
        out.push(shown.body_style, &shown.body, body_columns);
        if tail_columns > 0 {
            out.space(2);
            out.push(shown.tail_style, &shown.tail, usize::MAX);
        }
        out.text
    }

    fn local_time(&self, time: &str) -> String {
        let Ok(moment) = time.parse::<Timestamp>() else {
            return format!("{time:12}");
        };
        let local = self.zone.to_datetime(moment);
        format!(
            "{:02}:{:02}:{:02}.{:03}",
            local.hour(),
            local.minute(),
            local.second(),
            local.millisecond()
        )
    }
}

/// What the record says, without time and names: one line of plain text with nothing in it that could speak to a
/// terminal, at most `columns_max` columns.
pub(crate) fn summary(line: &View, columns_max: usize) -> String {
    let shown = show(line);
    let mut text = String::new();
    push_visible(&mut text, &shown.body, columns_max);
    if !shown.tail.is_empty() {
        text.push_str("  ");
        push_visible(&mut text, &shown.tail, columns_max);
    }
    text
}

/// The line in the making: everything passes through here, so nothing gets out unsanitised or beyond the width.
struct Out {
    text: String,
    columns_left: usize,
    color: bool,
}

impl Out {
    fn new(renderer: &Renderer) -> Self {
        Out {
            text: String::new(),
            columns_left: renderer.width_columns.unwrap_or(usize::MAX),
            color: renderer.color,
        }
    }

    /// Says how many columns it took.
    fn push(&mut self, style: Style, text: &str, columns_max: usize) -> usize {
        let sgr = if self.color { style.sgr() } else { "" };
        if !sgr.is_empty() {
            self.text.push_str(&format!("\x1b[{sgr}m"));
        }
        let start = self.text.len();
        push_visible(&mut self.text, text, columns_max.min(self.columns_left));
        let columns = width_columns(&self.text[start..]);
        self.columns_left = self.columns_left.saturating_sub(columns);
        if !sgr.is_empty() {
            self.text.push_str("\x1b[0m");
        }
        columns
    }

    fn push_padded(&mut self, style: Style, text: &str, columns: usize) {
        let text = if text.is_empty() { "-" } else { text };
        let taken = self.push(style, text, columns);
        self.space(columns.saturating_sub(taken));
    }

    fn space(&mut self, columns: usize) {
        let columns = columns.min(self.columns_left);
        self.text.extend(std::iter::repeat_n(' ', columns));
        self.columns_left -= columns;
    }
}

fn visible_columns(text: &str) -> usize {
    let mut visible = String::new();
    push_visible(&mut visible, text, usize::MAX);
    width_columns(&visible)
}

/// `user@database`, as far as known.
fn place(line: &View) -> String {
    let session = &line.session;
    match (session.user.as_str(), session.database.as_str()) {
        ("", "") => session.client_addr.to_string(),
        (user, "") => user.to_owned(),
        ("", database) => format!("?@{database}"),
        (user, database) => format!("{user}@{database}"),
    }
}

/// An OS user alone says little on a host where everything runs as one: the process's name is shown beside it.
fn shown_identity<'a>(identity: &'a Identity) -> Cow<'a, str> {
    if identity.source == "os_user" && !identity.comm.is_empty() {
        return format!("{}/{}", identity.name, identity.comm).into();
    }
    identity.name.as_str().into()
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

fn show(line: &View) -> Shown {
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

fn show_unenforced(line: &View) -> String {
    let verdict = &line.verdict;
    let text = line.statement.text.as_deref().unwrap_or_default();
    format!(
        "!!! NOT STOPPED, though {} would {} it: {text}",
        verdict.rule, verdict.action
    )
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

#[cfg(test)]
mod tests;
