//! What dbgov did about it: `action_id` and `disposition_id` of profile `security_control`.

use crate::audit::view::View;

/// `action_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allowed,
    Denied,
    Observed,
    /// With its own name in `action`.
    Held,
}

impl Action {
    pub(super) fn id(self) -> u64 {
        match self {
            Action::Allowed => 1,
            Action::Denied => 2,
            Action::Observed => 3,
            Action::Held => 99,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Action::Allowed => "Allowed",
            Action::Denied => "Denied",
            Action::Observed => "Observed",
            Action::Held => "Held",
        }
    }
}

/// `disposition_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    Allowed,
    Blocked,
    Approved,
    Delayed,
    Detected,
    NoAction,
    Logged,
    Alert,
    Reset,
    Rejected,
    Unauthorized,
}

impl Disposition {
    pub(super) fn id(self) -> u64 {
        match self {
            Disposition::Allowed => 1,
            Disposition::Blocked => 2,
            Disposition::Approved => 8,
            Disposition::Delayed => 14,
            Disposition::Detected => 15,
            Disposition::NoAction => 16,
            Disposition::Logged => 17,
            Disposition::Alert => 19,
            Disposition::Reset => 21,
            Disposition::Rejected => 25,
            Disposition::Unauthorized => 26,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Disposition::Allowed => "Allowed",
            Disposition::Blocked => "Blocked",
            Disposition::Approved => "Approved",
            Disposition::Delayed => "Delayed",
            Disposition::Detected => "Detected",
            Disposition::NoAction => "No Action",
            Disposition::Logged => "Logged",
            Disposition::Alert => "Alert",
            Disposition::Reset => "Reset",
            Disposition::Rejected => "Rejected",
            Disposition::Unauthorized => "Unauthorized",
        }
    }
}

/// The schema names for each action the dispositions that conform to it; these pairs are among them.
pub(super) fn of(view: &View) -> (Action, Disposition) {
    match view.kind.as_str() {
        // It should have been stopped, and the server has it.
        "verdict_unenforced" => (Action::Allowed, Disposition::NoAction),
        "approval" => of_approval(&view.approval.state),
        "control" => (Action::Denied, Disposition::Unauthorized),
        _ => of_verdict(view),
    }
}

fn of_approval(state: &str) -> (Action, Disposition) {
    match state {
        "pending" => (Action::Held, Disposition::Delayed),
        "approved" => (Action::Allowed, Disposition::Approved),
        // The gate was taken away: it ran, and nobody had decided.
        "gate_off" => (Action::Allowed, Disposition::NoAction),
        "denied" => (Action::Denied, Disposition::Rejected),
        // Timed out, or nobody waits any more.
        _ => (Action::Denied, Disposition::Blocked),
    }
}

fn of_verdict(view: &View) -> (Action, Disposition) {
    let verdict = &view.verdict;
    match verdict.action.as_str() {
        // No policy.
        "" => (Action::Observed, Disposition::Logged),
        "allow" => (Action::Allowed, Disposition::Allowed),
        "alert" => (Action::Observed, Disposition::Alert),
        // `observe`: what would have been done was not.
        _ if verdict.mode != "enforce" => (Action::Observed, Disposition::Detected),
        // In the statement's own record; one that was not approved has another action there.
        "hold" => (Action::Allowed, Disposition::Approved),
        "reject" if verdict.wanted == "hold" => (Action::Denied, Disposition::Rejected),
        "reject" => (Action::Denied, Disposition::Blocked),
        "reset" => (Action::Denied, Disposition::Reset),
        _ => (Action::Observed, Disposition::Logged),
    }
}
