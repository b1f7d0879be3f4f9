//! What all formats say of a record, in words of none of them.

use std::net::IpAddr;

use super::address::Address;
use crate::audit::view::View;

/// Of the message that sums a record up, columns. A person reads it in a list.
const MESSAGE_COLUMNS_MAX: usize = 512;

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    Unknown,
}

impl Outcome {
    /// ECS's word, which the others use too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unknown => "unknown",
        }
    }
}

/// None where nothing was tried.
pub(super) fn outcome(view: &View) -> Option<Outcome> {
    let outcome = match view.kind.as_str() {
        "statement" => match view.result.status.as_str() {
            _ if view.verdict.stopped() => Outcome::Failure,
            "ok" => Outcome::Success,
            "error" => Outcome::Failure,
            _ => Outcome::Unknown,
        },
        "session_open" if view.verdict.stopped() => Outcome::Failure,
        "session_open" => Outcome::Success,
        "session_error" | "protocol_error" | "control" => Outcome::Failure,
        "approval" => match view.approval.state.as_str() {
            "approved" | "gate_off" => Outcome::Success,
            "pending" => Outcome::Unknown,
            _ => Outcome::Failure,
        },
        "policy" if view.policy.event == "refused" => Outcome::Failure,
        "policy" | "tag" | "agent_start" | "agent_stop" => Outcome::Success,
        _ => return None,
    };
    Some(outcome)
}

/// SQLSTATE and words of an error, the server's or dbgov's.
#[derive(Debug, Default)]
pub(super) struct Error<'a> {
    pub(super) code: Option<&'a str>,
    pub(super) message: Option<&'a str>,
}

pub(super) fn error<'a>(view: &'a View) -> Error<'a> {
    let first = |texts: [Option<&'a str>; 5]| texts.into_iter().flatten().next();
    Error {
        code: view.result.error.some().or(view.error.code.some()),
        message: first([
            view.result.message.some(),
            view.error.message.some(),
            view.error.reason.some(),
            view.policy.error.some(),
            view.control.reason.some(),
        ]),
    }
}

/// In one line: what a person would be told.
pub(super) fn message(view: &View) -> String {
    crate::audit::live::summary(view, MESSAGE_COLUMNS_MAX)
}

/// What happened, for records of which the kind alone does not tell: `approval_denied`, `policy_loaded`.
pub(super) fn action(view: &View) -> String {
    let kind = &view.kind;
    let what = match kind.as_str() {
        "approval" => &view.approval.state,
        "policy" => &view.policy.event,
        "tag" => &view.tag.event,
        "gap" => &view.gap.cause,
        "control" => &view.control.request,
        "session_close" => &view.close.reason,
        _ => return kind.to_string(),
    };
    match what.some() {
        Some(what) => format!("{kind}_{what}"),
        None => kind.to_string(),
    }
}

/// A failed log-in, by its SQLSTATE (PostgreSQL, appendix A): class 28, no such database, too many connections, the
/// server starts up or shuts down.
pub(super) fn is_login_failure(view: &View) -> bool {
    let code = view.error.code.as_str();
    view.kind == "session_error"
        && (code.starts_with("28") || ["3D000", "53300", "57P03"].contains(&code))
}

/// `time` to the millisecond, since the Unix epoch.
pub(super) fn unix_ms(time_unix_ns: u64) -> u64 {
    time_unix_ns / 1_000_000
}

/// How long it took, microseconds.
pub(super) fn duration_us(view: &View) -> Option<u64> {
    match view.kind.as_str() {
        "session_close" => Some(view.close.duration_us),
        "approval" if view.approval.state != "pending" => Some(view.approval.waited_us),
        _ => view.result.duration_us,
    }
}

/// The person who did or decided it, by the control socket's credentials.
pub(super) fn by(view: &View) -> Option<String> {
    [&view.approval.approver, &view.control.by, &view.tag.by]
        .into_iter()
        .flatten()
        .next()
        .map(|person| person.shown())
        .or_else(|| view.policy.by.some().map(str::to_owned))
}

/// Why, in the words of the rule or of the person.
pub(super) fn reason<'a>(view: &'a View) -> Option<&'a str> {
    view.verdict
        .reason
        .some()
        .or(view.approval.reason.some())
        .or(view.tag.purpose.some())
}

pub(super) fn rule<'a>(view: &'a View) -> Option<&'a str> {
    view.verdict.rule.some().or(view.approval.rule.some())
}

/// Addresses of both ends, each once.
pub(super) fn ips(view: &View) -> Vec<IpAddr> {
    let ends = [Address::client(view), Address::server(view)];
    let mut ips: Vec<IpAddr> = ends
        .into_iter()
        .flatten()
        .filter_map(|end| end.ip())
        .collect();
    ips.dedup();
    ips
}
