//! `[[exec]]`: who may run what under which tags.

use serde::Deserialize;

use crate::glob::Glob;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRule {
    /// The tags.
    pub names: Vec<NameGlob>,
    /// UNIX users, by name ...
    #[serde(default)]
    pub users: Vec<String>,
    /// ... or as members of UNIX groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Tags whose processes may exchange theirs for one of `names`. Without, who has a tag keeps it.
    #[serde(default)]
    pub from: Vec<NameGlob>,
}

/// A pattern of tags' names.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct NameGlob(pub Glob);

impl TryFrom<String> for NameGlob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let glob = Glob::new(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(NameGlob(glob))
    }
}

pub(super) fn problem(rules: &[ExecRule]) -> Option<String> {
    if let Some(rule) = rules.iter().find(|rule| rule.names.is_empty()) {
        return Some(format!(
            "[[exec]] names is empty (users {:?}): give the tags they may run something under, such as \"agent:*\"",
            rule.users
        ));
    }
    if let Some(rule) = rules
        .iter()
        .find(|rule| rule.users.is_empty() && rule.groups.is_empty())
    {
        let names: Vec<&str> = rule.names.iter().map(|name| name.0.text()).collect();
        return Some(format!(
            "[[exec]] for {names:?} lets nobody: give `users` or `groups`"
        ));
    }
    None
}
