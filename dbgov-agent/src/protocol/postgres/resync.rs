//! A direction that lost bytes, or was joined in its middle, is out of step: its bytes are passed over until a message
//! boundary is known, and one Gap says how many they were.

use super::Decoder;
use super::queue::Op;
use crate::protocol::{Direction, Event, GapCause, TimeNs};

/// What one direction has lost so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    /// `None`: not known.
    bytes: Option<u64>,
    cause: GapCause,
}

impl Lost {
    pub(super) fn new(bytes: Option<u64>, cause: GapCause) -> Self {
        Lost { bytes, cause }
    }

    /// Bytes that came but could not be read.
    pub(super) fn pass(&mut self, bytes: u64) {
        self.bytes = self.bytes.map(|sum| sum.saturating_add(bytes));
    }

    /// More that never came. A loss tells more than a late start.
    fn add(&mut self, bytes: Option<u64>, cause: GapCause) {
        self.bytes = self
            .bytes
            .zip(bytes)
            .map(|(sum, more)| sum.saturating_add(more));
        if self.cause == GapCause::Midstream {
            self.cause = cause;
        }
    }

    fn tell(self, at: TimeNs, direction: Direction, out: &mut Vec<Event>) {
        // A connection joined at a message boundary has nothing to tell.
        if self.cause != GapCause::Midstream || self.bytes != Some(0) {
            out.push(Event::Gap {
                at,
                direction,
                bytes: self.bytes,
                cause: self.cause,
            });
        }
    }
}

impl Decoder {
    pub(super) fn request_lost(
        &mut self,
        at: TimeNs,
        bytes: Option<u64>,
        cause: GapCause,
        out: &mut Vec<Event>,
    ) {
        let begun = self.request.abandon();
        self.request.passed(bytes.unwrap_or(0));
        self.request.client_turn = false;
        match &mut self.request.lost {
            Some(lost) => lost.add(bytes, cause),
            None => {
                let mut lost = Lost::new(bytes, cause);
                lost.pass(begun);
                self.request.lost = Some(lost);
                // What was sent before is still answered in its turn.
                self.matcher.push(at, Op::Lost, out);
            }
        }
    }

    pub(super) fn response_lost(
        &mut self,
        at: TimeNs,
        bytes: Option<u64>,
        cause: GapCause,
        out: &mut Vec<Event>,
    ) {
        let begun = self.response.abandon();
        match &mut self.response.lost {
            Some(lost) => lost.add(bytes, cause),
            None => {
                let mut lost = Lost::new(bytes, cause);
                lost.pass(begun);
                self.response.lost = Some(lost);
                self.matcher.response_in_step = false;
                self.matcher.ready = false;
                self.request.client_turn = false;
                // Whose answers are among the lost bytes cannot be told.
                self.matcher.detach(out);
                self.encryption_refused(at, out);
            }
        }
    }

    pub(super) fn response_regained(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if let Some(lost) = self.response.lost.take() {
            // What was sent while the responses were out of step may be answered already.
            self.matcher.detach(out);
            lost.tell(at, Direction::Response, out);
            self.matcher.response_in_step = true;
        }
    }

    pub(super) fn request_regained(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if let Some(lost) = self.request.lost.take() {
            self.matcher.detach(out);
            // Among what was lost may be a Close and another Parse of the same name.
            self.matcher.names.forget();
            self.matcher.at_segment_start = true;
            lost.tell(at, Direction::Request, out);
        }
    }

    /// At the end: what never came into step again.
    pub(super) fn tell_gaps(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if let Some(lost) = self.request.lost {
            lost.tell(at, Direction::Request, out);
        }
        if let Some(lost) = self.response.lost {
            lost.tell(at, Direction::Response, out);
        }
    }
}
