//! Packets into the network namespace of a server, as if the client had sent them, and out to the client, as if the
//! server had.
//!
//! A raw socket of protocol IPPROTO_RAW takes packets with their IP header (raw(7); of IPv6 too, `inet6_create`). One to
//! an address of the namespace itself goes over its loopback and is delivered with the route it was sent by, so that
//! neither rp_filter nor the strange source matters. The mark stays on the packet until the gate sees it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use hashlink::LruCache;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, connect,
    getsockopt, sendto, setsockopt, socket, sockopt,
};

use super::packet::{self, Flags, PacketError, Segment};
use crate::capture::netns::{self, NetNs};
use dbgov_common::gate::MARK_RESUME;

/// Network namespaces with open sockets: three descriptors each, of the 1,024 a process may have by default. Beyond
/// that the one not used for longest is closed; to open it again takes about 0.2 ms.
pub const INJECTORS_MAX: usize = 128;
/// Packets to clients are cut to what every IPv6 path carries (RFC 8200 section 5) and no IPv4 path of our days does
/// not. What a client is told is far shorter.
const CLIENT_MTU: usize = 1280;
/// How often the loopback's MTU is asked for: it hardly ever changes, and a system call for every packet is a part of
/// what a held client waits. Too long a packet is not sent (EMSGSIZE, `raw_send_hdrinc`); then it is asked for at once.
const MTU_PERIOD: Duration = Duration::from_secs(1);
/// Offered to the client with what it is told: it sends nothing more that matters.
const CLIENT_WINDOW: u16 = u16::MAX;

#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    #[error("cannot enter the server's network namespace: {0}")]
    Enter(io::Error),
    #[error("the server's network namespace is gone or cannot be found")]
    NoNamespace,
    #[error("no raw socket can be opened there: {0} (needs CAP_NET_RAW)")]
    Open(Errno),
    #[error("the loopback of the network namespace is down: {0}")]
    Loopback(Errno),
    #[error("packets cannot be marked: {0} (needs CAP_NET_ADMIN)")]
    Mark(Errno),
    #[error("this kernel has no IPv6")]
    NoIpv6,
    #[error("the kernel has no room for the packet now; try again")]
    Busy,
    #[error("the packet was not sent: {0}")]
    Send(Errno),
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// The two ends of a connection as the server's socket has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// A raw socket of one address family.
#[derive(Debug)]
struct Raw {
    socket: OwnedFd,
    /// What its packets are marked with at present.
    mark: u32,
}

/// The sockets of one network namespace. It keeps the namespace alive as long as it is open.
#[derive(Debug)]
pub struct Injector {
    ipv4: Raw,
    ipv6: Option<Raw>,
    /// Connected over the loopback, to ask for its MTU.
    loopback: OwnedFd,
    /// What it last said, and when.
    mtu: Option<(Instant, usize)>,
    mark: u32,
    cookie: Option<u64>,
}

#[expect(
    clippy::wrong_self_convention,
    reason = "`to` says where the packets go, nothing is converted"
)]
impl Injector {
    /// Opens the sockets, in the namespace of the calling thread or in another.
    pub fn open(namespace: Option<NetNs>, mark: u32) -> Result<Self, InjectError> {
        match namespace {
            None => Injector::here(mark),
            Some(namespace) => {
                netns::within(namespace, || Injector::here(mark)).map_err(InjectError::Enter)?
            }
        }
    }

    fn here(mark: u32) -> Result<Self, InjectError> {
        let ipv4 = raw(AddressFamily::Inet).map_err(InjectError::Open)?;
        let ipv6 = match raw(AddressFamily::Inet6) {
            Ok(raw) => Some(raw),
            Err(Errno::EAFNOSUPPORT) => None,
            Err(error) => return Err(InjectError::Open(error)),
        };
        Ok(Injector {
            ipv4,
            ipv6,
            loopback: loopback().map_err(InjectError::Loopback)?,
            mtu: None,
            mark,
            cookie: netns::own_cookie(),
        })
    }

    /// Cookie of the namespace; absent before Linux 5.14.
    pub fn cookie(&self) -> Option<u64> {
        self.cookie
    }

    /// Request bytes to the server, marked so that the gate passes them; cut to the loopback's MTU. `resume`: a message
    /// ends with them (only the last packet says so). `ack` and `window` are those of the client's newest packet.
    /// After an error some of the packets may have been sent: to send all of them again does no harm.
    pub fn to_server(
        &mut self,
        ends: Ends,
        seq: u32,
        ack: u32,
        window: u16,
        payload: &[u8],
        resume: bool,
    ) -> Result<(), InjectError> {
        self.to_server_flags(ends, seq, ack, window, payload, resume, false)
    }

    /// As [`to_server`](Self::to_server), and the client ends its side with these bytes (or with none: a held FIN).
    pub fn end_to_server(
        &mut self,
        ends: Ends,
        seq: u32,
        ack: u32,
        window: u16,
        payload: &[u8],
    ) -> Result<(), InjectError> {
        self.to_server_flags(ends, seq, ack, window, payload, true, true)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a segment, behind two narrower functions"
    )]
    fn to_server_flags(
        &mut self,
        ends: Ends,
        seq: u32,
        ack: u32,
        window: u16,
        payload: &[u8],
        resume: bool,
        fin: bool,
    ) -> Result<(), InjectError> {
        let segment = Segment {
            src: ends.client,
            dst: ends.server,
            seq,
            ack,
            window,
            flags: Flags {
                psh: !payload.is_empty(),
                ack: true,
                fin,
                rst: false,
            },
            payload,
        };
        let mtu = self.loopback_mtu()?;
        let last = if resume {
            self.mark | MARK_RESUME
        } else {
            self.mark
        };
        let sent = self.send(segment, mtu, self.mark, last);
        if matches!(sent, Err(InjectError::Send(Errno::EMSGSIZE))) {
            self.mtu = None;
            let mtu = self.loopback_mtu()?;
            return self.send(segment, mtu, self.mark, last);
        }
        sent
    }

    /// Response bytes to the client, as if the server had said them, unmarked. `seq` is the server's next sequence
    /// number, `ack` the end of what its TCP has got. With `fin` the client reads the end of the stream after them.
    pub fn to_client(
        &mut self,
        ends: Ends,
        seq: u32,
        ack: u32,
        payload: &[u8],
        fin: bool,
    ) -> Result<(), InjectError> {
        let segment = Segment {
            src: ends.server,
            dst: ends.client,
            seq,
            ack,
            window: CLIENT_WINDOW,
            flags: Flags {
                psh: !payload.is_empty(),
                ack: true,
                fin,
                rst: false,
            },
            payload,
        };
        self.send(segment, CLIENT_MTU, 0, 0)
    }

    /// Ends the connection at the server. TCP takes a RST only with exactly the sequence number it expects next
    /// (RFC 5961 section 3.2): the end of what passed the gate.
    pub fn rst_to_server(&mut self, ends: Ends, seq: u32) -> Result<(), InjectError> {
        self.send(
            reset(ends.client, ends.server, seq),
            CLIENT_MTU,
            self.mark,
            self.mark,
        )
    }

    /// Ends the connection at the client: `seq` as in [`to_client`](Self::to_client), after what was said there (a FIN
    /// counts as one).
    pub fn rst_to_client(&mut self, ends: Ends, seq: u32) -> Result<(), InjectError> {
        self.send(reset(ends.server, ends.client, seq), CLIENT_MTU, 0, 0)
    }

    fn send(
        &mut self,
        segment: Segment<'_>,
        mtu: usize,
        mark: u32,
        last_mark: u32,
    ) -> Result<(), InjectError> {
        let to = segment.dst;
        let raw = match to.ip().to_canonical() {
            IpAddr::V4(_) => &mut self.ipv4,
            IpAddr::V6(_) => self.ipv6.as_mut().ok_or(InjectError::NoIpv6)?,
        };
        for packet in packet::packets(segment, mtu)? {
            raw.mark(if packet.last { last_mark } else { mark })?;
            raw.send(&packet.bytes, to)?;
        }
        Ok(())
    }

    fn loopback_mtu(&mut self) -> Result<usize, InjectError> {
        if let Some((asked, mtu)) = self.mtu
            && asked.elapsed() < MTU_PERIOD
        {
            return Ok(mtu);
        }
        let mtu = getsockopt(&self.loopback, sockopt::IpMtu).map_err(InjectError::Loopback)?;
        let mtu = usize::try_from(mtu).unwrap_or_default();
        self.mtu = Some((Instant::now(), mtu));
        Ok(mtu)
    }
}

fn reset(src: SocketAddr, dst: SocketAddr, seq: u32) -> Segment<'static> {
    Segment {
        src,
        dst,
        seq,
        ack: 0,
        window: 0,
        flags: Flags {
            rst: true,
            ..Flags::default()
        },
        payload: &[],
    }
}

fn raw(family: AddressFamily) -> Result<Raw, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Raw, flags, SockProtocol::Raw)?;
    Ok(Raw { socket, mark: 0 })
}

fn loopback() -> Result<OwnedFd, Errno> {
    let probe = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // Nothing is sent; the port (discard) only has to be one.
    connect(probe.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 9))?;
    Ok(probe)
}

impl Raw {
    fn mark(&mut self, mark: u32) -> Result<(), InjectError> {
        if self.mark != mark {
            setsockopt(&self.socket, sockopt::Mark, &mark).map_err(InjectError::Mark)?;
            self.mark = mark;
        }
        Ok(())
    }

    fn send(&self, packet: &[u8], to: SocketAddr) -> Result<(), InjectError> {
        let fd = self.socket.as_fd().as_raw_fd();
        let sent = loop {
            let sent = match to.ip().to_canonical() {
                IpAddr::V4(ip) => {
                    let to = SockaddrIn::from(std::net::SocketAddrV4::new(ip, 0));
                    sendto(fd, packet, &to, MsgFlags::MSG_DONTWAIT)
                }
                IpAddr::V6(ip) => {
                    // A port would have to be the protocol's number (`rawv6_sendmsg`).
                    let scope = match to {
                        SocketAddr::V6(to) => to.scope_id(),
                        SocketAddr::V4(_) => 0,
                    };
                    let to = SockaddrIn6::from(std::net::SocketAddrV6::new(ip, 0, 0, scope));
                    sendto(fd, packet, &to, MsgFlags::MSG_DONTWAIT)
                }
            };
            if sent != Err(Errno::EINTR) {
                break sent;
            }
        };
        match sent {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => Err(InjectError::Busy),
            Err(error) => Err(InjectError::Send(error)),
        }
    }
}

/// The open injectors by the cookie of their network namespace.
#[derive(Debug)]
pub struct Injectors {
    open: LruCache<u64, Injector>,
    mark: u32,
}

impl Injectors {
    /// `mark` is [`GateConfig::mark`](dbgov_common::gate::GateConfig), without [`MARK_RESUME`].
    pub fn new(mark: u32) -> Self {
        Injectors {
            open: LruCache::new(INJECTORS_MAX),
            mark,
        }
    }

    /// The injector of a namespace, opened if need be: in the own one, or in the one `locate` finds.
    pub fn get(
        &mut self,
        cookie: u64,
        locate: impl FnOnce(u64) -> Option<NetNs>,
    ) -> Result<&mut Injector, InjectError> {
        if !self.open.contains_key(&cookie) {
            let own = netns::own_cookie().is_none_or(|own| own == cookie);
            let namespace = match own {
                true => None,
                false => Some(locate(cookie).ok_or(InjectError::NoNamespace)?),
            };
            let injector = Injector::open(namespace, self.mark)?;
            // What locate knew may have been given to another namespace since.
            if injector.cookie().is_some_and(|found| found != cookie) {
                return Err(InjectError::NoNamespace);
            }
            self.open.insert(cookie, injector);
        }
        self.open.get_mut(&cookie).ok_or(InjectError::NoNamespace)
    }

    /// Closes those of namespaces that are not `alive` (in which no server lives any more), so that they can go.
    pub fn retain(&mut self, mut alive: impl FnMut(u64) -> bool) {
        let gone: Vec<u64> = self
            .open
            .iter()
            .map(|(cookie, _)| *cookie)
            .filter(|cookie| !alive(*cookie))
            .collect();
        for cookie in gone {
            self.open.remove(&cookie);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }
}
