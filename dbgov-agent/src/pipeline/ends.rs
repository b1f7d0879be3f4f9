//! Who is at the ends of a connection, as far as the host, its configuration and the Kubernetes API tell.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Pipeline;
use crate::capture::discover::{FoundServer, ServerFacts};
use crate::capture::netns::LOCAL_ADDRESSES_MAX;
use crate::identity::networks::Networks;
use crate::identity::pods::Pods;
use crate::session::Session;

/// What is known beside the captured events.
#[derive(Default)]
pub(super) struct Known {
    networks: Arc<Networks>,
    pods: Option<Arc<Pods>>,
    /// Addresses of this host, in all its network namespaces.
    local: HashSet<IpAddr>,
    /// By port.
    servers: HashMap<u16, Vec<Listener>>,
}

struct Listener {
    addr: IpAddr,
    netns_cookie: Option<u64>,
    server: Arc<ServerFacts>,
}

impl Known {
    fn is_local(&self, client: SocketAddr, server: SocketAddr) -> bool {
        let client = client.ip().to_canonical();
        client.is_loopback() || client == server.ip().to_canonical() || self.local.contains(&client)
    }

    /// The one server that listens there. Where the kernel does not tell the namespace there may be several.
    fn server(&self, netns_cookie: Option<u64>, at: SocketAddr) -> Option<&Arc<ServerFacts>> {
        let at_ip = at.ip().to_canonical();
        let listens = |listener: &&Listener| {
            let is_there = match (listener.netns_cookie, netns_cookie) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            is_there && (listener.addr.is_unspecified() || listener.addr == at_ip)
        };
        let mut all = self.servers.get(&at.port())?.iter().filter(listens);
        let first = all.next()?;
        all.all(|other| other.server.pid == first.server.pid)
            .then_some(&first.server)
    }
}

impl Pipeline {
    pub fn set_networks(&mut self, networks: Arc<Networks>) {
        self.known.networks = networks;
    }

    /// Where the API is asked for the pods of this node.
    pub fn set_pods(&mut self, pods: Arc<Pods>) {
        self.known.pods = Some(pods);
    }

    /// The API has told something of pods.
    pub fn pods_changed(&mut self) {
        let cookies: Vec<u64> = self.connections.keys().copied().collect();
        for cookie in cookies {
            if let Some(connection) = self.connections.get_mut(&cookie) {
                connection.session.look_up_pods();
                // Rules that are about its service account can be told now.
                if connection.session.take_changed() {
                    self.classify(cookie);
                }
            }
        }
    }

    /// All addresses of this host.
    pub fn set_local_addresses(&mut self, local: HashSet<IpAddr>) {
        self.known.local = local;
    }

    /// The servers of this host.
    pub fn know_servers(&mut self, servers: &[FoundServer]) {
        self.known.servers.clear();
        for server in servers {
            let listener = Listener {
                addr: server.addr.ip().to_canonical(),
                netns_cookie: server.netns_cookie,
                server: Arc::new(server.process.clone()),
            };
            let all = self.known.servers.entry(server.port()).or_default();
            all.push(listener);
        }
        for connection in self.connections.values_mut() {
            let session = &mut connection.session;
            if session.server().is_none()
                && let Some(server) = self
                    .known
                    .server(connection.netns_cookie, session.server_addr)
            {
                session.set_server(Arc::clone(server));
            }
        }
    }

    /// Tells a new session what is known of its ends.
    pub(super) fn introduce(&self, session: &mut Session, netns_cookie: Option<u64>) {
        session.set_pods(self.known.pods.clone());
        let (client, server) = (session.client_addr, session.server_addr);
        let is_local = self.known.is_local(client, server);
        let name = match is_local {
            true => None,
            false => self.known.networks.find(client.ip()),
        };
        session.set_client_address(name, is_local);
        if let Some(server) = self.known.server(netns_cookie, server) {
            session.set_server(Arc::clone(server));
        }
    }

    /// A client of this host is known by its address alone: whoever connects from there is no remote client, also
    /// where the process was missed.
    pub(super) fn local_client(&mut self, client: SocketAddr, session: Option<u64>) {
        if self.known.local.len() < LOCAL_ADDRESSES_MAX {
            self.known.local.insert(client.ip().to_canonical());
        }
        if let Some(cookie) = session
            && let Some(connection) = self.connections.get_mut(&cookie)
        {
            connection.session.set_client_address(None, true);
            self.classify(cookie);
        }
    }
}

#[cfg(test)]
mod tests;
