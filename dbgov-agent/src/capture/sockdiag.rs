//! The kernel's own list of TCP sockets, by NETLINK_SOCK_DIAG (sock_diag(7)).
//!
//! A dump covers the network namespace of the calling thread and needs no privilege; [`super::netns`] gets into others.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, TCP_ESTABLISHED, TCP_LISTEN,
};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};

/// Sockets kept of one dump. Ten times what a busy database server holds, and about 10 MiB.
pub const SOCKETS_PER_DUMP_MAX: usize = 100_000;

/// The kernel fills at most 32 KiB of one dump datagram (`netlink_dump`), and no single message is longer.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sock_diag: {0}")]
    Io(#[from] io::Error),
    #[error("sock_diag: the kernel's answer cannot be read: {0}")]
    Decode(#[from] netlink_packet_core::DecodeError),
    #[error("sock_diag: the kernel ran out of room for its answer")]
    Overrun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Listening,
    Established,
}

/// One TCP socket of the namespace. Addresses are as the kernel has them, an IPv4-mapped one written as IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    pub state: State,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Of sockfs, as in `/proc/<pid>/fd` (`socket:[inode]`); 0 where no process holds the socket any more.
    pub inode: u64,
    /// Owner of the socket, in the namespace of the reader.
    pub uid: u32,
    /// Equals bpf_get_socket_cookie and SO_COOKIE.
    pub cookie: u64,
    /// An IPv6 listener that takes IPv4 connections as well.
    pub dual_stack: bool,
}

/// What a dump found.
#[derive(Debug, Clone, Default)]
pub struct Dump {
    pub sockets: Vec<TcpSocket>,
    /// There were more than [`SOCKETS_PER_DUMP_MAX`].
    pub truncated: bool,
}

/// Which sockets the kernel shall list. It compares ports itself, so that a dump carries only what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Every listening socket.
    Listening,
    EstablishedFrom {
        local_port: u16,
    },
    EstablishedTo {
        remote_port: u16,
    },
}

/// Lists the sockets, IPv4 and IPv6, of the calling thread's network namespace.
pub fn tcp_sockets(query: Query) -> Result<Dump, Error> {
    let mut found = Dump::default();
    let socket = connected()?;
    for (sequence, family) in [(1, AF_INET), (2, AF_INET6)] {
        match dump_family(&socket, family, sequence, query, &mut found) {
            // A kernel without IPv6 has no handler for that family.
            Err(Error::Io(e)) if family == AF_INET6 && e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(found)
}

/// Ends the TCP socket of the calling thread's network namespace that has these addresses and this cookie (Linux 4.9).
/// The kernel's refusals come as their errno: ENOENT and ESTALE where there is no such socket (any more), EOPNOTSUPP
/// where the kernel was built without, EPERM without CAP_NET_ADMIN.
pub fn destroy(local: SocketAddr, remote: SocketAddr, cookie: u64) -> Result<(), Error> {
    const SEQUENCE: u32 = 1;
    let socket = connected()?;
    let (local_ip, remote_ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let mut words = [0; 8];
    words[..4].copy_from_slice(&(cookie as u32).to_ne_bytes());
    words[4..].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
    let request = SockDiagMessage::InetRequest(InetRequest {
        // An IPv6 socket that speaks IPv4 is found by its IPv4 addresses (`inet_diag_find_one_icsk`).
        family: if local_ip.is_ipv4() {
            AF_INET
        } else {
            AF_INET6
        },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: local_ip,
            destination_address: remote_ip,
            // Link-local addresses are those of an interface.
            interface_id: match local {
                SocketAddr::V6(local) => local.scope_id(),
                SocketAddr::V4(_) => 0,
            },
            cookie: words,
        },
    });
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    socket.send(&encoded(SockDiagDestroy::new(request), flags, SEQUENCE), 0)?;
    let mut datagram = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
    socket.recv(&mut datagram, 0)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&datagram)?;
    match answer.payload {
        // An error without a code is the acknowledgment.
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io().into()),
        NetlinkPayload::Error(_) => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
    }
}

fn connected() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

fn request(family: u8, sequence: u32, query: Query) -> Vec<u8> {
    let mut socket_id = if family == AF_INET {
        SocketId::new_v4()
    } else {
        SocketId::new_v6()
    };
    let states = match query {
        Query::Listening => StateFlags::LISTEN,
        Query::EstablishedFrom { local_port } => {
            socket_id.source_port = local_port;
            StateFlags::ESTABLISHED
        }
        Query::EstablishedTo { remote_port } => {
            socket_id.destination_port = remote_port;
            StateFlags::ESTABLISHED
        }
    };
    let request = SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    });
    encoded(request, NLM_F_REQUEST | NLM_F_DUMP, sequence)
}

fn encoded<M: NetlinkSerializable>(request: M, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// One request and its answer, which is read to the end even where it is more than is kept.
fn dump_family(
    socket: &Socket,
    family: u8,
    sequence: u32,
    query: Query,
    found: &mut Dump,
) -> Result<(), Error> {
    socket.send(&request(family, sequence, query), 0)?;
    let mut datagram = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
    loop {
        datagram.clear();
        match socket.recv(&mut datagram, 0) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        }
        if read_datagram(&datagram, sequence, found)? == Progress::Done {
            return Ok(());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// A datagram holds several messages, each padded to four bytes (RFC 3549, section 2.3.2).
fn read_datagram(datagram: &[u8], sequence: u32, found: &mut Dump) -> Result<Progress, Error> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = NetlinkBuffer::new_checked(rest)?.length() as usize;
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(&rest[..length])?;
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                keep(&response, found);
            }
            NetlinkPayload::Done(_) => return Ok(Progress::Done),
            NetlinkPayload::Error(e) => return Err(e.to_io().into()),
            NetlinkPayload::Overrun(_) => return Err(Error::Overrun),
            _ => {}
        }
    }
    Ok(Progress::More)
}

fn keep(response: &InetResponse, found: &mut Dump) {
    let header = &response.header;
    let state = match header.state {
        TCP_LISTEN => State::Listening,
        TCP_ESTABLISHED => State::Established,
        _ => return,
    };
    if found.sockets.len() >= SOCKETS_PER_DUMP_MAX {
        found.truncated = true;
        return;
    }
    let id = &header.socket_id;
    let only_v6 = response
        .nlas
        .iter()
        .any(|nla| matches!(nla, Nla::SkV6Only(true)));
    found.sockets.push(TcpSocket {
        state,
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        inode: u64::from(header.inode),
        uid: header.uid,
        // Two 32-bit words, the low one first, each in host order (`sock_diag_save_cookie`).
        cookie: u64::from(word(&id.cookie, 0)) | u64::from(word(&id.cookie, 4)) << 32,
        dual_stack: header.family == AF_INET6 && state == State::Listening && !only_v6,
    });
}

fn word(cookie: &[u8; 8], at: usize) -> u32 {
    u32::from_ne_bytes([cookie[at], cookie[at + 1], cookie[at + 2], cookie[at + 3]])
}

#[cfg(test)]
mod tests;
