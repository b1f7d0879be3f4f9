//! The pods of a session's ends.

use std::collections::BTreeMap;

use super::form::absent;
use serde::Serialize;

/// The pods of a session's ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodsBlock {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<PodBlock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<PodBlock>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodBlock {
    /// In the pod's manifest; absent until the kubelet has told the API of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "absent")]
    pub labels_truncated: bool,
    pub name: String,
    pub namespace: String,
    /// `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    pub uid: String,
}
