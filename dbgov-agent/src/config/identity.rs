//! `[identity]`: what is recorded of clients, and where their runs are put.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// The cgroup below which `dbgov exec` makes those of its runs.
    pub cgroup: String,
    /// Record the arguments of clients' processes. There may be secrets in them.
    pub command_lines: bool,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        IdentityConfig {
            cgroup: "/dbgov".to_owned(),
            command_lines: true,
        }
    }
}

impl IdentityConfig {
    pub(super) fn problem(&self) -> Option<String> {
        let root = &self.cgroup;
        if !root.starts_with('/') || root.trim_matches('/').is_empty() || root.contains("..") {
            return Some(format!(
                "[identity] cgroup = {root:?}: give a path below the root of the cgroup v2 hierarchy, such as \"/dbgov\""
            ));
        }
        None
    }
}
