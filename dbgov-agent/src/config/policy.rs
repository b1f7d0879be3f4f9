//! `[policy]`: which policy is in force, and whether what it says is done.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The policy file. In the file of the configuration, relative to its directory.
    pub file: PathBuf,
    #[serde(default)]
    pub mode: PolicyMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    #[default]
    Enforce,
    /// Verdicts are recorded, nothing is held.
    Observe,
}

impl PolicyMode {
    /// As in the record (`verdict.mode`).
    pub fn name(self) -> &'static str {
        match self {
            PolicyMode::Enforce => "enforce",
            PolicyMode::Observe => "observe",
        }
    }
}

impl PolicyConfig {
    pub(super) fn problem(&self) -> Option<String> {
        let is_empty = self.file.as_os_str().is_empty();
        is_empty.then(|| "[policy] file is empty: give the path of the policy".to_owned())
    }
}
