//! The control socket: one request line in, one answer line out, both JSON.
//!
//! ```text
//! server   the socket, its clients, who of them may ask what
//! peer     who a client is, by the kernel's word
//! queue    requests for another thread, and its answers back
//! ```
//!
//! This file has the requests, and the side of the commands that ask.

mod peer;
mod queue;
mod server;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::status::Status;
use crate::gate::approvals::{ApprovalId, Listed, Outcome, State};
use crate::identity::tags::{Labels, Tag, TagName};

pub use peer::{GROUP, Peer};
pub use queue::{Job, NewRun, Queue, Queued, Requests};
pub use server::{Control, Handler, Serving};

/// Bytes of a request; the longest has the labels of a run in it.
const REQUEST_BYTES_MAX: u64 = 16 << 10;
/// Bytes of an answer: a status with a thousand servers, or a thousand statements that wait, each with its head.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// How long a command waits for the agent: longer than the agent waits for its own threads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "another dbgov is running and answers on {0}: stop it, or set another [agent] control_socket"
    )]
    InUse(PathBuf),
    #[error("cannot make the control socket {path}: {source}; set another [agent] control_socket")]
    Bind {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "no dbgov answers on {path} ({source}): start it with `dbgov run`, or name its configuration with --config"
    )]
    NotRunning {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "cannot reach the control socket {0}: its directory is not for everybody; run this with sudo"
    )]
    NotPermitted(PathBuf),
    #[error("the agent on {0} did not answer in its own words; is it another version?")]
    Answer(PathBuf),
    /// In the agent's words.
    #[error("{0}")]
    Refused(String),
}

/// What can be asked of a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// Which statements wait for a decision: a list of [`Listed`].
    Approvals,
    /// Answered with [`Decided`], as is the next.
    Approve {
        id: ApprovalId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Deny {
        id: ApprovalId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Take the gate away: everything passes.
    GateOff,
    PolicyReload,
    /// Answered with [`Tagged`].
    TagSet {
        name: TagName,
        target: TagTarget,
    },
    /// A list of [`ListedTag`].
    TagList,
    /// Answered with the list of the tags that were removed. With a cgroup, only that one's.
    TagRemove {
        name: TagName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<String>,
    },
    /// Put the process that asks into a cgroup of its own with this tag: it is about to become the run. Answered with
    /// [`Started`].
    Exec {
        name: TagName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
    },
}

impl Request {
    /// As in a record.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Status => "status",
            Request::Approvals => "approvals",
            Request::Approve { .. } => "approve",
            Request::Deny { .. } => "deny",
            Request::GateOff => "gate_off",
            Request::PolicyReload => "policy_reload",
            Request::TagSet { .. } => "tag_set",
            Request::TagList => "tag_list",
            Request::TagRemove { .. } => "tag_remove",
            Request::Exec { .. } => "exec",
        }
    }

    /// It changes nothing.
    pub fn only_looks(&self) -> bool {
        matches!(
            self,
            Request::Status | Request::Approvals | Request::TagList
        )
    }
}

/// Which cgroup is to be tagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagTarget {
    Cgroup(String),
    /// The one of this process.
    Pid(u32),
    /// The one of this systemd unit.
    Unit(String),
    /// The one of this pod of the node, `NAMESPACE/NAME`.
    Pod(String),
}

/// A cgroup has been tagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged {
    pub cgroup: String,
    pub name: TagName,
    /// The tag it had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<TagName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTag {
    #[serde(flatten)]
    pub tag: Tag,
    /// In the cgroup itself, not below it.
    pub processes: u64,
}

/// The process that asked is a run from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub cgroup: String,
    pub run: String,
}

/// The answer to [`Request::Approve`] and [`Request::Deny`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub id: ApprovalId,
    pub state: State,
    pub waited_us: u64,
}

impl From<&Outcome> for Decided {
    fn from(outcome: &Outcome) -> Self {
        Decided {
            id: outcome.id.clone(),
            state: outcome.state,
            waited_us: outcome.waited_ns() / 1000,
        }
    }
}

/// What the agent answers: what was asked for, or why not, in words for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(Value),
    Error(String),
}

impl Reply {
    /// Something the asking side knows the type of.
    pub fn of(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => Reply::Ok(value),
            Err(error) => Reply::Error(format!("the answer cannot be written as JSON: {error}")),
        }
    }

    pub fn error(words: impl ToString) -> Self {
        Reply::Error(words.to_string())
    }
}

/// Asks the running agent for its status.
pub fn status(path: &Path) -> Result<Status, ControlError> {
    ask(path, &Request::Status)
}

/// Which statements wait for a decision, the oldest first.
pub fn approvals(path: &Path) -> Result<Vec<Listed>, ControlError> {
    ask(path, &Request::Approvals)
}

/// Asks the running agent; the answer has to be of the type the request has.
pub fn ask<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, ControlError> {
    let line = exchange(path, request).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => ControlError::NotPermitted(path.to_owned()),
        _ => ControlError::NotRunning {
            path: path.to_owned(),
            source,
        },
    })?;
    let foreign = |_| ControlError::Answer(path.to_owned());
    match serde_json::from_slice(&line).map_err(foreign)? {
        Reply::Ok(value) => serde_json::from_value(value).map_err(foreign),
        Reply::Error(words) => Err(ControlError::Refused(words)),
    }
}

fn exchange(path: &Path, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut request = serde_json::to_vec(request)?;
    request.push(b'\n');
    match stream.write_all(&request) {
        // A refusal may come before the request is read; the answer says why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        other => other?,
    }
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests;
