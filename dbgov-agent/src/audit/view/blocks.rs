//! The blocks of a record, field by field as `audit::record` writes them. The bound says that texts borrow from the line, as `borrow` on each field
//! would.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Text;

/// What links a record to its neighbours.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Chain<'a> {
    pub hash: Text<'a>,
    pub prev: Text<'a>,
}

/// Facts of the agent, in its start and its stop.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Agent<'a> {
    pub connections: Option<u64>,
    pub kernel: Text<'a>,
    pub pid: Option<u64>,
    pub sessions: Option<u64>,
    pub statements: Option<u64>,
    pub version: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Approval<'a> {
    pub approver: Option<Person<'a>>,
    pub id: Text<'a>,
    pub reason: Text<'a>,
    pub requester: Text<'a>,
    pub rule: Text<'a>,
    pub state: Text<'a>,
    pub statement: ApprovalStatement<'a>,
    pub waited_us: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct ApprovalStatement<'a> {
    pub bytes: u64,
    pub head: Text<'a>,
    pub sha256: Text<'a>,
}

/// A user of the host, by the credentials of the control socket's peer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Person<'a> {
    pub uid: u32,
    pub user: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Cancel<'a> {
    pub backend_pid: u32,
    pub session: Text<'a>,
}

/// A signature over the journal so far.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Checkpoint<'a> {
    pub key: Text<'a>,
    pub reason: Text<'a>,
    pub records: Option<u64>,
    pub signature: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Close<'a> {
    pub duration_us: u64,
    pub errors: u64,
    pub reason: Text<'a>,
    pub request_bytes: u64,
    pub request_lost_bytes: u64,
    pub response_bytes: u64,
    pub response_lost_bytes: u64,
    pub statements: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Control<'a> {
    pub attempts: u64,
    pub by: Option<Person<'a>>,
    pub pid: Option<u64>,
    pub reason: Text<'a>,
    pub request: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct ErrorFields<'a> {
    pub code: Text<'a>,
    pub direction: Text<'a>,
    pub message: Text<'a>,
    pub reason: Text<'a>,
    pub severity: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Gap<'a> {
    pub bytes: Option<u64>,
    pub cause: Text<'a>,
    pub direction: Text<'a>,
    pub records: Option<u64>,
    pub side_file: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Identity<'a> {
    pub cgroup: Text<'a>,
    pub comm: Text<'a>,
    pub container: Text<'a>,
    pub exe: Text<'a>,
    pub labels: BTreeMap<Text<'a>, Text<'a>>,
    pub login_uid: Option<u64>,
    pub name: Text<'a>,
    pub network: Text<'a>,
    pub pid: Option<u64>,
    pub pod: Text<'a>,
    pub pod_uid: Text<'a>,
    pub process_ended: bool,
    pub purpose: Text<'a>,
    pub run: Text<'a>,
    pub runtime: Text<'a>,
    pub service_account: Text<'a>,
    pub source: Text<'a>,
    pub uid: Option<u64>,
    pub used_by: Option<Holder<'a>>,
}

/// A process that holds a connection another one opened, or one above the client's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Holder<'a> {
    pub comm: Text<'a>,
    pub exe: Text<'a>,
    pub pid: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Pods<'a> {
    pub client: Option<Pod<'a>>,
    pub server: Option<Pod<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Pod<'a> {
    pub container_name: Text<'a>,
    pub labels: BTreeMap<Text<'a>, Text<'a>>,
    pub labels_truncated: bool,
    pub name: Text<'a>,
    pub namespace: Text<'a>,
    pub service_account: Text<'a>,
    pub uid: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Policy<'a> {
    pub by: Text<'a>,
    pub error: Text<'a>,
    pub event: Text<'a>,
    pub file: Text<'a>,
    pub generation: u64,
    pub mode: Text<'a>,
    pub rules: u64,
    pub sha256: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Process<'a> {
    pub command: Vec<Text<'a>>,
    pub command_truncated: bool,
    pub parents: Vec<Holder<'a>>,
    pub started: Text<'a>,
}

/// The block `result`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Outcome<'a> {
    pub copy_in_bytes: u64,
    pub copy_out_bytes: u64,
    pub duration_us: Option<u64>,
    pub error: Text<'a>,
    pub message: Text<'a>,
    pub rows: Option<u64>,
    pub status: Text<'a>,
    pub tags: Vec<Text<'a>>,
}

/// Segments that were removed because they were old enough or too many.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Retention<'a> {
    pub bytes: u64,
    pub first_seq: u64,
    pub last_hash: Text<'a>,
    pub last_seq: u64,
    pub reason: Text<'a>,
    pub segments: u64,
}

/// The header of a segment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Segment<'a> {
    pub agent_version: Text<'a>,
    pub checkpoint_records: u64,
    pub format: u64,
    pub key: Text<'a>,
    pub public_key: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Session<'a> {
    pub application: Text<'a>,
    pub client_addr: Text<'a>,
    pub database: Text<'a>,
    pub id: Text<'a>,
    pub joined: Text<'a>,
    pub opaque: Text<'a>,
    pub protocol: Text<'a>,
    pub replication: bool,
    pub role: Text<'a>,
    pub server_addr: Text<'a>,
    pub server_container: Text<'a>,
    pub server_pid: Option<u64>,
    pub server_pod: Text<'a>,
    pub tls: bool,
    pub user: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Statement<'a> {
    pub bytes: u64,
    pub comment: Comment<'a>,
    pub count: u64,
    pub encoding: Text<'a>,
    pub fingerprint: Text<'a>,
    pub function_oid: Option<u64>,
    pub lossy: bool,
    pub missing_where: bool,
    pub params: Vec<Option<Text<'a>>>,
    pub params_truncated: bool,
    pub parse: Text<'a>,
    /// What was taken out: `password`, `literals`, `params`.
    pub redacted: Vec<Text<'a>>,
    pub sha256: Text<'a>,
    pub tables: Vec<Text<'a>>,
    pub text: Option<Text<'a>>,
    pub truncated: bool,
    pub verbs: Vec<Text<'a>>,
    pub via: Text<'a>,
}

/// What the client says about its statement in a comment; nobody vouches for it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Comment<'a> {
    pub claimed: BTreeMap<Text<'a>, Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Tag<'a> {
    pub by: Option<Person<'a>>,
    pub cgroup: Text<'a>,
    pub event: Text<'a>,
    pub labels: BTreeMap<Text<'a>, Text<'a>>,
    pub name: Text<'a>,
    pub origin: Text<'a>,
    pub pid: Option<u64>,
    pub purpose: Text<'a>,
    pub run: Text<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Verdict<'a> {
    pub action: Text<'a>,
    pub approval: Text<'a>,
    pub held_us: Option<u64>,
    pub matched: Text<'a>,
    pub mode: Text<'a>,
    pub reason: Text<'a>,
    pub rule: Text<'a>,
    pub wanted: Text<'a>,
}

impl Person<'_> {
    /// The name, or `uid 1000`.
    pub fn shown(&self) -> String {
        match self.user.some() {
            Some(user) => user.to_owned(),
            None => format!("uid {}", self.uid),
        }
    }
}

impl Verdict<'_> {
    /// What the rule would do is not to let the message through as it is.
    pub fn stops(&self) -> bool {
        matches!(self.action.as_str(), "hold" | "reject" | "reset")
    }

    /// The gate answered in the server's place: an error, or the end of the connection, is its own.
    pub fn stopped(&self) -> bool {
        self.mode == "enforce" && matches!(self.action.as_str(), "reject" | "reset")
    }
}
