//! Wires the stages: captured events in, audit records out. It knows neither aya nor the disk: what it wants of the
//! kernel and of the host it says as [`Command`]s.

mod connection;
mod early;
mod ended;
mod ends;
mod gate;
mod governed;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dbgov_common::gate::{FRAMED_STARTUP, GateState};

use connection::Connection;
use early::{Early, FirstRequest};
pub use ended::Client;
use ends::Known;
pub use gate::{GateCommand, Release, Target};
pub use governed::Governed;

use crate::capture::discover::existing::ExistingConnection;
use crate::capture::event::{Captured, Ends, Totals};
use crate::clock::Clock;
use crate::gate::approvals::Approvals;
use crate::gate::classes::Classes;
use crate::gate::gated::Gated;
use crate::identity::Process;
use crate::identity::joiner::{Connection as Addresses, Joiner};
use crate::protocol::postgres::{Decoder, Joined, Limits, TailTrigger};
use crate::protocol::{Direction, Event, GapCause, TimeNs};
use crate::session::{Recorder, Session};
use crate::stream::{Reassembler, Start};

/// Events for which memory is kept; what is given up at once may be a hundred thousand.
const EVENTS_KEPT: usize = 1024;
/// How long early request bytes wait for a packet that is missing. The kernel saw every packet the server got, so
/// that a hole this old will not be filled.
const HOLE_TIMEOUT_NS: TimeNs = 2_000_000_000;
/// A connection joined mid-stream whose FINs have passed is closed after so long without a further event.
const FIN_TIMEOUT_NS: TimeNs = 1_000_000_000;

/// What the pipeline wants done.
#[derive(Debug, Clone)]
pub enum Command {
    Gate(GateCommand),
    /// Stop copying for a connection that is not a governed server's.
    Ignore {
        cookie: u64,
    },
    /// Forget a connection whose end the kernel could not tell.
    Forget {
        cookie: u64,
    },
    /// Find out who is behind connections that are older than the agent.
    LookUpExisting,
}

/// The live pipeline.
pub struct Pipeline {
    /// By the cookie of the server's socket, which the kernel chose: nobody can make them collide. Boxed, as a connection
    /// is 2.5 KB and half of a table that has grown is empty.
    connections: HashMap<u64, Box<Connection>, foldhash::fast::RandomState>,
    early: Early,
    joiner: Joiner<u64>,
    governed: Governed,
    known: Known,
    limits: Limits,
    recorder: Recorder,
    events: Vec<Event>,
    commands: Vec<Command>,
    /// sock_ops tells the namespace of both ends.
    netns_cookies: bool,
    opened: u64,
    classes: Classes,
    control_generation: u32,
    approvals: Approvals,
    /// Looks at what is behind the kept head of a long text.
    tail: Option<Arc<dyn TailTrigger>>,
    /// Of the look at clients: up to when, and to which connection.
    looked: (TimeNs, u64),
    /// What an earlier agent's gate knew of connections.
    adopted: HashMap<u64, GateState>,
}

impl Pipeline {
    pub fn new(limits: Limits, clock: Clock, netns_cookies: bool) -> Self {
        Pipeline {
            connections: HashMap::default(),
            early: Early::default(),
            joiner: Joiner::default(),
            governed: Governed::default(),
            known: Known::default(),
            limits,
            recorder: Recorder::new(clock),
            events: Vec::new(),
            commands: Vec::new(),
            netns_cookies,
            opened: 0,
            classes: Classes::default(),
            control_generation: 0,
            approvals: Approvals::new(0),
            tail: None,
            looked: (0, 0),
            adopted: HashMap::new(),
        }
    }

    /// When the agent started, nanoseconds since 1970: what waited under another one has another id.
    pub fn started(&mut self, unix_ns: u64) {
        self.approvals = Approvals::new(unix_ns / 1_000_000_000);
    }

    /// What a gate that is older than this agent knows of its connections.
    pub fn adopt(&mut self, gates: impl Iterator<Item = (u64, GateState)>) {
        self.adopted = gates.filter(|(_, gate)| gate.synced != 0).collect();
        // The kernel must see that the next generation is another.
        let generations = self.adopted.values().map(|gate| gate.generation);
        self.control_generation = generations.max().unwrap_or(0);
    }

    /// Whether connections are still to be taken over from such a gate.
    pub fn has_adopted(&self) -> bool {
        !self.adopted.is_empty()
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
                if let Some(first) = self.early.opened(ends, cookie) {
                    self.first_request(cookie, first);
                }
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
                ack,
                lost_bytes,
                payload,
                held,
                shared,
            } => {
                if held.is_some() && !self.connections.contains_key(&cookie) {
                    // Of a connection that a look at the host has not shown: its client waits, and sends it again.
                    self.commands.push(Command::LookUpExisting);
                }
                let again = self
                    .connections
                    .get_mut(&cookie)
                    .and_then(|connection| connection.held(seq, ack, payload, held));
                if let Some(range) = again {
                    self.send_again(cookie, range);
                }
                self.with(cookie, |connection, events| {
                    connection.request(at, seq, lost_bytes, payload, held.is_some(), events);
                    if shared && held.is_none() {
                        events.push(shared_pages(at, payload));
                    }
                });
            }
            Captured::FirstRequest {
                at,
                ends,
                seq,
                missing_bytes,
                shared,
                payload,
            } => {
                let first = FirstRequest {
                    at,
                    seq,
                    missing_bytes,
                    shared,
                    payload: payload.into(),
                };
                match self.early.connection(&ends) {
                    Some(cookie) if self.connections.contains_key(&cookie) => {
                        self.first_request(cookie, first);
                    }
                    _ => self.early.wait(ends, first),
                }
            }
            Captured::Response(response) => {
                self.with(response.cookie, |connection, events| {
                    connection.response(&response, events)
                });
            }
            // What passed was told when it was held.
            Captured::Released { .. } => {}
            Captured::Fin {
                cookie,
                at,
                direction,
                reset,
                seq,
                held,
            } => {
                self.with(cookie, |connection, _| {
                    connection.fin(at, direction, reset, seq)
                });
                if held.is_some() {
                    self.held_fin(cookie, seq);
                } else if reset && direction == Direction::Request {
                    self.gave_up(cookie, at);
                }
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
                match self.joiner.client_established(cookie, addresses, at) {
                    Some((session, process)) => {
                        if let Some(connection) = self.connections.get_mut(&session) {
                            connection.session.set_client(process);
                        }
                    }
                    None => {
                        let waiting = self.joiner.waiting(&addresses);
                        self.local_client(ends.local, waiting);
                    }
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

    /// The clients of open sessions that are wanted.
    pub fn clients(&self, wanted: impl Fn(&Process) -> bool) -> Vec<Arc<Process>> {
        let sessions = self.connections.values().map(|c| &c.session);
        let clients = sessions.filter_map(|session| session.client.as_ref());
        clients.filter(|client| wanted(client)).cloned().collect()
    }

    /// Calls the clients of open sessions otherwise from now on. `of` says how, or `None` for as before.
    pub fn rename(&mut self, at: TimeNs, of: impl Fn(&Arc<Process>) -> Option<Arc<Process>>) {
        let named: Vec<(u64, Arc<Process>)> = self
            .connections
            .iter()
            .filter_map(|(cookie, connection)| {
                Some((*cookie, of(connection.session.client.as_ref()?)?))
            })
            .collect();
        for (cookie, process) in named {
            if let Some(connection) = self.connections.get_mut(&cookie) {
                connection.session.rename_client(process, at);
            }
            self.classify(cookie);
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
        self.tick_gate(now);
        self.early.expire(now);
        let late: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| {
                // Under the gate nothing passes over a hole: the client will fill it.
                c.gated.is_none()
                    && c.request
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

    /// Ends every session, because the agent does. `gate_stays`: what is held goes on being held without it.
    pub fn stop(&mut self, at: TimeNs, gate_stays: bool) {
        self.stop_waiting(at, gate_stays);
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for cookie in all {
            self.close(cookie, at, None, "agent_stop");
        }
    }

    fn ignored(&mut self, cookie: u64, netns_cookie: Option<u64>, port: u16) -> bool {
        let ignored = !self.governed.has(netns_cookie, port);
        if ignored {
            self.commands.push(Command::Ignore { cookie });
            self.let_alone(cookie);
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
        let adopted = self.adopted.remove(&cookie).filter(|_| midstream);
        let start = adopted.map_or(start, |gate| Start::At(gate.passed));
        let joined = match adopted {
            _ if !midstream => Joined::Start,
            // Not even its start-up packet has passed.
            Some(gate) if gate::stands_at(&gate, FRAMED_STARTUP) => Joined::Start,
            _ => Joined::Midstream,
        };
        let mut decoder = Decoder::new(joined, self.limits.clone());
        decoder.set_trigger(self.tail.clone());
        let id = format!("{:x}-{cookie:x}", self.recorder.clock.unix_ns(at));
        let mut session = Session::new(id, decoder, ends.remote, ends.local, midstream, at);
        self.introduce(&mut session, netns_cookie);
        let netns = netns_cookie.filter(|_| self.netns_cookies);
        let addresses = Addresses::new(ends.remote, ends.local, netns);
        if let Some(process) = self.joiner.session_opened(addresses, cookie, at).process {
            session.set_client(process);
        }
        self.opened += 1;
        let start_seq = match start {
            Start::At(seq) => Some(seq),
            Start::Unknown => None,
        };
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
            netns_cookie,
            gated: self.is_enforcing().then(|| Gated::new(start_seq)),
            boundary: None,
        };
        self.connections.insert(cookie, Box::new(connection));
        if let Some(adopted) = adopted {
            self.take_over(cookie, &adopted, at);
        }
        if midstream {
            self.classify(cookie);
        }
    }

    /// Request bytes that came with the handshake.
    fn first_request(&mut self, cookie: u64, first: FirstRequest) {
        self.with(cookie, |connection, events| {
            connection.request(first.at, first.seq, 0, &first.payload, false, events);
            if first.shared {
                events.push(shared_pages(first.at, &first.payload));
            }
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
            self.events.shrink_to(EVENTS_KEPT);
        }
        self.gate(cookie);
    }

    fn close(&mut self, cookie: u64, at: TimeNs, totals: Option<Totals>, otherwise: &'static str) {
        self.gave_up(cookie, at);
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

/// What the server read may be another text.
fn shared_pages(at: TimeNs, payload: &[u8]) -> Event {
    Event::Gap {
        at,
        direction: Direction::Request,
        bytes: Some(payload.len() as u64),
        cause: GapCause::SharedPages,
    }
}

#[cfg(test)]
mod tests;
