//! What is known of the host beside the captured events: its servers and its pods.

use std::sync::Arc;

use super::{Capture, State};
use crate::agent::shown_servers;
use crate::clock::boot_ns;
use crate::identity::pods::Pods;

impl Capture {
    /// What `dbgov status` shows of the last look at the host and of the Kubernetes API.
    pub(super) fn tell_scan(&self, state: &State) {
        let (scan, pods) = (&state.scan, self.pods.as_deref());
        self.shared.update(|status| {
            status.servers = shown_servers(scan, pods);
            status.unix_sockets_unseen =
                scan.unix_listeners.iter().map(|l| l.path.clone()).collect();
            status.kubernetes = pods.map(Pods::status);
            let kubernetes = status.kubernetes.as_ref();
            let away = kubernetes.and_then(|kubernetes| kubernetes.error.as_ref());
            let away = away.map(|error| format!("Kubernetes API: {error}"));
            let of_kernel = self.kernel.problems().iter();
            let problems = of_kernel.chain(&scan.problems).cloned();
            status.problems = problems.chain(away).collect();
        });
    }

    /// Sessions go by the pods that are known now.
    pub(super) fn pods(&mut self, state: &mut State) {
        let Some(pods) = &self.pods else { return };
        let generation = pods.generation();
        if generation != state.pods_generation {
            state.pods_generation = generation;
            let clients = self.pipeline.clients(|client| client.pod_uid.is_some());
            let renamed = self.tags.name_anew(clients);
            self.pipeline.rename(boot_ns(), |client| {
                let found = renamed
                    .iter()
                    .find(|(before, _)| Arc::ptr_eq(before, client));
                found.map(|(_, after)| Arc::clone(after))
            });
            self.pipeline.pods_changed();
        }
    }
}
