//! The life of connections: how each begins, what time brings, how each ends.

use std::collections::HashSet;
use std::sync::Arc;

use dbgov_common::gate::FRAMED_STARTUP;

use super::connection::Connection;
use super::{Command, Pipeline, gate};
use crate::capture::discover::existing::ExistingConnection;
use crate::capture::event::{Ends, Totals};
use crate::gate::gated::Gated;
use crate::identity::Process;
use crate::identity::joiner::Connection as Addresses;
use crate::protocol::TimeNs;
use crate::protocol::postgres::{Decoder, Joined};
use crate::session::Session;
use crate::stream::{Reassembler, Start};

/// How long early request bytes wait for a packet that is missing. The kernel saw every packet the server got, so
/// that a hole this old will not be filled.
const HOLE_TIMEOUT_NS: TimeNs = 2_000_000_000;
/// A connection joined mid-stream whose FINs have passed is closed after so long without a further event.
const FIN_TIMEOUT_NS: TimeNs = 1_000_000_000;

impl Pipeline {
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

    pub(super) fn ignored(&mut self, cookie: u64, netns_cookie: Option<u64>, port: u16) -> bool {
        let ignored = !self.governed.has(netns_cookie, port);
        if ignored {
            self.commands.push(Command::Ignore { cookie });
            self.let_alone(cookie);
        }
        ignored
    }

    pub(super) fn open(
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

    pub(super) fn close(
        &mut self,
        cookie: u64,
        at: TimeNs,
        totals: Option<Totals>,
        otherwise: &'static str,
    ) {
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
