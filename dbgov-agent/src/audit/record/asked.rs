//! What people ask of the agent: decisions, tags, and what it refused them.

use std::collections::BTreeMap;

use super::form::exact;
use serde::Serialize;

/// A statement that waits for a person's decision, or how that ended; `session` and `identity` say whose it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ApprovalBlock {
    /// Who decided; absent where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver: Option<ApproverBlock>,
    pub id: String,
    /// The approver's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `identity.name` of the requester.
    pub requester: String,
    /// The rule that asks for the decision.
    pub rule: String,
    /// `pending`, `approved`, `denied`, `timed_out`, `client_gone`.
    pub state: &'static str,
    pub statement: ApprovalStatement,
    #[serde(serialize_with = "exact")]
    pub waited_us: u64,
}

/// A person on this host, by the credentials of the control socket's peer.
#[derive(Debug, Clone, Serialize)]
pub struct ApproverBlock {
    pub uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ApprovalStatement {
    /// Length of the text on the wire, bytes.
    #[serde(serialize_with = "exact")]
    pub bytes: u64,
    /// The beginning of the text.
    pub head: String,
    /// Of the whole text on the wire; not where something was taken out of it, which could be guessed from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A tag that was given to a cgroup or taken from it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TagBlock {
    /// Who changed it; absent where nobody did (the cgroup ended, the configuration has it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<ApproverBlock>,
    /// cgroup v2 path.
    pub cgroup: String,
    /// `set`, `removed` by somebody, `replaced` by another tag of the same cgroup, `ended` with the cgroup.
    pub event: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub name: String,
    /// `command`, `config`, `exec`.
    pub origin: &'static str,
    /// The process that asked; with origin `exec` and event `set` the one that became the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Requests on the control socket that were refused.
#[derive(Debug, Clone, Serialize)]
pub struct ControlBlock {
    /// How many since the last such record of this user.
    #[serde(serialize_with = "exact")]
    pub attempts: u64,
    pub by: ApproverBlock,
    pub pid: u32,
    /// Why, as the user was told.
    pub reason: String,
    /// What was asked last: `status`, `tag_set`, `exec`, ...
    pub request: String,
}
