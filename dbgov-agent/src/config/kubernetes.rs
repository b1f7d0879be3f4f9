//! `[kubernetes]`: whether and how the API is asked for the pods of this node.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::identity::pods::{self, Access};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesConfig {
    pub enabled: Enabled,
    /// Of this node in the cluster.
    #[serde(deserialize_with = "not_empty")]
    node: Option<String>,
    /// How the API is reached from outside of the cluster. In the file of the configuration, relative to its directory.
    #[serde(deserialize_with = "path")]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enabled {
    Yes,
    No,
    /// Where the agent runs in a cluster.
    #[default]
    Auto,
}

impl KubernetesConfig {
    /// How the API is to be asked, if it is. The name of the node is `$NODE_NAME` where none is configured (the downward
    /// API's usual place for `spec.nodeName`), else `hostname`.
    pub fn access(&self, hostname: impl FnOnce() -> String) -> Option<Access> {
        let asked = match self.enabled {
            Enabled::Yes => true,
            Enabled::No => false,
            Enabled::Auto => self.kubeconfig.is_some() || pods::is_in_cluster(),
        };
        let from_environment = || {
            std::env::var("NODE_NAME")
                .ok()
                .filter(|name| !name.is_empty())
        };
        asked.then(|| Access {
            node: self
                .node
                .clone()
                .or_else(from_environment)
                .unwrap_or_else(hostname),
            kubeconfig: self.kubeconfig.clone(),
        })
    }
}

fn not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    // A field selector has no quotes: what is in it ends at these.
    match name.is_empty() || name.contains([',', '=', '\\', ' ']) {
        true => Err(D::Error::custom(
            "give the name of the node as `kubectl get nodes` shows it, or leave `node` out",
        )),
        false => Ok(Some(name)),
    }
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    match path.as_os_str().is_empty() {
        true => Err(D::Error::custom(
            "give the path of a kubeconfig, or leave `kubeconfig` out for the agent's own service account",
        )),
        false => Ok(Some(path)),
    }
}

impl<'de> Deserialize<'de> for Enabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EnabledVisitor)
    }
}

struct EnabledVisitor;

impl Visitor<'_> for EnabledVisitor {
    type Value = Enabled;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or \"auto\"")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Enabled, E> {
        Ok(match value {
            true => Enabled::Yes,
            false => Enabled::No,
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Enabled, E> {
        match value {
            "auto" => Ok(Enabled::Auto),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(value), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;
    use crate::identity::pods::Access;

    fn access(text: &str) -> Option<Access> {
        let config = Config::parse(text, Path::new("/etc/dbgov/dbgov.toml")).unwrap();
        config.kubernetes.access(|| "host-1".to_owned())
    }

    #[test]
    fn who_asks_and_for_whom() {
        assert_eq!(access(""), None, "not in a cluster");
        assert_eq!(access("[kubernetes]\nenabled = \"auto\""), None);
        assert_eq!(
            access("[kubernetes]\nenabled = false\nkubeconfig = \"k\""),
            None
        );
        let own = access("[kubernetes]\nenabled = true").unwrap();
        assert_eq!((own.node.as_str(), own.kubeconfig), ("host-1", None));
        let outside = access("[kubernetes]\nkubeconfig = \"kube.conf\"\nnode = \"n-2\"").unwrap();
        assert_eq!(outside.node, "n-2");
        assert_eq!(
            outside.kubeconfig.as_deref(),
            Some(Path::new("/etc/dbgov/kube.conf"))
        );
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expected) in [
            ("enabled = \"yes\"", "line 2, column 11"),
            ("enabled = \"yes\"", "expected true, false or \"auto\""),
            ("enabled = 1", "expected true, false or \"auto\""),
            ("node = \"\"", "line 2, column 8"),
            ("node = \"a,metadata.namespace=b\"", "`kubectl get nodes`"),
            ("kubeconfig = \"\"", "give the path of a kubeconfig"),
            ("nodes = \"a\"", "unknown field `nodes`"),
        ] {
            let text = format!("[kubernetes]\n{text}");
            let error = Config::parse(&text, Path::new("dbgov.toml")).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
