use std::net::SocketAddr;

use etherparse::{PacketBuilder, TcpHeader};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket as Written, PcapWriter};

use super::flow::{FlowEvent, FlowLimits, FlowTable, Servers};
use crate::capture::pcap::{CaptureFile, PcapPacket, TcpFlags};
use crate::protocol::Direction;

/// Events as text: `open 1`, `> select`, `< row`, `gap > 5 missing`, `close 1 reset`.
pub(super) fn describe(event: FlowEvent<'_>) -> String {
    let arrow = |direction| match direction {
        Direction::Request => ">",
        Direction::Response => "<",
    };
    match event {
        FlowEvent::Open {
            flow,
            client,
            server,
            midstream,
            ..
        } => {
            let how = if midstream { " midstream" } else { "" };
            format!("open {flow} {}-{}{how}", client.port(), server.port())
        }
        FlowEvent::Data {
            direction, bytes, ..
        } => {
            format!("{} {}", arrow(direction), String::from_utf8_lossy(bytes))
        }
        FlowEvent::Gap {
            direction,
            bytes,
            cause,
            ..
        } => {
            let bytes = bytes.map_or("?".into(), |bytes| bytes.to_string());
            format!("gap {} {bytes} {}", arrow(direction), cause.name())
        }
        FlowEvent::Close { flow, reason, .. } => format!("close {flow} {reason}"),
    }
}

pub(super) fn client() -> SocketAddr {
    "10.0.0.1:40000".parse().unwrap()
}

pub(super) fn server() -> SocketAddr {
    "10.0.0.2:5432".parse().unwrap()
}

/// A packet, built up: `up("S", 99, 0)`, `down("SA", 499, 100)`, `up("A", 100, 500).data("select 1")`.
#[derive(Clone, Copy)]
pub(super) struct Built<'a>(pub(super) PcapPacket<'a>);

pub(super) fn built<'a>(
    src: SocketAddr,
    dst: SocketAddr,
    flags: &str,
    seq: u32,
    ack: u32,
) -> Built<'a> {
    Built(PcapPacket {
        at: 0,
        src,
        dst,
        seq,
        ack,
        flags: TcpFlags {
            syn: flags.contains('S'),
            ack: flags.contains('A'),
            fin: flags.contains('F'),
            rst: flags.contains('R'),
        },
        payload: b"",
        truncated_bytes: 0,
    })
}

pub(super) fn up<'a>(flags: &str, seq: u32, ack: u32) -> Built<'a> {
    built(client(), server(), flags, seq, ack)
}

pub(super) fn down<'a>(flags: &str, seq: u32, ack: u32) -> Built<'a> {
    built(server(), client(), flags, seq, ack)
}

impl<'a> Built<'a> {
    pub(super) fn data(mut self, payload: &'a str) -> Self {
        self.0.payload = payload.as_bytes();
        self
    }

    pub(super) fn cut(mut self, bytes: u32) -> Self {
        self.0.truncated_bytes = bytes;
        self
    }
}

pub(super) struct Harness {
    table: FlowTable,
    at: u64,
}

impl Harness {
    pub(super) fn new() -> Self {
        Harness::with(Servers::ports(vec![5432]), FlowLimits::default())
    }

    pub(super) fn with(servers: Servers, limits: FlowLimits) -> Self {
        Harness {
            table: FlowTable::new(servers, limits),
            at: 0,
        }
    }

    /// A table with one open connection: client bytes from 100 on, server bytes from 500 on.
    pub(super) fn open() -> Self {
        let mut h = Harness::new();
        let seen = h.feed(&[up("S", 99, 0), down("SA", 499, 100), up("A", 100, 500)]);
        assert_eq!(seen, ["open 1 40000-5432"]);
        h
    }

    pub(super) fn feed(&mut self, packets: &[Built<'_>]) -> Vec<String> {
        let mut seen = Vec::new();
        for Built(packet) in packets {
            self.at += 1;
            let packet = PcapPacket {
                at: self.at,
                ..*packet
            };
            self.table
                .packet(&packet, &mut |event| seen.push(describe(event)));
        }
        seen
    }

    pub(super) fn finish(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        self.table.finish(&mut |event| seen.push(describe(event)));
        seen
    }
}

#[test]
fn a_connection_from_handshake_to_fin() {
    let mut h = Harness::open();
    let seen = h.feed(&[
        up("A", 100, 500).data("select 1"),
        down("A", 500, 108).data("1 row"),
        up("FA", 108, 505),
        down("A", 505, 109),
        down("FA", 505, 109),
        up("A", 109, 506),
    ]);
    assert_eq!(seen, ["> select 1", "< 1 row", "close 1 client_closed"]);
    assert!(h.finish().is_empty());
    assert_eq!(h.table.counters().late_packets, 1);
}

#[test]
fn the_server_can_close_and_the_client_go_on() {
    let mut h = Harness::open();
    let seen = h.feed(&[
        down("FA", 500, 100).data("bye"),
        up("A", 100, 504).data("half"),
        up("FA", 104, 504).data(" closed"),
    ]);
    assert_eq!(
        seen,
        ["< bye", "> half", ">  closed", "close 1 server_closed"]
    );
}

#[test]
fn events_carry_times_and_acknowledgments() {
    let mut h = Harness::open();
    let mut seen = Vec::new();
    let packet = PcapPacket {
        at: 77,
        ..up("A", 100, 500).data("x").0
    };
    h.table.packet(&packet, &mut |event| {
        let expected = FlowEvent::Data {
            flow: 1,
            at: 77,
            direction: Direction::Request,
            bytes: b"x",
            seq: 100,
            ack: Some(500),
        };
        seen.push(event == expected);
    });
    assert_eq!(seen, [true]);
}

#[test]
fn a_retransmission_with_other_content_is_not_seen() {
    let mut h = Harness::open();
    let seen = h.feed(&[
        up("A", 100, 500).data("select 1"),
        up("A", 100, 500).data("drop t 2"),
        up("A", 104, 500).data("ct 2, 3"),
    ]);
    assert_eq!(seen, ["> select 1", "> , 3"]);
}

#[test]
fn a_connection_without_syn_is_midstream() {
    let mut h = Harness::new();
    let seen = h.feed(&[
        up("A", 7000, 9000),
        down("A", 9000, 7000).data("row"),
        up("A", 7000, 9003).data("select"),
    ]);
    assert_eq!(seen, ["open 1 40000-5432 midstream", "< row", "> select"]);
    assert_eq!(h.table.counters().unknown_packets, 1);
    assert_eq!(h.finish(), ["close 1 end_of_capture"]);
}

#[test]
fn one_packet_of_the_handshake_is_enough() {
    let mut h = Harness::new();
    let seen = h.feed(&[
        down("SA", 499, 100),
        up("A", 104, 500).data("behind"),
        up("A", 100, 500).data("head"),
    ]);
    assert_eq!(seen, ["open 1 40000-5432", "> head", "> behind"]);

    let mut h = Harness::new();
    let seen = h.feed(&[
        up("S", 99, 0),
        up("A", 104, 500).data("behind"),
        up("A", 100, 500).data("head"),
    ]);
    assert_eq!(seen, ["open 1 40000-5432", "> head", "> behind"]);
}

#[test]
fn a_refused_or_unanswered_connection_is_none() {
    let mut h = Harness::new();
    let seen = h.feed(&[
        up("S", 99, 0),
        down("RA", 0, 100),
        up("S", 199, 0),
        up("S", 199, 0),
    ]);
    assert!(seen.is_empty());
    assert!(h.finish().is_empty());
}

#[test]
fn a_request_that_was_lost_is_a_gap_before_its_answer() {
    let mut h = Harness::open();
    let seen = h.feed(&[
        down("A", 500, 110).data("answer"),
        up("A", 110, 506).data("next"),
        up("A", 120, 506).data("behind"),
        down("A", 506, 126),
    ]);
    assert_eq!(
        seen,
        [
            "gap > 10 missing",
            "< answer",
            "> next",
            "gap > 6 missing",
            "> behind"
        ]
    );
}

#[test]
fn a_cut_packet_gives_its_head_and_a_gap() {
    let mut h = Harness::open();
    let seen = h.feed(&[
        up("A", 100, 500).data("sel").cut(20),
        up("FA", 123, 500).cut(7),
        down("FA", 500, 131),
    ]);
    assert_eq!(
        seen,
        [
            "> sel",
            "gap > 20 missing",
            "gap > 7 missing",
            "close 1 client_closed"
        ]
    );
}

#[test]
fn the_end_of_the_capture_hands_out_what_waits() {
    let mut h = Harness::open();
    assert!(h.feed(&[up("A", 105, 500).data("late")]).is_empty());
    assert_eq!(
        h.finish(),
        ["gap > 5 missing", "> late", "close 1 end_of_capture"]
    );
}

#[test]
fn a_port_used_again_is_a_new_connection() {
    let mut h = Harness::open();
    let handshake = [up("S", 5000, 0), down("SA", 8000, 5001)];
    assert_eq!(h.feed(&[up("RA", 100, 500)]), ["close 1 reset"]);
    assert_eq!(h.feed(&handshake), ["open 2 40000-5432"]);
    let data = [up("A", 5001, 8001).data("two")];
    assert_eq!(h.feed(&data), ["> two"]);
    // The end of this one is not captured.
    let handshake = [up("S", 9000, 0), down("SA", 3000, 9001)];
    assert_eq!(h.feed(&handshake), ["close 2 gone", "open 3 40000-5432"]);
    // Nor the handshake of this one.
    assert_eq!(h.feed(&[up("RA", 9001, 3001)]), ["close 3 reset"]);
    let far = [up("A", 1_000_000_000, 1).data("four")];
    assert_eq!(h.feed(&far), ["open 4 40000-5432 midstream", "> four"]);
}

#[test]
fn duplicates_as_the_any_device_makes_them_change_nothing() {
    let packets = [
        up("S", 99, 0),
        down("SA", 499, 100),
        up("A", 100, 500).data("select 1"),
        down("A", 500, 108).data("1 row"),
        up("FA", 108, 505),
        down("FA", 505, 109),
        up("A", 109, 506),
    ];
    let twice: Vec<_> = packets.iter().flat_map(|p| [*p, *p]).collect();
    let mut h = Harness::new();
    let seen = h.feed(&twice);
    assert_eq!(
        seen,
        [
            "open 1 40000-5432",
            "> select 1",
            "< 1 row",
            "close 1 client_closed"
        ]
    );
    assert!(h.finish().is_empty());
}

#[test]
fn forged_packets_end_nothing() {
    let mut h = Harness::open();
    let seen = h.feed(&[
        up("R", 50_000, 0),     // not at the expected byte
        up("S", 70_000, 0),     // never answered
        down("SA", 1, 2),       // answers nothing
        up("FA", 900_000, 500), // far behind the data
        up("A", 100, 500).data("goes on"),
        down("A", 500, 107).data("yes"),
    ]);
    assert_eq!(seen, ["> goes on", "< yes"]);
    assert_eq!(h.table.counters().ignored_packets, 3);
}

#[test]
fn data_in_the_syn_is_data() {
    let mut h = Harness::new();
    let seen = h.feed(&[
        up("S", 99, 0).data("early"),
        down("SA", 499, 105),
        down("A", 500, 105).data("answer"),
        up("A", 105, 506).data("more"),
    ]);
    assert_eq!(seen, ["open 1 40000-5432", "> early", "< answer", "> more"]);
}

#[test]
fn the_side_of_the_server_is_found() {
    let (low, high): (SocketAddr, SocketAddr) = (
        "10.0.0.9:5432".parse().unwrap(),
        "10.0.0.8:60000".parse().unwrap(),
    );
    let data = |from, to| built(from, to, "A", 1, 1).data("x");
    // By port, whoever speaks first.
    let mut h = Harness::new();
    assert_eq!(
        h.feed(&[data(low, high)]),
        ["open 1 60000-5432 midstream", "< x"]
    );
    // Other ports are passed over.
    let mut h = Harness::with(Servers::ports(vec![3306]), FlowLimits::default());
    assert!(h.feed(&[data(low, high)]).is_empty());
    assert_eq!(h.table.counters().other_packets, 1);
    // By the SYN, against the port numbers; without one by the lower port.
    let any = || Harness::with(Servers::Any, FlowLimits::default());
    let syn_ack = built(high, low, "SA", 9, 9);
    assert_eq!(any().feed(&[syn_ack]), ["open 1 5432-60000"]);
    let syn = [
        built(low, high, "S", 9, 0),
        built(low, high, "A", 10, 9).data("x"),
    ];
    assert_eq!(any().feed(&syn), ["open 1 5432-60000", "> x"]);
    assert_eq!(
        any().feed(&[data(low, high)]),
        ["open 1 60000-5432 midstream", "< x"]
    );
    // Both match: by the SYN again.
    let other: SocketAddr = "10.0.0.7:5432".parse().unwrap();
    let syn_ack = built(low, other, "SA", 9, 9);
    let mut seen = Vec::new();
    Harness::new().table.packet(&syn_ack.0, &mut |event| {
        if let FlowEvent::Open { server, .. } = event {
            seen.push(server);
        }
    });
    assert_eq!(seen, [low]);
}

/// From the packets on disk to the events: IPv4 and IPv6 in one file.
#[test]
fn a_capture_file_becomes_events() {
    let v4 = || PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    let v6 = || PacketBuilder::ipv6([1; 16], [2; 16], 64);
    let header = |seq, syn| {
        let mut header = TcpHeader::new(40000, 5432, seq, 1000);
        header.syn = syn;
        header.ack = !syn;
        header
    };
    let mut packets = Vec::new();
    for (syn, payload) in [(true, ""), (false, "select 4")] {
        let mut packet = Vec::new();
        let builder = v4().tcp_header(header(if syn { 9 } else { 10 }, syn));
        builder.write(&mut packet, payload.as_bytes()).unwrap();
        packets.push(packet);
    }
    let mut packet = Vec::new();
    v6().tcp_header(header(1, false))
        .write(&mut packet, b"select 6")
        .unwrap();
    packets.push(packet);

    let file_header = PcapHeader {
        datalink: DataLink::RAW,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), file_header).unwrap();
    for packet in &packets {
        let at = std::time::Duration::from_secs(1);
        writer
            .write_packet(&Written::new(at, packet.len() as u32, packet))
            .unwrap();
    }
    let file = writer.into_writer();

    let mut capture = CaptureFile::new(&file[..]).unwrap();
    let mut table = FlowTable::new(Servers::Any, FlowLimits::default());
    let mut seen = Vec::new();
    while let Some(packet) = capture.next_packet().unwrap() {
        table.packet(&packet, &mut |event| seen.push(describe(event)));
    }
    table.finish(&mut |event| seen.push(describe(event)));
    assert_eq!(
        seen,
        [
            "open 1 40000-5432",
            "> select 4",
            "open 2 40000-5432 midstream",
            "> select 6",
            "close 1 end_of_capture",
            "close 2 end_of_capture"
        ]
    );
}
