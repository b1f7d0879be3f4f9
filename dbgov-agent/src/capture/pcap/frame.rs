//! A captured frame to its TCP segment.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice, ip_number};

/// Link-layer header in front of the IP header. <https://www.tcpdump.org/linktypes.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// BSD loopback: 4 bytes address family.
    Loopback,
    Ethernet,
    /// The packet begins with the IP header.
    Ip,
    /// Linux "cooked" capture (the "any" device).
    LinuxSll,
    LinuxSll2,
    Other(u32),
}

impl LinkType {
    pub(super) fn new(number: u32) -> Self {
        match number {
            0 | 108 => LinkType::Loopback,
            1 => LinkType::Ethernet,
            // LINKTYPE_RAW, what DLT_RAW is on some systems, LINKTYPE_IPV4, LINKTYPE_IPV6
            101 | 12 | 14 | 228 | 229 => LinkType::Ip,
            113 => LinkType::LinuxSll,
            276 => LinkType::LinuxSll2,
            other => LinkType::Other(other),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpFlags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
}

/// The TCP segment of a frame.
pub(super) struct Segment {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    /// Where in the frame.
    pub(super) payload: Range<usize>,
    pub(super) truncated_bytes: u32,
}

/// Why a frame has no segment for us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    OtherProtocol,
    Fragment,
    Unparsed,
    Link(u32),
}

pub(super) fn segment(
    link: LinkType,
    frame: &[u8],
    original_bytes: u32,
) -> Result<Segment, Passed> {
    let packet = slice(link, frame)?;
    let Some(net) = &packet.net else {
        return Err(match packet.stop_err {
            Some(_) => Passed::Unparsed,
            None => Passed::OtherProtocol,
        });
    };
    let Some(ip) = net.ip_payload_ref() else {
        return Err(Passed::OtherProtocol); // ARP
    };
    if ip.fragmented {
        return Err(Passed::Fragment);
    }
    let tcp = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => tcp,
        Some(_) => return Err(Passed::OtherProtocol),
        None if ip.ip_number == ip_number::TCP || packet.stop_err.is_some() => {
            return Err(Passed::Unparsed);
        }
        None => return Err(Passed::OtherProtocol),
    };
    let (src, dst) = addresses(net).ok_or(Passed::OtherProtocol)?;
    let payload = tcp.payload();
    let start = payload.as_ptr().addr() - frame.as_ptr().addr();
    Ok(Segment {
        src: SocketAddr::new(src, tcp.source_port()),
        dst: SocketAddr::new(dst, tcp.destination_port()),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags: TcpFlags {
            syn: tcp.syn(),
            ack: tcp.ack(),
            fin: tcp.fin(),
            rst: tcp.rst(),
        },
        payload: start..start + payload.len(),
        truncated_bytes: truncated_bytes(net, tcp, frame, original_bytes),
    })
}

/// Slices the headers. Lax: a packet cut by the snap length is read as far as it goes.
fn slice(link: LinkType, frame: &[u8]) -> Result<LaxSlicedPacket<'_>, Passed> {
    let behind = |header_bytes| frame.get(header_bytes..).ok_or(Passed::Unparsed);
    let ether_type = |offset| -> Result<EtherType, Passed> {
        let value = frame.get(offset..).and_then(|rest| rest.first_chunk());
        Ok(EtherType(u16::from_be_bytes(
            *value.ok_or(Passed::Unparsed)?,
        )))
    };
    match link {
        LinkType::Ethernet => LaxSlicedPacket::from_ethernet(frame).map_err(|_| Passed::Unparsed),
        LinkType::LinuxSll => Ok(LaxSlicedPacket::from_ether_type(
            ether_type(14)?,
            behind(16)?,
        )),
        LinkType::LinuxSll2 => Ok(LaxSlicedPacket::from_ether_type(
            ether_type(0)?,
            behind(20)?,
        )),
        LinkType::Ip => from_ip(frame),
        // The family's number and byte order differ from system to system; the IP header tells its version itself.
        LinkType::Loopback => from_ip(behind(4)?),
        LinkType::Other(link_type) => Err(Passed::Link(link_type)),
    }
}

fn from_ip(packet: &[u8]) -> Result<LaxSlicedPacket<'_>, Passed> {
    match packet.first().map(|first| first >> 4) {
        Some(4 | 6) => LaxSlicedPacket::from_ip(packet).map_err(|_| Passed::Unparsed),
        Some(_) => Err(Passed::OtherProtocol),
        None => Err(Passed::Unparsed),
    }
}

fn addresses(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            Some((
                header.source_addr().into(),
                header.destination_addr().into(),
            ))
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            Some((
                header.source_addr().into(),
                header.destination_addr().into(),
            ))
        }
        LaxNetSlice::Arp(_) => None,
    }
}

/// How many bytes of the payload were not captured. The IP header tells; where it has no length (segmentation offload,
/// jumbograms), the length of the frame does.
fn truncated_bytes(
    net: &LaxNetSlice<'_>,
    tcp: &TcpSlice<'_>,
    frame: &[u8],
    original_bytes: u32,
) -> u32 {
    let (header, length) = match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.slice().as_ptr(), usize::from(header.total_len()))
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let length = match header.payload_length() {
                0 => 0,
                payload => header.slice().len() + usize::from(payload),
            };
            (header.slice().as_ptr(), length)
        }
        LaxNetSlice::Arp(_) => return 0,
    };
    if length == 0 {
        return original_bytes.saturating_sub(frame.len() as u32);
    }
    let captured_end = tcp.slice().as_ptr_range().end;
    let captured = captured_end.addr() - header.addr();
    length.saturating_sub(captured) as u32
}
