//! `[[tag]]` of the configuration: a name for cgroups that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{TagName, ancestors};
use crate::capture::cgroup;
use crate::glob::Glob;
use crate::identity::pods::{Pod, Pods};

/// A name, and the cgroups it is for: by the path, by the systemd unit or by the labels of the pod whose cgroup it is.
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
    /// Labels of a pod, all of them.
    Pod(Vec<(String, Glob)>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: TagName,
    cgroup: Option<String>,
    unit: Option<String>,
    pod_labels: Option<BTreeMap<String, String>>,
}

impl TryFrom<Written> for TagRule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let glob = |text: &str| Glob::new(text).map_err(|error| format!("{text:?}: {error}"));
        let of = match (&written.cgroup, &written.unit, &written.pod_labels) {
            (Some(path), None, None) if !path.starts_with('/') => {
                return Err(format!(
                    "cgroup = {path:?}: a path of the cgroup v2 hierarchy begins with `/`, as /proc/PID/cgroup shows it"
                ));
            }
            (Some(path), None, None) => Of::Cgroup(glob(path.trim_end_matches('/'))?),
            (None, Some(unit), None) => Of::Unit(glob(unit)?),
            (None, None, Some(labels)) if !labels.is_empty() => {
                let labels = labels
                    .iter()
                    .map(|(key, text)| Ok((key.clone(), glob(text)?)));
                Of::Pod(labels.collect::<Result<_, String>>()?)
            }
            _ => {
                return Err(
                    "[[tag]] needs one of `cgroup` (a path), `unit` (a systemd unit) and `pod_labels` (labels of a pod)".to_owned(),
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
    pub fn is_of_pods(&self) -> bool {
        matches!(self.of, Of::Pod(_))
    }

    fn matches(&self, path: &str, pod: &dyn Fn(&str) -> Option<Arc<Pod>>) -> bool {
        match &self.of {
            Of::Cgroup(glob) => glob.matches(path),
            Of::Pod(wanted) => pod(path).is_some_and(|pod| {
                wanted
                    .iter()
                    .all(|(key, glob)| pod.labels.get(key).is_some_and(|value| glob.matches(value)))
            }),
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
/// `pods` are those of this node.
pub fn nearest<'a, 'p>(
    rules: &'a [TagRule],
    path: &'p str,
    pods: Option<&Pods>,
) -> Option<(&'p str, &'a TagRule)> {
    if rules.is_empty() {
        return None;
    }
    // The pod's own cgroup, not those of its containers.
    let pod = |path: &str| {
        let uid = cgroup::pod_uid(path)?;
        let above = path.rsplit_once('/')?.0;
        (cgroup::pod_uid(above).as_ref() != Some(&uid)).then(|| pods?.by_uid(&uid))?
    };
    ancestors(path).find_map(|path| {
        let rule = rules.iter().find(|rule| rule.matches(path, &pod))?;
        Some((path, rule))
    })
}
