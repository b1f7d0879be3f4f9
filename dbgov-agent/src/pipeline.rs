//! Wires the stages: captured events in, audit records out. It knows neither aya nor the disk: what it wants of the
//! kernel and of the host it says as [`Command`]s.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hashlink::LinkedHashMap;

use crate::capture::discover::existing::ExistingConnection;
use crate::capture::event::{Captured, Ends, Piece, Response, Totals};
use crate::clock::Clock;
use crate::identity::Process;
use crate::identity::joiner::{Connection as Addresses, Joiner};
use crate::protocol::postgres::{Decoder, Joined, Limits};
use crate::protocol::{Direction, Event, GapCause, TimeNs};
use crate::session::{Recorder, Session};
use crate::stream::{Output, Reassembler, Start};

/// Request packets that came before their connection opened: a handful, for the microseconds between the two events.
const FIRST_REQUESTS_MAX: usize = 256;
/// How long such a packet waits.
const FIRST_REQUEST_TIMEOUT_NS: TimeNs = 2_000_000_000;
/// How long early request bytes wait for a packet that is missing. The kernel saw every packet the server got, so
/// that a hole this old will not be filled.
const HOLE_TIMEOUT_NS: TimeNs = 2_000_000_000;
/// A connection joined mid-stream whose FINs have passed is closed after so long without a further event.
const FIN_TIMEOUT_NS: TimeNs = 1_000_000_000;

/// Which sockets are a governed server's.
#[derive(Debug, Clone, Default)]
pub struct Governed {
    /// Configured: in whatever network namespace.
    pub ports: HashSet<u16>,
    /// Found on the host: with the namespace's cookie, where the kernel has one.
    pub found: HashSet<(Option<u64>, u16)>,
}

impl Governed {
    fn has(&self, netns_cookie: Option<u64>, port: u16) -> bool {
        self.ports.contains(&port)
            || self.found.contains(&(None, port))
            || match netns_cookie {
                Some(_) => self.found.contains(&(netns_cookie, port)),
                // The kernel cannot tell the namespace: better one connection too many than one unseen.
                None => self.found.iter().any(|(_, found)| *found == port),
            }
    }

    pub fn all_ports(&self) -> HashSet<u16> {
        self.ports
            .iter()
            .copied()
            .chain(self.found.iter().map(|(_, port)| *port))
            .collect()
    }
}

/// What the pipeline wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Stop copying for a connection that is not a governed server's.
    Ignore { cookie: u64 },
    /// Forget a connection whose end the kernel could not tell.
    Forget { cookie: u64 },
    /// Find out who is behind connections that are older than the agent.
    LookUpExisting,
}

struct Connection {
    session: Session,
    request: Reassembler,
    /// The kernel's count of lost request bytes, as of the last event.
    request_lost: u64,
    response_lost: u64,
    /// Sequence number of the next response byte; unknown until the first response of a connection joined mid-stream.
    response_seq: Option<u32>,
    request_bytes: u64,
    response_bytes: u64,
    first_fin: Option<Direction>,
    fins: [bool; 2],
    reset: bool,
    last_at: TimeNs,
    addresses: Addresses,
}

/// The live pipeline.
pub struct Pipeline {
    /// By the cookie of the server's socket, which the kernel chose: nobody can make them collide.
    connections: HashMap<u64, Connection, foldhash::fast::RandomState>,
    first_requests: LinkedHashMap<Ends, FirstRequest>,
    joiner: Joiner<u64>,
    governed: Governed,
    limits: Limits,
    recorder: Recorder,
    events: Vec<Event>,
    commands: Vec<Command>,
    /// sock_ops tells the namespace of both ends.
    netns_cookies: bool,
    opened: u64,
}

struct FirstRequest {
    at: TimeNs,
    seq: u32,
    missing_bytes: u64,
    payload: Box<[u8]>,
}

impl Pipeline {
    pub fn new(limits: Limits, clock: Clock, netns_cookies: bool) -> Self {
        Pipeline {
            connections: HashMap::default(),
            first_requests: LinkedHashMap::new(),
            joiner: Joiner::default(),
            governed: Governed::default(),
            limits,
            recorder: Recorder::new(clock),
            events: Vec::new(),
            commands: Vec::new(),
            netns_cookies,
            opened: 0,
        }
    }

    pub fn govern(&mut self, governed: Governed) {
        self.governed = governed;
    }

    pub fn set_clock(&mut self, clock: Clock) {
        self.recorder.clock = clock;
    }

    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    pub fn sessions(&self) -> usize {
        self.connections.len()
    }

    /// Whether a session's end may pass without an event.
    pub fn has_midstream(&self) -> bool {
        self.connections
            .values()
            .any(|connection| connection.session.is_midstream())
    }

    /// Connections since start.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// A process is connecting on the socket with this cookie.
    pub fn connecting(&mut self, cookie: u64, process: Arc<Process>, at: TimeNs) {
        self.joiner.connecting(cookie, process, at);
    }

    /// Whether the process behind this client socket is known already.
    pub fn is_connecting(&self, cookie: u64) -> bool {
        self.joiner.is_connecting(cookie)
    }

    /// Something passed on a governed connection.
    pub fn captured(&mut self, event: Captured<'_>) {
        match event {
            Captured::Open {
                cookie,
                at,
                ends,
                netns_cookie,
                request_seq,
                response_seq,
            } => {
                if self.ignored(cookie, netns_cookie, ends.local.port()) {
                    return;
                }
                let start = Start::At(request_seq);
                self.open(cookie, at, ends, netns_cookie, start, Some(response_seq));
                self.first_request(cookie, &ends);
            }
            Captured::Seen {
                cookie,
                at,
                ends,
                netns_cookie,
            } => {
                if self.connections.contains_key(&cookie)
                    || self.ignored(cookie, netns_cookie, ends.local.port())
                {
                    return;
                }
                self.open(cookie, at, ends, netns_cookie, Start::Unknown, None);
                self.commands.push(Command::LookUpExisting);
            }
            Captured::Request {
                cookie,
                at,
                seq,
                lost_bytes,
                payload,
                ..
            } => {
                self.with(cookie, |connection, events| {
                    connection.request(at, seq, lost_bytes, payload, events)
                });
            }
            Captured::FirstRequest {
                at,
                ends,
                seq,
                missing_bytes,
                payload,
            } => {
                if self.first_requests.len() >= FIRST_REQUESTS_MAX {
                    self.first_requests.pop_front();
                }
                let first = FirstRequest {
                    at,
                    seq,
                    missing_bytes,
                    payload: payload.into(),
                };
                self.first_requests.insert(ends, first);
            }
            Captured::Response(response) => {
                self.with(response.cookie, |connection, events| {
                    connection.response(&response, events)
                });
            }
            Captured::Fin {
                cookie,
                at,
                direction,
                reset,
                seq,
            } => {
                self.with(cookie, |connection, _| {
                    connection.fin(at, direction, reset, seq)
                });
            }
            Captured::Close { cookie, at, totals } => self.close(cookie, at, Some(totals), "gone"),
            Captured::Client {
                cookie,
                at,
                ends,
                connect,
            } => {
                let netns = connect
                    .map(|c| c.netns_cookie)
                    .filter(|_| self.netns_cookies);
                let addresses = Addresses::new(ends.local, ends.remote, netns);
                if let Some((session, process)) =
                    self.joiner.client_established(cookie, addresses, at)
                    && let Some(connection) = self.connections.get_mut(&session)
                {
                    connection.session.set_client(process);
                }
            }
        }
    }

    /// Takes a connection that is older than the agent, or fills in what was found out about one.
    pub fn existing(
        &mut self,
        found: &ExistingConnection,
        client: Option<Arc<Process>>,
        at: TimeNs,
    ) {
        let cookie = found.server_cookie;
        if !self.connections.contains_key(&cookie) {
            if !self
                .governed
                .has(found.server_netns_cookie, found.server_addr.port())
            {
                return;
            }
            let ends = Ends {
                local: found.server_addr,
                remote: found.client_addr,
            };
            self.open(
                cookie,
                at,
                ends,
                found.server_netns_cookie,
                Start::Unknown,
                None,
            );
        }
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let session = &mut connection.session;
        if session.client.is_none()
            && let Some(client) = client
        {
            session.set_client(client);
        }
        if session.server_pid.is_none()
            && let Some(pid) = found.server_pid
        {
            session.set_server_pid(pid);
        }
        if let Some(title) = &found.backend_title
            && session.decoder.facts().user.is_none()
        {
            session.decoder.set_facts(|facts| {
                facts.user = Some(title.user.clone());
                facts.database = Some(title.database.clone());
            });
        }
        if session.is_midstream() {
            session.announce(at, &mut self.recorder);
        }
    }

    /// Closes sessions whose sockets are no more on the host: those that no event told the end of. `before`: when the
    /// look at the host began.
    pub fn retain(&mut self, alive: &HashSet<u64>, before: TimeNs) {
        let gone: Vec<u64> = self
            .connections
            .iter()
            .filter(|(cookie, connection)| !alive.contains(cookie) && connection.last_at < before)
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in gone {
            self.close(cookie, before, None, "gone");
            self.commands.push(Command::Forget { cookie });
        }
    }

    /// The kernel's counts of lost bytes of a connection, request and response, as they were at a moment all events
    /// from before which have been handled: a loss that no event has told by now had nothing behind it.
    pub fn lost(&mut self, cookie: u64, at: TimeNs, request_bytes: u64, response_bytes: u64) {
        self.with(cookie, |connection, events| {
            connection.lost(at, request_bytes, response_bytes, events);
        });
    }

    /// Cookies of the open sessions.
    pub fn cookies(&self) -> impl Iterator<Item = u64> + '_ {
        self.connections.keys().copied()
    }

    /// What time brings: holes that stay, clients that never come, connections whose FINs have passed.
    pub fn tick(&mut self, now: TimeNs) {
        self.joiner.expire(now);
        while let Some((_, first)) = self.first_requests.front()
            && now.saturating_sub(first.at) > FIRST_REQUEST_TIMEOUT_NS
        {
            self.first_requests.pop_front();
        }
        let late: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| {
                c.request
                    .waiting_since()
                    .is_some_and(|since| now.saturating_sub(since) > HOLE_TIMEOUT_NS)
            })
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in late {
            self.with(cookie, |connection, events| connection.flush(now, events));
        }
        let over: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| c.is_over() && now.saturating_sub(c.last_at) > FIN_TIMEOUT_NS)
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in over {
            self.close(cookie, now, None, "gone");
            self.commands.push(Command::Forget { cookie });
        }
    }

    /// Ends every session, because the agent does.
    pub fn stop(&mut self, at: TimeNs) {
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for cookie in all {
            self.close(cookie, at, None, "agent_stop");
        }
    }

    fn ignored(&mut self, cookie: u64, netns_cookie: Option<u64>, port: u16) -> bool {
        let ignored = !self.governed.has(netns_cookie, port);
        if ignored {
            self.commands.push(Command::Ignore { cookie });
        }
        ignored
    }

    fn open(
        &mut self,
        cookie: u64,
        at: TimeNs,
        ends: Ends,
        netns_cookie: Option<u64>,
        start: Start,
        response_seq: Option<u32>,
    ) {
        // A cookie is never used twice; one that is known belongs to a connection that was taken over before.
        self.close(cookie, at, None, "gone");
        let midstream = response_seq.is_none();
        let joined = if midstream {
            Joined::Midstream
        } else {
            Joined::Start
        };
        let decoder = Decoder::new(joined, self.limits.clone());
        let id = format!("{:x}-{cookie:x}", self.recorder.clock.unix_ns(at));
        let mut session = Session::new(id, decoder, ends.remote, ends.local, midstream, at);
        let netns = netns_cookie.filter(|_| self.netns_cookies);
        let addresses = Addresses::new(ends.remote, ends.local, netns);
        if let Some(process) = self.joiner.session_opened(addresses, cookie, at).process {
            session.set_client(process);
        }
        self.opened += 1;
        let connection = Connection {
            session,
            request: Reassembler::new(start, crate::stream::Limits::default()),
            request_lost: 0,
            response_lost: 0,
            response_seq,
            request_bytes: 0,
            response_bytes: 0,
            first_fin: None,
            fins: [false; 2],
            reset: false,
            last_at: at,
            addresses,
        };
        self.connections.insert(cookie, connection);
    }

    /// Request bytes that came with the handshake.
    fn first_request(&mut self, cookie: u64, ends: &Ends) {
        let Some(first) = self.first_requests.remove(ends) else {
            return;
        };
        self.with(cookie, |connection, events| {
            connection.request(first.at, first.seq, 0, &first.payload, events);
            if first.missing_bytes > 0 {
                connection
                    .request
                    .lost(first.missing_bytes, GapCause::Unparsed);
            }
        });
    }

    fn with(&mut self, cookie: u64, work: impl FnOnce(&mut Connection, &mut Vec<Event>)) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        work(connection, &mut self.events);
        if !self.events.is_empty() {
            connection
                .session
                .record(&mut self.events, &mut self.recorder);
        }
    }

    fn close(&mut self, cookie: u64, at: TimeNs, totals: Option<Totals>, otherwise: &'static str) {
        let Some(mut connection) = self.connections.remove(&cookie) else {
            return;
        };
        self.joiner.session_closed(&connection.addresses);
        connection.end(at, totals, &mut self.events);
        connection
            .session
            .record(&mut self.events, &mut self.recorder);
        let bytes = totals.map_or((connection.request_bytes, connection.response_bytes), |t| {
            (t.request_bytes, t.response_bytes)
        });
        let reason = connection.close_reason(otherwise);
        connection
            .session
            .close(at, reason, bytes, &mut self.recorder);
    }
}

impl Connection {
    fn request(
        &mut self,
        at: TimeNs,
        seq: u32,
        lost_bytes: u64,
        payload: &[u8],
        events: &mut Vec<Event>,
    ) {
        self.last_at = at;
        self.request_bytes += payload.len() as u64;
        let decoder = &mut self.session.decoder;
        let mut deliver = |output: Output<'_>| request_output(decoder, output, events);
        let newly_lost = lost_bytes.saturating_sub(self.request_lost);
        if newly_lost > 0 {
            // The server got what the ring had no room for: no use waiting for it.
            self.request_lost = lost_bytes;
            self.request.lost(newly_lost, GapCause::RingFull);
            self.request
                .skip_to(at, seq, GapCause::RingFull, &mut deliver);
        }
        self.request.segment(at, seq, payload, &mut deliver);
    }

    fn response(&mut self, response: &Response<'_>, events: &mut Vec<Event>) {
        let at = response.at;
        self.last_at = at;
        self.response_bytes += u64::from(response.seq_end.wrapping_sub(response.seq));
        // What the server acknowledges it has; a hole before that is one of ours.
        let decoder = &mut self.session.decoder;
        self.request
            .acknowledged(at, response.ack, GapCause::Missing, &mut |output| {
                request_output(decoder, output, events)
            });
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

    fn fin(&mut self, at: TimeNs, direction: Direction, reset: bool, seq: u32) {
        self.last_at = at;
        self.reset |= reset;
        self.first_fin.get_or_insert(direction);
        self.fins[direction as usize] = true;
        if direction == Direction::Request && !reset {
            self.request.fin(seq);
        }
    }

    fn flush(&mut self, at: TimeNs, events: &mut Vec<Event>) {
        let decoder = &mut self.session.decoder;
        self.request.flush(at, GapCause::Missing, &mut |output| {
            request_output(decoder, output, events)
        });
    }

    fn lost(
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
            let decoder = &mut self.session.decoder;
            let mut deliver = |output: Output<'_>| request_output(decoder, output, events);
            match self.request.next_seq() {
                Some(next) if self.request.waiting_bytes() == 0 => {
                    let end = next.wrapping_add(newly as u32);
                    self.request
                        .skip_to(at, end, GapCause::RingFull, &mut deliver);
                }
                _ => self.request.flush(at, GapCause::RingFull, &mut deliver),
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

    fn is_over(&self) -> bool {
        self.session.is_midstream() && (self.reset || self.fins == [true; 2])
    }

    fn end(&mut self, at: TimeNs, totals: Option<Totals>, events: &mut Vec<Event>) {
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

    fn close_reason(&self, otherwise: &'static str) -> &'static str {
        match (self.reset, self.first_fin) {
            (true, _) => "reset",
            (false, Some(Direction::Request)) => "client_closed",
            (false, Some(Direction::Response)) => "server_closed",
            (false, None) => otherwise,
        }
    }
}

fn request_output(decoder: &mut Decoder, output: Output<'_>, events: &mut Vec<Event>) {
    match output {
        Output::Bytes { at, bytes, .. } => decoder.data(Direction::Request, at, bytes, events),
        Output::Gap { at, bytes, cause } => {
            decoder.gap(Direction::Request, at, Some(bytes), cause, events)
        }
    }
}
