//! One direction of one TCP connection.

use std::ops::AddAssign;

use super::waiting::{Content, Waiting};
use super::{Limits, WINDOW_BYTES_MAX};
use crate::protocol::{GapCause, TimeNs};

/// Where a direction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Sequence number of the first payload byte.
    At(u32),
    /// Joined mid-stream: the first segment with payload sets it.
    Unknown,
}

impl Start {
    /// The start that a SYN tells: it takes one sequence number itself (RFC 9293 section 3.4).
    pub fn after_syn(syn_seq: u32) -> Self {
        Start::At(syn_seq.wrapping_add(1))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// The next bytes of the stream, the first of them with sequence number `seq`.
    Bytes {
        /// When the segment came that made them deliverable.
        at: TimeNs,
        bytes: &'a [u8],
        seq: u32,
    },
    /// The next `bytes` of the stream were not seen.
    Gap {
        at: TimeNs,
        bytes: u64,
        cause: GapCause,
    },
}

/// What a direction passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that came more than once (retransmission, overlap, keep-alive).
    pub duplicate_bytes: u64,
    /// Bytes that came again with other content while the first copy was waiting: nothing but an attempt to be seen
    /// differently by the server and by a monitor does that.
    pub conflicting_bytes: u64,
    /// Segments and FINs further than [`WINDOW_BYTES_MAX`] from the expected byte. No receiver takes them.
    pub out_of_window_segments: u64,
    /// Bytes behind the FIN.
    pub after_fin_bytes: u64,
    /// FINs that were not real: the receiver acknowledged bytes behind them.
    pub contradicted_fins: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Counters) {
        self.duplicate_bytes += more.duplicate_bytes;
        self.conflicting_bytes += more.conflicting_bytes;
        self.out_of_window_segments += more.out_of_window_segments;
        self.after_fin_bytes += more.after_fin_bytes;
        self.contradicted_fins += more.contradicted_fins;
    }
}

/// One direction of one connection: segments as they were captured go in, the bytes in order come out.
///
/// Positions are sequence numbers continued to 64 bits, so that wrap-around is settled in one place ([`Self::position`]).
#[derive(Debug)]
pub struct Reassembler {
    /// Position of the next byte to hand out; not known before the first segment of a connection joined mid-stream.
    next: Option<u64>,
    /// Position of the FIN: the stream ends before it.
    end: Option<u64>,
    /// All before it was acknowledged by the receiver.
    acknowledged: u64,
    /// The last segment that was out of the window, `[first, last]` sequence numbers.
    stray: Option<(u32, u32)>,
    /// Bytes the capture counted as lost and that no gap has accounted for yet.
    lost: Option<(u64, GapCause)>,
    waiting: Waiting,
    limits: Limits,
    counters: Counters,
}

impl Reassembler {
    pub fn new(start: Start, limits: Limits) -> Self {
        let next = match start {
            Start::At(seq) => Some(first_position(seq)),
            Start::Unknown => None,
        };
        Reassembler {
            next,
            end: None,
            acknowledged: 0,
            stray: None,
            lost: None,
            waiting: Waiting::default(),
            limits,
            counters: Counters::default(),
        }
    }

    /// A segment came. Payload that is next is handed out at once without a copy, followed by what waited for it;
    /// early payload is kept; what was handed out already is dropped (overlaps are cut). Of copies that wait the one
    /// that Linux would read wins.
    ///
    /// A segment further ahead than any window ([`WINDOW_BYTES_MAX`]) is counted and dropped, as the receiver does, until
    /// the receiver acknowledges it (see [`Self::acknowledged`]): a forged packet cannot move the stream.
    pub fn segment(
        &mut self,
        at: TimeNs,
        seq: u32,
        payload: &[u8],
        out: &mut impl FnMut(Output<'_>),
    ) {
        if payload.is_empty() {
            return;
        }
        let next = *self.next.get_or_insert_with(|| first_position(seq));
        let position = position_near(next, seq);
        if position == next && self.waiting.is_empty() {
            return self.hand_out(at, payload, out);
        }
        if position.abs_diff(next) > WINDOW_BYTES_MAX {
            let last = seq.wrapping_add(payload.len() as u32).wrapping_sub(1);
            self.stray = Some((seq, last));
            self.counters.out_of_window_segments += 1;
            return;
        }
        self.counters.conflicting_bytes += self.waiting.conflicts(position, payload);
        if position <= next {
            self.in_order(at, position, payload, out);
        } else {
            self.keep(at, position, payload, out);
        }
    }

    /// A segment of which only the head `payload` was captured and `missing_bytes` behind it were not (snap length).
    /// The rest becomes a gap when its turn comes, unless a retransmission fills it before.
    pub fn cut_segment(
        &mut self,
        at: TimeNs,
        seq: u32,
        payload: &[u8],
        missing_bytes: u32,
        cause: GapCause,
        out: &mut impl FnMut(Output<'_>),
    ) {
        self.segment(at, seq, payload, out);
        if missing_bytes == 0 {
            return;
        }
        let missing_seq = seq.wrapping_add(payload.len() as u32);
        let next = *self.next.get_or_insert_with(|| first_position(missing_seq));
        let from = position_near(next, missing_seq);
        let to = from + u64::from(missing_bytes);
        if from.abs_diff(next) > WINDOW_BYTES_MAX || to <= next {
            return;
        }
        if self.waiting.pieces() >= self.limits.waiting_segments_max {
            self.skip(at, from.max(next), GapCause::ReassemblyLimit, out);
        }
        self.waiting.insert_absent(at, from.max(next), to, cause);
        self.drain(at, out);
    }

    /// The receiver acknowledged everything before `ack`: a hole before it will never be filled, and where data waits
    /// behind such a hole it is a gap. A hole with nothing behind it yet stays open for a packet that was captured late
    /// ([`Self::skip_to`] does not wait).
    pub fn acknowledged(
        &mut self,
        at: TimeNs,
        ack: u32,
        cause: GapCause,
        out: &mut impl FnMut(Output<'_>),
    ) {
        let Some(next) = self.next else { return };
        let position = position_near(next, ack);
        if position.abs_diff(next) > WINDOW_BYTES_MAX {
            return self.resynchronise(at, ack, cause, out);
        }
        self.acknowledged = self.acknowledged.max(position);
        if self.end.is_some_and(|end| position > end + 1) {
            self.end = None;
            self.counters.contradicted_fins += 1;
        }
        while let Some(hole_end) = self.hole_end().filter(|end| *end <= position) {
            self.skip(at, hole_end, cause, out);
        }
    }

    /// As [`Self::acknowledged`], and a hole right before `ack` is a gap too: the receiver has answered what was not
    /// seen, so that its answer must not be taken for that of an earlier request.
    pub fn skip_to(
        &mut self,
        at: TimeNs,
        ack: u32,
        cause: GapCause,
        out: &mut impl FnMut(Output<'_>),
    ) {
        self.acknowledged(at, ack, cause, out);
        let Some(next) = self.next else { return };
        let position = position_near(next, ack);
        if position > next && position - next <= WINDOW_BYTES_MAX {
            self.skip(at, position, cause, out);
        }
    }

    /// The capture lost `bytes` of this direction. It cannot say which, so the next holes get `cause` as their name
    /// until they add up to as much.
    pub fn lost(&mut self, bytes: u64, cause: GapCause) {
        if bytes > 0 {
            let before = self.lost.map_or(0, |(bytes, _)| bytes);
            self.lost = Some((before.saturating_add(bytes), cause));
        }
    }

    /// A FIN with sequence number `seq` came (behind the payload of its segment). The first one counts; it takes effect
    /// once the stream has come so far.
    pub fn fin(&mut self, seq: u32) {
        let next = *self.next.get_or_insert_with(|| first_position(seq));
        let position = position_near(next, seq);
        if position < next || self.end.is_some() {
            return;
        }
        if position - next > WINDOW_BYTES_MAX {
            self.counters.out_of_window_segments += 1;
            return;
        }
        self.end = Some(position);
    }

    /// The sender has closed this direction and all its bytes were handed out (or became gaps).
    pub fn is_finished(&self) -> bool {
        self.end.is_some() && self.next == self.end
    }

    /// Stop waiting for holes: the connection has ended or it took too long. What waits is handed out with the gaps
    /// between; then the tail that is known to be missing (up to the FIN, or acknowledged, or counted as lost).
    pub fn flush(&mut self, at: TimeNs, cause: GapCause, out: &mut impl FnMut(Output<'_>)) {
        while let Some(start) = self.waiting.first_start() {
            self.skip(at, start, cause, out);
        }
        if let Some(next) = self.next {
            // One byte that was acknowledged and not seen is a FIN that was not captured.
            let acknowledged = Some(self.acknowledged).filter(|ack| *ack != next + 1);
            if let Some(end) = self.end.or(acknowledged) {
                self.skip(at, end, cause, out);
            }
        }
        match self.lost.take() {
            Some((bytes, cause)) if self.end.is_none() => out(Output::Gap { at, bytes, cause }),
            _ => {}
        }
    }

    /// Payload bytes that wait for a hole to be filled.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// When the oldest of them came.
    pub fn waiting_since(&self) -> Option<TimeNs> {
        self.waiting.since()
    }

    /// Sequence number behind the last waiting byte.
    pub fn waiting_end_seq(&self) -> Option<u32> {
        self.waiting.end().map(|end| end as u32)
    }

    /// Sequence number of the next byte to hand out.
    pub fn next_seq(&self) -> Option<u32> {
        self.next.map(|next| next as u32)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Hands out what is new of a segment that begins at or before the next byte. It goes before what waits: the
    /// receiver appends it whole to what it has in order.
    fn in_order(
        &mut self,
        at: TimeNs,
        position: u64,
        payload: &[u8],
        out: &mut impl FnMut(Output<'_>),
    ) {
        let seen = self.next.unwrap_or(position).saturating_sub(position);
        match payload.get(seen as usize..) {
            Some(new) if !new.is_empty() => {
                self.counters.duplicate_bytes += seen;
                self.hand_out(at, new, out);
                self.drain(at, out);
            }
            _ => self.counters.duplicate_bytes += payload.len() as u64,
        }
    }

    /// Keeps an early segment; gives up holes, the oldest first, until there is room for it.
    fn keep(
        &mut self,
        at: TimeNs,
        position: u64,
        payload: &[u8],
        out: &mut impl FnMut(Output<'_>),
    ) {
        if self.end.is_some_and(|end| position >= end) {
            self.counters.after_fin_bytes += payload.len() as u64;
            return;
        }
        while self.waiting.bytes() + payload.len() > self.limits.waiting_bytes_max
            || self.waiting.pieces() >= self.limits.waiting_segments_max
        {
            let first = self.waiting.first_start().unwrap_or(position);
            self.skip(at, first.min(position), GapCause::ReassemblyLimit, out);
            if self.next.is_some_and(|next| position <= next) {
                return self.in_order(at, position, payload, out);
            }
        }
        self.counters.duplicate_bytes += self.waiting.insert(at, position, payload);
    }

    /// Hands out what has become the next of the stream.
    fn drain(&mut self, at: TimeNs, out: &mut impl FnMut(Output<'_>)) {
        while let Some(next) = self.next
            && let Some((start, piece)) = self.waiting.pop_until(next)
        {
            let at = at.max(piece.at);
            let seen = next - start;
            match piece.content {
                Content::Bytes(bytes) => match bytes.get(seen as usize..) {
                    Some(new) => {
                        self.counters.duplicate_bytes += seen;
                        self.hand_out(at, new, out);
                    }
                    None => self.counters.duplicate_bytes += bytes.len() as u64,
                },
                Content::Absent(bytes, cause) => {
                    self.gap(at, start + bytes, cause, out);
                }
            }
        }
    }

    /// `bytes` are the next of the stream.
    fn hand_out(&mut self, at: TimeNs, bytes: &[u8], out: &mut impl FnMut(Output<'_>)) {
        let Some(next) = self.next else { return };
        let until_end = self.end.map_or(u64::MAX, |end| end - next);
        let bytes = if bytes.len() as u64 > until_end {
            self.counters.after_fin_bytes += bytes.len() as u64 - until_end;
            &bytes[..until_end as usize]
        } else {
            bytes
        };
        if bytes.is_empty() {
            return;
        }
        self.next = Some(next + bytes.len() as u64);
        out(Output::Bytes {
            at,
            bytes,
            seq: next as u32,
        });
    }

    /// Gives up what is missing before `position` and goes on from there.
    fn skip(
        &mut self,
        at: TimeNs,
        position: u64,
        cause: GapCause,
        out: &mut impl FnMut(Output<'_>),
    ) {
        // What waits before `position` is not missing.
        while let Some(start) = self.waiting.first_start().filter(|start| *start < position)
            && !self.is_finished()
        {
            self.gap(at, start, cause, out);
            self.drain(at, out);
        }
        self.gap(at, position, cause, out);
        self.drain(at, out);
        if self.is_finished() {
            self.drop_waiting();
        }
    }

    /// The bytes from the next up to `to` were not seen.
    fn gap(&mut self, at: TimeNs, to: u64, cause: GapCause, out: &mut impl FnMut(Output<'_>)) {
        let Some(next) = self.next else { return };
        let to = self.end.map_or(to, |end| to.min(end));
        if to <= next {
            return;
        }
        let bytes = to - next;
        let mut cause = cause;
        if let Some((lost, lost_cause)) = self.lost {
            cause = lost_cause;
            self.lost =
                Some((lost.saturating_sub(bytes), lost_cause)).filter(|(left, _)| *left > 0);
        }
        self.next = Some(to);
        out(Output::Gap { at, bytes, cause });
    }

    /// Where the hole at the next byte ends, if something is known to be behind it.
    fn hole_end(&self) -> Option<u64> {
        let end = self
            .end
            .filter(|end| self.next.is_some_and(|next| next < *end));
        match (self.waiting.first_start(), end) {
            (Some(start), Some(end)) => Some(start.min(end)),
            (start, end) => start.or(end),
        }
    }

    /// The receiver acknowledged bytes out of the window. If it acknowledged the last stray segment, the stream really
    /// is there (more was lost than a window, or the hook was away): go on from there. It is the receiver who is
    /// believed, never the sender of the stray segment.
    fn resynchronise(
        &mut self,
        at: TimeNs,
        ack: u32,
        cause: GapCause,
        out: &mut impl FnMut(Output<'_>),
    ) {
        let Some((first, last)) = self.stray else {
            return;
        };
        if ack.wrapping_sub(1).wrapping_sub(first) > last.wrapping_sub(first) {
            return;
        }
        self.stray = None;
        self.end = None;
        while let Some(start) = self.waiting.first_start() {
            self.skip(at, start, cause, out);
        }
        let Some(next) = self.next else { return };
        // How many times the sequence numbers went round meanwhile is not known; the least is said.
        let distance = ack.wrapping_sub(next as u32);
        self.gap(at, next + u64::from(distance), cause, out);
    }

    fn drop_waiting(&mut self) {
        self.counters.after_fin_bytes += self.waiting.bytes() as u64;
        self.waiting = Waiting::default();
    }
}

/// The position of a stream's first byte: one turn of the sequence numbers above zero, so that positions before it exist.
fn first_position(seq: u32) -> u64 {
    (1 << 32) | u64::from(seq)
}

/// The position of `seq` that is nearest to `next` (RFC 9293 section 3.4: sequence numbers compare modulo 2^32).
fn position_near(next: u64, seq: u32) -> u64 {
    let distance = seq.wrapping_sub(next as u32) as i32;
    next.wrapping_add_signed(i64::from(distance))
}
