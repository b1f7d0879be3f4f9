//! Ties the client's process to the server's side of the same connection.
//!
//! The kernel reports a client on this host twice: in connect(2), where its process is known but not yet its local
//! address, and when the connection is established, where both addresses are. The server's side reports the same
//! addresses. Whichever side comes second completes the pair; times are passed in, every table is bounded, and what is
//! dropped is counted.

use std::net::SocketAddr;
use std::sync::Arc;

use hashlink::LinkedHashMap;

use super::Process;
use crate::protocol::TimeNs;

const SECOND_NS: u64 = 1_000_000_000;

/// How long connect(2) may take: SYNs are repeated for 127 s with the default `tcp_syn_retries` of 6.
const CONNECT_TIMEOUT_NS: u64 = 130 * SECOND_NS;

/// How long an established client waits for the server's side. That of a server on this host is a packet away, which
/// may be lost and repeated; that of a server elsewhere never comes.
const CLIENT_TIMEOUT_NS: u64 = 10 * SECOND_NS;

/// How long a session waits for its client before it is taken for a remote one. The client's event is made first, but
/// may be read later.
const SESSION_TIMEOUT_NS: u64 = 2 * SECOND_NS;

/// Entries of each of the three tables, about 200 bytes each: ten seconds of 1,000 new connections a second and more.
pub const ENTRIES_MAX: usize = 16_384;

/// A connection as both of its sides name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    /// Only where the connection cannot leave its network namespace: the same addresses may then be in use in each.
    netns: Option<u64>,
}

impl Connection {
    /// `netns` is the cookie (or the inode) of the namespace of the socket that reports; both sides have to give the
    /// same kind, or both none. It counts only for connections over loopback or from an address to itself.
    /// IPv4-mapped addresses are those of IPv4, and the zone of an IPv6 address is left out.
    pub fn new(client: SocketAddr, server: SocketAddr, netns: Option<u64>) -> Self {
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let (client, server) = (canonical(client), canonical(server));
        let stays = server.ip().is_loopback() || client.ip() == server.ip();
        Connection {
            client,
            server,
            netns: netns.filter(|_| stays),
        }
    }
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Clients and sessions pushed out by later ones: their sessions have no process.
    pub evicted: u64,
    /// Established clients whose connect(2) was not seen or was forgotten.
    pub unknown_clients: u64,
    /// Connects and clients nobody asked for in time (servers elsewhere, refused connections).
    pub unclaimed: u64,
    /// Sessions for which no client came: remote clients.
    pub remote_sessions: u64,
}

/// The answer to a new session.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<S> {
    /// The client, if it was there already; else the session waits for it.
    pub process: Option<Arc<Process>>,
    /// An older session that has to go on without a client, because it was pushed out of the full table or its
    /// addresses are in use again.
    pub given_up: Option<S>,
}

/// The three tables. `S` is how the caller names a session.
#[derive(Debug)]
pub struct Joiner<S> {
    connecting: Table<u64, Arc<Process>>,
    clients: Table<Connection, Arc<Process>>,
    sessions: Table<Connection, S>,
    counters: Counters,
}

impl<S> Default for Joiner<S> {
    fn default() -> Self {
        Self::new(ENTRIES_MAX)
    }
}

impl<S> Joiner<S> {
    pub fn new(entries_max: usize) -> Self {
        Joiner {
            connecting: Table::new(entries_max),
            clients: Table::new(entries_max),
            sessions: Table::new(entries_max),
            counters: Counters::default(),
        }
    }

    /// A process calls connect(2) on the socket with this cookie.
    pub fn connecting(&mut self, cookie: u64, process: Arc<Process>, now: TimeNs) {
        let displaced = self.connecting.insert(cookie, process, now);
        self.counters.evicted += u64::from(displaced.is_some());
    }

    /// Whether connect(2) on the socket with this cookie was reported.
    pub fn is_connecting(&self, cookie: u64) -> bool {
        self.connecting.entries.contains_key(&cookie)
    }

    /// The client's side is established. Gives the session that was waiting for it, with the process.
    pub fn client_established(
        &mut self,
        cookie: u64,
        connection: Connection,
        now: TimeNs,
    ) -> Option<(S, Arc<Process>)> {
        let Some(process) = self.connecting.take(&cookie) else {
            self.counters.unknown_clients += 1;
            return None;
        };
        if let Some(session) = self.sessions.take(&connection) {
            return Some((session, process));
        }
        let displaced = self.clients.insert(connection, process, now);
        self.counters.evicted += u64::from(displaced.is_some());
        None
    }

    /// The session that waits for its client.
    pub fn waiting(&self, connection: &Connection) -> Option<S>
    where
        S: Copy,
    {
        self.sessions
            .entries
            .get(connection)
            .map(|(_, session)| *session)
    }

    /// The server's side is established.
    pub fn session_opened(&mut self, connection: Connection, session: S, now: TimeNs) -> Opened<S> {
        let process = self.clients.take(&connection);
        let given_up = match process {
            Some(_) => None,
            None => self.sessions.insert(connection, session, now),
        };
        self.counters.evicted += u64::from(given_up.is_some());
        Opened { process, given_up }
    }

    /// A session that ended needs no client any more.
    pub fn session_closed(&mut self, connection: &Connection) {
        self.sessions.take(connection);
    }

    /// Drops what has waited too long. Gives the sessions whose client is not on this host.
    pub fn expire(&mut self, now: TimeNs) -> Vec<S> {
        let connects = self.connecting.expire(now, CONNECT_TIMEOUT_NS).len();
        let clients = self.clients.expire(now, CLIENT_TIMEOUT_NS).len();
        self.counters.unclaimed += (connects + clients) as u64;
        let sessions = self.sessions.expire(now, SESSION_TIMEOUT_NS);
        self.counters.remote_sessions += sessions.len() as u64;
        sessions
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// Entries in the order they came, so that the oldest is the first to go.
#[derive(Debug)]
struct Table<K, V> {
    entries: LinkedHashMap<K, (TimeNs, V)>,
    entries_max: usize,
}

impl<K: Eq + std::hash::Hash, V> Table<K, V> {
    fn new(entries_max: usize) -> Self {
        Table {
            entries: LinkedHashMap::new(),
            entries_max,
        }
    }

    /// Gives the entry that had to go: one with the same key (a port that is used again), or the oldest.
    fn insert(&mut self, key: K, value: V, now: TimeNs) -> Option<V> {
        let replaced = self.entries.insert(key, (now, value));
        let displaced = replaced.or_else(|| {
            let is_over = self.entries.len() > self.entries_max;
            let oldest = is_over.then(|| self.entries.pop_front()).flatten();
            oldest.map(|(_, entry)| entry)
        });
        displaced.map(|(_, value)| value)
    }

    fn take(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    fn expire(&mut self, now: TimeNs, timeout_ns: u64) -> Vec<V> {
        let mut expired = Vec::new();
        while let Some((_, (since, _))) = self.entries.front()
            && now.saturating_sub(*since) >= timeout_ns
            && let Some((_, (_, value))) = self.entries.pop_front()
        {
            expired.push(value);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Arc<Process> {
        Arc::new(Process {
            pid,
            comm: "psql".into(),
            ..Process::default()
        })
    }

    fn pid<S>(opened: Opened<S>) -> Option<u32> {
        opened.process.map(|process| process.pid)
    }

    fn connection(client: &str, server: &str, netns: Option<u64>) -> Connection {
        Connection::new(client.parse().unwrap(), server.parse().unwrap(), netns)
    }

    const CLIENT: &str = "10.0.0.1:40000";
    const SERVER: &str = "10.0.0.2:5432";

    #[test]
    fn either_side_may_come_first() {
        let it = connection(CLIENT, SERVER, None);
        let mut joiner = Joiner::default();
        joiner.connecting(1, process(10), 0);
        assert_eq!(joiner.client_established(1, it, 1), None);
        assert_eq!(pid(joiner.session_opened(it, 'a', 2)), Some(10));
        assert_eq!(pid(joiner.session_opened(it, 'b', 3)), None, "taken once");

        joiner.connecting(2, process(11), 4);
        let (session, client) = joiner.client_established(2, it, 5).unwrap();
        assert_eq!((session, client.pid), ('b', 11));
        assert!(joiner.expire(u64::MAX).is_empty());
        assert_eq!(joiner.counters(), Counters::default());
    }

    #[test]
    fn mapped_addresses_join_plain_ones() {
        let mut joiner = Joiner::default();
        joiner.connecting(1, process(10), 0);
        joiner.client_established(1, connection(CLIENT, SERVER, Some(1)), 0);
        let mapped = connection("[::ffff:10.0.0.1]:40000", "[::ffff:10.0.0.2]:5432", Some(2));
        assert_eq!(pid(joiner.session_opened(mapped, (), 0)), Some(10));
    }

    #[test]
    fn loopback_joins_within_one_namespace_only() {
        for (client, server) in [
            ("127.0.0.1:40000", "127.0.0.1:5432"),
            ("[::1]:40000", "[::1]:5432"),
            ("10.0.0.2:40000", "10.0.0.2:5432"),
        ] {
            let mut joiner = Joiner::default();
            joiner.connecting(1, process(10), 0);
            joiner.connecting(2, process(20), 0);
            joiner.client_established(1, connection(client, server, Some(1)), 0);
            joiner.client_established(2, connection(client, server, Some(2)), 0);
            let open = |j: &mut Joiner<()>, ns| {
                pid(j.session_opened(connection(client, server, Some(ns)), (), 0))
            };
            assert_eq!(open(&mut joiner, 3), None);
            assert_eq!(open(&mut joiner, 2), Some(20));
            assert_eq!(open(&mut joiner, 1), Some(10));
        }
    }

    #[test]
    fn what_waits_too_long_is_given_up() {
        let mut joiner = Joiner::default();
        joiner.connecting(1, process(10), 0);
        joiner.connecting(2, process(20), 0);
        joiner.client_established(2, connection(CLIENT, SERVER, None), 0);
        joiner.session_opened(connection("10.9.9.9:1", SERVER, None), 'r', 0);
        assert!(joiner.expire(SESSION_TIMEOUT_NS - 1).is_empty());
        assert_eq!(joiner.expire(SESSION_TIMEOUT_NS), ['r']);
        assert!(joiner.expire(CLIENT_TIMEOUT_NS).is_empty());
        assert_eq!(joiner.counters().unclaimed, 1);
        let late = joiner.session_opened(connection(CLIENT, SERVER, None), 's', CLIENT_TIMEOUT_NS);
        assert_eq!(pid(late), None);
        joiner.session_closed(&connection(CLIENT, SERVER, None));
        assert!(joiner.expire(CONNECT_TIMEOUT_NS).is_empty());
        let counters = joiner.counters();
        assert_eq!((counters.unclaimed, counters.remote_sessions), (2, 1));
    }

    #[test]
    fn tables_are_bounded_and_count_what_they_drop() {
        let mut joiner = Joiner::new(2);
        for cookie in 1..=3 {
            joiner.connecting(cookie, process(cookie as u32), cookie);
        }
        assert_eq!(joiner.counters().evicted, 1);
        let it = connection(CLIENT, SERVER, None);
        assert_eq!(joiner.client_established(1, it, 4), None);
        assert_eq!(joiner.counters().unknown_clients, 1);
        joiner.client_established(3, it, 4);
        assert_eq!(pid(joiner.session_opened(it, 'a', 4)), Some(3));
        let other = |port| connection(&format!("10.9.9.9:{port}"), SERVER, None);
        for (port, session, given_up) in [
            (1, 'b', None),
            (2, 'c', None),
            (3, 'd', Some('b')),
            (3, 'e', Some('d')),
        ] {
            let opened = joiner.session_opened(other(port), session, 5);
            assert_eq!(
                opened.given_up, given_up,
                "no session is forgotten silently"
            );
        }
        assert_eq!(joiner.counters().evicted, 3);
        assert_eq!(joiner.expire(u64::MAX), ['c', 'e']);
    }

    #[test]
    fn a_port_used_again_belongs_to_the_later_client() {
        let it = connection(CLIENT, SERVER, None);
        let mut joiner = Joiner::default();
        for pid in [10, 11] {
            joiner.connecting(u64::from(pid), process(pid), 0);
            joiner.client_established(u64::from(pid), it, 0);
        }
        assert_eq!(pid(joiner.session_opened(it, (), 0)), Some(11));
        assert_eq!(pid(joiner.session_opened(it, (), 0)), None);
    }
}
