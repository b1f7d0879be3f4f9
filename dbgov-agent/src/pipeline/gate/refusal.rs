//! The end of a connection that is refused.

use super::command::{GateCommand, Release};
use crate::gate::gated::{ANSWERS_WAIT_NS, Refusing};
use crate::gate::refusal;
use crate::pipeline::Pipeline;
use crate::pipeline::connection::Connection;
use crate::policy::Action;

/// Flush (PostgreSQL documentation 55.7).
const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];

impl Pipeline {
    pub(super) fn begin_refusal(&mut self, cookie: u64, number: u64, wanted_reject: bool) {
        let now = self.recorder.now();
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let Connection { session, gated, .. } = &mut **connection;
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
        let cause = gated.cause(number);
        gated.refusing = Some(Refusing::message(number, now, cause));
        self.refuse(cookie);
    }

    /// Ends a connection, once the messages before the refused one are answered or have had their time.
    pub(in crate::pipeline) fn refuse(&mut self, cookie: u64) {
        let now = self.recorder.now();
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let to = connection.target(cookie);
        let response_seq = connection.response_seq;
        let Connection { session, gated, .. } = &mut **connection;
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
                let flush = Release::new(to, released, gated, FLUSH.to_vec());
                self.tell_gate(GateCommand::Release(flush));
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
        self.tell_gate(refuse);
    }
}
