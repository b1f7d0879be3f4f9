//! TCP segments no client would send, and the agent's own, through raw sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use dbgov_tests::Result;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
    setsockopt, socket, sockopt,
};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) urgent: u16,
    pub(crate) bad_checksum: bool,
    pub(crate) payload: &'a [u8],
}

/// Sends segments of one connection, from `client` to `server`.
pub(crate) struct Raw {
    socket: OwnedFd,
    client: SocketAddr,
    server: SocketAddr,
}

impl Raw {
    pub(crate) fn new(client: SocketAddr, server: SocketAddr, mark: u32) -> Result<Raw> {
        let family = match server {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        // IPPROTO_RAW: the headers are ours (raw(7)).
        let socket = socket(
            family,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )?;
        setsockopt(&socket, sockopt::Mark, &mark)?;
        Ok(Raw {
            socket,
            client,
            server,
        })
    }

    pub(crate) fn send(&self, segment: &Segment<'_>) -> Result<()> {
        let packet = self.packet(segment);
        let fd = self.socket.as_raw_fd();
        let sent = match self.server {
            SocketAddr::V4(to) => sendto(fd, &packet, &SockaddrIn::from(to), MsgFlags::empty()),
            // A raw socket takes no port.
            SocketAddr::V6(to) => {
                let to = SocketAddrV6::new(*to.ip(), 0, 0, 0);
                sendto(fd, &packet, &SockaddrIn6::from(to), MsgFlags::empty())
            }
        };
        sent.map_err(io::Error::from)?;
        Ok(())
    }

    fn packet(&self, segment: &Segment<'_>) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.client.port().to_be_bytes());
        tcp.extend(self.server.port().to_be_bytes());
        tcp.extend(segment.seq.to_be_bytes());
        tcp.extend(segment.ack.to_be_bytes());
        tcp.extend([5 << 4, segment.flags, 0x10, 0]);
        tcp.extend([0, 0]);
        tcp.extend(segment.urgent.to_be_bytes());
        tcp.extend(segment.payload);
        let mut pseudo = Vec::new();
        let mut ip = Vec::new();
        match (self.client.ip(), self.server.ip()) {
            (IpAddr::V4(client), IpAddr::V4(server)) => {
                pseudo.extend(client.octets());
                pseudo.extend(server.octets());
                // The kernel fills in length, identification and checksum.
                ip.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0]);
                ip.extend(&pseudo);
            }
            (IpAddr::V6(client), IpAddr::V6(server)) => {
                pseudo.extend(client.octets());
                pseudo.extend(server.octets());
                ip.extend([0x60, 0, 0, 0]);
                ip.extend((tcp.len() as u16).to_be_bytes());
                ip.extend([6, 64]);
                ip.extend(&pseudo);
            }
            _ => panic!("two families"),
        }
        pseudo.extend((tcp.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, 6]);
        let mut sum = checksum(&[&pseudo[..], &tcp[..]].concat());
        if segment.bad_checksum {
            sum ^= 0x5555;
        }
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        ip.extend(tcp);
        ip
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
