//! The connection, from its first record to its totals.

use super::form::{absent, exact};
use serde::Serialize;

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
