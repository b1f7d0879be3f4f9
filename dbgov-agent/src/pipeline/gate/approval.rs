//! Statements that wait for a person.

use std::net::SocketAddr;

use crate::gate::approvals::{self, Approver, Decision as Answer, Outcome as Ended, State};
use crate::gate::flow::Outcome;
use crate::gate::gated::Refusing;
use crate::gate::refusal;
use crate::pipeline::Pipeline;
use crate::pipeline::connection::Connection;
use crate::policy::Action;
use crate::protocol::TimeNs;

impl Pipeline {
    /// Nobody can decide any more: behind a gate that stays a statement waits for the next agent, otherwise it comes in.
    pub(in crate::pipeline) fn stop_waiting(&mut self, at: TimeNs, gate_stays: bool) {
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

    /// The connection has ended under whatever waited.
    pub(in crate::pipeline) fn gave_up(&mut self, cookie: u64, at: TimeNs) {
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
    pub(super) fn cancelled(&mut self, backend_pid: u32, server_addr: SocketAddr) {
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
    pub(super) fn client_gone(&mut self, cookie: u64) {
        let now = self.recorder.now();
        if let Some(outcome) = self.approvals.client_gone(cookie, now) {
            self.approval_ended(&outcome);
        }
    }

    pub(super) fn wait(&mut self, cookie: u64, number: u64) {
        let now = self.recorder.now();
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Connection { session, gated, .. } = &mut **connection;
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

    pub(super) fn approval_ended(&mut self, outcome: &Ended) {
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
                    gated.refusing = Some(Refusing::message(waiting.number, now, None));
                }
                self.refuse(cookie);
            }
            _ => self.deny(cookie, &outcome.refusal()),
        }
    }

    pub(super) fn record_outcome(&mut self, outcome: &Ended) {
        if let Some(connection) = self.connections.get_mut(&outcome.request.cookie) {
            connection
                .session
                .approval(outcome.ended, outcome.block(), &mut self.recorder);
        }
    }

    /// The message that waits was not approved: its text is replaced where it can be, else the connection ends.
    fn deny(&mut self, cookie: u64, why: &str) {
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Connection { session, gated, .. } = &mut **connection;
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
}
