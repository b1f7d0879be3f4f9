//! Files are written by another implementation than reads them: `pcap-file`, with packets by etherparse.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use etherparse::PacketBuilder;
use pcap_file::pcap::{PcapHeader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;
use pcap_file::{DataLink, Endianness, TsResolution};

use super::{CaptureFile, PcapCounters, PcapError, TcpFlags};

const AT_NS: u64 = 1_795_391_999_123_456_000;

pub(super) type Seen = (u64, SocketAddr, SocketAddr, u32, Vec<u8>, u32);

/// A pcap file; each packet is captured bytes and length on the wire.
pub(super) fn classic(link: DataLink, packets: &[(&[u8], usize)]) -> Vec<u8> {
    classic_as(link, Endianness::Little, TsResolution::MicroSecond, packets)
}

fn classic_as(
    link: DataLink,
    endianness: Endianness,
    ts_resolution: TsResolution,
    packets: &[(&[u8], usize)],
) -> Vec<u8> {
    let header = PcapHeader {
        datalink: link,
        endianness,
        ts_resolution,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    let unit = match ts_resolution {
        TsResolution::MicroSecond => 1000,
        TsResolution::NanoSecond => 1,
    };
    for (data, wire_bytes) in packets {
        writer
            .write_raw_packet(&RawPcapPacket {
                ts_sec: (AT_NS / 1_000_000_000) as u32,
                ts_frac: (AT_NS % 1_000_000_000 / unit) as u32,
                incl_len: data.len() as u32,
                orig_len: *wire_bytes as u32,
                data: Cow::Borrowed(data),
            })
            .unwrap();
    }
    writer.into_writer()
}

/// What a file gives, until its end or an error.
pub(super) fn read(file: &[u8]) -> (Vec<Seen>, PcapCounters, Option<PcapError>) {
    let mut capture = match CaptureFile::new(file) {
        Ok(capture) => capture,
        Err(error) => return (Vec::new(), PcapCounters::default(), Some(error)),
    };
    let mut seen = Vec::new();
    let error = loop {
        match capture.next_packet() {
            Ok(Some(p)) => seen.push((
                p.at,
                p.src,
                p.dst,
                p.seq,
                p.payload.to_vec(),
                p.truncated_bytes,
            )),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    (seen, capture.counters(), error)
}

pub(super) fn payloads(seen: &[Seen]) -> Vec<&[u8]> {
    seen.iter().map(|packet| packet.4.as_slice()).collect()
}

pub(super) fn ip_v4(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40000, 5432, 7, 1000)
        .ack(9)
        .psh()
        .write(&mut packet, payload)
        .unwrap();
    packet
}

fn ip_v6(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64)
        .tcp(40000, 5432, 7, 1000)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

fn ethernet(ether_type: u16, behind: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(behind);
    frame
}

fn with_header(header: &[u8], packet: &[u8]) -> Vec<u8> {
    [header, packet].concat()
}

#[test]
fn all_fields_of_a_segment_are_read() {
    let frame = ethernet(0x0800, &ip_v4(b"select 1"));
    let file = classic(DataLink::ETHERNET, &[(&frame, frame.len())]);
    let mut capture = CaptureFile::new(&file[..]).unwrap();
    let packet = capture.next_packet().unwrap().unwrap();
    assert_eq!(packet.at, AT_NS);
    assert_eq!(packet.src, "10.0.0.1:40000".parse().unwrap());
    assert_eq!(packet.dst, "10.0.0.2:5432".parse().unwrap());
    assert_eq!((packet.seq, packet.ack), (7, 9));
    let flags = TcpFlags {
        ack: true,
        ..TcpFlags::default()
    };
    assert_eq!(packet.flags, flags);
    assert_eq!(packet.payload, b"select 1");
    assert_eq!(packet.truncated_bytes, 0);
    assert!(capture.next_packet().unwrap().is_none());
    assert!(capture.next_packet().unwrap().is_none());
}

#[test]
fn every_link_type_is_read() {
    let (four, six) = (ip_v4(b"four"), ip_v6(b"six"));
    let vlan = |packet: &[u8]| {
        ethernet(
            0x88a8,
            &with_header(&[0, 5, 0x81, 0, 0, 7, 0x08, 0], packet),
        )
    };
    let mut sll = vec![0; 14];
    sll.extend([0x08, 0x00]);
    let mut sll2 = vec![0x86, 0xdd];
    sll2.extend([0; 18]);
    let cases = [
        (DataLink::ETHERNET, ethernet(0x0800, &four), &b"four"[..]),
        (DataLink::ETHERNET, ethernet(0x86dd, &six), b"six"),
        (DataLink::ETHERNET, vlan(&four), b"four"),
        (DataLink::LINUX_SLL, with_header(&sll, &four), b"four"),
        (DataLink::LINUX_SLL2, with_header(&sll2, &six), b"six"),
        (DataLink::RAW, four.clone(), b"four"),
        (DataLink::IPV4, four.clone(), b"four"),
        (DataLink::IPV6, six.clone(), b"six"),
        (DataLink::from(12), six.clone(), b"six"),
        (DataLink::NULL, with_header(&[2, 0, 0, 0], &four), b"four"),
        (DataLink::NULL, with_header(&[30, 0, 0, 0], &six), b"six"),
        (DataLink::LOOP, with_header(&[0, 0, 0, 2], &four), b"four"),
    ];
    for (link, frame, payload) in cases {
        let (seen, counters, error) = read(&classic(link, &[(&frame, frame.len())]));
        assert_eq!(payloads(&seen), [payload], "{link:?}");
        assert_eq!(counters.tcp_segments, 1);
        assert!(error.is_none());
    }
}

#[test]
fn both_byte_orders_and_both_units_of_time_are_read() {
    let packet = ip_v4(b"x");
    for endianness in [Endianness::Big, Endianness::Little] {
        for resolution in [TsResolution::MicroSecond, TsResolution::NanoSecond] {
            let packets = [(&packet[..], packet.len())];
            let (seen, _, error) =
                read(&classic_as(DataLink::RAW, endianness, resolution, &packets));
            assert!(error.is_none());
            assert_eq!(seen[0].0, AT_NS);
            assert_eq!(payloads(&seen), [b"x"]);
        }
    }
}

#[test]
fn options_extension_headers_and_ethernet_padding_are_no_payload() {
    let mut options = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40000, 5432, 7, 1000)
        .options(&[etherparse::TcpOptionElement::Timestamp(1, 2)])
        .unwrap()
        .write(&mut options, b"a")
        .unwrap();
    // IPv4 header of 24 bytes: an option (no operation).
    let mut v4 = ip_v4(b"bc");
    v4[0] = 0x46;
    v4.splice(20..20, [1, 1, 1, 0]);
    let total = v4.len() as u16;
    v4[2..4].copy_from_slice(&total.to_be_bytes());
    // A hop-by-hop header of 8 bytes (PadN) in front of TCP.
    let mut v6 = ip_v6(b"def");
    v6[6] = 0;
    v6.splice(40..40, [6, 0, 1, 4, 0, 0, 0, 0]);
    let length = (v6.len() - 40) as u16;
    v6[4..6].copy_from_slice(&length.to_be_bytes());
    let frames = [
        ethernet(0x0800, &with_header(&options, &[0; 9])),
        ethernet(0x0800, &v4),
        ethernet(0x86dd, &with_header(&v6, &[0; 4])),
    ];
    let packets: Vec<_> = frames.iter().map(|f| (&f[..], f.len())).collect();
    let (seen, ..) = read(&classic(DataLink::ETHERNET, &packets));
    assert_eq!(payloads(&seen), [&b"a"[..], b"bc", b"def"]);
    assert!(seen.iter().all(|packet| packet.5 == 0));
}

#[test]
fn a_packet_without_ip_length_takes_all_of_the_frame() {
    let mut packet = ip_v4(b"segmentation offload");
    packet[2..4].fill(0);
    let (seen, ..) = read(&classic(
        DataLink::RAW,
        &[(&packet, packet.len()), (&packet[..45], packet.len())],
    ));
    assert_eq!(payloads(&seen), [&b"segmentation offload"[..], b"segme"]);
    assert_eq!(seen[1].5, 15);
}

#[test]
fn a_packet_cut_by_the_snap_length_tells_what_is_missing() {
    let packet = ip_v4(&[b'x'; 1000]);
    let file = classic(
        DataLink::RAW,
        &[
            (&packet[..140], packet.len()),
            (&packet[..40], packet.len()),
            (&packet[..39], packet.len()),
        ],
    );
    let (seen, counters, error) = read(&file);
    assert!(error.is_none());
    assert_eq!((seen[0].4.len(), seen[0].5), (100, 900));
    assert_eq!((seen[1].4.len(), seen[1].5), (0, 1000));
    assert_eq!((seen.len(), counters.unparsed), (2, 1), "header cut");
}

#[test]
fn what_is_no_segment_is_counted() {
    let mut udp = Vec::new();
    PacketBuilder::ipv4([1; 4], [2; 4], 64)
        .udp(53, 53)
        .write(&mut udp, b"dns")
        .unwrap();
    let mut first_fragment = ip_v4(b"x");
    first_fragment[6] = 0x20;
    let mut fragment_v6 = ip_v6(b"x");
    fragment_v6[6] = 44;
    fragment_v6.splice(40..40, [6, 0, 0, 9, 0, 0, 0, 1]);
    let length = (fragment_v6.len() - 40) as u16;
    fragment_v6[4..6].copy_from_slice(&length.to_be_bytes());
    let mut bad_offset = ip_v4(b"x");
    bad_offset[32] = 0x10;
    let frames = [
        ethernet(0x0800, &udp),
        ethernet(0x0806, &[0; 28]),
        ethernet(0x88cc, b"lldp"),
        ethernet(0x0800, &first_fragment),
        ethernet(0x86dd, &fragment_v6),
        ethernet(0x0800, &bad_offset),
        ethernet(0x0800, b""),
        vec![1, 2, 3],
        Vec::new(),
    ];
    let packets: Vec<_> = frames.iter().map(|f| (&f[..], f.len())).collect();
    let (seen, counters, error) = read(&classic(DataLink::ETHERNET, &packets));
    assert!(error.is_none() && seen.is_empty());
    let expected = PcapCounters {
        packets: 9,
        other_protocols: 3,
        fragments: 2,
        unparsed: 4,
        ..PcapCounters::default()
    };
    assert_eq!(counters, expected);
}

pub(super) fn interface(
    link: DataLink,
    options: Vec<InterfaceDescriptionOption<'static>>,
) -> InterfaceDescriptionBlock<'static> {
    InterfaceDescriptionBlock {
        linktype: link,
        snaplen: 0,
        options,
    }
}

/// A packet block; pcap-file writes the nanoseconds of `units` as they are.
pub(super) fn enhanced(interface_id: u32, units: u64, data: &[u8]) -> EnhancedPacketBlock<'_> {
    EnhancedPacketBlock {
        interface_id,
        timestamp: Duration::from_nanos(units),
        original_len: data.len() as u32,
        data: Cow::Borrowed(data),
        options: Vec::new(),
    }
}

#[test]
fn pcapng_interfaces_have_their_own_link_and_clock() {
    use InterfaceDescriptionOption::{IfName, IfTsOffset, IfTsResol};
    let (raw, frame) = (ip_v4(b"raw"), ethernet(0x0800, &ip_v4(b"frame")));
    for endianness in [Endianness::Big, Endianness::Little] {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).unwrap();
        let name = || IfName("any".into());
        let interfaces = [
            interface(DataLink::RAW, vec![name()]),
            interface(DataLink::ETHERNET, vec![name(), IfTsResol(9)]),
            interface(DataLink::RAW, vec![IfTsResol(0x80 | 10), IfTsOffset(100)]),
            interface(DataLink::RAW, vec![IfTsResol(12)]),
        ];
        for description in interfaces {
            writer.write_pcapng_block(description).unwrap();
        }
        for block in [
            enhanced(0, AT_NS / 1000, &raw),
            enhanced(1, AT_NS + 7, &frame),
            enhanced(2, 3 << 9, &raw),
            enhanced(3, 5_999, &raw),
        ] {
            writer.write_pcapng_block(block).unwrap();
        }
        let (seen, _, error) = read(&writer.into_inner());
        assert!(error.is_none());
        let times: Vec<u64> = seen.iter().map(|packet| packet.0).collect();
        assert_eq!(times, [AT_NS, AT_NS + 7, 101_500_000_000, 5]);
        assert_eq!(payloads(&seen), [&b"raw"[..], b"frame", b"raw", b"raw"]);
    }
}

#[test]
fn pcapng_simple_packets_sections_and_unknown_blocks_are_read() {
    let packet = ip_v4(b"odd");
    let mut file = Vec::new();
    for endianness in [Endianness::Little, Endianness::Big] {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).unwrap();
        writer
            .write_pcapng_block(interface(DataLink::RAW, Vec::new()))
            .unwrap();
        let simple = SimplePacketBlock {
            original_len: packet.len() as u32,
            data: Cow::Borrowed(&packet),
        };
        writer.write_pcapng_block(simple).unwrap();
        file.extend(writer.into_inner());
        let (number, length) = (0x0bad_u32, 16_u32);
        let words = [number, length, 0, length];
        file.extend(words.iter().flat_map(|word| match endianness {
            Endianness::Little => word.to_le_bytes(),
            Endianness::Big => word.to_be_bytes(),
        }));
    }
    let (seen, counters, error) = read(&file);
    assert!(error.is_none());
    assert_eq!(payloads(&seen), [b"odd", b"odd"]);
    assert_eq!(counters.packets, 2);
}

#[test]
fn a_file_of_an_unsupported_link_type_is_an_error() {
    let error = read(&classic(DataLink::USB_LINUX, &[])).2.unwrap();
    assert!(matches!(
        error,
        PcapError::UnsupportedLinkType { link_type: 189, .. }
    ));

    let packet = ip_v4(b"x");
    let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
    for link in [DataLink::USB_LINUX, DataLink::RAW] {
        writer
            .write_pcapng_block(interface(link, Vec::new()))
            .unwrap();
    }
    writer.write_pcapng_block(enhanced(0, 1, b"usb")).unwrap();
    let only_usb = writer.get_mut().clone();
    writer.write_pcapng_block(enhanced(1, 1, &packet)).unwrap();
    let error = read(&only_usb).2.unwrap();
    assert!(error.to_string().starts_with("packet 1: link type 189"));
    let (seen, counters, error) = read(&writer.into_inner());
    assert!(error.is_none());
    assert_eq!((seen.len(), counters.unsupported_link), (1, 1));
}
