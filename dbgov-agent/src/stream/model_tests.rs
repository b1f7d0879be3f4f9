//! Random streams, mangled as networks and captures mangle them, against the stream itself.

use proptest::prelude::*;

use super::{Limits, Output, Reassembler, Start};
use crate::protocol::GapCause;

/// Byte of the stream at an offset: differs between neighbours and between turns.
fn byte(offset: usize) -> u8 {
    (offset as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]
}

/// What a reassembler gave, byte by byte; `None` for a byte in a gap.
#[derive(Default)]
struct Rebuilt(Vec<Option<u8>>);

impl Rebuilt {
    fn take(&mut self, start: u32, output: Output<'_>) {
        match output {
            Output::Bytes { bytes, seq, .. } => {
                assert_eq!(seq, start.wrapping_add(self.0.len() as u32));
                self.0.extend(bytes.iter().copied().map(Some));
            }
            Output::Gap { bytes, .. } => {
                assert!(bytes > 0);
                self.0.resize(self.0.len() + bytes as usize, None);
            }
        }
    }
}

/// A stream of some length, cut into segments that cover it, then copied, moved and lost.
#[derive(Debug, Clone)]
struct Mangled {
    start: u32,
    length: usize,
    /// Offset and length of each segment that is captured, in order of capture.
    segments: Vec<(usize, usize)>,
}

fn mangled() -> impl Strategy<Value = Mangled> {
    let start = prop_oneof![any::<u32>(), (u32::MAX - 3000)..=u32::MAX];
    let cuts = prop::collection::vec(1_usize..60, 1..60);
    // For each segment: keep it?, stretch to the left, stretch to the right, move back by so many places.
    let fates = prop::collection::vec((0_u8..10, 0_usize..40, 0_usize..40, 0_usize..12), 90);
    (start, cuts, fates).prop_map(|(start, cuts, fates)| {
        let length = cuts.iter().sum();
        let mut offset = 0;
        let mut segments = Vec::new();
        let mut fates = fates.into_iter();
        for cut in cuts {
            let whole = (offset, cut);
            offset += cut;
            for (fate, left, right, back) in fates.by_ref().take(1) {
                let at = segments.len() - back.min(segments.len());
                match fate {
                    0 => {} // lost
                    1 | 2 => {
                        // sent again, overlapping the neighbours
                        let from = whole.0 - left.min(whole.0);
                        let to = (whole.0 + whole.1 + right).min(length);
                        segments.push(whole);
                        segments.insert(at, (from, to - from));
                    }
                    3..=5 => segments.insert(at, whole),
                    _ => segments.push(whole),
                }
            }
        }
        Mangled {
            start,
            length,
            segments,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_stream_comes_back_with_gaps_where_bytes_were_lost(input in mangled()) {
        let mut stream = Reassembler::new(Start::At(input.start), Limits::default());
        let mut result = Rebuilt::default();
        let mut captured = vec![false; input.length];
        for (at, (offset, length)) in input.segments.iter().copied().enumerate() {
            captured[offset..offset + length].fill(true);
            let payload: Vec<u8> = (offset..offset + length).map(byte).collect();
            let seq = input.start.wrapping_add(offset as u32);
            stream.segment(at as u64, seq, &payload, &mut |o| result.take(input.start, o));
            let whole = captured.iter().position(|seen| !seen).unwrap_or(input.length);
            prop_assert_eq!(result.0.len(), whole, "all that is in order is handed out at once");
        }
        stream.fin(input.start.wrapping_add(input.length as u32));
        stream.flush(99, GapCause::Missing, &mut |o| result.take(input.start, o));
        let expected: Vec<Option<u8>> =
            captured.iter().enumerate().map(|(o, seen)| seen.then(|| byte(o))).collect();
        prop_assert_eq!(result.0, expected);
        prop_assert!(stream.is_finished());
        prop_assert_eq!(stream.waiting_bytes(), 0);
        prop_assert_eq!(stream.counters().conflicting_bytes, 0);
    }

    /// With limits and acknowledgments the gaps may be larger, but no byte is ever wrong or out of place.
    #[test]
    fn no_byte_is_ever_wrong(
        input in mangled(),
        waiting_bytes_max in 0_usize..300,
        waiting_segments_max in 0_usize..12,
        acks in prop::collection::vec((0_usize..60, 0_usize..2000, any::<bool>()), 0..10),
    ) {
        let limits = Limits { waiting_bytes_max, waiting_segments_max };
        let mut stream = Reassembler::new(Start::At(input.start), limits);
        let mut result = Rebuilt::default();
        for (at, (offset, length)) in input.segments.iter().copied().enumerate() {
            let payload: Vec<u8> = (offset..offset + length).map(byte).collect();
            let seq = input.start.wrapping_add(offset as u32);
            let mut out = |o: Output<'_>| result.take(input.start, o);
            stream.segment(at as u64, seq, &payload, &mut out);
            for (_, acked, skip) in acks.iter().filter(|(when, ..)| *when == at) {
                let ack = input.start.wrapping_add((*acked).min(input.length) as u32);
                if *skip {
                    stream.skip_to(at as u64, ack, GapCause::Missing, &mut out);
                } else {
                    stream.acknowledged(at as u64, ack, GapCause::Missing, &mut out);
                }
            }
            prop_assert!(stream.waiting_bytes() <= waiting_bytes_max);
        }
        stream.fin(input.start.wrapping_add(input.length as u32));
        stream.flush(99, GapCause::Missing, &mut |o| result.take(input.start, o));
        prop_assert_eq!(result.0.len(), input.length);
        for (offset, seen) in result.0.iter().enumerate() {
            prop_assert!(seen.is_none_or(|seen| seen == byte(offset)), "offset {}", offset);
        }
    }

    /// Anything at all: no panic, memory within the limits, positions without a jump.
    #[test]
    fn arbitrary_calls_are_survived(
        start in prop::option::of(any::<u32>()),
        calls in prop::collection::vec((0_u8..8, prop_oneof![any::<u32>(), 0_u32..200, (u32::MAX - 200)..=u32::MAX], prop::collection::vec(any::<u8>(), 0..50)), 0..80),
    ) {
        let limits = Limits { waiting_bytes_max: 200, waiting_segments_max: 10 };
        let start = start.map_or(Start::Unknown, Start::At);
        let mut stream = Reassembler::new(start, limits);
        let mut next: Option<u32> = None;
        for (at, (call, seq, payload)) in calls.iter().enumerate() {
            let at = at as u64;
            let mut out = |output: Output<'_>| {
                match output {
                    Output::Bytes { bytes, seq, .. } => {
                        assert!(!bytes.is_empty());
                        assert!(next.is_none_or(|next| next == seq));
                        next = Some(seq.wrapping_add(bytes.len() as u32));
                    }
                    Output::Gap { bytes, .. } => {
                        assert!(bytes > 0);
                        // The tail that was counted as lost is no place in the stream.
                        next = None;
                    }
                }
            };
            match call {
                0..=2 => stream.segment(at, *seq, payload, &mut out),
                3 => stream.cut_segment(at, *seq, payload, seq.rotate_left(7), GapCause::Missing, &mut out),
                4 => stream.acknowledged(at, *seq, GapCause::Missing, &mut out),
                5 => stream.skip_to(at, *seq, GapCause::Missing, &mut out),
                6 => stream.fin(*seq),
                _ => {
                    stream.lost(u64::from(*seq), GapCause::RingFull);
                    stream.flush(at, GapCause::Missing, &mut out);
                    prop_assert_eq!(stream.waiting_bytes(), 0);
                }
            }
            prop_assert!(stream.waiting_bytes() <= 200);
        }
    }
}
