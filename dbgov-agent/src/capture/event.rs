//! Ring buffer records to typed events. Every length is checked: a record that is not what its kind says is refused,
//! not trusted, though it comes from our own programs.

mod facts;
mod response;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use dbgov_common as raw;
use dbgov_common::{ConnectInfo, Header, Mark};

pub use self::facts::{Exe, Facts, Parent, comm};
pub use self::response::{Piece, Response};
use crate::protocol::{Direction, TimeNs};

/// The two ends of a connection, as the socket that reported them sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// What passed on a governed connection. `cookie` is that of the server's socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Captured<'a> {
    /// A server accepted a connection; every byte of it will be seen.
    Open {
        cookie: u64,
        at: TimeNs,
        ends: Ends,
        netns_cookie: Option<u64>,
        request_seq: u32,
        response_seq: u32,
    },
    /// First packet of a connection that is older than the kernel programs, or that they had lost.
    Seen {
        cookie: u64,
        at: TimeNs,
        ends: Ends,
        netns_cookie: Option<u64>,
    },
    Request {
        cookie: u64,
        at: TimeNs,
        seq: u32,
        ack: u32,
        lost_bytes: u64,
        /// The packet did not reach TCP: the gate holds it.
        held: Option<Held>,
        /// Others could still write to it: what the server reads may differ, where the gate has not held it.
        shared: bool,
        payload: &'a [u8],
    },
    /// The agent's own, marked packet passed the gate.
    Released {
        cookie: u64,
        at: TimeNs,
        /// What it carried.
        seq: u32,
        seq_end: u32,
        /// Everything before has passed to TCP.
        passed: u32,
    },
    /// Request bytes that arrived with the packet that completed the handshake, known by its ends only.
    FirstRequest {
        at: TimeNs,
        ends: Ends,
        seq: u32,
        missing_bytes: u64,
        payload: &'a [u8],
    },
    Response(Response<'a>),
    Fin {
        cookie: u64,
        at: TimeNs,
        direction: Direction,
        reset: bool,
        seq: u32,
        /// The packet did not reach TCP: the gate holds it.
        held: Option<Held>,
    },
    Close {
        cookie: u64,
        at: TimeNs,
        totals: Totals,
    },
    /// A client of this host has its end of a connection; `ends` as the client sees them.
    Client {
        cookie: u64,
        at: TimeNs,
        ends: Ends,
        connect: Option<ConnectInfo>,
    },
}

/// What the gate says of a packet it did not let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The packet's window field, as it stood in the header (not scaled).
    pub window: u16,
    /// TCP has everything before this sequence number; it can have dropped what passed behind that.
    pub taken: u32,
}

/// What the process side reports, on the control ring.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// A process is connecting to a governed port; `cookie` is that of its socket.
    Connect {
        cookie: u64,
        at: TimeNs,
        connect: ConnectInfo,
        /// Absent where the programs cannot read it.
        facts: Option<Facts>,
    },
    /// Something listens anew on this host.
    Listen {
        at: TimeNs,
        port: u16,
        netns_cookie: Option<u64>,
    },
    /// The packet ring is to be read now: the gate holds a packet of the connection, or its packets fill the ring.
    Wake { cookie: u64 },
}

/// The kernel's totals of a connection, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub request_bytes: u64,
    pub request_lost_bytes: u64,
    pub response_bytes: u64,
    pub response_copied_bytes: u64,
    pub response_lost_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("record of {have} bytes is too short for kind {kind}")]
    Short { kind: u8, have: usize },
    #[error("unknown kind {0}")]
    Kind(u8),
    #[error("marks of a response record are out of order")]
    Marks,
    #[error("a length in a connect record is larger than its room")]
    Lengths,
}

/// A record of the packet ring.
pub fn captured(bytes: &[u8]) -> Result<Captured<'_>, EventError> {
    let header: Header = read(0, bytes, 0)?;
    let kind = header.kind;
    let (cookie, at) = (header.cookie, header.time_boot_ns);
    Ok(match kind {
        raw::KIND_REQUEST if header.flags & raw::FLAG_RELEASED != 0 => Captured::Released {
            cookie,
            at,
            seq: header.seq,
            seq_end: header.seq_end,
            passed: header.passed,
        },
        raw::KIND_REQUEST => Captured::Request {
            cookie,
            at,
            seq: header.seq,
            ack: header.ack,
            lost_bytes: header.lost_bytes,
            held: held(&header),
            shared: header.flags & raw::FLAG_SHARED != 0,
            payload: payload(&header, bytes, size_of::<Header>())?,
        },
        raw::KIND_LISTENER_REQUEST => {
            let record: raw::ListenerSegment = read(kind, bytes, 0)?;
            Captured::FirstRequest {
                at,
                ends: ends(&record.tuple),
                seq: header.seq,
                missing_bytes: header.lost_bytes,
                payload: payload(&header, bytes, size_of::<raw::ListenerSegment>())?,
            }
        }
        raw::KIND_RESPONSE => Captured::Response(response::response(&header, bytes)?),
        raw::KIND_RESPONSE_SHORT => Captured::Response(response::short(&header, bytes)?),
        raw::KIND_OPEN | raw::KIND_SEEN => {
            let record: raw::Opened = read(kind, bytes, 0)?;
            let (ends, netns_cookie) = (ends(&record.tuple), known(record.netns_cookie));
            if kind == raw::KIND_SEEN {
                return Ok(Captured::Seen {
                    cookie,
                    at,
                    ends,
                    netns_cookie,
                });
            }
            let (request_seq, response_seq) = (record.request_seq, record.response_seq);
            Captured::Open {
                cookie,
                at,
                ends,
                netns_cookie,
                request_seq,
                response_seq,
            }
        }
        raw::KIND_FIN => Captured::Fin {
            cookie,
            at,
            direction: if header.flags & raw::FLAG_FROM_SERVER != 0 {
                Direction::Response
            } else {
                Direction::Request
            },
            reset: header.flags & raw::FLAG_RST != 0,
            seq: header.seq,
            held: held(&header),
        },
        raw::KIND_CLOSE => {
            let record: raw::Closed = read(kind, bytes, 0)?;
            let totals = Totals {
                request_bytes: record.request_bytes,
                request_lost_bytes: record.request_lost_bytes,
                response_bytes: record.response_bytes,
                response_copied_bytes: record.response_copied_bytes,
                response_lost_bytes: record.response_lost_bytes,
            };
            Captured::Close { cookie, at, totals }
        }
        raw::KIND_CLIENT => {
            let record: raw::ClientEstablished = read(kind, bytes, 0)?;
            let connect = (record.connect.pid != 0).then_some(record.connect);
            Captured::Client {
                cookie,
                at,
                ends: ends(&record.tuple),
                connect,
            }
        }
        other => return Err(EventError::Kind(other)),
    })
}

/// A record of the control ring.
pub fn control(bytes: &[u8]) -> Result<Control, EventError> {
    let header: Header = read(0, bytes, 0)?;
    let (cookie, at) = (header.cookie, header.time_boot_ns);
    match header.kind {
        kind @ raw::KIND_CONNECT => {
            let record: raw::Connecting = read(kind, bytes, 0)?;
            Ok(Control::Connect {
                cookie,
                at,
                connect: record.connect,
                facts: facts::facts(&record.task)?,
            })
        }
        kind @ raw::KIND_LISTEN => {
            let record: raw::Listening = read(kind, bytes, 0)?;
            let port = u16::try_from(record.port).map_err(|_| EventError::Kind(kind))?;
            Ok(Control::Listen {
                at,
                port,
                netns_cookie: known(record.netns_cookie),
            })
        }
        raw::KIND_WAKE => Ok(Control::Wake { cookie }),
        other => Err(EventError::Kind(other)),
    }
}

fn held(header: &Header) -> Option<Held> {
    (header.flags & raw::FLAG_HELD != 0).then_some(Held {
        window: header.seq_end as u16,
        taken: header.passed,
    })
}

fn known(cookie: u64) -> Option<u64> {
    (cookie != 0).then_some(cookie)
}

fn payload<'a>(header: &Header, bytes: &'a [u8], from: usize) -> Result<&'a [u8], EventError> {
    let short = EventError::Short {
        kind: header.kind,
        have: bytes.len(),
    };
    let to = from.checked_add(header.len as usize).ok_or(short)?;
    bytes.get(from..to).ok_or(short)
}

fn ends(tuple: &raw::Tuple) -> Ends {
    Ends {
        local: SocketAddr::new(address(tuple.local_addr), tuple.local_port),
        remote: SocketAddr::new(address(tuple.remote_addr), tuple.remote_port),
    }
}

/// IPv4-mapped addresses as IPv4.
fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// Plain old data of dbgov-common: any bit pattern is a value.
///
/// # Safety
/// Implemented only for `repr(C)` types of integers and arrays of integers.
unsafe trait Plain: Copy {}
// SAFETY: as the trait asks, see dbgov-common.
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for Mark {}
// SAFETY: as above.
unsafe impl Plain for raw::Opened {}
// SAFETY: as above.
unsafe impl Plain for raw::Closed {}
// SAFETY: as above.
unsafe impl Plain for raw::ClientEstablished {}
// SAFETY: as above.
unsafe impl Plain for raw::ListenerSegment {}
// SAFETY: as above.
unsafe impl Plain for raw::Connecting {}
// SAFETY: as above.
unsafe impl Plain for raw::Listening {}

fn read<T: Plain>(kind: u8, bytes: &[u8], from: usize) -> Result<T, EventError> {
    let short = EventError::Short {
        kind,
        have: bytes.len(),
    };
    let to = from.checked_add(size_of::<T>()).ok_or(short)?;
    let source = bytes.get(from..to).ok_or(short)?;
    // SAFETY: `source` has the size of T, any bit pattern of which is valid; the read does not ask for alignment.
    Ok(unsafe { source.as_ptr().cast::<T>().read_unaligned() })
}
