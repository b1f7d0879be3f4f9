//! Connections that are older than the agent: both ends' sockets and the processes that hold them, from sock_diag and
//! `/proc`, since no hook saw them being made.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::super::netns::{self, NetNs};
use super::super::proc;
use super::super::sockdiag::{self, Query, TcpSocket};
use super::title::BackendTitle;
use super::{processes, title};

/// Connections kept. The kernel tables of the agent hold fewer.
const CONNECTIONS_MAX: usize = 100_000;

/// Processes remembered as holders of one socket (it is shared when a process forks).
const OWNERS_PER_SOCKET_MAX: usize = 8;

/// An established connection to a governed port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingConnection {
    pub server_addr: SocketAddr,
    pub client_addr: SocketAddr,
    /// Of the server's socket, as bpf_get_socket_cookie gives it.
    pub server_cookie: u64,
    pub server_netns_inode: u64,
    pub server_netns_cookie: Option<u64>,
    /// Of the client's socket, where the client is on this host.
    pub client_cookie: Option<u64>,
    /// The process that holds the client's socket; of several that share it, the one with the lowest number.
    pub client_pid: Option<u32>,
    /// The backend.
    pub server_pid: Option<u32>,
    pub backend_title: Option<BackendTitle>,
}

#[derive(Debug, Clone, Default)]
pub struct Existing {
    pub connections: Vec<ExistingConnection>,
    /// What could not be looked at, in words.
    pub problems: Vec<String>,
}

/// A socket and where it is.
#[derive(Debug, Clone)]
struct Located {
    netns_inode: u64,
    netns_cookie: Option<u64>,
    socket: TcpSocket,
}

/// The sockets of all namespaces that have to do with the ports.
#[derive(Debug, Default)]
struct Ends {
    servers: Vec<Located>,
    clients: Vec<Located>,
}

/// Every established connection, in any network namespace of the host, to one of `ports` that is listened on there.
pub fn existing_connections(ports: &[u16]) -> Existing {
    let mut existing = Existing::default();
    let ports: HashSet<u16> = ports.iter().copied().collect();
    let mut ends = Ends::default();
    match netns::all() {
        Ok(namespaces) => {
            for ns in namespaces {
                if let Err(e) = collect(ns, &ports, &mut ends) {
                    let problem = format!("network namespace {}: {e}", ns.inode);
                    existing.problems.push(problem);
                }
            }
        }
        Err(e) => existing.problems.push(format!("/proc: {e}")),
    }
    if ends.servers.len() > CONNECTIONS_MAX {
        ends.servers.truncate(CONNECTIONS_MAX);
        let problem = format!("more than {CONNECTIONS_MAX} established connections");
        existing.problems.push(problem);
    }
    existing.connections = pair(&ends);
    existing
}

/// The server's and the client's ends in one namespace.
fn collect(ns: NetNs, ports: &HashSet<u16>, ends: &mut Ends) -> Result<(), sockdiag::Error> {
    let (cookie, servers, clients) = netns::within(ns, || {
        let listening = sockdiag::tcp_sockets(Query::Listening)?.sockets;
        let listened: HashSet<u16> = listening.iter().map(|s| s.local.port()).collect();
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for &port in ports {
            // A port nobody listens on here can only be a client's.
            if listened.contains(&port) {
                let query = Query::EstablishedFrom { local_port: port };
                servers.extend(sockdiag::tcp_sockets(query)?.sockets);
            }
            let query = Query::EstablishedTo { remote_port: port };
            clients.extend(sockdiag::tcp_sockets(query)?.sockets);
        }
        Ok::<_, sockdiag::Error>((netns::own_cookie(), servers, clients))
    })??;
    let locate = |socket| Located {
        netns_inode: ns.inode,
        netns_cookie: cookie,
        socket,
    };
    ends.servers.extend(servers.into_iter().map(locate));
    ends.clients.extend(clients.into_iter().map(locate));
    Ok(())
}

fn pair(ends: &Ends) -> Vec<ExistingConnection> {
    let mut by_addresses: HashMap<(SocketAddr, SocketAddr), Vec<&Located>> = HashMap::new();
    for client in &ends.clients {
        let key = (client.socket.local, client.socket.remote);
        by_addresses.entry(key).or_default().push(client);
    }
    let paired: Vec<(&Located, Option<&Located>)> = ends
        .servers
        .iter()
        .map(|server| {
            let key = (server.socket.remote, server.socket.local);
            let candidates = by_addresses.get(&key).map_or(&[][..], Vec::as_slice);
            (server, other_end(server, candidates))
        })
        .collect();
    let owners = owners(&paired);
    let mut titles = Titles::default();
    paired
        .iter()
        .map(|(server, client)| connection(server, *client, &owners, &mut titles))
        .collect()
}

/// The client's socket among those with the mirrored addresses. Namespaces may use the same addresses: over loopback,
/// or from an address to itself, both ends are in one namespace; else two candidates are one too many.
fn other_end<'a>(server: &Located, candidates: &[&'a Located]) -> Option<&'a Located> {
    let (local, remote) = (server.socket.local.ip(), server.socket.remote.ip());
    if local.is_loopback() || local == remote {
        let here = |c: &&&Located| c.netns_inode == server.netns_inode;
        return candidates.iter().find(here).copied();
    }
    match candidates {
        [only] => Some(only),
        _ => None,
    }
}

fn connection(
    server: &Located,
    client: Option<&Located>,
    owners: &HashMap<u64, Vec<u32>>,
    titles: &mut Titles,
) -> ExistingConnection {
    let client_addr = server.socket.remote;
    let holders = owners.get(&server.socket.inode).map_or(&[][..], |p| p);
    let titled = holders.iter().find_map(|&pid| {
        let title = titles.read(pid, client_addr)?;
        Some((pid, title))
    });
    let (server_pid, backend_title) = match titled {
        Some((pid, title)) => (Some(pid), Some(title)),
        // While PostgreSQL forks, the postmaster holds the socket too: the youngest is the backend.
        None => (holders.last().copied(), None),
    };
    let client_holders = client.and_then(|c| owners.get(&c.socket.inode));
    ExistingConnection {
        server_addr: server.socket.local,
        client_addr,
        server_cookie: server.socket.cookie,
        server_netns_inode: server.netns_inode,
        server_netns_cookie: server.netns_cookie,
        client_cookie: client.map(|c| c.socket.cookie),
        client_pid: client_holders.and_then(|pids| pids.first().copied()),
        server_pid,
        backend_title,
    }
}

/// Who holds the sockets: one pass over the descriptors of all processes, however many sockets are asked for.
fn owners(paired: &[(&Located, Option<&Located>)]) -> HashMap<u64, Vec<u32>> {
    let servers = paired.iter().map(|(server, _)| server.socket.inode);
    let clients = paired
        .iter()
        .filter_map(|(_, client)| client.map(|c| c.socket.inode));
    // Inode 0 is a socket that was not accepted yet.
    let wanted: HashSet<u64> = servers.chain(clients).filter(|&inode| inode != 0).collect();
    let mut owners: HashMap<u64, Vec<u32>> = HashMap::new();
    if wanted.is_empty() {
        return owners;
    }
    for pid in proc::pids().unwrap_or_default() {
        let Ok(inodes) = proc::socket_inodes(pid) else {
            continue;
        };
        for inode in inodes.filter(|inode| wanted.contains(inode)) {
            let pids = owners.entry(inode).or_default();
            if pids.len() < OWNERS_PER_SOCKET_MAX && pids.last() != Some(&pid) {
                pids.push(pid);
            }
        }
    }
    owners
}

/// Reads backends' titles, knowing the cluster_name of each server.
#[derive(Debug, Default)]
struct Titles {
    /// By the postmaster's pid; `None` where it cannot be found out.
    cluster_names: HashMap<u32, Option<String>>,
}

impl Titles {
    fn read(&mut self, pid: u32, client: SocketAddr) -> Option<BackendTitle> {
        let text = proc::title(pid).ok()?;
        let postmaster = proc::stat(pid).ok()?.parent;
        let cluster = self
            .cluster_names
            .entry(postmaster)
            .or_insert_with(|| processes::cluster_name(postmaster));
        title::parse(&text, client, cluster.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sockdiag::State;
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn located(netns_inode: u64, local: &str, remote: &str, inode: u64) -> Located {
        Located {
            netns_inode,
            netns_cookie: None,
            socket: TcpSocket {
                state: State::Established,
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
                inode,
                uid: 0,
                cookie: inode * 10,
                dual_stack: false,
            },
        }
    }

    #[test]
    fn loopback_stays_in_its_namespace() {
        let server = located(2, "127.0.0.1:5432", "127.0.0.1:40000", 1);
        let other = located(1, "127.0.0.1:40000", "127.0.0.1:5432", 2);
        let same = located(2, "127.0.0.1:40000", "127.0.0.1:5432", 3);
        let found = other_end(&server, &[&other, &same]).unwrap();
        assert_eq!(found.socket.inode, 3);
        assert!(other_end(&server, &[&other]).is_none());
    }

    #[test]
    fn across_namespaces_only_without_doubt() {
        let server = located(2, "10.0.0.2:5432", "10.0.0.1:40000", 1);
        let one = located(1, "10.0.0.1:40000", "10.0.0.2:5432", 2);
        let two = located(3, "10.0.0.1:40000", "10.0.0.2:5432", 3);
        assert_eq!(other_end(&server, &[&one]).unwrap().socket.inode, 2);
        assert!(other_end(&server, &[&one, &two]).is_none());
        assert!(other_end(&server, &[]).is_none());
    }

    #[test]
    fn own_connection_is_found_with_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server_addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(server_addr).unwrap();
        let (server, _) = listener.accept().unwrap();
        let existing = existing_connections(&[server_addr.port(), server_addr.port()]);
        assert_eq!(existing.connections.len(), 1, "{existing:?}");
        let found = &existing.connections[0];
        use std::os::fd::AsFd;
        let cookie = |s: &TcpStream| netns::socket_cookie(s.as_fd()).unwrap();
        assert_eq!(found.server_addr, server_addr);
        assert_eq!(found.client_addr, client.local_addr().unwrap());
        assert_eq!(found.server_cookie, cookie(&server));
        assert_eq!(found.client_cookie, Some(cookie(&client)));
        assert_eq!(found.client_pid, Some(std::process::id()));
        assert_eq!(found.server_pid, Some(std::process::id()));
        assert_eq!(found.backend_title, None);
        assert_eq!(found.server_netns_inode, netns::own_inode().unwrap());
    }

    #[test]
    fn a_port_without_a_listener_has_no_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = client.local_addr().unwrap().port();
        assert!(existing_connections(&[port]).connections.is_empty());
    }
}
