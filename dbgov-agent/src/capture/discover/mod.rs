//! The database servers of this host, in whatever network namespace they listen, and the connections they already have.
//!
//! Servers are found by their processes, because a port tells nothing of what listens on it: first the processes that
//! are a database server's main process, then the listening sockets of their network namespaces, then which of these
//! the processes hold.

pub mod existing;
mod processes;
mod title;
mod unix;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use serde::Serialize;

use super::cgroup::{self, Workload};
use super::netns::{self, NetNs};
use super::proc;
use super::sockdiag::{self, Query, TcpSocket};
use processes::ServerProcess;
pub use title::BackendTitle;

/// Servers kept of one scan. A host of containers runs hundreds; each is about 500 bytes.
const SERVERS_MAX: usize = 10_000;

/// Network namespaces visited in one scan, at about 0.1 ms each.
const NAMESPACES_MAX: usize = 10_000;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Postgresql,
    Mysql,
}

impl Protocol {
    /// Whether this version decodes it. Servers of the others are found, so that it can be said that they are not seen.
    pub fn is_decoded(self) -> bool {
        matches!(self, Protocol::Postgresql)
    }

    pub fn name(self) -> &'static str {
        match self {
            Protocol::Postgresql => "postgresql",
            Protocol::Mysql => "mysql",
        }
    }
}

/// A TCP address a database server listens on. A server with several addresses is found once for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundServer {
    pub protocol: Protocol,
    pub addr: SocketAddr,
    /// Listens on `[::]` and takes IPv4 connections there too.
    pub dual_stack: bool,
    /// Inode of the network namespace.
    pub netns_inode: u64,
    /// As bpf_get_netns_cookie gives it; absent before Linux 5.14.
    pub netns_cookie: Option<u64>,
    pub process: ServerFacts,
}

impl FoundServer {
    pub fn port(&self) -> u16 {
        self.addr.port()
    }
}

/// The server's main process (PostgreSQL's postmaster).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerFacts {
    pub pid: u32,
    /// On the boot clock: with `pid`, what tells a restarted server from the one before.
    pub started_ns: u64,
    pub exe: Option<String>,
    /// cgroup v2 path.
    pub cgroup: Option<String>,
    pub workload: Workload,
    /// Major version, from `PG_VERSION` in the data directory.
    pub version: Option<String>,
}

/// A UNIX socket a database server listens on: this version does not see the connections over it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnixListener {
    pub protocol: Protocol,
    /// In the mount namespace of the server.
    pub path: String,
    pub process: ServerFacts,
}

/// What a scan found.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    pub servers: Vec<FoundServer>,
    pub unix_listeners: Vec<UnixListener>,
    /// What could not be looked at, in words (no privilege, namespace gone, a table longer than is kept).
    pub problems: Vec<String>,
}

/// Looks for database servers. Without root it sees those of the own user.
pub fn discover() -> Scan {
    let mut scan = Scan::default();
    let processes = match processes::server_processes() {
        Ok(processes) => processes,
        Err(e) => {
            scan.problems.push(format!("/proc: {e}"));
            return scan;
        }
    };
    for (ns, servers) in by_namespace(&processes, &mut scan.problems) {
        match netns::within(ns, || {
            (netns::own_cookie(), sockdiag::tcp_sockets(Query::Listening))
        }) {
            Ok((cookie, Ok(dump))) => {
                if dump.truncated {
                    scan.problems.push(format!(
                        "network namespace {}: more listening sockets than are looked at",
                        ns.inode
                    ));
                }
                join(ns, cookie, &servers, &dump.sockets, &mut scan);
            }
            Ok((_, Err(e))) => scan
                .problems
                .push(format!("network namespace {}: {e}", ns.inode)),
            Err(e) => scan
                .problems
                .push(format!("network namespace {}: {e}", ns.inode)),
        }
    }
    scan.servers
        .sort_by_key(|s| (s.process.pid, s.addr, s.netns_inode));
    scan
}

/// The servers of each namespace, reached through the first of them.
fn by_namespace<'a>(
    processes: &'a [ServerProcess],
    problems: &mut Vec<String>,
) -> BTreeMap<NetNs, Vec<&'a ServerProcess>> {
    let mut entrance: HashMap<u64, NetNs> = HashMap::new();
    let mut servers: BTreeMap<NetNs, Vec<&ServerProcess>> = BTreeMap::new();
    for process in processes {
        match proc::netns_inode(process.pid) {
            Ok(inode) => {
                let known = entrance.len();
                let pid = process.pid;
                if known >= NAMESPACES_MAX && !entrance.contains_key(&inode) {
                    continue;
                }
                let ns = *entrance.entry(inode).or_insert(NetNs { inode, pid });
                servers.entry(ns).or_default().push(process);
            }
            Err(e) => problems.push(format!(
                "process {} ({}): network namespace: {e}",
                process.pid, process.comm
            )),
        }
    }
    servers
}

/// Ties the listening sockets of a namespace to the processes that hold them.
fn join(
    ns: NetNs,
    netns_cookie: Option<u64>,
    servers: &[&ServerProcess],
    sockets: &[TcpSocket],
    scan: &mut Scan,
) {
    let by_inode: HashMap<u64, &TcpSocket> = sockets.iter().map(|s| (s.inode, s)).collect();
    let unix_by_inode = unix::listeners(ns.pid).unwrap_or_default();
    for process in servers {
        let held: HashSet<u64> = match proc::socket_inodes(process.pid) {
            Ok(inodes) => inodes.collect(),
            Err(e) => {
                scan.problems
                    .push(format!("process {}: sockets: {e}", process.pid));
                continue;
            }
        };
        let facts = facts(process);
        for socket in held.iter().filter_map(|inode| by_inode.get(inode)) {
            if scan.servers.len() >= SERVERS_MAX {
                return;
            }
            scan.servers.push(FoundServer {
                protocol: process.protocol,
                addr: socket.local,
                dual_stack: socket.dual_stack,
                netns_inode: ns.inode,
                netns_cookie,
                process: facts.clone(),
            });
        }
        for path in held.iter().filter_map(|inode| unix_by_inode.get(inode)) {
            if scan.unix_listeners.len() >= SERVERS_MAX {
                return;
            }
            scan.unix_listeners.push(UnixListener {
                protocol: process.protocol,
                path: path.clone(),
                process: facts.clone(),
            });
        }
    }
}

fn facts(process: &ServerProcess) -> ServerFacts {
    let cgroups = cgroup::of_process(process.pid).unwrap_or_default();
    ServerFacts {
        pid: process.pid,
        started_ns: process.started_ns,
        exe: process.exe.clone(),
        workload: cgroups.workload(),
        cgroup: cgroups.v2,
        version: (process.protocol == Protocol::Postgresql)
            .then(|| processes::postgres_version(process.pid))
            .flatten(),
    }
}

/// Servers that came and went between two scans. One that was restarted is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub appeared: Vec<FoundServer>,
    pub gone: Vec<FoundServer>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.gone.is_empty()
    }
}

/// Scans again and tells what changed.
#[derive(Debug, Default)]
pub struct Watcher {
    last: Scan,
}

impl Watcher {
    /// A watcher that knows of nothing: its first scan reports every server as appeared.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn rescan(&mut self) -> Changes {
        let next = discover();
        let changes = difference(&self.last.servers, &next.servers);
        self.last = next;
        changes
    }

    /// The latest scan.
    pub fn current(&self) -> &Scan {
        &self.last
    }
}

fn difference(before: &[FoundServer], now: &[FoundServer]) -> Changes {
    let old: HashSet<&FoundServer> = before.iter().collect();
    let new: HashSet<&FoundServer> = now.iter().collect();
    Changes {
        appeared: now.iter().filter(|s| !old.contains(s)).cloned().collect(),
        gone: before
            .iter()
            .filter(|s| !new.contains(s))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests;
