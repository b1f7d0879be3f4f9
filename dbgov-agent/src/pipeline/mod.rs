//! Wires the stages: captured events in, audit records out. It knows neither aya nor the disk: what it wants of the
//! kernel and of the host it says as [`Command`]s. `dispatch` takes the events, `life` begins and ends connections.

mod connection;
mod dispatch;
mod early;
mod ended;
mod ends;
mod gate;
mod governed;
mod life;

use std::collections::HashMap;
use std::sync::Arc;

use dbgov_common::gate::GateState;

use connection::Connection;
use early::Early;
pub use ended::Client;
use ends::Known;
pub use gate::{GateCommand, Release, Target};
pub use governed::Governed;

use crate::clock::Clock;
use crate::gate::approvals::Approvals;
use crate::gate::classes::Classes;
use crate::identity::Process;
use crate::identity::joiner::Joiner;
use crate::protocol::postgres::{Limits, TailTrigger};
use crate::protocol::{Event, TimeNs};
use crate::session::Recorder;

/// Events for which memory is kept; what is given up at once may be a hundred thousand.
const EVENTS_KEPT: usize = 1024;
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
}

#[cfg(test)]
mod tests;
