//! The audit record, field by field. Struct fields stand in canonical order (RFC 8785 sorts keys), so that what serde
//! writes is already canonical JSON.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::time::TimeFormatter;
use crate::sql::Claims;

/// Format version, the `v` of a record.
pub const RECORD_VERSION: u32 = 1;

/// Largest number written. RFC 8785 section 3.2.2.3 takes JSON numbers for IEEE 754 doubles, which hold whole numbers
/// exactly up to here; a larger one (a server may claim any row count) would get another form from other canonicalisers.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

/// A value whose JSON is made once and written many times (a session's block stands in each of its records).
#[derive(Debug, Clone)]
pub struct Rendered<T> {
    json: Arc<RawValue>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize> Rendered<T> {
    pub fn new(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Rendered {
            json: serde_json::value::to_raw_value(value)?.into(),
            of: PhantomData,
        })
    }
}

impl<T> Rendered<T> {
    /// The value as canonical JSON.
    pub fn json(&self) -> &str {
        self.json.get()
    }
}

impl<T> Serialize for Rendered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

/// What a record is about (`kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Statement,
    SessionOpen,
    SessionClose,
    Cancel,
    SessionError,
    ProtocolError,
    Gap,
    VerdictUnenforced,
    Approval,
    /// Something the control socket was asked and refused.
    Control,
    Tag,
    Policy,
    AgentStart,
    AgentStop,
    /// The first record of a segment.
    Segment,
    /// A signature over all records before.
    Checkpoint,
    /// Segments that were removed since the configuration says so.
    Retention,
}

impl Kind {
    pub const ALL: &[Kind] = &[
        Kind::Statement,
        Kind::SessionOpen,
        Kind::SessionClose,
        Kind::Cancel,
        Kind::SessionError,
        Kind::ProtocolError,
        Kind::Gap,
        Kind::VerdictUnenforced,
        Kind::Approval,
        Kind::Control,
        Kind::Tag,
        Kind::Policy,
        Kind::AgentStart,
        Kind::AgentStop,
        Kind::Segment,
        Kind::Checkpoint,
        Kind::Retention,
    ];

    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Statement => "statement",
            Kind::SessionOpen => "session_open",
            Kind::SessionClose => "session_close",
            Kind::Cancel => "cancel",
            Kind::SessionError => "session_error",
            Kind::ProtocolError => "protocol_error",
            Kind::Gap => "gap",
            Kind::VerdictUnenforced => "verdict_unenforced",
            Kind::Approval => "approval",
            Kind::Control => "control",
            Kind::Tag => "tag",
            Kind::Policy => "policy",
            Kind::AgentStart => "agent_start",
            Kind::AgentStop => "agent_stop",
            Kind::Segment => "segment",
            Kind::Checkpoint => "checkpoint",
            Kind::Retention => "retention",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn absent(value: &bool) -> bool {
    !*value
}

/// A number as every reader of JSON sees it, at most [`JSON_INTEGER_MAX`].
fn exact<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64((*number).min(JSON_INTEGER_MAX))
}

/// UTC, RFC 3339, as the `time` of a record.
fn instant<S: Serializer>(unix_ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Vec::new();
    TimeFormatter::new().write(*unix_ns, &mut text);
    serializer.serialize_str(&String::from_utf8_lossy(&text))
}

fn exact_option<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => exact(number, serializer),
        None => serializer.serialize_none(),
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Session {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    pub id: String,
    /// `start` or `midstream`.
    pub joined: &'static str,
    /// `tls` or `gss`: the statements of the session cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opaque: Option<&'static str>,
    pub protocol: &'static str,
    #[serde(skip_serializing_if = "absent")]
    pub replication: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_addr: Option<String>,
    /// Id of the container the server runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_pid: Option<u32>,
    /// `namespace/name` of the pod the server runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_pod: Option<String>,
    pub tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// What was said of the run it belongs to (`dbgov exec --label`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Uid of the log-in that the process goes back to, whatever user it became since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    pub name: String,
    /// The network of the configuration that a remote client's address is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Process (thread group) id in the host's pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// From the cgroup, so also where the API has not told the pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The process has ended, and its connection goes on.
    #[serde(skip_serializing_if = "absent")]
    pub process_ended: bool,
    /// Why the run was started, in the words of who did (`dbgov exec --purpose`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Id of the run (`dbgov exec`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Of the container: `containerd`, `cri-o`, `docker`, `podman`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'static str>,
    /// `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// What the name rests on: `tag`, `idp`, `service_account`, `systemd`, `os_user`, `network`, `database_user`,
    /// `unknown`.
    pub source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Who held the connection when that was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<HolderBlock>,
}

/// A process that holds a connection another one opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HolderBlock {
    pub comm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    pub pid: u32,
}

/// How the client's process came to be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessBlock {
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "absent")]
    pub command_truncated: bool,
    /// The processes above it, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentBlock>,
    /// When it started, UTC, nanoseconds since the Unix epoch; the kernel tells it to 10 ms.
    #[serde(serialize_with = "instant")]
    pub started: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ParentBlock {
    pub comm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    pub pid: u32,
}

/// The pods of a session's ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodsBlock {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<PodBlock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<PodBlock>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodBlock {
    /// In the pod's manifest; absent until the kubelet has told the API of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "absent")]
    pub labels_truncated: bool,
    pub name: String,
    pub namespace: String,
    /// `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    pub uid: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct StatementBlock {
    /// Length of the text on the wire without the terminator, bytes.
    #[serde(serialize_with = "exact")]
    pub bytes: u64,
    #[serde(skip_serializing_if = "CommentBlock::is_empty")]
    pub comment: CommentBlock,
    pub count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_oid: Option<u32>,
    #[serde(skip_serializing_if = "absent")]
    pub lossy: bool,
    #[serde(skip_serializing_if = "absent")]
    pub missing_where: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Option<String>>,
    #[serde(skip_serializing_if = "absent")]
    pub params_truncated: bool,
    /// `ok`, `partial`, `failed`, or `unseen` where the Parse was never seen.
    pub parse: &'static str,
    /// What was taken out of text and parameters: `password`, `literals`, `params`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "no_items")]
    pub tables: Arc<[Box<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<crate::protocol::Text>>,
    pub truncated: bool,
    #[serde(skip_serializing_if = "no_items")]
    pub verbs: Arc<[&'static str]>,
    pub via: &'static str,
}

/// What the client says about its statement in a comment; nobody vouches for it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommentBlock {
    pub claimed: Claims,
}

impl CommentBlock {
    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }
}

fn no_items<T>(items: &Arc<[T]>) -> bool {
    items.is_empty()
}

impl Serialize for crate::protocol::Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ResultBlock {
    #[serde(skip_serializing_if = "is_zero", serialize_with = "exact")]
    pub copy_in_bytes: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "exact")]
    pub copy_out_bytes: u64,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub duration_us: Option<u64>,
    /// SQLSTATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub rows: Option<u64>,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct GapBlock {
    /// How many bytes were not seen, where known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub bytes: Option<u64>,
    pub cause: &'static str,
    /// `request` or `response`; absent where the gap is not of one direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// How many records were lost (disk full, crash).
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub records: Option<u64>,
    /// A file that holds what was cut off (torn last line).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side_file: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ErrorBlock {
    /// SQLSTATE, for a session_error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}

/// What the policy decided on a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerdictBlock {
    /// `allow`, `alert`, `hold`, `reject`, `reset`.
    pub action: &'static str,
    /// Id of the approval the message waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Arc<str>>,
    /// How long the gate held the message, microseconds; only if it did.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub held_us: Option<u64>,
    /// The effect that decided: `drop public.t`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// `enforce`, or `observe`: nothing was held.
    pub mode: &'static str,
    /// As the rule gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Name of the rule, or `(default)`, `(unparsed)`, `(unseen)`, `(opaque)`, `(malformed)`.
    pub rule: Arc<str>,
    /// The action the rule asks for, where another was taken instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<&'static str>,
}

/// Totals of a session, in its `session_close`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CloseBlock {
    #[serde(serialize_with = "exact")]
    pub duration_us: u64,
    #[serde(serialize_with = "exact")]
    pub errors: u64,
    /// `terminate`, `client_closed`, `server_closed`, `reset`, `gone`, `agent_stop`, ...
    pub reason: &'static str,
    #[serde(serialize_with = "exact")]
    pub request_bytes: u64,
    #[serde(serialize_with = "exact")]
    pub request_lost_bytes: u64,
    #[serde(serialize_with = "exact")]
    pub response_bytes: u64,
    #[serde(serialize_with = "exact")]
    pub response_lost_bytes: u64,
    #[serde(serialize_with = "exact")]
    pub statements: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct CancelBlock {
    /// The backend the client wants to interrupt.
    pub backend_pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

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

/// Begins a segment of the journal.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentBlock {
    pub agent_version: &'static str,
    /// At most so many records stand between two checkpoints.
    pub checkpoint_records: u32,
    /// Version of the segment's format.
    pub format: u32,
    /// Id of the key that signs the checkpoints.
    pub key: String,
    /// That key's public part: its 32 bytes in hexadecimal digits.
    pub public_key: String,
}

/// A signature; `checkpoint` says over what.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointBlock {
    pub key: String,
    /// `start`, `records`, `time`, `rotation`, `stop`, `close`, `recovery`.
    pub reason: &'static str,
    /// Records since the checkpoint before, as far as this run of the agent wrote them.
    #[serde(serialize_with = "exact")]
    pub records: u64,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
}

/// Segments that were removed.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionBlock {
    /// Of the files.
    #[serde(serialize_with = "exact")]
    pub bytes: u64,
    #[serde(serialize_with = "exact")]
    pub first_seq: u64,
    /// `chain.hash` of the last record that is gone.
    pub last_hash: String,
    #[serde(serialize_with = "exact")]
    pub last_seq: u64,
    /// `age` or `size`.
    pub reason: &'static str,
    #[serde(serialize_with = "exact")]
    pub segments: u64,
}

/// An audit record before the journal gives it its number, its node and its place in the chain. The blocks of the rarer
/// kinds are boxed: records are moved and queued by the ten thousand, and nearly all are statements.
/// `body` and [`super::line::LineEncoder`] write it out: with `chain`, `node`, `seq`, `time` and `v` between these fields.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Facts of the agent: version, configuration, servers (agent_start, agent_stop). Keys in ASCII, no fractions,
    /// nothing above [`JSON_INTEGER_MAX`]: in these serde_json's output is already canonical.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agent: BTreeMap<&'static str, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Box<ApprovalBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Box<CancelBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<CheckpointBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<Box<CloseBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Box<ControlBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<ErrorBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Box<GapBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Rendered<Identity>>,
    pub kind: Kind,
    /// In the first record of a session, and again when more is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Box<PodsBlock>>,
    /// A policy that was put in force or refused (policy). Keys and values as in `agent`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<&'static str, serde_json::Value>,
    /// In the first record of a session whose client's process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Box<ProcessBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultBlock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Box<RetentionBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<Box<SegmentBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Rendered<Session>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<StatementBlock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<TagBlock>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<VerdictBlock>>,
    /// Nanoseconds since the Unix epoch, UTC.
    #[serde(skip)]
    pub time_unix_ns: u64,
}

impl Record {
    pub fn new(kind: Kind, time_unix_ns: u64) -> Self {
        Record {
            agent: BTreeMap::new(),
            approval: None,
            cancel: None,
            checkpoint: None,
            close: None,
            control: None,
            error: None,
            gap: None,
            identity: None,
            kind,
            pods: None,
            policy: BTreeMap::new(),
            process: None,
            result: None,
            retention: None,
            segment: None,
            session: None,
            statement: None,
            tag: None,
            verdict: None,
            time_unix_ns,
        }
    }
}
