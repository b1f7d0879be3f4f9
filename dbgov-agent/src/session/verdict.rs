//! What the policy says of what was asked.

use std::sync::Arc;

use super::blocks::{name, options};
use super::{Recorder, Session};
use crate::audit::record::{ApprovalBlock, ErrorBlock, Kind, Record, StatementBlock, VerdictBlock};
use crate::judge::{Judged, Who};
use crate::policy::Message;
use crate::protocol::{Direction, Request, SessionFacts, TimeNs};

/// Verdicts that wait for the results of their messages: more than messages can wait for their answers.
const VERDICTS_MAX: usize = 1 << 18;

/// A verdict that waits for the result of its message.
pub(super) struct Noted {
    number: u64,
    block: Box<VerdictBlock>,
}

/// A message, or bytes that are none, with the verdict on it.
pub struct Judgement {
    /// Absent where the verdict is on the connection as it is: opaque, malformed.
    pub request: Option<Box<Request>>,
    pub judged: Judged,
}

impl Session {
    /// Takes what was judged since the last time.
    pub fn take_judged(&mut self) -> Vec<Judgement> {
        std::mem::take(&mut self.judged)
    }

    pub(super) fn judge(&mut self, request: Box<Request>, recorder: &mut Recorder) {
        let Some(rulebook) = recorder.rulebook.clone() else {
            return;
        };
        // What was decided but is never recorded: a Parse that succeeded. Its number is below that of what is answered.
        if self.verdicts.len() >= VERDICTS_MAX {
            self.verdicts.pop_front();
        }
        if self.decoder.is_ready_before(request.number) {
            self.settings_may_change = false;
        }
        let facts = Arc::clone(&request.session);
        let evidence = self.evidence();
        let who = self.who(evidence.as_deref(), &facts, recorder, request.at);
        let judged = rulebook.judge(&request, &who, &mut self.decoder, &mut recorder.facts);
        self.role_may_change |= judged.may_change_role;
        self.settings_may_change |= judged.may_change_settings;
        self.verdicts.push_back(Noted {
            number: request.number,
            block: judged.block(recorder.mode),
        });
        self.judged.push(Judgement {
            request: Some(request),
            judged,
        });
    }

    fn who<'a>(
        &self,
        identity: Option<&'a str>,
        facts: &'a SessionFacts,
        recorder: &Recorder,
        at: TimeNs,
    ) -> Who<'a> {
        Who {
            identity,
            client_addr: self.client_addr.ip(),
            facts,
            midstream: self.midstream,
            role_may_change: self.role_may_change,
            settings_may_change: self.settings_may_change,
            unix_ns: recorder.clock.unix_ns(at),
        }
    }

    /// The verdict on bytes that are no statement, and what of it the record has.
    pub(super) fn judge_bytes(
        &mut self,
        message: Message<'_>,
        at: TimeNs,
        recorder: &Recorder,
    ) -> Option<Box<VerdictBlock>> {
        let rulebook = recorder.rulebook.as_ref()?;
        let evidence = self.evidence();
        let who = self.who(evidence.as_deref(), self.decoder.facts(), recorder, at);
        let judged = rulebook.judge_bytes(message, &who);
        let block = judged.block(recorder.mode);
        self.judged.push(Judgement {
            request: None,
            judged,
        });
        Some(block)
    }

    /// The gate holds bytes that belong to no message that was seen from its start. Refused, they have a record; let go,
    /// they are in the gap that says what was not seen.
    pub fn judge_unseen(&mut self, at: TimeNs, recorder: &mut Recorder) {
        let verdict = self.judge_bytes(Message::Unseen, at, recorder);
        let last = self.judged.last();
        if !last.is_some_and(|judgement| judgement.judged.verdict.action.stops()) {
            return;
        }
        let error = ErrorBlock {
            direction: Some(name(Direction::Request)),
            reason: Some("a message whose beginning was not seen".to_owned()),
            ..ErrorBlock::default()
        };
        let record = self.base(Kind::ProtocolError, at, recorder);
        recorder.push(Record {
            error: Some(error.into()),
            verdict,
            ..record
        });
    }

    /// Changes the verdict of a message whose record is not written yet.
    pub fn change_verdict(&mut self, number: u64, change: impl FnOnce(&mut VerdictBlock)) {
        // There can be as many as a client cares to pipeline.
        if let Ok(index) = self.verdicts.binary_search_by_key(&number, |n| n.number) {
            change(&mut self.verdicts[index].block);
        }
    }

    /// The verdict on the message of this number; those on messages before it will not be asked for.
    pub(super) fn verdict(&mut self, number: u64) -> Option<Box<VerdictBlock>> {
        while let Some(noted) = self.verdicts.front() {
            if noted.number > number {
                return None;
            }
            let noted = self.verdicts.pop_front()?;
            if noted.number == number {
                return Some(noted.block);
            }
        }
        None
    }

    /// What was decided on this message, but the server has it already.
    pub fn unenforced(&mut self, judgement: &Judgement, recorder: &mut Recorder) {
        let at = judgement
            .request
            .as_ref()
            .map_or(self.opened_at, |request| request.at);
        let mut record = self.base(Kind::VerdictUnenforced, at, recorder);
        let mut verdict = judgement.judged.block(recorder.mode);
        if let Some(request) = &judgement.request {
            let mut block = StatementBlock {
                function_oid: request.function_oid,
                parse: if request.unseen { "unseen" } else { "ok" },
                via: request.via.name(),
                ..StatementBlock::default()
            };
            if let Some(text) = request.texts.first() {
                let seen = self.look_at_text(text, &request.session, recorder);
                seen.text(&mut block, text, recorder, options(&request.session));
                seen.verdict(&mut verdict);
            }
            record.statement = Some(block);
        }
        record.verdict = Some(verdict);
        recorder.push(record);
    }

    /// A statement waits for a person, or no longer does.
    pub fn approval(&mut self, at: TimeNs, approval: ApprovalBlock, recorder: &mut Recorder) {
        let record = self.base(Kind::Approval, at, recorder);
        recorder.push(Record {
            approval: Some(approval.into()),
            ..record
        });
    }
}
