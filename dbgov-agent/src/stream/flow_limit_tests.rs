use std::net::SocketAddr;

use proptest::prelude::*;

use super::flow::{FlowEvent, FlowLimits, FlowTable, Servers};
use super::flow_tests::{Harness, built, client, server};
use super::{Limits, WAITING_BYTES_MAX};
use crate::protocol::GapCause;

#[test]
fn a_full_table_gives_up_the_silent_one_and_says_so() {
    let limits = FlowLimits {
        flows_max: 2,
        ..FlowLimits::default()
    };
    let mut h = Harness::with(Servers::ports(vec![5432]), limits);
    let from = |port: u16, seq| {
        let src = SocketAddr::new(client().ip(), port);
        built(src, server(), "A", seq, 1).data("x")
    };
    h.feed(&[from(1, 10), from(1, 15), from(2, 10), from(1, 11)]);
    let seen = h.feed(&[from(3, 10)]);
    let expected = [
        "gap > ? table_full",
        "gap < ? table_full",
        "close 2 table_full",
    ];
    assert_eq!(seen[..3], expected);
    assert_eq!(seen[3..], ["open 3 3-5432 midstream", "> x"]);
    // What waited in one that is given up is handed out.
    let seen = h.feed(&[from(2, 11)]);
    assert_eq!(seen[..2], ["gap > 3 table_full", "> x"]);
}

#[test]
fn waiting_bytes_of_all_connections_are_bounded() {
    let limits = FlowLimits {
        waiting_bytes_max: 10,
        direction: Limits {
            waiting_bytes_max: WAITING_BYTES_MAX,
            waiting_segments_max: 100,
        },
        ..FlowLimits::default()
    };
    let mut h = Harness::with(Servers::ports(vec![5432]), limits);
    let from = |port: u16, seq| {
        let src = SocketAddr::new(client().ip(), port);
        built(src, server(), "A", seq, 1).data("123456")
    };
    h.feed(&[from(1, 0), from(2, 0), from(1, 10)]);
    let seen = h.feed(&[from(2, 10)]);
    assert_eq!(seen, ["gap > 4 reassembly_limit", "> 123456"]);
    assert_eq!(h.feed(&[from(1, 6)]), ["> 123456", "> 3456"]);
}

fn any_packet() -> impl Strategy<Value = (u8, bool, u32, u32, usize, u32)> {
    let number = || prop_oneof![0_u32..100, any::<u32>(), (u32::MAX - 50)..=u32::MAX];
    (
        any::<u8>(),
        any::<bool>(),
        number(),
        number(),
        0_usize..40,
        0_u32..30,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any packets: each flow opens once, closes once, and nothing comes before or after.
    #[test]
    fn every_flow_opens_and_closes_once(packets in prop::collection::vec(any_packet(), 0..150)) {
        let limits = FlowLimits {
            flows_max: 2,
            waiting_bytes_max: 100,
            direction: Limits { waiting_bytes_max: 80, waiting_segments_max: 4 },
        };
        let mut table = FlowTable::new(Servers::ports(vec![5432]), limits);
        let mut open: Vec<u64> = Vec::new();
        let mut last = 0;
        let mut check = |event: FlowEvent<'_>| match event {
            FlowEvent::Open { flow, .. } => {
                assert_eq!(flow, last + 1);
                last = flow;
                open.push(flow);
            }
            FlowEvent::Data { flow, bytes, .. } => assert!(open.contains(&flow) && !bytes.is_empty()),
            FlowEvent::Gap { flow, bytes, cause, .. } => {
                assert!(open.contains(&flow) && bytes != Some(0));
                assert!(bytes.is_some() || cause == GapCause::TableFull);
            }
            FlowEvent::Close { flow, .. } => {
                let before = open.len();
                open.retain(|other| *other != flow);
                assert_eq!(open.len(), before - 1);
            }
        };
        for (kind, upwards, seq, ack, bytes, cut) in packets {
            let flags = ["A", "A", "A", "A", "S", "SA", "FA", "RA"][usize::from(kind % 8)];
            let peer = SocketAddr::new(client().ip(), 1000 + u16::from(kind >> 6));
            let (src, dst) = if upwards { (peer, server()) } else { (server(), peer) };
            let payload = "x".repeat(bytes);
            let packet = built(src, dst, flags, seq, ack).data(&payload).cut(if kind & 8 == 0 { 0 } else { cut });
            table.packet(&packet.0, &mut check);
        }
        table.finish(&mut check);
        prop_assert!(open.is_empty());
    }
}
