//! The audit record, field by field. Struct fields stand in canonical order (RFC 8785 sorts keys), so that what serde
//! writes is already canonical JSON. Here is the record; the files below have its blocks.

mod asked;
mod form;
mod gap;
mod identity;
mod journal;
mod kind;
mod pods;
mod process;
mod rendered;
mod result;
mod session;
mod statement;
mod verdict;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::asked::{ApprovalBlock, ApprovalStatement, ApproverBlock, ControlBlock, TagBlock};
pub use self::gap::{ErrorBlock, GapBlock};
pub use self::identity::{HolderBlock, Identity};
pub use self::journal::{CheckpointBlock, RetentionBlock, SegmentBlock};
pub use self::kind::Kind;
pub use self::pods::{PodBlock, PodsBlock};
pub use self::process::{ParentBlock, ProcessBlock};
pub use self::rendered::Rendered;
pub use self::result::ResultBlock;
pub use self::session::{CancelBlock, CloseBlock, Session};
pub use self::statement::{CommentBlock, StatementBlock};
pub use self::verdict::VerdictBlock;

/// Format version, the `v` of a record.
pub const RECORD_VERSION: u32 = 1;

/// Largest number written. RFC 8785 section 3.2.2.3 takes JSON numbers for IEEE 754 doubles, which hold whole numbers
/// exactly up to here; a larger one (a server may claim any row count) would get another form from other canonicalisers.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

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
