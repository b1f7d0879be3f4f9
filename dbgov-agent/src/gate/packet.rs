//! Bytes of a TCP segment -> IP packets, checksums and all (RFC 791, 8200, 9293).
//!
//! The packets carry no TCP options. Linux takes segments without a timestamp on a connection that negotiated it
//! (`tcp_validate_incoming` checks PAWS only where there is one).
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::slice::Chunks;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, TcpHeader};

/// Longest packet built, bytes. An IP packet may have 65,535, but the kernel copies what a raw socket sends into one
/// contiguous piece of memory, with a few hundred bytes of its own (`raw_send_hdrinc`). Up to 32 KiB the page allocator
/// has one at hand on any host (`PAGE_ALLOC_COSTLY_ORDER`); 128 KiB, the next that would do, it may not.
pub const PACKET_BYTES_MAX: usize = 31 * 1024;
/// Smallest path MTU that is taken for one, bytes (RFC 791: every host forwards so many).
pub const MTU_MIN: usize = 68;
/// TTL and hop limit, as Linux sets it (`IPDEFTTL`).
const HOPS: u8 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("one end of the connection is IPv4, the other IPv6")]
    Families,
    #[error("an MTU of {0} bytes has no room for a packet")]
    Mtu(usize),
}

/// TCP flags of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    pub psh: bool,
    pub fin: bool,
    pub rst: bool,
    pub ack: bool,
}

/// What is to arrive as if `src` had sent it. An IPv4-mapped IPv6 address means IPv4 packets.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seq: u32,
    /// Sent only with `flags.ack`.
    pub ack: u32,
    /// As on the wire, not scaled.
    pub window: u16,
    pub flags: Flags,
    pub payload: &'a [u8],
}

/// One packet of a segment, from its IP header on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub bytes: Vec<u8>,
    /// No other follows.
    pub last: bool,
}

#[derive(Debug, Clone, Copy)]
enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// The packets of a segment, in order. PSH and FIN stand on the last one only.
#[derive(Debug)]
pub struct Packets<'a> {
    segment: Segment<'a>,
    addresses: Addresses,
    chunks: Chunks<'a, u8>,
    seq: u32,
    started: bool,
}

/// Cuts the segment into packets of at most `mtu` and [`PACKET_BYTES_MAX`] bytes; one packet where it has no payload.
pub fn packets(segment: Segment<'_>, mtu: usize) -> Result<Packets<'_>, PacketError> {
    let addresses = match (
        segment.src.ip().to_canonical(),
        segment.dst.ip().to_canonical(),
    ) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Addresses::V4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Addresses::V6(src, dst),
        _ => return Err(PacketError::Families),
    };
    if mtu < MTU_MIN {
        return Err(PacketError::Mtu(mtu));
    }
    let headers = TcpHeader::MIN_LEN
        + match addresses {
            Addresses::V4(..) => Ipv4Header::MIN_LEN,
            Addresses::V6(..) => Ipv6Header::LEN,
        };
    Ok(Packets {
        segment,
        addresses,
        // MTU_MIN is more than the headers: a chunk has at least 8 bytes.
        chunks: segment.payload.chunks(mtu.min(PACKET_BYTES_MAX) - headers),
        seq: segment.seq,
        started: false,
    })
}

impl Iterator for Packets<'_> {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let payload = match self.chunks.next() {
            Some(chunk) => chunk,
            None if self.started => return None,
            None => &[],
        };
        self.started = true;
        let last = self.chunks.len() == 0;
        let bytes = self.packet(payload, last);
        // At most PACKET_BYTES_MAX.
        self.seq = self.seq.wrapping_add(payload.len() as u32);
        Some(Packet { bytes, last })
    }
}

impl Packets<'_> {
    fn packet(&self, payload: &[u8], last: bool) -> Vec<u8> {
        let Segment {
            src,
            dst,
            flags,
            ack,
            window,
            ..
        } = self.segment;
        let mut tcp = TcpHeader::new(src.port(), dst.port(), self.seq, window);
        tcp.ack = flags.ack;
        tcp.acknowledgment_number = if flags.ack { ack } else { 0 };
        tcp.rst = flags.rst;
        tcp.psh = flags.psh && last;
        tcp.fin = flags.fin && last;
        let length = (TcpHeader::MIN_LEN + payload.len()) as u16;
        let mut bytes = Vec::with_capacity(Ipv6Header::LEN + usize::from(length));
        // The sums fail only above the 64 KiB that PACKET_BYTES_MAX excludes.
        match self.addresses {
            Addresses::V4(src, dst) => {
                bytes.extend_from_slice(&ipv4(src, dst, length).to_bytes());
                tcp.checksum = tcp
                    .calc_checksum_ipv4_raw(src.octets(), dst.octets(), payload)
                    .unwrap_or_default();
            }
            Addresses::V6(src, dst) => {
                bytes.extend_from_slice(&ipv6(src, dst, length).to_bytes());
                tcp.checksum = tcp
                    .calc_checksum_ipv6_raw(src.octets(), dst.octets(), payload)
                    .unwrap_or_default();
            }
        }
        bytes.extend_from_slice(&tcp.to_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }
}

fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, payload_bytes: u16) -> Ipv4Header {
    let mut header = Ipv4Header {
        total_len: Ipv4Header::MIN_LEN_U16 + payload_bytes,
        // Never in fragments: the packets are cut to the MTU.
        dont_fragment: true,
        fragment_offset: IpFragOffset::ZERO,
        time_to_live: HOPS,
        protocol: IpNumber::TCP,
        source: src.octets(),
        destination: dst.octets(),
        ..Ipv4Header::default()
    };
    header.header_checksum = header.calc_header_checksum();
    header
}

fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, payload_bytes: u16) -> Ipv6Header {
    Ipv6Header {
        payload_length: payload_bytes,
        next_header: IpNumber::TCP,
        hop_limit: HOPS,
        source: src.octets(),
        destination: dst.octets(),
        ..Ipv6Header::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{SlicedPacket, TransportSlice};

    fn segment(payload: &[u8]) -> Segment<'_> {
        Segment {
            src: "10.9.0.2:41884".parse().unwrap(),
            dst: "10.9.0.1:5432".parse().unwrap(),
            seq: u32::MAX - 10,
            ack: 77,
            window: 512,
            flags: Flags {
                psh: true,
                ack: true,
                fin: true,
                rst: false,
            },
            payload,
        }
    }

    /// Reads packets back with the other half of the library, checks every checksum, and puts the payload together.
    fn read_back(segment: Segment<'_>, mtu: usize) -> Vec<(TcpHeader, Vec<u8>)> {
        let packets: Vec<Packet> = packets(segment, mtu).unwrap().collect();
        let count = packets.len();
        let mut found = Vec::new();
        for (n, packet) in packets.iter().enumerate() {
            assert!(packet.bytes.len() <= mtu.min(PACKET_BYTES_MAX));
            assert_eq!(packet.last, n + 1 == count);
            let sliced = SlicedPacket::from_ip(&packet.bytes).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
                panic!("no TCP");
            };
            let header = tcp.to_header();
            let sum = match sliced.net.as_ref().unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    let ip = ip.header().to_header();
                    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                    header.calc_checksum_ipv4(&ip, tcp.payload())
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    header.calc_checksum_ipv6(&ip.header().to_header(), tcp.payload())
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(header.checksum, sum.unwrap());
            found.push((header, tcp.payload().to_vec()));
        }
        found
    }

    #[test]
    fn a_small_segment_is_one_packet() {
        let found = read_back(segment(b"hello"), 1500);
        assert_eq!(found.len(), 1);
        let (tcp, payload) = &found[0];
        assert_eq!(payload, b"hello");
        assert!(tcp.psh && tcp.fin && tcp.ack && !tcp.rst && !tcp.syn);
        assert_eq!(
            (tcp.source_port, tcp.destination_port, tcp.window_size),
            (41884, 5432, 512)
        );
        assert_eq!(
            (tcp.sequence_number, tcp.acknowledgment_number),
            (u32::MAX - 10, 77)
        );
    }

    #[test]
    fn a_long_one_is_cut_and_its_numbers_wrap() {
        let payload: Vec<u8> = (0..200_000u32).map(|n| (n * 31) as u8).collect();
        for ends in [
            ("10.9.0.2:41884", "10.9.0.1:5432"),
            ("[fd00::2]:41884", "[fd00::1]:5432"),
        ] {
            for mtu in [MTU_MIN, 1280, 1500, 65_536] {
                let mut segment = segment(&payload);
                (segment.src, segment.dst) = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
                let found = read_back(segment, mtu);
                let (last, before) = found.split_last().unwrap();
                let mut seq = segment.seq;
                for (tcp, part) in &found {
                    assert_eq!(tcp.sequence_number, seq);
                    seq = seq.wrapping_add(part.len() as u32);
                }
                assert!(last.0.psh && last.0.fin);
                assert!(before.iter().all(|(tcp, _)| !tcp.psh && !tcp.fin));
                let whole: Vec<u8> = found.into_iter().flat_map(|(_, part)| part).collect();
                assert_eq!(whole, payload);
            }
        }
    }

    #[test]
    fn a_reset_has_neither_payload_nor_acknowledgment() {
        let mut reset = segment(b"");
        reset.flags = Flags {
            rst: true,
            ..Flags::default()
        };
        let found = read_back(reset, 1500);
        assert_eq!(found.len(), 1);
        let (tcp, payload) = &found[0];
        assert!(tcp.rst && !tcp.ack && payload.is_empty());
        assert_eq!(tcp.acknowledgment_number, 0);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut mapped = segment(b"x");
        mapped.src = "[::ffff:10.9.0.2]:41884".parse().unwrap();
        assert_eq!(
            packets(mapped, 1500).unwrap().next(),
            packets(segment(b"x"), 1500).unwrap().next()
        );
        mapped.src = "[fd00::2]:41884".parse().unwrap();
        assert_eq!(packets(mapped, 1500).unwrap_err(), PacketError::Families);
        assert_eq!(
            packets(segment(b"x"), 60).unwrap_err(),
            PacketError::Mtu(60)
        );
    }
}
