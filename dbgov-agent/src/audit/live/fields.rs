//! The fields of a record that are shown. What is absent is empty; what is unknown is passed over, so that lines of a
//! newer dbgov can be read too.

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Line {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) time: String,
    #[serde(default)]
    pub(super) agent: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(super) approval: Approval,
    #[serde(default)]
    pub(super) cancel: Cancel,
    #[serde(default)]
    pub(super) close: Close,
    #[serde(default)]
    pub(super) control: ControlFields,
    #[serde(default)]
    pub(super) error: Error,
    #[serde(default)]
    pub(super) gap: Gap,
    #[serde(default)]
    pub(super) identity: Identity,
    #[serde(default)]
    pub(super) policy: PolicyFields,
    #[serde(default)]
    pub(super) result: ResultFields,
    #[serde(default)]
    pub(super) retention: RetentionFields,
    #[serde(default)]
    pub(super) session: Session,
    #[serde(default)]
    pub(super) statement: Statement,
    #[serde(default)]
    pub(super) tag: TagFields,
    #[serde(default)]
    pub(super) verdict: Verdict,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Approval {
    pub(super) approver: Option<Approver>,
    pub(super) id: String,
    pub(super) reason: String,
    pub(super) rule: String,
    pub(super) state: String,
    pub(super) statement: ApprovalStatement,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Approver {
    pub(super) uid: u32,
    pub(super) user: Option<String>,
}

impl Approver {
    pub(super) fn shown(&self) -> String {
        match &self.user {
            Some(user) => user.clone(),
            None => format!("uid {}", self.uid),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RetentionFields {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) reason: String,
    pub(super) segments: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TagFields {
    pub(super) by: Option<Approver>,
    pub(super) cgroup: String,
    pub(super) event: String,
    pub(super) name: String,
    pub(super) purpose: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlFields {
    pub(super) by: Option<Approver>,
    pub(super) reason: String,
    pub(super) request: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ApprovalStatement {
    pub(super) head: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cancel {
    pub(super) backend_pid: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Close {
    pub(super) duration_us: u64,
    pub(super) errors: u64,
    pub(super) reason: String,
    pub(super) request_lost_bytes: u64,
    pub(super) response_lost_bytes: u64,
    pub(super) statements: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Error {
    pub(super) code: String,
    pub(super) direction: String,
    pub(super) message: String,
    pub(super) reason: String,
    pub(super) severity: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Gap {
    pub(super) bytes: Option<u64>,
    pub(super) cause: String,
    pub(super) direction: String,
    pub(super) records: Option<u64>,
    pub(super) side_file: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Identity {
    pub(super) name: String,
    source: String,
    comm: String,
}

impl Identity {
    /// An OS user alone says little on a host where everything runs as one: the process's name is shown beside it.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        if self.source == "os_user" && !self.comm.is_empty() {
            return format!("{}/{}", self.name, self.comm).into();
        }
        self.name.as_str().into()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyFields {
    pub(super) by: String,
    pub(super) error: String,
    pub(super) event: String,
    pub(super) generation: u64,
    pub(super) mode: String,
    pub(super) rules: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResultFields {
    pub(super) duration_us: Option<u64>,
    pub(super) error: String,
    pub(super) message: String,
    pub(super) rows: Option<u64>,
    pub(super) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub(super) application: String,
    pub(super) client_addr: String,
    pub(super) database: String,
    pub(super) joined: String,
    pub(super) opaque: String,
    pub(super) user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Statement {
    pub(super) bytes: u64,
    pub(super) function_oid: Option<u32>,
    pub(super) params: Vec<Option<String>>,
    pub(super) text: Option<String>,
    pub(super) truncated: bool,
    pub(super) via: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Verdict {
    pub(super) action: String,
    pub(super) mode: String,
    pub(super) rule: String,
}

impl Verdict {
    fn stops(&self) -> bool {
        matches!(self.action.as_str(), "hold" | "reject" | "reset")
    }

    /// The gate answered in the server's place: an error, or the end of the connection, is its own.
    pub(super) fn stopped(&self) -> bool {
        self.mode == "enforce" && matches!(self.action.as_str(), "reject" | "reset")
    }

    /// What is worth a word: not that something is allowed.
    pub(super) fn shown(&self) -> Option<String> {
        let rule = &self.rule;
        match self.action.as_str() {
            "reject" | "reset" if self.stopped() => Some(format!("STOPPED by {rule}")),
            "alert" => Some(format!("ALERT {rule}")),
            "hold" if self.mode == "enforce" => Some(format!("held by {rule}")),
            action if self.stops() => Some(format!("{rule} would {action} it")),
            _ => None,
        }
    }
}
