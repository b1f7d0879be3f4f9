use super::{Limits, Output, Reassembler, Start, WINDOW_BYTES_MAX};
use crate::protocol::{GapCause, TimeNs};

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Bytes(TimeNs, u32, String),
    Gap(TimeNs, u64, GapCause),
}

fn bytes(at: TimeNs, seq: u32, text: &str) -> Seen {
    Seen::Bytes(at, seq, text.into())
}

fn gap(at: TimeNs, bytes: u64, cause: GapCause) -> Seen {
    Seen::Gap(at, bytes, cause)
}

/// A reassembler whose clock counts calls.
struct Harness {
    stream: Reassembler,
    now: TimeNs,
}

impl Harness {
    fn new(start: Start) -> Self {
        Harness::with(start, Limits::default())
    }

    fn with(start: Start, limits: Limits) -> Self {
        Harness {
            stream: Reassembler::new(start, limits),
            now: 0,
        }
    }

    fn call(
        &mut self,
        what: impl FnOnce(&mut Reassembler, TimeNs, &mut dyn FnMut(Output<'_>)),
    ) -> Vec<Seen> {
        self.now += 1;
        let mut seen = Vec::new();
        what(&mut self.stream, self.now, &mut |output| {
            seen.push(match output {
                Output::Bytes { at, bytes, seq } => {
                    Seen::Bytes(at, seq, String::from_utf8_lossy(bytes).into())
                }
                Output::Gap { at, bytes, cause } => Seen::Gap(at, bytes, cause),
            });
        });
        seen
    }

    fn segment(&mut self, seq: u32, payload: &str) -> Vec<Seen> {
        self.call(|stream, at, mut out| stream.segment(at, seq, payload.as_bytes(), &mut out))
    }

    fn cut(&mut self, seq: u32, payload: &str, missing: u32) -> Vec<Seen> {
        self.call(|stream, at, mut out| {
            stream.cut_segment(
                at,
                seq,
                payload.as_bytes(),
                missing,
                GapCause::Missing,
                &mut out,
            );
        })
    }

    fn acknowledged(&mut self, ack: u32) -> Vec<Seen> {
        self.call(|stream, at, mut out| stream.acknowledged(at, ack, GapCause::Missing, &mut out))
    }

    fn skip_to(&mut self, ack: u32) -> Vec<Seen> {
        self.call(|stream, at, mut out| stream.skip_to(at, ack, GapCause::Missing, &mut out))
    }

    fn flush(&mut self) -> Vec<Seen> {
        self.call(|stream, at, mut out| stream.flush(at, GapCause::Missing, &mut out))
    }
}

#[test]
fn in_order_payload_is_handed_out_at_once() {
    let mut h = Harness::new(Start::after_syn(99));
    assert_eq!(h.segment(100, "abc"), [bytes(1, 100, "abc")]);
    assert_eq!(h.segment(103, "def"), [bytes(2, 103, "def")]);
    assert_eq!(h.stream.next_seq(), Some(106));
    assert_eq!(h.stream.waiting_bytes(), 0);
}

#[test]
fn empty_segments_say_nothing() {
    let mut h = Harness::new(Start::Unknown);
    assert_eq!(h.segment(7, ""), []);
    assert_eq!(h.stream.next_seq(), None);
    assert_eq!(h.segment(50, "a"), [bytes(2, 50, "a")]);
}

#[test]
fn early_data_waits_and_gets_the_later_time() {
    let mut h = Harness::new(Start::At(100));
    assert_eq!(h.segment(106, "ghi"), []);
    assert_eq!(h.segment(103, "def"), []);
    assert_eq!(h.stream.waiting_bytes(), 6);
    assert_eq!(h.stream.waiting_since(), Some(1));
    assert_eq!(
        h.segment(100, "abc"),
        [
            bytes(3, 100, "abc"),
            bytes(3, 103, "def"),
            bytes(3, 106, "ghi")
        ]
    );
    assert_eq!(h.stream.waiting_bytes(), 0);
    assert_eq!(h.stream.waiting_since(), None);
}

#[test]
fn what_was_handed_out_is_dropped_whatever_it_holds_now() {
    let mut h = Harness::new(Start::At(100));
    h.segment(100, "select 1");
    assert_eq!(h.segment(100, "drop tab"), []);
    assert_eq!(h.segment(104, "XXXXmore"), [bytes(3, 108, "more")]);
    assert_eq!(h.segment(107, "X"), [], "keep-alive");
    assert_eq!(h.stream.counters().duplicate_bytes, 8 + 4 + 1);
}

#[test]
fn overlap_is_cut_left_right_and_both() {
    let mut h = Harness::new(Start::At(0));
    h.segment(4, "efgh");
    h.segment(12, "mnop");
    // Left of its range and right of it is taken already.
    assert_eq!(h.segment(6, "ghijklmn"), []);
    assert_eq!(h.stream.waiting_bytes(), 12);
    // Covers everything and more.
    let text = "abcdefghijklmnopqr";
    assert_eq!(h.segment(0, text), [bytes(4, 0, text)]);
    assert_eq!(h.stream.waiting_bytes(), 0);
    assert_eq!(h.stream.counters().conflicting_bytes, 0);
}

/// What Linux 6.18 delivers to the application, measured with segments of known content sent through a TUN device.
#[test]
fn of_copies_that_wait_the_one_that_linux_reads_wins() {
    type Segments<'a> = &'a [(u32, &'a str)];
    let cases: [(Segments<'_>, &str, u64); 9] = [
        (&[(4, "aaaa"), (2, "bbbbbbbb"), (0, "cc")], "ccbbbbbbbb", 4),
        (&[(2, "aaaa"), (2, "bbbbbbbb"), (0, "cc")], "ccbbbbbbbb", 4),
        (&[(2, "aaaa"), (2, "bbbb"), (0, "cc")], "ccaaaa", 4),
        (&[(4, "aaaa"), (6, "bbbb"), (0, "cccc")], "ccccaaaabb", 2),
        (&[(4, "aaaa"), (2, "bbbb"), (0, "cc")], "ccbbbbaa", 2),
        (&[(4, "aaaa"), (0, "bbbbbb")], "bbbbbbaa", 2),
        (&[(4, "aaaa"), (0, "bbbbbbbbbb")], "bbbbbbbbbb", 4),
        (
            &[(2, "aaaa"), (6, "dddd"), (4, "bbbbb"), (0, "cc")],
            "ccaaaadddd",
            5,
        ),
        (
            &[(2, "aaaa"), (6, "dddd"), (6, "bbbbbb"), (0, "cc")],
            "ccaaaaddddbb",
            4,
        ),
    ];
    for (segments, expected, conflicts) in cases {
        let mut h = Harness::new(Start::At(1001));
        let mut read = String::new();
        for (offset, payload) in segments {
            for seen in h.segment(1001 + offset, payload) {
                match seen {
                    Seen::Bytes(_, _, text) => read += &text,
                    Seen::Gap(..) => panic!("no gap in {segments:?}"),
                }
            }
        }
        assert_eq!(read, expected, "{segments:?}");
        assert_eq!(
            h.stream.counters().conflicting_bytes,
            conflicts,
            "{segments:?}"
        );
    }
}

#[test]
fn sequence_numbers_wrap_around() {
    let mut h = Harness::new(Start::At(u32::MAX - 1));
    assert_eq!(h.segment(2, "ef"), []);
    assert_eq!(
        h.segment(u32::MAX - 1, "abcd"),
        [bytes(2, u32::MAX - 1, "abcd"), bytes(2, 2, "ef")]
    );
    assert_eq!(h.segment(u32::MAX, "XXX"), []);
    assert_eq!(h.stream.next_seq(), Some(4));
}

#[test]
fn a_hole_is_a_gap_once_it_is_acknowledged_and_data_waits_behind_it() {
    let mut h = Harness::new(Start::At(100));
    assert_eq!(h.acknowledged(110), [], "captured late perhaps");
    assert_eq!(h.segment(110, "behind"), []);
    assert_eq!(h.acknowledged(109), []);
    assert_eq!(
        h.acknowledged(116),
        [gap(4, 10, GapCause::Missing), bytes(4, 110, "behind")]
    );
    assert_eq!(h.segment(100, "too late"), []);
}

#[test]
fn an_answered_hole_is_a_gap_at_once() {
    let mut h = Harness::new(Start::At(100));
    assert_eq!(h.skip_to(130), [gap(1, 30, GapCause::Missing)]);
    assert_eq!(h.segment(130, "next"), [bytes(2, 130, "next")]);
    h.segment(140, "b");
    assert_eq!(
        h.skip_to(150),
        [
            gap(4, 6, GapCause::Missing),
            bytes(4, 140, "b"),
            gap(4, 9, GapCause::Missing)
        ]
    );
    assert_eq!(h.skip_to(120), [], "an old acknowledgment");
}

#[test]
fn holes_are_named_after_the_loss_until_it_is_used_up() {
    let mut h = Harness::new(Start::At(0));
    h.stream.lost(10, GapCause::RingFull);
    h.stream.lost(5, GapCause::RingFull);
    h.segment(10, "a");
    h.segment(16, "b");
    h.segment(20, "c");
    assert_eq!(
        h.acknowledged(21),
        [
            gap(4, 10, GapCause::RingFull),
            bytes(4, 10, "a"),
            gap(4, 5, GapCause::RingFull),
            bytes(4, 16, "b"),
            gap(4, 3, GapCause::Missing),
            bytes(4, 20, "c"),
        ]
    );
    assert_eq!(h.flush(), []);
}

#[test]
fn a_loss_that_no_hole_shows_is_told_at_the_end() {
    let mut h = Harness::new(Start::At(0));
    h.segment(0, "a");
    h.stream.lost(9, GapCause::RingFull);
    assert_eq!(h.flush(), [gap(2, 9, GapCause::RingFull)]);

    // Where the FIN shows that nothing is missing, the loss was of a retransmission.
    let mut h = Harness::new(Start::At(0));
    h.segment(0, "a");
    h.stream.lost(9, GapCause::RingFull);
    h.stream.fin(1);
    assert_eq!(h.flush(), []);
}

#[test]
fn fin_ends_the_stream_once_it_is_reached() {
    let mut h = Harness::new(Start::At(0));
    h.segment(2, "cd");
    h.stream.fin(4);
    assert!(!h.stream.is_finished());
    assert_eq!(h.segment(0, "ab"), [bytes(2, 0, "ab"), bytes(2, 2, "cd")]);
    assert!(h.stream.is_finished());
    assert_eq!(h.segment(4, "beyond"), []);
    assert_eq!(h.segment(3, "dbeyond"), []);
    assert_eq!(h.segment(9, "beyond"), []);
    assert_eq!(h.flush(), []);
    assert_eq!(h.stream.counters().after_fin_bytes, 6 + 6 + 6);
}

#[test]
fn a_tail_before_the_fin_that_was_acknowledged_is_a_gap() {
    let mut h = Harness::new(Start::At(0));
    h.segment(0, "ab");
    h.stream.fin(10);
    assert_eq!(h.acknowledged(11), [gap(2, 8, GapCause::Missing)]);
    assert!(h.stream.is_finished());
}

#[test]
fn a_forged_fin_does_not_blind() {
    let mut h = Harness::new(Start::At(0));
    h.segment(0, "ab");
    h.stream.fin(4);
    assert_eq!(h.segment(2, "cdef"), [bytes(2, 2, "cd")]);
    assert_eq!(h.acknowledged(6), []);
    assert_eq!(h.stream.counters().contradicted_fins, 1);
    h.segment(6, "gh");
    assert_eq!(
        h.acknowledged(8),
        [gap(5, 2, GapCause::Missing), bytes(5, 6, "gh")]
    );
}

#[test]
fn flush_gives_everything_with_the_holes_between() {
    let mut h = Harness::new(Start::At(0));
    h.segment(5, "f");
    h.segment(8, "i");
    h.acknowledged(3);
    h.stream.fin(12);
    assert_eq!(
        h.flush(),
        [
            gap(4, 5, GapCause::Missing),
            bytes(4, 5, "f"),
            gap(4, 2, GapCause::Missing),
            bytes(4, 8, "i"),
            gap(4, 3, GapCause::Missing),
        ]
    );
    assert_eq!(h.flush(), []);
}

#[test]
fn flush_names_an_acknowledged_tail_but_not_a_fin() {
    let mut h = Harness::new(Start::At(0));
    h.segment(0, "a");
    h.acknowledged(2);
    assert_eq!(h.flush(), []);
    h.acknowledged(9);
    assert_eq!(h.flush(), [gap(5, 8, GapCause::Missing)]);
}

#[test]
fn a_segment_out_of_every_window_is_dropped_until_the_receiver_takes_it() {
    let far = WINDOW_BYTES_MAX as u32 + 1000;
    let mut h = Harness::new(Start::At(0));
    h.segment(0, "ab");
    assert_eq!(h.segment(far, "forged"), []);
    h.stream.fin(far);
    assert_eq!(h.segment(2, "cd"), [bytes(3, 2, "cd")]);
    assert_eq!(h.acknowledged(4), []);
    assert_eq!(h.stream.counters().out_of_window_segments, 1 + 1);
    // The receiver has it: the stream really is there.
    assert_eq!(h.segment(far, "real"), []);
    let lost = u64::from(far) + 4 - 4;
    assert_eq!(h.acknowledged(far + 4), [gap(6, lost, GapCause::Missing)]);
    assert_eq!(h.segment(far + 4, "more"), [bytes(7, far + 4, "more")]);
}

#[test]
fn the_rest_of_a_cut_segment_is_a_gap_in_its_place() {
    let mut h = Harness::new(Start::At(0));
    assert_eq!(
        h.cut(0, "ab", 8),
        [bytes(1, 0, "ab"), gap(1, 8, GapCause::Missing)]
    );
    // Early: waits, and a whole copy replaces what was missing.
    assert_eq!(h.cut(20, "uv", 8), []);
    assert_eq!(h.segment(22, "wxyz"), []);
    assert_eq!(h.segment(12, "mnopqrst"), []);
    assert_eq!(
        h.segment(10, "kl"),
        [
            bytes(5, 10, "kl"),
            bytes(5, 12, "mnopqrst"),
            bytes(5, 20, "uvwxyz"),
            gap(5, 4, GapCause::Missing)
        ]
    );
    assert_eq!(h.stream.next_seq(), Some(30));
}

#[test]
fn the_byte_limit_gives_up_the_oldest_hole() {
    let limits = Limits {
        waiting_bytes_max: 8,
        waiting_segments_max: 100,
    };
    let mut h = Harness::with(Start::At(0), limits);
    h.segment(10, "aaaa");
    h.segment(20, "bbbb");
    assert_eq!(
        h.segment(30, "c"),
        [gap(3, 10, GapCause::ReassemblyLimit), bytes(3, 10, "aaaa")]
    );
    assert_eq!(h.stream.waiting_bytes(), 5);
    // One that is larger than the limit is not kept but handed out.
    assert_eq!(
        h.segment(18, "0123456789"),
        [
            gap(4, 4, GapCause::ReassemblyLimit),
            bytes(4, 18, "0123456789")
        ]
    );
    assert_eq!(h.stream.waiting_bytes(), 1);
}

#[test]
fn the_segment_limit_gives_up_the_oldest_hole() {
    let limits = Limits {
        waiting_bytes_max: 1000,
        waiting_segments_max: 2,
    };
    let mut h = Harness::with(Start::At(0), limits);
    h.segment(2, "a");
    h.segment(3, "b");
    h.segment(5, "c");
    assert_eq!(
        h.segment(8, "d"),
        [gap(4, 2, GapCause::ReassemblyLimit), bytes(4, 2, "ab")]
    );
    assert_eq!(h.stream.waiting_bytes(), 2);
}
