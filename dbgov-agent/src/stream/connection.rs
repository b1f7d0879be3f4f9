//! One connection of a capture: its handshake, its two directions, its end.

use std::net::SocketAddr;

use super::flow::{Fate, FlowEvent};
use super::{Counters, Limits, Output, Reassembler, Start};
use crate::capture::pcap::PcapPacket;
use crate::protocol::{Direction, GapCause, TimeNs};

/// How far from its last byte a packet can be and still be a late one of a connection that has ended, bytes: the
/// largest receive buffer in use. Further away it belongs to a new connection of which the SYN was not captured.
const LATE_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Data a SYN can carry (TCP Fast Open, RFC 7413), bytes: less than a packet.
const SYN_DATA_BYTES_MAX: u32 = 65_535;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A SYN was seen, no answer yet: nothing was told of the connection.
    Opening,
    Open,
    /// Kept to know late packets by.
    Closed,
}

/// What one end sends.
#[derive(Debug)]
struct Side {
    stream: Reassembler,
    /// Sequence number of its SYN, where that was captured.
    isn: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Connection {
    flow: u64,
    client: SocketAddr,
    server: SocketAddr,
    state: State,
    request: Side,
    response: Side,
    /// A SYN on the open connection: a new connection if the other side takes it.
    proposed: Option<(Direction, u32)>,
    first_fin: Option<Direction>,
}

impl Connection {
    pub(super) fn new((client, server): (SocketAddr, SocketAddr), limits: Limits) -> Self {
        let side = || Side {
            stream: Reassembler::new(Start::Unknown, limits),
            isn: None,
        };
        Connection {
            flow: 0,
            client,
            server,
            state: State::Opening,
            request: side(),
            response: side(),
            proposed: None,
            first_fin: None,
        }
    }

    pub(super) fn packet(
        &mut self,
        packet: &PcapPacket<'_>,
        limits: Limits,
        opened: &mut u64,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) -> Fate {
        let direction = if packet.src == self.client {
            Direction::Request
        } else {
            Direction::Response
        };
        if packet.flags.rst {
            return self.reset(direction, packet, out);
        }
        let mut seq = packet.seq;
        if packet.flags.syn {
            let fate = if packet.flags.ack {
                self.syn_ack(direction, packet, limits)
            } else {
                self.syn(direction, packet, limits)
            };
            if fate != Fate::Used {
                return fate;
            }
            seq = seq.wrapping_add(1);
        }
        self.segment(direction, seq, packet, opened, out)
    }

    /// Ends the connection: what waits is handed out, what is missing is named.
    pub(super) fn close(
        &mut self,
        at: TimeNs,
        reason: &'static str,
        cause: GapCause,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) {
        if self.state == State::Open {
            self.flush(at, cause, out);
            let flow = self.flow;
            out(FlowEvent::Close { flow, at, reason });
        }
        self.state = State::Closed;
        self.proposed = None;
    }

    /// Gives up a live connection for want of room.
    pub(super) fn abandon(&mut self, at: TimeNs, out: &mut impl FnMut(FlowEvent<'_>)) {
        if self.state == State::Open {
            self.flush(at, GapCause::TableFull, out);
            for direction in [Direction::Request, Direction::Response] {
                out(FlowEvent::Gap {
                    flow: self.flow,
                    at,
                    direction,
                    bytes: None,
                    cause: GapCause::TableFull,
                });
            }
        }
        self.close(at, "table_full", GapCause::TableFull, out);
    }

    pub(super) fn flush(
        &mut self,
        at: TimeNs,
        cause: GapCause,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) {
        let flow = self.flow;
        for direction in [Direction::Request, Direction::Response] {
            let stream = &mut self.side(direction).stream;
            stream.flush(at, cause, &mut |output| {
                out(event(flow, direction, None, output))
            });
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.request.stream.waiting_bytes() + self.response.stream.waiting_bytes()
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.request.stream.counters();
        counters += self.response.stream.counters();
        counters
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    fn syn(&mut self, direction: Direction, packet: &PcapPacket<'_>, limits: Limits) -> Fate {
        let state = self.state;
        let side = self.side(direction);
        match (state, side.isn) {
            (State::Closed, Some(isn)) if isn == packet.seq => Fate::Late,
            (_, Some(isn)) if isn == packet.seq => Fate::Used,
            (State::Opening, None) => {
                side.isn = Some(packet.seq);
                side.stream = Reassembler::new(Start::after_syn(packet.seq), limits);
                Fate::Used
            }
            (State::Opening | State::Closed, _) => Fate::Replace,
            (State::Open, _) => {
                self.proposed = Some((direction, packet.seq));
                Fate::Ignored
            }
        }
    }

    fn syn_ack(&mut self, direction: Direction, packet: &PcapPacket<'_>, limits: Limits) -> Fate {
        let opener = opposite(direction);
        let opener_isn = self.side(opener).isn;
        let isn = self.side(direction).isn;
        let answers = |isn| answers(isn, packet.ack);
        match self.state {
            State::Closed if isn == Some(packet.seq) => Fate::Late,
            State::Closed => Fate::Replace,
            _ if isn == Some(packet.seq) => Fate::Used,
            State::Open
                if self
                    .proposed
                    .is_some_and(|(side, isn)| side == opener && answers(isn)) =>
            {
                Fate::Replace
            }
            // The SYN was not captured.
            State::Opening if opener_isn.is_none() => {
                let side = self.side(opener);
                side.isn = Some(packet.ack.wrapping_sub(1));
                side.stream = Reassembler::new(Start::At(packet.ack), limits);
                self.answered(direction, packet.seq, limits);
                Fate::Used
            }
            _ if isn.is_none() && opener_isn.is_some_and(answers) => {
                self.answered(direction, packet.seq, limits);
                Fate::Used
            }
            _ => Fate::Ignored,
        }
    }

    fn answered(&mut self, direction: Direction, isn: u32, limits: Limits) {
        let side = self.side(direction);
        side.isn = Some(isn);
        if side.stream.next_seq().is_none() {
            side.stream = Reassembler::new(Start::after_syn(isn), limits);
        }
    }

    /// What a packet says beyond its SYN, its own bytes beginning at `seq`.
    fn segment(
        &mut self,
        direction: Direction,
        seq: u32,
        packet: &PcapPacket<'_>,
        opened: &mut u64,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) -> Fate {
        let has_data = !packet.payload.is_empty() || packet.truncated_bytes > 0;
        match self.state {
            State::Closed => {
                let next = self.side(direction).stream.next_seq();
                let far = next.is_none_or(|next| {
                    (seq.wrapping_sub(next) as i32).unsigned_abs() > LATE_BYTES_MAX
                });
                return if has_data && far {
                    Fate::Replace
                } else {
                    Fate::Late
                };
            }
            State::Opening if has_data || (packet.flags.syn && packet.flags.ack) => {
                self.open(packet.at, opened, out);
            }
            State::Opening => return Fate::Used,
            State::Open => {}
        }
        // What the packet acknowledges comes first: a request that was lost is a gap before its answer is data.
        if packet.flags.ack {
            self.acknowledged(opposite(direction), packet, has_data, out);
        }
        let flow = self.flow;
        let ack = packet.flags.ack.then_some(packet.ack);
        let stream = &mut self.side(direction).stream;
        if has_data {
            let (payload, missing_bytes) = (packet.payload, packet.truncated_bytes);
            let mut out = |output: Output<'_>| out(event(flow, direction, ack, output));
            let cause = GapCause::Missing;
            stream.cut_segment(packet.at, seq, payload, missing_bytes, cause, &mut out);
        }
        if packet.flags.fin {
            let payload_bytes = packet.payload.len() as u32;
            stream.fin(
                seq.wrapping_add(payload_bytes)
                    .wrapping_add(packet.truncated_bytes),
            );
        }
        self.close_if_finished(direction, packet.at, out);
        Fate::Used
    }

    fn acknowledged(
        &mut self,
        direction: Direction,
        packet: &PcapPacket<'_>,
        answers: bool,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) {
        let flow = self.flow;
        let stream = &mut self.side(direction).stream;
        let mut out = |output: Output<'_>| out(event(flow, direction, None, output));
        if answers {
            stream.skip_to(packet.at, packet.ack, GapCause::Missing, &mut out);
        } else {
            stream.acknowledged(packet.at, packet.ack, GapCause::Missing, &mut out);
        }
    }

    fn open(&mut self, at: TimeNs, opened: &mut u64, out: &mut impl FnMut(FlowEvent<'_>)) {
        *opened += 1;
        self.flow = *opened;
        self.state = State::Open;
        out(FlowEvent::Open {
            flow: self.flow,
            at,
            client: self.client,
            server: self.server,
            midstream: self.request.isn.is_none() && self.response.isn.is_none(),
        });
    }

    /// Closes the connection once both FINs have had their turn. `direction` sent the packet at hand, so that the other
    /// one's FIN was there before.
    fn close_if_finished(
        &mut self,
        direction: Direction,
        at: TimeNs,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) {
        for direction in [opposite(direction), direction] {
            if self.side(direction).stream.is_finished() {
                self.first_fin.get_or_insert(direction);
            }
        }
        if self.request.stream.is_finished() && self.response.stream.is_finished() {
            self.close(at, self.reason(), GapCause::Missing, out);
        }
    }

    /// A RST counts where the receiver obeys it: at the byte it expects (RFC 5961 section 3.2), which may be any of
    /// those that wait when packets are missing.
    fn reset(
        &mut self,
        direction: Direction,
        packet: &PcapPacket<'_>,
        out: &mut impl FnMut(FlowEvent<'_>),
    ) -> Fate {
        if self.state == State::Closed {
            return Fate::Late;
        }
        let stream = &self.side(direction).stream;
        let fin = u32::from(stream.is_finished());
        let obeyed = stream.next_seq().is_none_or(|next| {
            let last = stream.waiting_end_seq().unwrap_or(next.wrapping_add(fin));
            packet.seq.wrapping_sub(next) <= last.wrapping_sub(next)
        });
        if self.state == State::Open && !obeyed {
            return Fate::Ignored;
        }
        self.close(packet.at, self.reason(), GapCause::Missing, out);
        Fate::Used
    }

    fn reason(&self) -> &'static str {
        match self.first_fin {
            Some(Direction::Request) => "client_closed",
            Some(Direction::Response) => "server_closed",
            None => "reset",
        }
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Request => Direction::Response,
        Direction::Response => Direction::Request,
    }
}

/// Is `ack` the answer to a SYN with sequence number `isn` (and data, if it had some)?
fn answers(isn: u32, ack: u32) -> bool {
    ack.wrapping_sub(isn).wrapping_sub(1) <= SYN_DATA_BYTES_MAX
}

fn event(flow: u64, direction: Direction, ack: Option<u32>, output: Output<'_>) -> FlowEvent<'_> {
    match output {
        Output::Bytes { at, bytes, seq } => FlowEvent::Data {
            flow,
            at,
            direction,
            bytes,
            seq,
            ack,
        },
        Output::Gap { at, bytes, cause } => FlowEvent::Gap {
            flow,
            at,
            direction,
            bytes: Some(bytes),
            cause,
        },
    }
}
