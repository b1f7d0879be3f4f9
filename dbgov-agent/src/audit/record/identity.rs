//! Who the client is.

use std::collections::BTreeMap;

use super::form::absent;
use serde::Serialize;

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
