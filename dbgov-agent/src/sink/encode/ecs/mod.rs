//! Elastic Common Schema (<https://www.elastic.co/docs/reference/ecs>): fields that versions 8 and 9 both have. What it
//! has no field for is under `dbgov`, by the names of docs/records.md.

mod category;
mod who;

use super::facts;
use super::{EncodeError, own, severity, time_unix_ns};
use crate::audit::json::Object;
use crate::audit::view::View;
use crate::sink::deliver::Severity;

/// `ecs.version`.
const VERSION: &str = "9.0.0";

pub(super) fn encode(line: &[u8], view: &View, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // Elasticsearch would refuse it.
    time_unix_ns(view)?;
    let mut document = Object::open(out);
    document.text("@timestamp", &view.time);
    let mut agent = document.object("agent");
    agent.optional_text("name", view.node.some());
    agent.text("type", "dbgov");
    agent.text("version", env!("CARGO_PKG_VERSION"));
    agent.close();
    let mut ecs = document.object("ecs");
    ecs.text("version", VERSION);
    ecs.close();
    write_event(&mut document, view);
    write_error(&mut document, view);
    document.text("message", &facts::message(view));
    write_rule(&mut document, view);
    write_trace(&mut document, view);
    who::write(&mut document, view);
    own::write(&mut document, line, true, view.seq)?;
    document.close();
    Ok(())
}

fn write_event(document: &mut Object, view: &View) {
    let (categories, types) = category::of(view);
    let severity = severity(view);
    let mut event = document.object("event");
    event.text("action", &action(view));
    event.texts("category", categories.into_iter().map(Some));
    event.text("code", &view.kind);
    event.text("dataset", "dbgov.audit");
    if let Some(duration_us) = facts::duration_us(view) {
        event.number("duration", duration_us.saturating_mul(1000));
    }
    event.text("id", &view.chain.hash);
    event.text("kind", kind(severity));
    event.text("module", "dbgov");
    if let Some(outcome) = facts::outcome(view) {
        event.text("outcome", outcome.name());
    }
    event.text("provider", "dbgov");
    event.optional_text("reason", facts::reason(view));
    event.number("sequence", view.seq);
    event.number("severity", severity_number(severity));
    event.texts("type", types.into_iter().map(Some));
    event.close();
}

/// Of a statement its first verb; of others what happened.
fn action(view: &View) -> String {
    match view.statement.verbs.first() {
        Some(verb) if view.kind == "statement" => verb.to_string(),
        _ => facts::action(view),
    }
}

fn kind(severity: Severity) -> &'static str {
    if severity >= Severity::Medium {
        "alert"
    } else {
        "event"
    }
}

/// The bands of Elastic Security's severities: low 21, medium 47, high 73, critical 99.
fn severity_number(severity: Severity) -> u64 {
    match severity {
        Severity::Informational => 0,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn write_error(document: &mut Object, view: &View) {
    let error = facts::error(view);
    if error.code.is_none() && error.message.is_none() {
        return;
    }
    let mut object = document.object("error");
    object.optional_text("code", error.code);
    object.optional_text("message", error.message);
    object.optional_text("type", view.error.severity.some());
    object.close();
}

fn write_rule(document: &mut Object, view: &View) {
    let Some(name) = facts::rule(view) else {
        return;
    };
    let mut rule = document.object("rule");
    let wanted = view.verdict.wanted.some();
    rule.optional_text("category", wanted.or(view.verdict.action.some()));
    rule.optional_text("description", view.verdict.reason.some());
    rule.text("name", name);
    rule.close();
}

/// What the client claims in a comment of the statement (W3C Trace Context, `traceparent`), where it has that form.
fn write_trace(document: &mut Object, view: &View) {
    let claimed = &view.statement.comment.claimed;
    let Some((_, parent)) = claimed.iter().find(|(key, _)| **key == "traceparent") else {
        return;
    };
    if let Some((trace, span)) = trace_parent(parent) {
        for (key, id) in [("span", span), ("trace", trace)] {
            let mut object = document.object(key);
            object.text("id", id);
            object.close();
        }
    }
}

/// `00-<32 digits>-<16 digits>-<2 digits>`, no id all zeros.
fn trace_parent(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (_version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_id = |id: &str, digits| {
        id.len() == digits
            && id
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            && id.bytes().any(|digit| digit != b'0')
    };
    (is_id(trace, 32) && is_id(span, 16)).then_some((trace, span))
}
