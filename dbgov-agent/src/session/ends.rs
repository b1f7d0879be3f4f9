//! Who is at the two ends of a session: what the host and the Kubernetes API tell of the client and of the server.

use std::sync::Arc;

use super::Session;
use crate::audit::record::PodsBlock;
use crate::capture::discover::ServerFacts;
use crate::identity::networks::NamedAddress;
use crate::identity::pods::{Pod, Pods};
use crate::identity::{Client, Process, identity, pod_block};

/// Beside the client's process.
#[derive(Default)]
pub(super) struct Ends {
    /// Where the API is asked for them.
    pods: Option<Arc<Pods>>,
    pub(super) client_pod: Option<Arc<Pod>>,
    /// What the configuration calls the client's address, if that is another host's.
    client_address: Option<NamedAddress>,
    /// The client's address is this host's: there is a process, whether or not it was found.
    client_is_local: bool,
    pub(super) server: Option<Arc<ServerFacts>>,
    pub(super) server_pod: Option<Arc<Pod>>,
    /// What records have told of the pods ...
    pods_told: PodsBlock,
    /// ... which may be more by now.
    pods_changed: bool,
}

/// Takes what was found; a pod that is forgotten keeps its name for the sessions it has.
fn is_news(known: &mut Option<Arc<Pod>>, found: Option<Arc<Pod>>) -> bool {
    let Some(found) = found else { return false };
    let is_known = known
        .as_ref()
        .is_some_and(|known| Arc::ptr_eq(known, &found));
    if !is_known {
        *known = Some(found);
    }
    !is_known
}

impl Session {
    /// Where the names of pods are looked up from now on.
    pub fn set_pods(&mut self, pods: Option<Arc<Pods>>) {
        self.ends.pods = pods;
    }

    /// Names the process behind the session, from its next record on.
    pub fn set_client(&mut self, client: Arc<Process>) {
        self.client = Some(client);
        self.process_told = false;
        self.look_up_pods();
        self.known_anew();
    }

    /// Tells what is known of the client's address.
    pub fn set_client_address(&mut self, name: Option<NamedAddress>, is_local: bool) {
        (self.ends.client_address, self.ends.client_is_local) = (name, is_local);
        self.known_anew();
    }

    /// The server's main process.
    pub fn server(&self) -> Option<&ServerFacts> {
        self.ends.server.as_deref()
    }

    /// Names the server's main process.
    pub fn set_server(&mut self, server: Arc<ServerFacts>) {
        self.ends.server = Some(server);
        self.look_up_pods();
        self.blocks = None;
    }

    /// Looks whether the API has told anything new of the pods at the ends.
    pub fn look_up_pods(&mut self) {
        let Some(pods) = &self.ends.pods else { return };
        let client = self.client.as_ref();
        let client_pod = client.and_then(|client| pods.of_process(client));
        let server = self.ends.server.as_ref();
        let server_uid = server.and_then(|server| server.workload.pod_uid.as_deref());
        let server_pod = server_uid.and_then(|uid| pods.by_uid(uid));
        let changed = [
            is_news(&mut self.ends.client_pod, client_pod),
            is_news(&mut self.ends.server_pod, server_pod),
        ];
        if changed.contains(&true) {
            self.changed |= changed[0];
            self.ends.pods_changed = true;
            self.blocks = None;
        }
    }

    /// For one record: what is newly known of the pods.
    pub(super) fn take_pods(&mut self) -> Option<Box<PodsBlock>> {
        if !std::mem::take(&mut self.ends.pods_changed) {
            return None;
        }
        let block = self.pods_block();
        let is_news = block != self.ends.pods_told;
        self.ends.pods_told = block;
        is_news.then(|| Box::new(self.ends.pods_told.clone()))
    }

    fn pods_block(&self) -> PodsBlock {
        let client = self.client.as_ref().zip(self.ends.client_pod.as_ref());
        let server = self.ends.server.as_ref().zip(self.ends.server_pod.as_ref());
        PodsBlock {
            client: client.map(|(process, pod)| {
                pod_block(pod, process.container.as_deref(), process.cgroup.as_deref())
            }),
            server: server.map(|(server, pod)| {
                let container = server.workload.container.as_deref();
                pod_block(pod, container, server.cgroup.as_deref())
            }),
        }
    }

    fn known_anew(&mut self) {
        self.blocks = None;
        self.changed = true;
    }

    /// What is known of the client, whose process may have been called otherwise before.
    pub(super) fn known_client<'a>(
        &'a self,
        process: Option<&'a Process>,
        database_user: Option<&'a str>,
    ) -> Client<'a> {
        Client {
            process,
            pod: self.ends.client_pod.as_deref(),
            address_name: self.ends.client_address.as_ref(),
            database_user,
            addr: Some(self.client_addr),
        }
    }

    /// `identity.name` of the record.
    pub fn requester(&self) -> String {
        let user = self.decoder.facts().user.as_deref();
        identity(&self.known_client(self.client.as_deref(), user)).name
    }

    /// What the kernel knows of who is behind the session: see [`Who::identity`](crate::judge::Who::identity).
    pub fn evidence(&self) -> Option<String> {
        let Some(process) = &self.client else {
            let is_local =
                self.ends.client_is_local || self.client_addr.ip().to_canonical().is_loopback();
            let name = || self.ends.client_address.as_ref().map(NamedAddress::name);
            // A client of this host whose process was not found may be anybody.
            return (!is_local).then(|| name().unwrap_or_default().to_owned());
        };
        // It will go by the service account of its pod, which the API has not told yet.
        let waits =
            self.ends.pods.is_some() && process.pod_uid.is_some() && self.ends.client_pod.is_none();
        (!waits).then(|| identity(&self.known_client(Some(process), None)).name)
    }
}
