//! A pod as the API tells it (core/v1 Pod), of which only the fields are read that a record may have. Whoever may make
//! pods chooses what stands in them, so that all of it is bounded.

use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::table::Told;
use super::{Container, Pod};

/// Labels kept of a pod. Most have fewer than ten; the API has no limit but the size of the object.
const LABELS_MAX: usize = 64;
/// Bytes of a label's key: a DNS name of 253, a slash and a name of 63.
const LABEL_KEY_BYTES_MAX: usize = 317;
/// Bytes of a label's value.
const LABEL_VALUE_BYTES_MAX: usize = 63;
/// Bytes of the name of a pod, a namespace, a service account: a DNS name.
const NAME_BYTES_MAX: usize = 253;
/// Bytes of a uid: a UUID has 36; the API takes it for any text.
const UID_BYTES_MAX: usize = 64;
/// Containers kept of a pod. Their number has no limit but the size of the object; service meshes add two or three.
const CONTAINERS_MAX: usize = 64;

/// The kubelet's mark on what it tells the API of a static pod: nobody else's pods have it.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The uid of the static pod itself.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// A core/v1 Pod.
pub(super) type ApiPod = Object<Spec, Status>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    service_account_name: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    /// `<runtime>://<id>`; absent or empty until the container was made.
    #[serde(rename = "containerID")]
    container_id: String,
}

/// `None` for an object that cannot be a pod's.
pub(super) fn told(object: ApiPod) -> Option<Told> {
    let meta = object.metadata;
    let mut annotations = meta.annotations.unwrap_or_default();
    let mirrors = annotations
        .contains_key(MIRROR)
        .then(|| annotations.remove(STATIC_UID))
        .flatten()
        .filter(|uid| fits(uid, UID_BYTES_MAX));
    let name = |name: Option<String>| name.filter(|name| fits(name, NAME_BYTES_MAX));
    let all_labels = meta.labels.unwrap_or_default();
    let labels_told = all_labels.len();
    let labels: std::collections::BTreeMap<_, _> = all_labels
        .into_iter()
        .filter(|(key, value)| {
            fits(key, LABEL_KEY_BYTES_MAX)
                && value.len() <= LABEL_VALUE_BYTES_MAX
                && value.is_ascii()
        })
        .take(LABELS_MAX)
        .collect();
    let status = object.status.unwrap_or_default();
    let containers = status
        .container_statuses
        .into_iter()
        .chain(status.init_container_statuses)
        .chain(status.ephemeral_container_statuses)
        .filter_map(container)
        .take(CONTAINERS_MAX)
        .collect();
    let pod = Pod {
        uid: meta.uid.filter(|uid| fits(uid, UID_BYTES_MAX))?,
        namespace: name(meta.namespace)?,
        name: name(meta.name)?,
        service_account: name(object.spec.service_account_name),
        labels_truncated: labels.len() < labels_told,
        labels,
        containers,
    };
    Some(Told { pod, mirrors })
}

/// Names in Kubernetes are ASCII.
fn fits(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && text.is_ascii()
}

fn container(status: ContainerStatus) -> Option<Container> {
    let (runtime, id) = status.container_id.split_once("://")?;
    let is_id = fits(id, 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && fits(&status.name, NAME_BYTES_MAX)).then(|| Container {
        id: id.to_owned(),
        name: status.name,
        runtime: match runtime {
            "containerd" => Some("containerd"),
            "cri-o" => Some("cri-o"),
            "docker" => Some("docker"),
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn read(object: Value) -> Option<Told> {
        told(serde_json::from_value(object).unwrap())
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"},
                "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}]},
            "spec": {"serviceAccountName": "web", "serviceAccount": "web", "nodeName": "n",
                "containers": [{"name": "app", "image": "x"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "containerID": format!("containerd://{ID}"), "ready": true},
                {"name": "waits", "containerID": ""}, {"name": "new"}]}
        })
    }

    #[test]
    fn what_is_kept() {
        let told = read(pod()).unwrap();
        assert_eq!(told.mirrors, None);
        assert_eq!(told.pod.full_name(), "shop/web-1");
        assert_eq!(
            told.pod.user_name().unwrap(),
            "system:serviceaccount:shop:web"
        );
        assert_eq!(told.pod.labels["app"], "web");
        assert_eq!(told.pod.containers.len(), 1);
        let container = told.pod.container(Some(ID), None).unwrap();
        assert_eq!(
            (container.name.as_str(), container.runtime),
            ("app", Some("containerd"))
        );
        let nested = format!("/kubepods/podx/{ID}/docker/abc");
        assert!(told.pod.container(Some("abc"), Some(&nested)).is_some());
        assert!(told.pod.container(Some("abc"), None).is_none());
    }

    #[test]
    fn nothing_is_kept_that_has_no_bound() {
        let mut object = pod();
        for n in 0..1000 {
            object["metadata"]["labels"][format!("label-{n}")] = "x".into();
        }
        object["metadata"]["labels"]["long"] = "x".repeat(10_000).into();
        object["spec"]["serviceAccountName"] = "x".repeat(10_000).into();
        let told = read(object).unwrap();
        assert_eq!(told.pod.labels.len(), LABELS_MAX);
        assert!(told.pod.labels_truncated);
        assert_eq!(told.pod.service_account, None);

        for (field, value) in [("uid", ""), ("name", "é"), ("namespace", "")] {
            let mut object = pod();
            object["metadata"][field] = value.into();
            assert_eq!(read(object), None, "{field}");
        }
    }

    #[test]
    fn a_mirror_has_two_uids_and_nobody_else_does() {
        let mut object = pod();
        object["metadata"]["annotations"] = json!({STATIC_UID: "abc"});
        assert_eq!(read(object.clone()).unwrap().mirrors, None);
        object["metadata"]["annotations"][MIRROR] = "abc".into();
        assert_eq!(read(object).unwrap().mirrors.as_deref(), Some("abc"));
    }

    #[test]
    fn a_pod_that_has_not_started_has_no_status() {
        let object = json!({"metadata": {"name": "n", "namespace": "s", "uid": "u"}, "spec": {}});
        assert_eq!(read(object).unwrap().pod.containers, []);
    }
}
