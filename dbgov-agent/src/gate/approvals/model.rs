//! What is asked, who decides, and how it ended.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::PENDING_MAX;
use crate::protocol::TimeNs;

/// Names a request for approval, in the form `k7qx-12`: which run of the agent, and a number that grows. An answer meant
/// for an earlier run thus does not fit a request of this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApprovalId(Arc<str>);

impl ApprovalId {
    pub(super) fn new(run: &str, number: u64) -> Self {
        ApprovalId(format!("{run}-{number}").into())
    }

    /// As a person typed it: case and the space around do not matter.
    pub fn parse(text: &str) -> Self {
        ApprovalId(text.trim().to_ascii_lowercase().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The statement that waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The beginning of its text, at most [`HEAD_BYTES_MAX`] bytes.
    pub head: String,
    /// Length of its text on the wire, bytes.
    pub bytes: u64,
    /// Of all bytes of the text on the wire, hexadecimal; not where something was taken out of its head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Who wants what, and which rule asks for a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Of the server's socket.
    pub cookie: u64,
    pub session: String,
    /// `identity.name` of the record.
    pub requester: String,
    pub user: Option<String>,
    pub database: Option<String>,
    pub rule: String,
    /// The rule's.
    pub reason: Option<String>,
    pub statement: Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Deny,
}

/// The person who decided, by the credentials of the control socket's peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    pub uid: u32,
    /// Name of the UNIX user, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => f.write_str(user),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    Approved,
    Denied,
    TimedOut,
    ClientGone,
    /// The gate was taken away; the statement came in.
    GateOff,
}

impl State {
    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Denied => "denied",
            State::TimedOut => "timed_out",
            State::ClientGone => "client_gone",
            State::GateOff => "gate_off",
        }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub id: ApprovalId,
    pub request: Arc<Request>,
    /// Never [`State::Pending`].
    pub state: State,
    pub approver: Option<Approver>,
    /// The approver's.
    pub reason: Option<String>,
    pub since: TimeNs,
    pub ended: TimeNs,
}

impl Outcome {
    pub fn waited_ns(&self) -> u64 {
        self.ended.saturating_sub(self.since)
    }

    /// For the client of a statement that was not approved: what stands after the rule's name.
    pub fn refusal(&self) -> String {
        let mut text = match (self.state, &self.approver) {
            (State::TimedOut, _) => "nobody approved it in time".to_owned(),
            (_, Some(approver)) => format!("{approver} denied it"),
            _ => "it was not approved".to_owned(),
        };
        if let Some(reason) = &self.reason {
            text.push_str(": ");
            text.push_str(reason);
        }
        text
    }
}

/// A line of `dbgov approvals list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub id: ApprovalId,
    pub session: String,
    pub requester: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    pub rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub statement: Statement,
    pub waited_us: u64,
    /// Until it is denied for want of an answer.
    pub left_us: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    #[error("{PENDING_MAX} statements wait for approval already")]
    Full,
    #[error("connection {0} waits for approval {1} already")]
    Waiting(u64, ApprovalId),
    #[error("no statement waits under {0}; `dbgov approvals list` shows those that do")]
    Unknown(ApprovalId),
    #[error("{id} was {what} already")]
    Decided { id: ApprovalId, what: String },
}
