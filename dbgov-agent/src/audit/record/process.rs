//! How the client's process came to be.

use super::form::{absent, instant};
use serde::Serialize;

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
