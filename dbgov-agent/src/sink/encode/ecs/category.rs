//! `event.category` and `event.type`, as ECS allows them together
//! (<https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-category>).

use crate::audit::view::View;
use crate::sink::encode::facts;
use crate::sink::encode::ocsf::activity::{Activity, of_verb};

/// `event.category` and `event.type`.
pub(super) fn of(view: &View) -> (Vec<&'static str>, Vec<&'static str>) {
    let (categories, types): (&[_], &[_]) = match view.kind.as_str() {
        "statement" | "verdict_unenforced" => return of_statement(view),
        "session_open" if view.verdict.stopped() => {
            (&["database", "session", "network"], &["start", "denied"])
        }
        "session_open" => (&["database", "session"], &["start"]),
        "session_close" => (&["database", "session"], &["end"]),
        "session_error" if facts::is_login_failure(view) => {
            (&["authentication", "database"], &["start", "error"])
        }
        "session_error" | "gap" => (&["database"], &["error"]),
        "protocol_error" => (&["database", "network"], &["error", "protocol"]),
        "approval" => match view.approval.state.as_str() {
            "pending" => (&["database"], &["info"]),
            "approved" | "gate_off" => (&["database", "intrusion_detection"], &["allowed"]),
            _ => (&["database", "intrusion_detection"], &["denied"]),
        },
        "control" => (&["configuration"], &["access"]),
        "tag" if view.tag.event == "set" => (&["configuration"], &["creation"]),
        "tag" => (&["configuration"], &["deletion"]),
        "policy" => (&["configuration"], &["change"]),
        "agent_start" => (&["process"], &["start"]),
        "agent_stop" => (&["process"], &["end"]),
        "segment" => (&["file"], &["creation"]),
        "checkpoint" => (&["file"], &["info"]),
        "retention" => (&["file"], &["deletion"]),
        _ => (&["database"], &["info"]),
    };
    (categories.to_vec(), types.to_vec())
}

fn of_statement(view: &View) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut categories = vec!["database"];
    let mut types = Vec::new();
    for verb in &view.statement.verbs {
        let of_verb = match of_verb(verb) {
            Activity::Read => "access",
            Activity::Query => "info",
            _ => "change",
        };
        if !types.contains(&of_verb) {
            types.push(of_verb);
        }
    }
    if types.is_empty() {
        types.push("info");
    }
    if view.result.status == "error" {
        types.push("error");
    }
    if !matches!(view.verdict.action.as_str(), "" | "allow") {
        categories.push("intrusion_detection");
        types.push(match view.verdict.stopped() && view.kind == "statement" {
            true => "denied",
            false => "allowed",
        });
    }
    (categories, types)
}
