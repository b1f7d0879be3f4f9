//! The thread that looks at the host: which database servers listen, and who is behind connections that are older than
//! the agent. Both walk /proc, which takes milliseconds: too long for the thread that drains the rings.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;

use crate::capture::discover::existing::{ExistingConnection, existing_connections};
use crate::capture::discover::{Scan, Watcher};
use crate::capture::netns;
use crate::clock::boot_ns;
use crate::identity::{Process, Resolver};
use crate::pipeline::{Client, Governed};
use crate::protocol::TimeNs;

/// How often servers are looked for when no listen(2) was seen (the hook sees them all but for those of before).
const RESCAN_INTERVAL: Duration = Duration::from_secs(10);
/// Requests and reports that may wait; more of either kind say nothing new.
const CHANNEL_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Something listens anew.
    Servers,
    /// Connections came up whose beginning was not seen.
    Existing,
    /// The clients of these connections may have ended.
    Ended(Vec<Client>),
}

/// What is to be looked at.
#[derive(Debug, Default)]
struct Wanted {
    servers: bool,
    existing: bool,
    clients: Vec<Client>,
}

impl Wanted {
    fn add(&mut self, request: Request) {
        match request {
            Request::Servers => self.servers = true,
            Request::Existing => (self.servers, self.existing) = (true, true),
            // Later ones are of the same connections or newer.
            Request::Ended(clients) => self.clients = clients,
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// Servers are governed wherever they are found.
    pub discovers: bool,
    /// `[identity] command_lines`.
    pub command_lines: bool,
    /// Of this host, so that none of its clients is taken for a remote one.
    pub local_addresses: bool,
}

/// A look at the host.
#[derive(Default)]
pub(super) struct Report {
    /// What is governed from now on, where that changed.
    pub governed: Option<Governed>,
    pub scan: Option<Scan>,
    pub existing: Option<Existing>,
    /// Connections that outlived the process that opened them, by the cookie of the server's socket, and who holds them.
    pub ended: Vec<(u64, Option<Arc<Process>>)>,
    /// All addresses of this host.
    pub local: Option<HashSet<IpAddr>>,
}

pub(super) struct Existing {
    /// When the look began.
    pub at: TimeNs,
    pub connections: Vec<(ExistingConnection, Option<Arc<Process>>)>,
    /// Cookies of all connections to governed ports.
    pub alive: HashSet<u64>,
}

/// The way to the thread. It ends when this is dropped.
pub(super) struct Host {
    requests: SyncSender<Request>,
    pub reports: Receiver<Report>,
}

impl Host {
    /// A request that finds the queue full is covered by those before it.
    pub(super) fn request(&self, request: Request) {
        let _ = self.requests.try_send(request);
    }
}

pub(super) fn start(governed: Governed, looks: Looks, wake: Arc<EventFd>) -> std::io::Result<Host> {
    let (requests, inbox) = sync_channel(CHANNEL_MAX);
    let (outbox, reports) = sync_channel(CHANNEL_MAX);
    let looker = Looker {
        governed,
        looks,
        watcher: Watcher::new(),
        resolver: Resolver::new(looks.command_lines)?,
        wake,
        outbox,
    };
    std::thread::Builder::new()
        .name("host".to_owned())
        .spawn(move || looker.run(&inbox))?;
    Ok(Host { requests, reports })
}

struct Looker {
    governed: Governed,
    looks: Looks,
    watcher: Watcher,
    resolver: Resolver,
    wake: Arc<EventFd>,
    outbox: SyncSender<Report>,
}

impl Looker {
    fn run(mut self, inbox: &Receiver<Request>) {
        // The first look is for the connections that were there before the hooks.
        let mut wanted = Wanted {
            servers: true,
            existing: true,
            ..Wanted::default()
        };
        let mut scanned = Instant::now();
        loop {
            let mut report = Report::default();
            if wanted.servers {
                report = self.look(wanted.existing);
                scanned = Instant::now();
            }
            report.ended = self.ended(&wanted.clients);
            let is_news = wanted.servers || !report.ended.is_empty();
            if is_news && (self.outbox.send(report).is_err() || self.wake.write(1).is_err()) {
                return;
            }
            wanted = Wanted::default();
            let rest = RESCAN_INTERVAL.saturating_sub(scanned.elapsed());
            match inbox.recv_timeout(rest) {
                Ok(request) => wanted.add(request),
                Err(RecvTimeoutError::Timeout) => wanted.servers = true,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(request) = inbox.try_recv() {
                wanted.add(request);
            }
        }
    }

    fn look(&mut self, existing: bool) -> Report {
        let changes = self.watcher.rescan();
        let scan = self.watcher.current();
        for server in &changes.appeared {
            tracing::info!(addr = %server.addr, pid = server.process.pid, protocol = server.protocol.name(), "database server found");
        }
        for server in &changes.gone {
            tracing::info!(addr = %server.addr, pid = server.process.pid, "database server gone");
        }
        let found: HashSet<_> = scan
            .servers
            .iter()
            .filter(|server| self.looks.discovers && server.protocol.is_decoded())
            .map(|server| (server.netns_cookie, server.port()))
            .collect();
        let changed = found != self.governed.found;
        self.governed.found = found;
        Report {
            governed: changed.then(|| self.governed.clone()),
            scan: (!changes.is_empty() || existing).then(|| scan.clone()),
            // A server that has just been found may have connections already.
            existing: (existing || changed).then(|| self.existing()),
            local: self.local_addresses(),
            ..Report::default()
        }
    }

    fn local_addresses(&self) -> Option<HashSet<IpAddr>> {
        if !self.looks.local_addresses {
            return None;
        }
        let found = netns::local_addresses();
        if let Err(error) = &found {
            tracing::warn!(%error, "the addresses of this host cannot be listed");
        }
        found.ok()
    }

    /// Which of these connections go on though their process has ended. Only then all sockets are looked at, which
    /// takes longer.
    fn ended(&mut self, clients: &[Client]) -> Vec<(u64, Option<Arc<Process>>)> {
        let mut asked = HashMap::new();
        let ended: Vec<u64> = clients
            .iter()
            .filter(|client| {
                *asked
                    .entry((client.pid, client.started_ns))
                    .or_insert_with(|| self.resolver.has_ended(client.pid, client.started_ns))
            })
            .map(|client| client.cookie)
            .collect();
        if ended.is_empty() {
            return Vec::new();
        }
        let at = boot_ns();
        let ports: Vec<u16> = self.governed.all_ports().into_iter().collect();
        existing_connections(&ports)
            .connections
            .into_iter()
            // A socket that is being closed is not among the established ones.
            .filter(|found| found.client_cookie.is_some() && ended.contains(&found.server_cookie))
            .map(|found| {
                let holder = found
                    .client_pid
                    .and_then(|pid| self.resolver.by_pid(pid, at));
                (found.server_cookie, holder)
            })
            .collect()
    }

    fn existing(&mut self) -> Existing {
        let at = boot_ns();
        let ports: Vec<u16> = self.governed.all_ports().into_iter().collect();
        let found = existing_connections(&ports);
        for problem in &found.problems {
            tracing::warn!("connections older than the agent: {problem}");
        }
        let alive = found
            .connections
            .iter()
            .map(|connection| connection.server_cookie)
            .collect();
        let connections = found
            .connections
            .into_iter()
            .map(|connection| {
                let client = connection
                    .client_pid
                    .and_then(|pid| self.resolver.by_pid(pid, at));
                (connection, client)
            })
            .collect();
        Existing {
            at,
            connections,
            alive,
        }
    }
}
