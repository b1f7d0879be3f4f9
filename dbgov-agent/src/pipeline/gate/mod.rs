//! From verdicts to what the gate does: what is sent on, what ends, what waits for a person.

mod approval;
mod class;
mod command;
mod refusal;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dbgov_common::gate::{FRAMED_TYPED, GateState};

pub use self::command::{GateCommand, Release, Target};
use super::connection::Connection;
use super::{Command, Pipeline};
use crate::config::PolicyMode;
use crate::gate::classes::Tail;
use crate::gate::flow::{Decision, Outcome, Step};
use crate::gate::gated::{Cause, Gated, Refusing};
use crate::gate::refusal::reject_text;
use crate::judge::Rulebook;
use crate::policy::{Action, AgentDown, Verdict};
use crate::protocol::{Direction, Event, Request, TimeNs, Via};
use crate::session::{Judgement, Recorder};

impl Pipeline {
    /// Puts a policy in force, also for the connections that are there.
    pub fn set_rulebook(&mut self, rulebook: Rulebook) {
        self.tail = Tail::of(&rulebook.policy);
        self.classes = self.classes.successor();
        self.limits.tell_requests = true;
        self.recorder.rulebook = Some(Arc::new(rulebook));
        let cookies: Vec<u64> = self.connections.keys().copied().collect();
        for cookie in cookies {
            if let Some(connection) = self.connections.get_mut(&cookie) {
                connection.session.decoder.set_trigger(self.tail.clone());
            }
            self.classify(cookie);
        }
    }

    fn tell_gate(&mut self, command: GateCommand) {
        self.commands.push(Command::Gate(command));
    }

    pub fn rulebook(&self) -> Option<&Arc<Rulebook>> {
        self.recorder.rulebook.as_ref()
    }

    /// Verdicts are carried out; set before the first connection.
    pub fn enforce(&mut self) {
        self.recorder.mode = PolicyMode::Enforce;
    }

    pub fn is_enforcing(&self) -> bool {
        self.recorder.mode == PolicyMode::Enforce
    }

    /// The gate was taken away: from now on verdicts are recorded only. What is held comes in with the clients'
    /// retransmissions.
    pub fn gate_off(&mut self, at: TimeNs) {
        self.recorder.mode = PolicyMode::Observe;
        for connection in self.connections.values_mut() {
            connection.gated = None;
        }
        for outcome in self.approvals.give_up(at) {
            self.record_outcome(&outcome);
        }
    }

    /// What time brings to the gate.
    pub(super) fn tick_gate(&mut self, now: TimeNs) {
        for outcome in self.approvals.expire(now) {
            self.approval_ended(&outcome);
        }
        let refusing: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| c.gated.as_ref().is_some_and(|g| g.refusing.is_some()))
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in refusing {
            self.refuse(cookie);
        }
    }

    /// A connection that an earlier agent's gate held: goes on where that has let it.
    pub(super) fn take_over(&mut self, cookie: u64, adopted: &GateState, at: TimeNs) {
        let now = self.recorder.now();
        let closed = self
            .recorder
            .rulebook
            .as_ref()
            .is_some_and(|rules| rules.policy.settings.on_agent_down == AgentDown::Closed);
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        if stands_at(adopted, FRAMED_TYPED) {
            let decoder = &mut connection.session.decoder;
            decoder.request_boundary(at, &mut self.events);
            connection
                .session
                .record(&mut self.events, &mut self.recorder);
            return;
        }
        // Where messages begin is not known of a connection that is older than the gate: it is read as such.
        if adopted.framed != FRAMED_TYPED {
            return;
        }
        let Some(gated) = &mut connection.gated else {
            return;
        };
        let runs_nothing = adopted.header_have == 0 && RUN_NOTHING.contains(&adopted.header[0]);
        if adopted.header_have == 0 {
            connection.boundary = Some(adopted.boundary);
        }
        if runs_nothing {
            gated.told_unseen = true;
        } else if closed {
            // The beginning of this message has passed: nobody can judge the whole any more. (An open gate lets pass
            // what comes meanwhile in any case.)
            let unseen = Cause {
                rule: "(unseen)".into(),
                reason: Some("the beginning of the statement was not seen".into()),
                approval_timeout: Duration::ZERO,
            };
            gated.refusing = Some(Refusing::connection(now, Some(unseen)));
        }
    }

    /// Behind whatever happened on a connection: judges what was asked, and lets go what may.
    pub(super) fn gate(&mut self, cookie: u64) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        if connection.gated.is_some() {
            connection.judge_what_is_held(&mut self.events, &mut self.recorder);
        }
        let judged = connection.session.take_judged();
        let changed = connection.session.take_changed();
        if let Some(backend_pid) = connection.session.take_cancels() {
            let server_addr = connection.session.server_addr;
            self.cancelled(backend_pid, server_addr);
        }
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        if connection.gated.is_none() {
            return;
        }
        if changed {
            self.classify(cookie);
        }
        for judgement in judged {
            self.judged(cookie, &judgement);
        }
        self.restrict(cookie);
        self.advance(cookie);
    }

    fn judged(&mut self, cookie: u64, judgement: &Judgement) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Some(gated) = &mut connection.gated else {
            return;
        };
        let verdict = &judgement.judged.verdict;
        let Some(request) = &judgement.request else {
            if verdict.action.stops() && gated.refusing.is_none() {
                let now = self.recorder.now();
                gated.refusing = Some(Refusing::connection(now, Some(cause(verdict))));
            }
            return;
        };
        let passed = request.end <= gated.flow.released();
        let prepares = request.via == Via::Prepare || judgement.judged.prepares;
        if prepares && (passed || !verdict.action.stops()) {
            gated.prepared(request, judgement.judged.prepares);
        }
        if judgement.judged.held_when_run {
            gated.distrust_prepared();
        }
        if passed {
            if verdict.action.stops() {
                connection.session.unenforced(judgement, &mut self.recorder);
            }
            return;
        }
        let outcome = match gated.runs_nothing(request) {
            true => Outcome::Pass,
            false => outcome(verdict, request),
        };
        if request.via == Via::Prepare && matches!(outcome, Outcome::Rewrite(_)) {
            gated.rejected(request);
        }
        if outcome != Outcome::Pass {
            gated.remember_cause(request.number, cause(verdict));
        }
        if outcome == Outcome::Hold {
            let facts = judgement.judged.facts.as_deref();
            let shown = connection
                .session
                .shown_text(request, facts, &self.recorder);
            gated.will_wait(request, shown.as_ref(), cause(verdict));
        }
        gated.held_since(request.number, request.end, request.at);
        gated.flow.decide(Decision {
            number: request.number,
            span: request.start..request.end,
            text_at: request.text_at,
            outcome,
        });
    }

    /// Lets go what may, and begins what has to be done about what may not.
    fn advance(&mut self, cookie: u64) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Some(gated) = &mut connection.gated else {
            return;
        };
        if gated.closed {
            return;
        }
        if gated.refusing.is_some() {
            return self.refuse(cookie);
        }
        let boundary = connection.boundary();
        let Some(gated) = &mut connection.gated else {
            return;
        };
        for step in gated.flow.advance(boundary) {
            match step {
                Step::Release {
                    range,
                    ends_message,
                } => self.release(cookie, range, ends_message),
                Step::Wait { number } => self.wait(cookie, number),
                Step::Refuse {
                    number,
                    wanted_reject,
                } => self.begin_refusal(cookie, number, wanted_reject),
            }
        }
        self.pass_fin(cookie);
    }

    fn release(&mut self, cookie: u64, range: Range<u64>, ends_message: bool) {
        let now = self.recorder.now();
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let to = connection.target(cookie);
        let Connection { session, gated, .. } = &mut **connection;
        let Some(gated) = gated else { return };
        for (number, came_at) in gated.let_go() {
            session.change_verdict(number, |block| {
                block.held_us = Some(now.saturating_sub(came_at) / 1000);
            });
        }
        let resumes = ends_message && gated.may_resume(|| session.decoder.may_stand_for("").texts);
        let (Some(seq), Some(payload)) = (gated.seq(range.start), gated.flow.bytes(range)) else {
            return;
        };
        let release = Release {
            ends_message: resumes,
            ..Release::new(to, seq, gated, payload.to_vec())
        };
        self.tell_gate(GateCommand::Release(release));
    }

    /// A held packet repeats what was released: TCP has not got it. It gets the released bytes again, not the packet's.
    pub(super) fn send_again(&mut self, cookie: u64, range: Range<u64>) {
        let ends_message = self.connections.get(&cookie).is_some_and(|connection| {
            // The beginning of a message was released too: behind that the rest of it stays held.
            range.end == connection.boundary()
                && connection.gated.as_ref().is_some_and(|gated| {
                    range.end == gated.flow.released() && !gated.flow.is_holding()
                })
        });
        self.release(cookie, range, ends_message);
    }

    /// The client has ended its side, and nothing of it is held any more.
    fn pass_fin(&mut self, cookie: u64) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let to = connection.target(cookie);
        let Some(gated) = &mut connection.gated else {
            return;
        };
        if gated.flow.is_holding() || gated.fin != Some(gated.flow.released()) {
            return;
        }
        let Some(seq) = gated.fin.take().and_then(|fin| gated.seq(fin)) else {
            return;
        };
        let release = Release {
            ends_message: true,
            fin: true,
            ..Release::new(to, seq, gated, Vec::new())
        };
        self.tell_gate(GateCommand::Release(release));
    }

    /// The client has ended its side; the kernel holds that packet.
    pub(super) fn held_fin(&mut self, cookie: u64, seq: u32) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Some(gated) = &mut connection.gated else {
            return;
        };
        gated.fin = gated.position(seq);
        if gated.waiting.is_some() {
            return self.client_gone(cookie);
        }
        self.advance(cookie);
    }
}

impl Connection {
    /// Where the first request message begins that is not complete.
    fn boundary(&self) -> u64 {
        match self.session.decoder.is_followed() {
            true => self.session.decoder.request_message_at(),
            // What cannot be read has no messages.
            false => self.gated.as_ref().map_or(0, Gated::end),
        }
    }

    /// Bytes that are held and in which no message is found.
    fn judge_what_is_held(&mut self, events: &mut Vec<Event>, recorder: &mut Recorder) {
        let Some(gated) = &mut self.gated else { return };
        if gated.refusing.is_some() || gated.closed {
            return;
        }
        if gated.broken {
            events.push(Event::ProtocolError {
                at: self.last_at,
                direction: Direction::Request,
                reason: "more was sent out of order, or behind a held message, than is kept",
            });
            self.session.record(events, recorder);
            gated.refusing = Some(Refusing::connection(self.last_at, None));
            return;
        }
        let decoder = &self.session.decoder;
        let readable = decoder.request_in_step() || !decoder.is_followed();
        if !readable && gated.flow.is_holding() && !gated.told_unseen {
            gated.told_unseen = true;
            self.session.judge_unseen(self.last_at, recorder);
        }
    }
}

/// Nothing of a message of this kind has passed that is not whole.
pub(super) fn stands_at(gate: &GateState, framed: u8) -> bool {
    gate.framed == framed && gate.boundary == gate.passed && gate.header_have == 0
}

/// Messages that run nothing by themselves, whatever is in them (PostgreSQL documentation 55.7): CopyData and Bind can be
/// long, passwords come before the first statement.
const RUN_NOTHING: [u8; 3] = [b'd', b'B', b'p'];

fn cause(verdict: &Verdict) -> Cause {
    Cause {
        rule: Arc::clone(&verdict.rule),
        reason: verdict.reason.clone(),
        approval_timeout: verdict.approval_timeout,
    }
}

/// What a verdict comes to for this message. Only a text that is in the message can be replaced.
fn outcome(verdict: &Verdict, request: &Request) -> Outcome {
    match verdict.action {
        Action::Allow | Action::Alert => Outcome::Pass,
        Action::Hold => Outcome::Hold,
        Action::Reset => Outcome::Reset,
        Action::Reject => {
            let text = match (request.text_at, request.texts.first()) {
                (Some(_), Some(text)) => usize::try_from(text.bytes)
                    .ok()
                    .and_then(|bytes| reject_text(bytes, &verdict.rule, verdict.reason.as_deref())),
                _ => None,
            };
            text.map_or(Outcome::Reset, Outcome::Rewrite)
        }
    }
}
