//! The Kubernetes pods of this node: from the uid in a cgroup's path to what the pod is called.
//!
//! ```text
//! object   a pod as the API tells it, cut to what is kept
//! table    the pods that are known
//! watch    the thread that asks the API
//! ```
//!
//! The thread writes, the others look: a look takes a lock that is never held for longer than a table look-up.

mod object;
mod table;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::table::{Table, Told};
pub use self::watch::{Access, start};
use super::Process;
use crate::capture::cgroup;

/// A pod of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// Name of its service account, in its namespace. A static pod has none.
    pub service_account: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// It has more labels than are kept.
    pub labels_truncated: bool,
    pub containers: Vec<Container>,
}

/// A container of a pod, as far as the kubelet has told the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    /// In the pod's manifest.
    pub name: String,
    /// `containerd`, `cri-o`, `docker`.
    pub runtime: Option<&'static str>,
}

impl Pod {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// `namespace/name` of its service account.
    pub fn full_service_account(&self) -> Option<String> {
        let name = self.service_account.as_ref()?;
        Some(format!("{}/{name}", self.namespace))
    }

    /// The user that Kubernetes knows the service account as
    /// (`k8s.io/apiserver/pkg/authentication/serviceaccount`, `MakeUsername`).
    pub fn user_name(&self) -> Option<String> {
        let name = self.service_account.as_ref()?;
        Some(format!("system:serviceaccount:{}:{name}", self.namespace))
    }

    /// The container with this id, or the one around it.
    pub fn container(&self, id: Option<&str>, cgroup: Option<&str>) -> Option<&Container> {
        self.containers.iter().find(|container| {
            id == Some(container.id.as_str())
                || cgroup.is_some_and(|path| path.contains(&container.id))
        })
    }
}

/// How it stands with the API, for `dbgov status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodsStatus {
    /// The last thing the API was asked it has answered.
    pub connected: bool,
    /// Whose pods are asked for.
    pub node: String,
    /// Pods that are known, the deleted ones that are still kept included.
    pub pods: u64,
    /// Why it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is known of the pods of this node.
#[derive(Debug, Default)]
pub struct Pods {
    table: RwLock<Table>,
    /// Grows with each change of a pod.
    generation: AtomicU64,
    state: Mutex<State>,
    tried: Condvar,
}

#[derive(Debug, Default)]
struct State {
    node: String,
    connected: bool,
    error: Option<String>,
    /// The API has told all pods, or said that it will not: nothing is gained by waiting on.
    tried: bool,
}

impl Pods {
    pub fn new(node: &str) -> Self {
        Pods {
            state: Mutex::new(State {
                node: node.to_owned(),
                ..State::default()
            }),
            ..Pods::default()
        }
    }

    pub fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        self.read().by_uid(uid)
    }

    /// The uid of a pod that runs on this node.
    pub fn find(&self, namespace: &str, name: &str) -> Option<String> {
        self.read().find(namespace, name)
    }

    /// The pod a cgroup v2 path belongs to.
    pub fn of_cgroup(&self, path: &str) -> Option<Arc<Pod>> {
        self.by_uid(&cgroup::pod_uid(path)?)
    }

    /// The pod a process runs in.
    pub fn of_process(&self, process: &Process) -> Option<Arc<Pod>> {
        self.by_uid(process.pod_uid.as_deref()?)
    }

    /// Grows whenever a pod is told anew or otherwise than before.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn status(&self) -> PodsStatus {
        let pods = self.read().len() as u64;
        let state = self.state();
        PodsStatus {
            connected: state.connected,
            node: state.node.clone(),
            pods,
            error: state.error.clone(),
        }
    }

    /// Until the API has told all pods, or has failed to; not for longer than until `deadline`.
    pub fn wait_until_told(&self, deadline: Instant) {
        let patience = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .tried
            .wait_timeout_while(self.state(), patience, |state| !state.tried);
        drop(waited);
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever looks sees that something changed, if it did.
    fn told(&self, told: Told) {
        if self.write().put(told, Instant::now()) {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    #[cfg(test)]
    pub(crate) fn put(&self, pod: Pod) {
        self.told(Told { pod, mirrors: None });
    }

    /// The API has told all there is; gives whether that is news.
    fn connected(&self) -> bool {
        let mut state = self.state();
        let news = !state.connected;
        (state.connected, state.error, state.tried) = (true, None, true);
        self.tried.notify_all();
        news
    }

    /// The API cannot be asked; gives whether that is news.
    fn away(&self, error: String) -> bool {
        let mut state = self.state();
        let news = state.connected || state.error.as_deref() != Some(error.as_str());
        (state.connected, state.error, state.tried) = (false, Some(error), true);
        self.tried.notify_all();
        news
    }
}

/// Files of a pod's service account: where they are, the agent runs in a cluster.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Whether this process runs in a pod that may ask the API.
pub fn is_in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && Path::new(SERVICE_ACCOUNT_TOKEN).exists()
}

/// How long the agent waits with capturing for the first list of pods, so that the first sessions are named.
pub const FIRST_LIST_TIMEOUT: Duration = Duration::from_secs(2);
