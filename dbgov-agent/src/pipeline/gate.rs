//! From verdicts to what the gate does: what is sent on, what ends, what waits for a person.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dbgov_common::gate::{FRAMED_TYPED, GateControl, GateState};

use super::connection::Connection;
use super::{Command, Pipeline};
use crate::config::PolicyMode;
use crate::gate::approvals::{self, Approver, Decision as Answer, Outcome as Ended, State};
use crate::gate::classes::{Class, Tail};
use crate::gate::flow::{Decision, Outcome, Step};
use crate::gate::gated::{ANSWERS_WAIT_NS, Cause, Gated, Refusing};
use crate::gate::inject::Ends;
use crate::gate::refusal;
use crate::judge::{Rulebook, Who};
use crate::policy::trigger::Words;
use crate::policy::{Action, AgentDown, Verdict};
use crate::protocol::{Direction, Event, Request, TimeNs, Via};
use crate::session::{Judgement, Recorder};

/// What the pipeline wants the gate to do.
#[derive(Debug, Clone)]
pub enum GateCommand {
    /// Give the kernel this automaton.
    Load { slot: u8, words: Arc<Words> },
    /// Look at a connection so from now on.
    Control { cookie: u64, control: GateControl },
    /// Send these request bytes to the server.
    Release {
        to: Target,
        seq: u32,
        ack: u32,
        window: u16,
        payload: Vec<u8>,
        /// A message ends with them.
        ends_message: bool,
        /// The client's end of its side, after them.
        fin: bool,
    },
    /// End the connection at both sides.
    Refuse {
        to: Target,
        /// What the server's TCP expects next.
        request_seq: u32,
        /// What the client's TCP expects next, where the agent has followed that.
        response_seq: Option<u32>,
        /// Told to the client before.
        message: Option<Vec<u8>>,
    },
}

/// The connection a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub cookie: u64,
    /// Of the server's socket, where the kernel tells it.
    pub netns_cookie: Option<u64>,
    pub ends: Ends,
}

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

    /// Nobody can decide any more: behind a gate that stays a statement waits for the next agent, otherwise it comes in.
    pub(super) fn stop_waiting(&mut self, at: TimeNs, gate_stays: bool) {
        for outcome in self.approvals.give_up(at) {
            if !gate_stays {
                self.record_outcome(&outcome);
            }
        }
        for gated in self
            .connections
            .values_mut()
            .filter_map(|c| c.gated.as_mut())
        {
            gated.waiting = None;
        }
    }

    /// Statements that wait for a person's decision.
    pub fn approvals(&self, now: TimeNs) -> Vec<approvals::Listed> {
        self.approvals.list(now)
    }

    /// A person has decided.
    pub fn decide(
        &mut self,
        id: &approvals::ApprovalId,
        answer: Answer,
        approver: Approver,
        reason: Option<String>,
        now: TimeNs,
    ) -> Result<Ended, approvals::ApprovalError> {
        let outcome = self.approvals.decide(id, answer, approver, reason, now)?;
        self.approval_ended(&outcome);
        Ok(outcome)
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

    /// A connection that is none of ours, on a governed port in another network namespace.
    pub(super) fn let_alone(&mut self, cookie: u64) {
        if self.is_enforcing() {
            self.control(cookie, &Class::passing());
        }
    }

    fn control(&mut self, cookie: u64, class: &Class) {
        self.control_generation = self.control_generation.wrapping_add(1);
        let control = GateControl {
            class: class.class,
            slot: class.slot,
            pad: 0,
            generation: self.control_generation,
        };
        let control = GateCommand::Control { cookie, control };
        self.commands.push(Command::Gate(control));
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
            gated.refusing = Some(Refusing {
                number: None,
                since: now,
                cause: Some(Cause {
                    rule: "(unseen)".into(),
                    reason: Some("the beginning of the statement was not seen".into()),
                    approval_timeout: Duration::ZERO,
                }),
                flushed_bytes: 0,
            });
        }
    }

    /// Decides anew how the kernel looks at a connection.
    pub(super) fn classify(&mut self, cookie: u64) {
        let Some(rulebook) = self.recorder.rulebook.clone() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let session = &connection.session;
        let Some(gated) = &mut connection.gated else {
            return;
        };
        let facts = Arc::clone(session.decoder.facts());
        // Not before it is known who is there; of a session whose start was not seen that may never be.
        let followed = session.decoder.is_followed();
        if facts.user.is_none() && followed && !session.is_midstream() {
            return;
        }
        let class = if !followed {
            // Nothing in it can be read; whether it may go on at all was decided when that was found.
            Class::passing()
        } else {
            let evidence = session.evidence();
            let who = Who {
                identity: evidence.as_deref(),
                client_addr: session.client_addr.ip(),
                facts: &facts,
                midstream: session.is_midstream(),
                role_may_change: true,
                settings_may_change: true,
                unix_ns: 0,
            };
            let path = who.search_path();
            self.classes.of(&rulebook.policy, &who.context(&path))
        };
        for (slot, words) in self.classes.take_to_load() {
            let load = GateCommand::Load { slot, words };
            self.commands.push(Command::Gate(load));
        }
        if gated
            .class
            .as_ref()
            .is_some_and(|known| known.is_same(&class))
        {
            return;
        }
        let class = gated.set_class(class);
        self.control(cookie, &class);
    }

    /// Holds all of a connection that has prepared what has to be looked at when it runs.
    fn restrict(&mut self, cookie: u64) {
        let class = self
            .connections
            .get_mut(&cookie)
            .and_then(|connection| connection.gated.as_mut())
            .and_then(Gated::restrict);
        if let Some(class) = class {
            self.control(cookie, &class);
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
                gated.refusing = Some(Refusing {
                    number: None,
                    since: self.recorder.now(),
                    cause: Some(cause(verdict)),
                    flushed_bytes: 0,
                });
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
            gated.will_wait(request, cause(verdict));
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
        let Connection { session, gated, .. } = connection;
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
        let release = GateCommand::Release {
            to,
            seq,
            ack: gated.ack,
            window: gated.window,
            payload: payload.to_vec(),
            ends_message: resumes,
            fin: false,
        };
        self.commands.push(Command::Gate(release));
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
        let release = GateCommand::Release {
            to,
            seq,
            ack: gated.ack,
            window: gated.window,
            payload: Vec::new(),
            ends_message: true,
            fin: true,
        };
        self.commands.push(Command::Gate(release));
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

    /// The connection has ended under whatever waited.
    pub(super) fn gave_up(&mut self, cookie: u64, at: TimeNs) {
        if let Some(outcome) = self.approvals.client_gone(cookie, at) {
            self.record_outcome(&outcome);
        }
        if let Some(connection) = self.connections.get_mut(&cookie)
            && let Some(gated) = &mut connection.gated
            && let Some(waiting) = gated.waiting.take()
        {
            connection.session.decoder.refuse(waiting.number);
            gated.closed = true;
        }
    }

    /// A client wants what runs in this backend interrupted. The server knows nothing of a statement that waits here.
    fn cancelled(&mut self, backend_pid: u32, server_addr: SocketAddr) {
        let waits = self.connections.iter().find(|(_, connection)| {
            let gated = connection.gated.as_ref();
            gated.is_some_and(|gated| gated.waiting.is_some())
                && connection.session.server_addr == server_addr
                && connection.session.decoder.facts().backend_pid == Some(backend_pid)
        });
        let Some(cookie) = waits.map(|(cookie, _)| *cookie) else {
            return;
        };
        let now = self.recorder.now();
        if let Some(outcome) = self.approvals.client_gone(cookie, now) {
            self.record_outcome(&outcome);
            self.deny(cookie, "its client cancelled it");
        }
    }

    /// Whoever waited for a decision has gone: nothing of it is to run.
    fn client_gone(&mut self, cookie: u64) {
        let now = self.recorder.now();
        if let Some(outcome) = self.approvals.client_gone(cookie, now) {
            self.approval_ended(&outcome);
        }
    }

    fn wait(&mut self, cookie: u64, number: u64) {
        let now = self.recorder.now();
        let Some(Connection { session, gated, .. }) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Some(gated) = gated else { return };
        if gated.waiting.is_some() {
            return;
        }
        let Some(waiting) = gated.take_waiting(number) else {
            return;
        };
        let cause = waiting.cause.clone();
        let facts = session.decoder.facts();
        let request = approvals::Request {
            cookie,
            session: session.id().to_owned(),
            requester: session.requester(),
            user: facts.user.clone(),
            database: facts.database.clone(),
            rule: cause.rule.to_string(),
            reason: cause.reason.as_deref().map(str::to_owned),
            statement: waiting.statement.clone(),
        };
        let timeout_ns = u64::try_from(cause.approval_timeout.as_nanos()).unwrap_or(u64::MAX);
        gated.waiting = Some(waiting);
        match self.approvals.open(request, now, timeout_ns) {
            Ok(id) => {
                session.change_verdict(number, |block| block.approval = Some(id.as_str().into()));
                if let Some(block) = self.approvals.pending_block(cookie) {
                    session.approval(now, block, &mut self.recorder);
                }
            }
            // Nobody could answer it in time: refused, and said so.
            Err(error) => {
                tracing::warn!(%error, "a statement cannot wait for approval and is refused");
                self.deny(cookie, "too many statements wait for approval");
            }
        }
    }

    fn approval_ended(&mut self, outcome: &Ended) {
        self.record_outcome(outcome);
        let cookie = outcome.request.cookie;
        match outcome.state {
            State::Approved => {
                let Some(connection) = self.connections.get_mut(&cookie) else {
                    return;
                };
                if let Some(gated) = &mut connection.gated
                    && let Some(waiting) = gated.waiting.take()
                {
                    gated.flow.settle(waiting.number, Outcome::Pass);
                }
                self.advance(cookie);
            }
            State::ClientGone => {
                let now = self.recorder.now();
                if let Some(connection) = self.connections.get_mut(&cookie)
                    && let Some(gated) = &mut connection.gated
                    && let Some(waiting) = gated.waiting.take()
                {
                    connection.session.decoder.refuse(waiting.number);
                    gated.refusing = Some(Refusing {
                        number: Some(waiting.number),
                        since: now,
                        cause: None,
                        flushed_bytes: 0,
                    });
                }
                self.refuse(cookie);
            }
            _ => self.deny(cookie, &outcome.refusal()),
        }
    }

    fn record_outcome(&mut self, outcome: &Ended) {
        if let Some(connection) = self.connections.get_mut(&outcome.request.cookie) {
            connection
                .session
                .approval(outcome.ended, outcome.block(), &mut self.recorder);
        }
    }

    /// The message that waits was not approved: its text is replaced where it can be, else the connection ends.
    fn deny(&mut self, cookie: u64, why: &str) {
        let Some(Connection { session, gated, .. }) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Some(gated) = gated else { return };
        let Some(waiting) = gated.waiting.take() else {
            return;
        };
        let number = waiting.number;
        let rewrite = match waiting.text_at {
            Some(_) => usize::try_from(waiting.statement.bytes)
                .ok()
                .and_then(|bytes| refusal::reject_text(bytes, &waiting.cause.rule, Some(why))),
            None => None,
        };
        let outcome = rewrite.map_or(Outcome::Reset, Outcome::Rewrite);
        let action = match outcome {
            Outcome::Reset => Action::Reset,
            _ => Action::Reject,
        };
        session.change_verdict(number, |block| {
            block.action = action.name();
            block.wanted = Some(Action::Hold.name());
        });
        gated.change_reason(number, why);
        gated.flow.settle(number, outcome);
        self.advance(cookie);
    }

    fn begin_refusal(&mut self, cookie: u64, number: u64, wanted_reject: bool) {
        let now = self.recorder.now();
        let Some(Connection { session, gated, .. }) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Some(gated) = gated else { return };
        session.decoder.refuse(number);
        let came_at = gated.came_at(number).unwrap_or(now);
        session.change_verdict(number, |block| {
            block.held_us = Some(now.saturating_sub(came_at) / 1000);
            if wanted_reject || block.action == Action::Reject.name() {
                block.action = Action::Reset.name();
                block.wanted.get_or_insert(Action::Reject.name());
            }
        });
        gated.refusing = Some(Refusing {
            number: Some(number),
            since: now,
            cause: gated.cause(number),
            flushed_bytes: 0,
        });
        self.refuse(cookie);
    }

    /// Ends a connection, once the messages before the refused one are answered or have had their time.
    pub(super) fn refuse(&mut self, cookie: u64) {
        let now = self.recorder.now();
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let to = connection.target(cookie);
        let response_seq = connection.response_seq;
        let Connection { session, gated, .. } = connection;
        let Some(gated) = gated else { return };
        if gated.closed {
            return;
        }
        let at_boundary = gated.flow.is_between_messages();
        let released = gated.seq(gated.flow.released());
        let Some(refusing) = &mut gated.refusing else {
            return;
        };
        let outstanding = refusing
            .number
            .is_some_and(|number| session.decoder.is_answer_outstanding_before(number));
        let Some(released) = released else {
            return;
        };
        if outstanding && now.saturating_sub(refusing.since) < ANSWERS_WAIT_NS {
            // The server keeps the answers of an extended pipeline until Sync or Flush. Only between messages: in one
            // the bytes would complete it.
            if at_boundary && refusing.flushed_bytes == 0 {
                refusing.flushed_bytes = FLUSH.len() as u32;
                let flush = GateCommand::Release {
                    to,
                    seq: released,
                    ack: gated.ack,
                    window: gated.window,
                    payload: FLUSH.to_vec(),
                    ends_message: false,
                    fin: false,
                };
                self.commands.push(Command::Gate(flush));
            }
            return;
        }
        let utf8 = session.decoder.facts().encoding.as_deref() == Some("UTF8");
        let message = refusing
            .cause
            .as_ref()
            .map(|cause| refusal::fatal(&cause.rule, cause.reason.as_deref(), utf8));
        let refuse = GateCommand::Refuse {
            to,
            request_seq: released.wrapping_add(refusing.flushed_bytes),
            response_seq,
            message,
        };
        gated.closed = true;
        self.commands.push(Command::Gate(refuse));
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
            gated.refusing = Some(Refusing {
                number: None,
                since: self.last_at,
                cause: None,
                flushed_bytes: 0,
            });
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

/// Flush (PostgreSQL documentation 55.7).
const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];

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
                (Some(_), Some(text)) => usize::try_from(text.bytes).ok().and_then(|bytes| {
                    refusal::reject_text(bytes, &verdict.rule, verdict.reason.as_deref())
                }),
                _ => None,
            };
            text.map_or(Outcome::Reset, Outcome::Rewrite)
        }
    }
}
