//! IP and TCP headers of a packet on a cgroup_skb hook (which begins at the network header).

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_skb_load_bytes, programs::SkBuffContext};
use dbgov_common::Tuple;

const IPPROTO_TCP: u8 = 6;
/// IPv6 extension headers walked at the most (RFC 8200 expects fewer); a packet with more is counted as unparsed.
const EXTENSION_HEADERS_MAX: u32 = 6;

const HEAD_BYTES: usize = 40;

pub const TCP_FIN: u8 = 0x01;
pub const TCP_RST: u8 = 0x04;
pub const TCP_URG: u8 = 0x20;

/// What the hooks need of the headers.
pub struct Packet {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// Offset of the TCP payload in the packet.
    pub payload_at: u32,
    /// Offset behind the payload.
    pub end: u32,
}

impl Packet {
    pub fn bytes(&self) -> u32 {
        self.end - self.payload_at
    }

    /// Sequence number behind the payload.
    pub fn end_seq(&self) -> u32 {
        self.seq.wrapping_add(self.bytes())
    }
}

pub enum Parsed {
    Tcp(Packet),
    /// Another protocol on a port of that number.
    NotTcp,
    /// Headers this program does not walk.
    Unknown,
}

/// `N` bytes of the packet. Not cleared first: the helper fills them or fails.
#[inline(always)]
pub fn load<const N: usize>(ctx: &SkBuffContext, offset: u32) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: `bytes` is N bytes of this stack frame; they are read only after the helper has written all of them.
    unsafe {
        let failed = bpf_skb_load_bytes(ctx.as_ptr(), offset, bytes.as_mut_ptr().cast(), N as u32);
        if failed == 0 {
            Some(bytes.assume_init())
        } else {
            None
        }
    }
}

/// The packet's first 40 bytes. They nearly always stand in the packet's linear part, where no helper is needed to read
/// them (cgroup_skb may since Linux 5.0, with CAP_BPF since 5.8).
#[inline(always)]
fn head(ctx: &SkBuffContext) -> Option<[u8; HEAD_BYTES]> {
    // SAFETY: context access; the verifier knows these as the bounds of the linear part.
    let (data, end) = unsafe {
        (
            (*ctx.skb.skb).data as usize,
            (*ctx.skb.skb).data_end as usize,
        )
    };
    if data + HEAD_BYTES <= end {
        // SAFETY: inside the linear part, as just checked; bytes need no alignment.
        return Some(unsafe { (data as *const [u8; HEAD_BYTES]).read() });
    }
    load(ctx, 0)
}

#[inline(always)]
pub fn parse(ctx: &SkBuffContext) -> Parsed {
    // The IPv4 header without options and the TCP header behind it, or the IPv6 header.
    let Some(head) = head(ctx) else {
        return tiny(ctx);
    };
    match head[0] >> 4 {
        4 => {
            if head[9] != IPPROTO_TCP {
                return Parsed::NotTcp;
            }
            let at = u32::from(head[0] & 0x0f) * 4;
            if at == 20 {
                let mut tcp = [0u8; 20];
                tcp.copy_from_slice(&head[20..40]);
                return tcp_header(ctx, &tcp, 20);
            }
            tcp_at(ctx, at)
        }
        6 => match tcp_offset_v6(ctx, head[6]) {
            Ok(at) => tcp_at(ctx, at),
            Err(parsed) => parsed,
        },
        _ => Parsed::Unknown,
    }
}

/// A packet too short for TCP over IPv4.
#[inline(always)]
fn tiny(ctx: &SkBuffContext) -> Parsed {
    match load::<20>(ctx, 0) {
        Some(ip) if ip[0] >> 4 == 4 && ip[9] != IPPROTO_TCP => Parsed::NotTcp,
        _ => Parsed::Unknown,
    }
}

/// Walks hop-by-hop, routing, destination and authentication headers. Fragments are reassembled before ingress and
/// not yet made on egress.
#[inline(always)]
fn tcp_offset_v6(ctx: &SkBuffContext, first: u8) -> Result<u32, Parsed> {
    let mut next = first;
    let mut at = 40u32;
    for _ in 0..EXTENSION_HEADERS_MAX {
        match next {
            IPPROTO_TCP => return Ok(at),
            0 | 43 | 60 | 51 => {
                let Some(extension) = load::<2>(ctx, at) else {
                    return Err(Parsed::Unknown);
                };
                let unit = u32::from(extension[1]);
                // RFC 8200 counts 8-byte units without the first, the authentication header (RFC 4302) 4-byte units less 2.
                at += if next == 51 {
                    (unit + 2) * 4
                } else {
                    (unit + 1) * 8
                };
                next = extension[0];
            }
            17 | 58 | 59 => return Err(Parsed::NotTcp),
            _ => return Err(Parsed::Unknown),
        }
    }
    Err(Parsed::Unknown)
}

#[inline(always)]
fn tcp_at(ctx: &SkBuffContext, at: u32) -> Parsed {
    match load::<20>(ctx, at) {
        Some(tcp) => tcp_header(ctx, &tcp, at),
        None => Parsed::Unknown,
    }
}

#[inline(always)]
fn tcp_header(ctx: &SkBuffContext, tcp: &[u8; 20], at: u32) -> Parsed {
    let payload_at = at + u32::from(tcp[12] >> 4) * 4;
    let end = ctx.len();
    if payload_at > end {
        return Parsed::Unknown;
    }
    Parsed::Tcp(Packet {
        seq: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
        ack: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
        flags: tcp[13],
        window: u16::from_be_bytes([tcp[14], tcp[15]]),
        payload_at,
        end,
    })
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The two ends, `local` being the socket's own: on ingress the packet's destination, on egress its source.
#[inline(always)]
pub fn tuple(ctx: &SkBuffContext, ingress: bool) -> Option<Tuple> {
    let first = load::<1>(ctx, 0)?;
    let mut source = [0u8; 16];
    let mut destination = [0u8; 16];
    let at;
    if first[0] >> 4 == 4 {
        source[..12].copy_from_slice(&MAPPED);
        destination[..12].copy_from_slice(&MAPPED);
        source[12..].copy_from_slice(&load::<4>(ctx, 12)?);
        destination[12..].copy_from_slice(&load::<4>(ctx, 16)?);
        at = u32::from(first[0] & 0x0f) * 4;
    } else {
        source = load::<16>(ctx, 8)?;
        destination = load::<16>(ctx, 24)?;
        let first = load::<1>(ctx, 6)?;
        at = tcp_offset_v6(ctx, first[0]).ok()?;
    }
    let ports = load::<4>(ctx, at)?;
    let source_port = u16::from_be_bytes([ports[0], ports[1]]);
    let destination_port = u16::from_be_bytes([ports[2], ports[3]]);
    Some(if ingress {
        Tuple {
            local_addr: destination,
            remote_addr: source,
            local_port: destination_port,
            remote_port: source_port,
            pad: 0,
        }
    } else {
        Tuple {
            local_addr: source,
            remote_addr: destination,
            local_port: source_port,
            remote_port: destination_port,
            pad: 0,
        }
    })
}
