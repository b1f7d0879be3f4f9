//! One gated connection: its [`Flow`] in sequence numbers, and what it waits for. Pure.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dbgov_common::gate::{CLASS_STRICT, CLASS_TRIGGER};
use sha2::{Digest, Sha256};

use super::approvals::{HEAD_BYTES_MAX, Statement};
use super::classes::Class;
use super::flow::Flow;
use crate::chars::head;
use crate::protocol::{Request, Text, TimeNs, Via};

/// How long the answers to messages before a refused one are waited for, nanoseconds: their results are to be recorded,
/// but a statement that runs for minutes does not keep a refused client waiting.
pub const ANSWERS_WAIT_NS: TimeNs = 1_000_000_000;

/// Sent again for one retransmission, bytes: the longest packet of ours.
const SEND_AGAIN_BYTES: u64 = 64 << 10;

/// Rewritten Parse messages that are remembered, until the Execute that follows in the same packets: those of a pipeline.
/// One that was forgotten ends the connection, as if there were no other way to refuse it.
const REJECTED_MAX: usize = 256;

/// Why a message is refused or waits, for those who are told.
#[derive(Debug, Clone)]
pub struct Cause {
    pub rule: Arc<str>,
    pub reason: Option<Arc<str>>,
    pub approval_timeout: Duration,
}

/// The end of a connection that is under way.
#[derive(Debug, Clone)]
pub struct Refusing {
    /// Absent where the connection ends for what it is, not for a message.
    pub number: Option<u64>,
    pub since: TimeNs,
    /// What the client is told; nothing where it has gone.
    pub cause: Option<Cause>,
    /// Bytes of our own that the server has got: a Flush.
    pub flushed_bytes: u32,
}

impl Refusing {
    /// A message is refused, and with it the connection.
    pub fn message(number: u64, since: TimeNs, cause: Option<Cause>) -> Self {
        Refusing {
            number: Some(number),
            since,
            cause,
            flushed_bytes: 0,
        }
    }

    pub fn connection(since: TimeNs, cause: Option<Cause>) -> Self {
        Refusing {
            number: None,
            since,
            cause,
            flushed_bytes: 0,
        }
    }
}

/// A message that waits for a person.
#[derive(Debug)]
pub struct Waiting {
    pub number: u64,
    /// Where its text begins, if that is in the message.
    pub text_at: Option<u64>,
    pub statement: Statement,
    pub cause: Cause,
}

#[derive(Debug)]
pub struct Gated {
    pub flow: Flow,
    /// Sequence number of position 0, once known.
    base: Option<u32>,
    /// Of the stream, as the reassembler handed it out.
    position: u64,
    /// Of the client's newest packet.
    pub ack: u32,
    pub window: u16,
    /// Where the client ended its side, if that packet is held.
    pub fin: Option<u64>,
    pub class: Option<Class>,
    /// Messages not yet let go: number, end, since when.
    held: VecDeque<(u64, u64, TimeNs)>,
    /// Why what was decided was decided; of the messages that do not simply pass.
    causes: VecDeque<(u64, Cause)>,
    /// Messages that will have to wait, once it is their turn.
    to_wait: VecDeque<Waiting>,
    pub waiting: Option<Waiting>,
    pub refusing: Option<Refusing>,
    /// Nothing more is let in.
    pub closed: bool,
    /// What is held can no longer be let go in order: too much of it, or a part was not seen.
    pub broken: bool,
    /// A prepared statement that the automaton would not let pass can be run by a message in which it finds nothing.
    named_hit: bool,
    unnamed_hit: bool,
    /// A statement was prepared, whatever is in it.
    has_prepared: bool,
    /// The kernel holds every packet because of `named_hit`.
    restricted: bool,
    /// Texts of Parse messages that were rewritten: statements the server does not have.
    rejected: VecDeque<Weak<Text>>,
    /// Bytes passed that belong to no message that was seen from its start: said once.
    pub told_unseen: bool,
}

impl Gated {
    /// `base`: the sequence number of the first request byte.
    pub fn new(base: Option<u32>) -> Self {
        Gated {
            flow: Flow::new(0),
            base,
            position: 0,
            ack: 0,
            window: 0,
            fin: None,
            class: None,
            held: VecDeque::new(),
            causes: VecDeque::new(),
            to_wait: VecDeque::new(),
            waiting: None,
            refusing: None,
            closed: false,
            broken: false,
            named_hit: false,
            unnamed_hit: false,
            has_prepared: false,
            restricted: false,
            rejected: VecDeque::new(),
            told_unseen: false,
        }
    }

    /// The next bytes of the stream, in order.
    pub fn arrived(&mut self, seq: u32, bytes: &[u8], held: bool) {
        let position = self.position as u32;
        self.base.get_or_insert(seq.wrapping_sub(position));
        self.position = self.position.wrapping_add(bytes.len() as u64);
        self.broken |= self.flow.arrived(bytes, held).is_err();
    }

    /// Bytes of the stream that were not seen. What the kernel holds of them can never be let go.
    pub fn missed(&mut self, bytes: u64) {
        self.broken |= self.flow.is_holding();
        self.position = self.position.wrapping_add(bytes);
        self.flow.missed(bytes);
    }

    /// Where the stream is.
    pub fn end(&self) -> u64 {
        self.position
    }

    /// The sequence number of a position.
    pub fn seq(&self, position: u64) -> Option<u32> {
        Some(self.base?.wrapping_add(position as u32))
    }

    /// The position of a sequence number near the stream's present one.
    pub fn position(&self, seq: u32) -> Option<u64> {
        let here = self.seq(self.position)?;
        let distance = seq.wrapping_sub(here) as i32;
        self.position.checked_add_signed(i64::from(distance))
    }

    /// What of a held packet was released, or let pass, before: TCP, which has everything before `taken`, has dropped
    /// it, or the packet crossed with ours.
    pub fn to_send_again(&self, seq: u32, bytes: u32, taken: u32) -> Option<Range<u64>> {
        let from = self.position(seq)?.max(self.position(taken)?);
        // One of our packets is as long as many of the client's, which would come one by one, each later than the last.
        let ours = self.flow.released().min(from + SEND_AGAIN_BYTES);
        let to = self.position(seq.wrapping_add(bytes))?.max(ours);
        let range = self.flow.released_part(from..to.max(from));
        (!range.is_empty()).then_some(range)
    }

    /// A message that the kernel holds is judged.
    pub fn held_since(&mut self, number: u64, end: u64, at: TimeNs) {
        self.held.push_back((number, end, at));
    }

    /// Messages that have gone since the last time, with the time they came.
    pub fn let_go(&mut self) -> Vec<(u64, TimeNs)> {
        let mut gone = Vec::new();
        while let Some(&(number, end, at)) = self.held.front()
            && end <= self.flow.released()
        {
            self.held.pop_front();
            gone.push((number, at));
        }
        gone
    }

    /// When the held message of this number came.
    pub fn came_at(&self, number: u64) -> Option<TimeNs> {
        let found = self.held.iter().find(|(held, ..)| *held == number)?;
        Some(found.2)
    }

    pub fn remember_cause(&mut self, number: u64, cause: Cause) {
        self.causes.push_back((number, cause));
    }

    pub fn cause(&mut self, number: u64) -> Option<Cause> {
        while let Some((known, _)) = self.causes.front()
            && *known < number
        {
            self.causes.pop_front();
        }
        let (known, cause) = self.causes.front()?;
        (*known == number).then(|| cause.clone())
    }

    pub fn change_reason(&mut self, number: u64, why: &str) {
        if let Some((_, cause)) = self.causes.iter_mut().find(|(known, _)| *known == number) {
            cause.reason = Some(why.into());
        }
    }

    /// This message has to wait for a person.
    /// `shown`: its text, as it may be shown.
    pub fn will_wait(&mut self, request: &Request, shown: Option<&Arc<Text>>, cause: Cause) {
        let text = request.texts.first();
        let as_sent = text
            .zip(shown)
            .filter(|(text, shown)| Arc::ptr_eq(text, shown));
        self.to_wait.push_back(Waiting {
            number: request.number,
            text_at: request.text_at,
            statement: Statement {
                head: shown
                    .map(|shown| head(&shown.text, HEAD_BYTES_MAX).to_owned())
                    .unwrap_or_default(),
                bytes: text.map_or(0, |text| text.bytes),
                sha256: as_sent.map(|(text, _)| hex::encode(sha256(text))),
            },
            cause,
        });
    }

    /// It is this message's turn.
    pub fn take_waiting(&mut self, number: u64) -> Option<Waiting> {
        while let Some(waiting) = self.to_wait.pop_front() {
            if waiting.number == number {
                return Some(waiting);
            }
        }
        None
    }

    /// Takes note of a message that prepares a statement, which later messages without any word in them can run.
    pub fn prepared(&mut self, request: &Request, in_sql: bool) {
        self.has_prepared = true;
        let hits = request.texts.iter().any(|text| self.hits(text));
        if in_sql {
            self.named_hit |= hits;
        } else if request.text_at == Some(request.start.wrapping_add(UNNAMED_TEXT_AT)) {
            self.unnamed_hit |= hits;
        } else {
            self.named_hit |= hits;
        }
    }

    fn hits(&self, text: &Text) -> bool {
        match self.class.as_ref().map(|class| class.words.as_ref()) {
            Some(Some(words)) => {
                (text.truncated && text.tail_hit) || words.hits(text.text.as_bytes())
            }
            Some(None) => false,
            None => true,
        }
    }

    /// The server will not have what this Parse defines.
    pub fn rejected(&mut self, request: &Request) {
        if self.rejected.len() >= REJECTED_MAX {
            self.rejected.pop_front();
        }
        self.rejected
            .extend(request.texts.first().map(Arc::downgrade));
    }

    /// All that this message can run is what the server does not have: it answers with an error, or skips it because of
    /// the one before.
    pub fn runs_nothing(&self, request: &Request) -> bool {
        let is_rejected = |text: &Arc<Text>| {
            // While the Weak is kept no other text can have its address.
            self.rejected
                .iter()
                .any(|known| Weak::as_ptr(known) == Arc::as_ptr(text))
        };
        request.via == Via::Execute
            && !request.unseen
            && !request.texts.is_empty()
            && request.texts.iter().all(is_rejected)
    }

    /// What was prepared has to be looked at whenever it runs, by whatever name: a portal outlives its statement's.
    pub fn distrust_prepared(&mut self) {
        self.named_hit = true;
    }

    /// Other rules apply: what was prepared is not known to be harmless under them. The class the kernel is to use.
    pub fn set_class(&mut self, class: Class) -> Class {
        self.named_hit |= self.has_prepared && self.class.is_some();
        self.class = Some(class.clone());
        self.restricted = false;
        self.restrict().unwrap_or(class)
    }

    /// The class the kernel is to use from now on, if something was prepared that the words would not let pass: the
    /// message that runs it has no word in it.
    pub fn restrict(&mut self) -> Option<Class> {
        let class = self.class.as_ref()?;
        if !self.named_hit || self.restricted || class.class != CLASS_TRIGGER {
            return None;
        }
        self.restricted = true;
        Some(Class {
            class: CLASS_STRICT,
            ..class.clone()
        })
    }

    /// Whether the automaton may start anew: no prepared statement can run what it would hold.
    pub fn may_resume(&mut self, unnamed: impl FnOnce() -> Vec<Arc<Text>>) -> bool {
        if self.named_hit {
            return false;
        }
        if self.unnamed_hit {
            self.unnamed_hit = unnamed().iter().any(|text| self.hits(text));
        }
        !self.unnamed_hit
    }
}

/// Of all bytes of the text; that of a whole text in another encoding is over its UTF-8 form.
fn sha256(text: &Text) -> [u8; 32] {
    text.sha256
        .unwrap_or_else(|| Sha256::digest(text.text.as_bytes()).into())
}

/// Where the text of a Parse begins that names no statement: behind type, length and an empty name.
const UNNAMED_TEXT_AT: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_and_was_dropped_behind_the_gate_is_sent_again() {
        let mut gated = Gated::new(Some(u32::MAX - 1));
        gated.arrived(u32::MAX - 1, b"abcdef", false);
        assert_eq!(gated.to_send_again(0, 2, 0), Some(2..6));
        // The part of it that was never released is not.
        gated.arrived(4, b"gh", true);
        assert_eq!(gated.to_send_again(3, 3, 0), Some(5..6));
        assert_eq!(gated.to_send_again(4, 2, 0), None);
    }
}
