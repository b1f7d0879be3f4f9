//! What records are about.

use serde::{Serialize, Serializer};

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
