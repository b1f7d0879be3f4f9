//! Connections in the packets of a capture file.
//!
//! A capture has no sockets and no loss counters: which packets make up a connection, which side is the server and what
//! was lost follows from the packets alone. It can also hold packets that no host ever accepted, so that nothing
//! here ends or replaces a connection unless the other side agrees: a SYN counts when it is answered, a RST when it is
//! at the byte the receiver expects (RFC 5961 section 3.2), a hole is a gap when the receiver acknowledged it.

use std::net::SocketAddr;

use hashlink::LinkedHashMap;

use super::connection::Connection;
use super::{Counters, Limits};
use crate::capture::pcap::PcapPacket;
use crate::protocol::{Direction, GapCause, TimeNs};

/// Connections followed at a time. One takes about 1 KiB, so this is 64 MiB.
pub const FLOWS_MAX: usize = 65_536;

/// Out-of-order data of all connections together, bytes: the limit of one connection times the few that lose packets at
/// the same moment.
pub const FLOWS_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What happens on the connections of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowEvent<'a> {
    /// The server answered the SYN, or (`midstream`) the first data of a connection that is older than the capture.
    Open {
        flow: u64,
        at: TimeNs,
        client: SocketAddr,
        server: SocketAddr,
        midstream: bool,
    },
    Data {
        flow: u64,
        at: TimeNs,
        direction: Direction,
        bytes: &'a [u8],
        /// Sequence number of the first of `bytes`.
        seq: u32,
        /// What the sender had received of the other direction: all bytes before this sequence number.
        ack: Option<u32>,
    },
    Gap {
        flow: u64,
        at: TimeNs,
        direction: Direction,
        /// Absent where it is not known how many.
        bytes: Option<u64>,
        cause: GapCause,
    },
    Close {
        flow: u64,
        at: TimeNs,
        /// `client_closed`, `server_closed` (who sent the first FIN), `reset`, `end_of_capture`; `gone` where the
        /// addresses were used again and the end was not captured; `table_full`.
        reason: &'static str,
    },
}

type IsServer = Box<dyn Fn(SocketAddr) -> bool>;

/// Which side of a connection is the server, and which connections are looked at.
pub enum Servers {
    /// Connections of which a side matches; that side is the server.
    Matching(IsServer),
    /// Every connection. Who sent the SYN is the client; where there was none, the lower port is the server's.
    Any,
}

impl Servers {
    pub fn ports(ports: Vec<u16>) -> Self {
        Servers::Matching(Box::new(move |address| ports.contains(&address.port())))
    }

    /// Client and server of a packet's connection.
    fn roles(&self, packet: &PcapPacket<'_>) -> Option<(SocketAddr, SocketAddr)> {
        let outward = (packet.src, packet.dst);
        let inward = (packet.dst, packet.src);
        if let Servers::Matching(is_server) = self {
            match (is_server(packet.src), is_server(packet.dst)) {
                (false, false) => return None,
                (false, true) => return Some(outward),
                (true, false) => return Some(inward),
                (true, true) => {}
            }
        }
        Some(match (packet.flags.syn, packet.flags.ack) {
            (true, false) => outward,
            (true, true) => inward,
            _ if packet.src.port() < packet.dst.port() => inward,
            _ => outward,
        })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct FlowLimits {
    pub flows_max: usize,
    pub waiting_bytes_max: usize,
    /// Of one direction of one connection.
    pub direction: Limits,
}

impl Default for FlowLimits {
    fn default() -> Self {
        FlowLimits {
            flows_max: FLOWS_MAX,
            waiting_bytes_max: FLOWS_WAITING_BYTES_MAX,
            direction: Limits::default(),
        }
    }
}

/// What the table passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Packets between addresses of which none is a server.
    pub other_packets: u64,
    /// Packets without data of connections that are not known.
    pub unknown_packets: u64,
    /// Packets of connections that have ended.
    pub late_packets: u64,
    /// SYNs on open connections that nobody answered, RSTs that the receiver does not obey.
    pub ignored_packets: u64,
    /// Of the connections that have ended.
    pub streams: Counters,
}

/// The two addresses, the smaller first: the same for both directions.
type Key = (SocketAddr, SocketAddr);

/// Groups packets into connections.
pub struct FlowTable {
    servers: Servers,
    limits: FlowLimits,
    /// The connection used last is at the back.
    connections: LinkedHashMap<Key, Connection>,
    waiting_bytes: usize,
    opened: u64,
    now: TimeNs,
    counters: FlowCounters,
}

impl FlowTable {
    pub fn new(servers: Servers, limits: FlowLimits) -> Self {
        FlowTable {
            servers,
            limits,
            connections: LinkedHashMap::new(),
            waiting_bytes: 0,
            opened: 0,
            now: 0,
            counters: FlowCounters::default(),
        }
    }

    /// A packet of the capture, in the order of the file.
    pub fn packet(&mut self, packet: &PcapPacket<'_>, out: &mut impl FnMut(FlowEvent<'_>)) {
        self.now = self.now.max(packet.at);
        let key = key(packet);
        if !self.connections.contains_key(&key) && !self.admit(key, packet, out) {
            return;
        }
        let Some(connection) = self.connections.to_back(&key) else {
            return;
        };
        let waiting_before = connection.waiting_bytes();
        let limits = self.limits.direction;
        let mut fate = connection.packet(packet, limits, &mut self.opened, out);
        if fate == Fate::Replace
            && let Some(roles) = self.servers.roles(packet)
        {
            connection.close(packet.at, "gone", GapCause::Missing, out);
            self.counters.streams += connection.counters();
            *connection = Connection::new(roles, limits);
            fate = connection.packet(packet, limits, &mut self.opened, out);
        }
        self.waiting_bytes = self.waiting_bytes + connection.waiting_bytes() - waiting_before;
        if self.waiting_bytes > self.limits.waiting_bytes_max {
            self.waiting_bytes -= connection.waiting_bytes();
            connection.flush(packet.at, GapCause::ReassemblyLimit, out);
        }
        match fate {
            Fate::Used | Fate::Replace => {}
            Fate::Late => self.counters.late_packets += 1,
            Fate::Ignored => self.counters.ignored_packets += 1,
        }
    }

    /// The capture has ended: what waits is handed out, open connections are closed.
    pub fn finish(&mut self, out: &mut impl FnMut(FlowEvent<'_>)) {
        let now = self.now;
        for (_, mut connection) in self.connections.drain() {
            connection.close(now, "end_of_capture", GapCause::Missing, out);
            self.counters.streams += connection.counters();
        }
        self.waiting_bytes = 0;
    }

    pub fn counters(&self) -> FlowCounters {
        self.counters
    }

    /// Makes an entry for the connection of a packet whose addresses are not known, if there is a reason to.
    fn admit(
        &mut self,
        key: Key,
        packet: &PcapPacket<'_>,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) -> bool {
        let Some(roles) = self.servers.roles(packet) else {
            self.counters.other_packets += 1;
            return false;
        };
        let has_data = !packet.payload.is_empty() || packet.truncated_bytes > 0;
        if packet.flags.rst || !(packet.flags.syn || has_data) {
            self.counters.unknown_packets += 1;
            return false;
        }
        if self.connections.len() >= self.limits.flows_max {
            self.evict(packet.at, out);
        }
        let connection = Connection::new(roles, self.limits.direction);
        self.connections.insert(key, connection);
        true
    }

    /// Makes room: the connection that was silent for the longest time is given up.
    fn evict(&mut self, at: TimeNs, out: &mut impl FnMut(FlowEvent<'_>)) {
        let Some((_, mut connection)) = self.connections.pop_front() else {
            return;
        };
        self.waiting_bytes -= connection.waiting_bytes();
        connection.abandon(at, out);
        self.counters.streams += connection.counters();
    }
}

/// What a connection made of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Used,
    /// The packet belongs to a new connection between the same addresses.
    Replace,
    Late,
    Ignored,
}

fn key(packet: &PcapPacket<'_>) -> Key {
    if packet.src <= packet.dst {
        (packet.src, packet.dst)
    } else {
        (packet.dst, packet.src)
    }
}
