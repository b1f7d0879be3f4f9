//! `[agent]`: who the agent is, and where it can be asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Name of this host in the records; default: its hostname.
    pub node: Option<String>,
    pub control_socket: PathBuf,
    /// Where programs and maps are pinned while a policy is enforced.
    pub bpffs: PathBuf,
    /// Where metrics are served, `ADDRESS:PORT`; empty for nowhere.
    listen: String,
}

impl Default for AgentConfig {
    fn default() -> Self {
        AgentConfig {
            node: None,
            control_socket: "/run/dbgov/control.sock".into(),
            bpffs: "/sys/fs/bpf/dbgov".into(),
            listen: "127.0.0.1:9188".to_owned(),
        }
    }
}

impl AgentConfig {
    pub(super) fn problem(&self) -> Option<String> {
        let listen = &self.listen;
        if !listen.is_empty() && self.listen().is_none() {
            return Some(format!(
                "[agent] listen = {listen:?}: give an address and a port, such as \"127.0.0.1:9188\" or \"[::1]:9188\", or \"\" to serve no metrics"
            ));
        }
        None
    }

    /// Where metrics are served.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    /// Name of this host in the records.
    pub fn node(&self) -> String {
        self.node.clone().unwrap_or_else(hostname)
    }
}

pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}
