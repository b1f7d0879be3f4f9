//! The thread that asks the Kubernetes API for the pods of this node: a list, and then what changes.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, ApiResource};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use nix::sys::eventfd::EventFd;

use super::Pods;
use super::object::{ApiPod, told};

/// The API ends a watch after so many seconds, and the next one begins where it ended.
const WATCH_TIMEOUT_S: u32 = 120;
/// A connection on which nothing came for so long is dead: no watch is silent for longer.
const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_TIMEOUT_S as u64 + 30);
/// An API that is there answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How the API is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `spec.nodeName` of the pods that are asked for.
    pub node: String,
    /// Absent: as the service account of the pod the agent runs in.
    pub kubeconfig: Option<PathBuf>,
}

/// Begins to ask, and does so until the process ends. `wake` is raised when a pod changed.
pub fn start(access: Access, wake: Arc<EventFd>) -> std::io::Result<Arc<Pods>> {
    let pods = Arc::new(Pods::new(&access.node));
    let told = Arc::clone(&pods);
    // One thread and no pool: the answers of one API, a few a minute.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("kubernetes".to_owned())
        .spawn(move || runtime.block_on(ask(&access, &told, &wake)))?;
    Ok(pods)
}

/// Asks from the beginning again after every failure: what was missed meanwhile is in the list.
async fn ask(access: &Access, pods: &Arc<Pods>, wake: &EventFd) {
    let mut backoff = DefaultBackoff::default();
    loop {
        let failed = follow(access, pods, wake, &mut backoff).await;
        let error = in_words(&failed);
        if pods.away(error.clone()) {
            tracing::warn!(
                "Kubernetes API: {error}; pods that are not known yet stay without a name"
            );
        }
        // At least once in 30 s, at another moment than the agents of the other nodes.
        tokio::time::sleep(backoff.next().unwrap_or(CONNECT_TIMEOUT)).await;
    }
}

/// Lists and watches until something fails.
async fn follow(
    access: &Access,
    pods: &Pods,
    wake: &EventFd,
    backoff: &mut DefaultBackoff,
) -> AskError {
    let client = match client(access).await {
        Ok(client) => client,
        Err(error) => return error,
    };
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
    let api: Api<ApiPod> = Api::all_with(client, &resource);
    let mut wanted = watcher::Config::default()
        .fields(&format!("spec.nodeName={}", access.node))
        .timeout(WATCH_TIMEOUT_S)
        .any_semantic();
    // From the API's cache, which is as new as what the kubelet itself was told, and spares etcd the agents of all nodes
    // that start at once. A list in pages would not come from there; a node's is short.
    wanted.page_size = None;
    let mut events = pin!(watcher(api, wanted));
    while let Some(event) = futures_util::StreamExt::next(&mut events).await {
        match event {
            Ok(event) => {
                if matches!(event, Event::InitDone) {
                    backoff.reset();
                }
                take(event, pods, wake);
            }
            Err(error) => return error.into(),
        }
    }
    AskError::Ended
}

fn take(event: Event<ApiPod>, pods: &Pods, wake: &EventFd) {
    let before = pods.generation();
    match event {
        Event::Init => pods.write().begin(),
        Event::InitApply(object) | Event::Apply(object) => {
            if let Some(told) = told(object) {
                pods.told(told);
            }
        }
        Event::InitDone => {
            pods.write().end(Instant::now());
            if pods.connected() {
                let status = pods.status();
                tracing::info!(
                    node = status.node,
                    pods = status.pods,
                    "Kubernetes API: connected"
                );
            }
        }
        Event::Delete(object) => {
            if let Some(uid) = object.metadata.uid {
                pods.write().delete(&uid, Instant::now());
            }
        }
    }
    if pods.generation() != before {
        // Full only if it was raised and nobody has looked yet.
        let _ = wake.write(1);
    }
}

async fn client(access: &Access) -> Result<Client, AskError> {
    let mut config = match &access.kubeconfig {
        Some(path) => {
            let mut file = Kubeconfig::read_from(path)?;
            // Those of the environment are for reaching the world; a cluster's own API is not behind them.
            let options = KubeConfigOptions::default();
            let proxies = file
                .clusters
                .iter_mut()
                .filter_map(|named| named.cluster.as_mut());
            let is_proxied = proxies
                .into_iter()
                .any(|cluster| cluster.proxy_url.is_some());
            let mut config = Config::from_custom_kubeconfig(file, &options).await?;
            if !is_proxied {
                config.proxy_url = None;
            }
            config
        }
        None => Config::incluster()?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Here it is tried again in any case, and meanwhile the status says why.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error(transparent)]
    InCluster(#[from] kube::config::InClusterError),
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Watch(#[from] watcher::Error),
    #[error("the watch has ended")]
    Ended,
}

/// The error with what is behind it, each once.
fn in_words(error: &AskError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        source = cause.source();
    }
    words
}
