//! One connection: what was captured of it, in order to its decoder.

use std::ops::Range;

use super::gate::Target;
use crate::capture::event::{Held, Piece, Response, Totals};
use crate::gate::gated::Gated;
use crate::gate::inject::Ends;
use crate::identity::joiner::Connection as Addresses;
use crate::protocol::postgres::Decoder;
use crate::protocol::{Direction, Event, GapCause, TimeNs};
use crate::session::Session;
use crate::stream::{Output, Reassembler};

pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) request: Reassembler,
    /// The kernel's count of lost request bytes, as of the last event.
    pub(super) request_lost: u64,
    pub(super) response_lost: u64,
    /// Sequence number of the next response byte; unknown until the first response of a connection joined mid-stream.
    pub(super) response_seq: Option<u32>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) first_fin: Option<Direction>,
    pub(super) fins: [bool; 2],
    pub(super) reset: bool,
    pub(super) last_at: TimeNs,
    pub(super) addresses: Addresses,
    pub(super) netns_cookie: Option<u64>,
    /// Where the gate enforces.
    pub(super) gated: Option<Gated>,
    /// Sequence number at which a request message begins: of an adopted connection whose present message is not known.
    pub(super) boundary: Option<u32>,
}

/// Where the ordered request bytes go.
struct Deliver<'a> {
    decoder: &'a mut Decoder,
    gated: Option<&'a mut Gated>,
    /// The kernel holds what comes now.
    held: bool,
    boundary: &'a mut Option<u32>,
    events: &'a mut Vec<Event>,
}

impl Deliver<'_> {
    fn take(&mut self, output: Output<'_>) {
        match output {
            Output::Bytes { at, bytes, seq } => {
                if let Some(gated) = &mut self.gated {
                    gated.arrived(seq, bytes, self.held);
                }
                self.decode(at, seq, bytes);
            }
            Output::Gap { at, bytes, cause } => {
                *self.boundary = None;
                if let Some(gated) = &mut self.gated {
                    gated.missed(bytes);
                }
                self.decoder
                    .gap(Direction::Request, at, Some(bytes), cause, self.events);
            }
        }
    }
}

impl Deliver<'_> {
    fn decode(&mut self, at: TimeNs, seq: u32, mut bytes: &[u8]) {
        if let Some(boundary) = *self.boundary {
            let before = boundary.wrapping_sub(seq) as usize;
            let (rest_of_message, others) = bytes.split_at_checked(before).unwrap_or((bytes, &[]));
            self.decoder
                .data(Direction::Request, at, rest_of_message, self.events);
            if rest_of_message.len() < before {
                return;
            }
            *self.boundary = None;
            self.decoder.request_boundary(at, self.events);
            bytes = others;
        }
        self.decoder
            .data(Direction::Request, at, bytes, self.events);
    }
}

impl Connection {
    /// For a command to the gate.
    pub(super) fn target(&self, cookie: u64) -> Target {
        Target {
            cookie,
            netns_cookie: self.netns_cookie,
            ends: Ends {
                client: self.session.client_addr,
                server: self.session.server_addr,
            },
        }
    }

    /// A packet the gate may hold: what of it was released before and is to be sent again.
    pub(super) fn held(
        &mut self,
        seq: u32,
        ack: u32,
        payload: &[u8],
        held: Option<Held>,
    ) -> Option<Range<u64>> {
        let gated = self.gated.as_mut()?;
        gated.ack = ack;
        let held = held?;
        gated.window = held.window;
        gated.to_send_again(seq, payload.len() as u32, held.taken)
    }

    pub(super) fn request(
        &mut self,
        at: TimeNs,
        seq: u32,
        lost_bytes: u64,
        payload: &[u8],
        held: bool,
        events: &mut Vec<Event>,
    ) {
        self.last_at = at;
        self.request_bytes += payload.len() as u64;
        if held && self.boundary.is_none() && !self.session.decoder.request_in_step() {
            self.step_in(at, seq, payload, events);
        }
        let newly_lost = lost_bytes.saturating_sub(self.request_lost);
        self.request_lost = self.request_lost.max(lost_bytes);
        let (request, mut deliver) = self.deliver(held, events);
        let mut deliver = |output: Output<'_>| deliver.take(output);
        if newly_lost > 0 {
            // The server got what the ring had no room for: no use waiting for it.
            request.lost(newly_lost, GapCause::RingFull);
            request.skip_to(at, seq, GapCause::RingFull, &mut deliver);
        }
        request.segment(at, seq, payload, &mut deliver);
    }

    /// A connection older than the gate, whose client has to wait for us: if what it sends can only be whole messages,
    /// they are read as such.
    fn step_in(&mut self, at: TimeNs, seq: u32, payload: &[u8], events: &mut Vec<Event>) {
        let is_next = self.request.next_seq().is_none_or(|next| next == seq);
        if is_next && Decoder::looks_in_step(payload) {
            self.session.decoder.request_boundary(at, events);
        }
    }

    fn deliver<'a>(
        &'a mut self,
        held: bool,
        events: &'a mut Vec<Event>,
    ) -> (&'a mut Reassembler, Deliver<'a>) {
        let deliver = Deliver {
            decoder: &mut self.session.decoder,
            gated: self.gated.as_mut(),
            held,
            boundary: &mut self.boundary,
            events,
        };
        (&mut self.request, deliver)
    }

    pub(super) fn response(&mut self, response: &Response<'_>, events: &mut Vec<Event>) {
        let at = response.at;
        self.last_at = at;
        self.response_bytes += u64::from(response.seq_end.wrapping_sub(response.seq));
        // What the server acknowledges it has; a hole before that is one of ours.
        let (request, mut deliver) = self.deliver(false, events);
        request.acknowledged(at, response.ack, GapCause::Missing, &mut |output| {
            deliver.take(output)
        });
        if let Some(gated) = &mut self.gated
            && let Some(position) = gated.position(response.ack)
        {
            gated.flow.acknowledged(position);
        }
        let decoder = &mut self.session.decoder;
        let missed = self
            .response_seq
            .map_or(0, |expected| response.seq.wrapping_sub(expected));
        if missed > 0 || (response.resync && decoder.response_in_step()) {
            let cause = if response.ring_full {
                GapCause::RingFull
            } else {
                GapCause::Unparsed
            };
            decoder.gap(
                Direction::Response,
                at,
                Some(u64::from(missed)),
                cause,
                events,
            );
        }
        self.response_lost = response.lost_bytes;
        self.response_seq = Some(response.seq_end);
        if response.boundary && !decoder.response_in_step() {
            decoder.response_boundary(at, events);
        }
        for piece in response.pieces() {
            match piece {
                Piece::Bytes(bytes) => decoder.data(Direction::Response, at, bytes, events),
                Piece::Elided { bytes, rows } => decoder.elided(at, bytes, rows, events),
            }
        }
    }

    pub(super) fn fin(&mut self, at: TimeNs, direction: Direction, reset: bool, seq: u32) {
        self.last_at = at;
        self.reset |= reset;
        self.first_fin.get_or_insert(direction);
        self.fins[direction as usize] = true;
        if direction == Direction::Request && !reset {
            self.request.fin(seq);
        }
    }

    pub(super) fn flush(&mut self, at: TimeNs, events: &mut Vec<Event>) {
        let (request, mut deliver) = self.deliver(false, events);
        request.flush(at, GapCause::Missing, &mut |output| deliver.take(output));
    }

    pub(super) fn lost(
        &mut self,
        at: TimeNs,
        request_bytes: u64,
        response_bytes: u64,
        events: &mut Vec<Event>,
    ) {
        let newly = request_bytes.saturating_sub(self.request_lost);
        if newly > 0 {
            self.request_lost = request_bytes;
            self.request.lost(newly, GapCause::RingFull);
            let (request, mut deliver) = self.deliver(false, events);
            let mut deliver = |output: Output<'_>| deliver.take(output);
            match request.next_seq() {
                Some(next) if request.waiting_bytes() == 0 => {
                    let end = next.wrapping_add(newly as u32);
                    request.skip_to(at, end, GapCause::RingFull, &mut deliver);
                }
                _ => request.flush(at, GapCause::RingFull, &mut deliver),
            }
        }
        let newly = response_bytes.saturating_sub(self.response_lost);
        if newly > 0 {
            self.response_lost = response_bytes;
            // The next record begins where the boundaries are found again.
            self.response_seq = None;
            let decoder = &mut self.session.decoder;
            if decoder.response_in_step() {
                decoder.gap(
                    Direction::Response,
                    at,
                    Some(newly),
                    GapCause::RingFull,
                    events,
                );
            }
        }
    }

    /// The client has said that it sends no more.
    pub(super) fn client_is_done(&self) -> bool {
        self.reset || self.fins[Direction::Request as usize]
    }

    pub(super) fn is_over(&self) -> bool {
        self.session.is_midstream() && (self.reset || self.fins == [true; 2])
    }

    pub(super) fn end(&mut self, at: TimeNs, totals: Option<Totals>, events: &mut Vec<Event>) {
        if let Some(totals) = totals {
            let lost = totals.request_lost_bytes.saturating_sub(self.request_lost);
            self.request.lost(lost, GapCause::RingFull);
        }
        self.flush(at, events);
        let decoder = &mut self.session.decoder;
        let lost = totals.map_or(0, |totals| {
            totals
                .response_lost_bytes
                .saturating_sub(self.response_lost)
        });
        if lost > 0 && decoder.response_in_step() {
            decoder.gap(
                Direction::Response,
                at,
                Some(lost),
                GapCause::Missing,
                events,
            );
        }
        decoder.end(at, events);
    }

    pub(super) fn close_reason(&self, otherwise: &'static str) -> &'static str {
        if self.gated.as_ref().is_some_and(|gated| gated.closed) {
            return "refused";
        }
        match (self.reset, self.first_fin) {
            (true, _) => "reset",
            (false, Some(Direction::Request)) => "client_closed",
            (false, Some(Direction::Response)) => "server_closed",
            (false, None) => otherwise,
        }
    }
}
