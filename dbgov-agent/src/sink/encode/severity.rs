//! How much a record wants to be looked at.

use crate::audit::view::View;
use crate::sink::deliver::Severity;

/// By what happened: the same for all formats, which have their own numbers for it.
pub fn severity(view: &View) -> Severity {
    match view.kind.as_str() {
        "verdict_unenforced" => Severity::Critical,
        "gap" => Severity::High,
        "protocol_error" => Severity::Medium.max(by_verdict(view)),
        "control" => Severity::Medium,
        "approval" => by_approval(view),
        "policy" => by_policy(view),
        "session_error" | "cancel" | "tag" | "agent_start" | "agent_stop" | "retention" => {
            Severity::Low
        }
        _ => by_verdict(view).max(by_result(view)),
    }
}

fn by_verdict(view: &View) -> Severity {
    let verdict = &view.verdict;
    if verdict.stopped() {
        return Severity::High;
    }
    match verdict.action.as_str() {
        "hold" | "alert" => Severity::Medium,
        // Under `observe` it ran.
        "reject" | "reset" => Severity::Medium,
        _ => Severity::Informational,
    }
}

fn by_result(view: &View) -> Severity {
    match view.result.status.as_str() {
        "error" => Severity::Low,
        _ => Severity::Informational,
    }
}

fn by_approval(view: &View) -> Severity {
    match view.approval.state.as_str() {
        "pending" => Severity::Medium,
        "denied" | "timed_out" | "client_gone" => Severity::Medium,
        // It ran though nobody had decided.
        "gate_off" => Severity::Critical,
        _ => Severity::Low,
    }
}

fn by_policy(view: &View) -> Severity {
    match view.policy.event.as_str() {
        "gate_off" => Severity::Critical,
        "refused" => Severity::High,
        _ => Severity::Low,
    }
}
