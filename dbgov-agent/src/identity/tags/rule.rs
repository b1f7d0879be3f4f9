//! `[[tag]]` of the configuration: a name for cgroups that come and go.

use serde::Deserialize;

use super::{TagName, ancestors};
use crate::glob::Glob;

/// A name, and the cgroups it is for: by the path, or by the systemd unit whose cgroup it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct TagRule {
    pub name: TagName,
    pub of: Of,
}

#[derive(Debug, Clone)]
pub enum Of {
    /// Of the whole path; `*` also stands for `/`.
    Cgroup(Glob),
    /// Of one component of it.
    Unit(Glob),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: TagName,
    cgroup: Option<String>,
    unit: Option<String>,
}

impl TryFrom<Written> for TagRule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let glob = |text: &str| Glob::new(text).map_err(|error| format!("{text:?}: {error}"));
        let of = match (&written.cgroup, &written.unit) {
            (Some(path), None) if !path.starts_with('/') => {
                return Err(format!(
                    "cgroup = {path:?}: a path of the cgroup v2 hierarchy begins with `/`, as /proc/PID/cgroup shows it"
                ));
            }
            (Some(path), None) => Of::Cgroup(glob(path.trim_end_matches('/'))?),
            (None, Some(unit)) => Of::Unit(glob(unit)?),
            _ => {
                return Err(
                    "[[tag]] needs one of `cgroup` (a path) and `unit` (a systemd unit)".to_owned(),
                );
            }
        };
        Ok(TagRule {
            name: written.name,
            of,
        })
    }
}

impl TagRule {
    fn matches(&self, path: &str) -> bool {
        match &self.of {
            Of::Cgroup(glob) => glob.matches(path),
            Of::Unit(glob) => {
                let component = path.rsplit('/').next().unwrap_or_default();
                (component.ends_with(".service")
                    || component.ends_with(".scope")
                    || component.ends_with(".slice"))
                    && glob.matches(component)
            }
        }
    }
}

/// The deepest cgroup at or above `path` that a rule is for; of two rules for it, the first.
pub fn nearest<'a, 'p>(rules: &'a [TagRule], path: &'p str) -> Option<(&'p str, &'a TagRule)> {
    if rules.is_empty() {
        return None;
    }
    ancestors(path).find_map(|path| {
        let rule = rules.iter().find(|rule| rule.matches(path))?;
        Some((path, rule))
    })
}
