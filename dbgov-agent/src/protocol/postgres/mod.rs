//! PostgreSQL frontend/backend protocol 3.0 and 3.2 (documentation, chapter "Frontend/Backend Protocol"), sans-IO.
//!
//! ```text
//! startup      the packets before the first message
//! request      client bytes -> messages     response    server bytes -> messages
//!        \                                  /
//!         matcher, answers   which answer belongs to which message (queue, names)
//!                        \
//!                         events
//! ```
//!
//! Where bytes are missing, `resync` finds the stream's next message boundary and says what was passed over.

mod answers;
mod args;
mod connect;
mod limits;
mod matcher;
mod names;
mod outstanding;
mod plausible;
mod queue;
mod request;
mod response;
mod resync;
pub mod scan;
mod session;
mod startup;
mod statement_text;
pub mod text;
pub mod types;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use limits::Limits;
pub use outstanding::Candidates;
pub use statement_text::TailTrigger;

use crate::protocol::{Direction, Event, GapCause, SessionFacts, TimeNs};
use matcher::Matcher;
use request::RequestSide;
use response::ResponseSide;

/// Where in the connection's life its bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// With the first byte of both directions.
    Start,
    /// Somewhere: both directions are out of step until a message boundary is known.
    Midstream,
}

/// Decodes one connection.
pub struct Decoder {
    matcher: Matcher,
    request: RequestSide,
    response: ResponseSide,
    /// Nothing more is looked at: cancel request, protocol error, or the end.
    finished: bool,
    trigger: Option<Arc<dyn TailTrigger>>,
}

impl Decoder {
    pub fn new(joined: Joined, limits: Limits) -> Self {
        let start = joined == Joined::Start;
        Decoder {
            matcher: Matcher::new(start, limits),
            request: RequestSide::new(start),
            response: ResponseSide::new(start),
            finished: false,
            trigger: None,
        }
    }

    /// Ordered bytes of one direction. `at`: when the kernel saw the packet.
    pub fn data(&mut self, direction: Direction, at: TimeNs, bytes: &[u8], out: &mut Vec<Event>) {
        if self.is_ignored() || bytes.is_empty() {
            return;
        }
        match direction {
            Direction::Request => self.request_data(at, bytes, out),
            Direction::Response => self.response_data(at, bytes, out),
        }
    }

    /// Response bytes that were left out in the kernel, which does not copy result rows; `rows` DataRow or CopyData
    /// messages began in them. The body of a message that has begun ends first, or goes on, in these bytes; what is
    /// behind it are whole messages, or the beginning of one whose rest will be left out as well.
    pub fn elided(&mut self, at: TimeNs, bytes: u64, rows: u32, out: &mut Vec<Event>) {
        if !self.is_ignored() {
            self.response_elided(at, bytes, rows, out);
        }
    }

    /// Bytes of one direction that will never come. The direction is out of step until a message boundary is known.
    pub fn gap(
        &mut self,
        direction: Direction,
        at: TimeNs,
        bytes: Option<u64>,
        cause: GapCause,
        out: &mut Vec<Event>,
    ) {
        if self.is_ignored() || bytes == Some(0) {
            return;
        }
        match direction {
            Direction::Request => self.request_lost(at, bytes, cause, out),
            Direction::Response => self.response_lost(at, bytes, cause, out),
        }
    }

    /// The next response byte is at a message boundary; says nothing new while the responses are in step.
    pub fn response_boundary(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if !self.is_ignored() {
            self.response_regained(at, out);
        }
    }

    /// The next request byte is at a message boundary: the server had acknowledged exactly up to here when it said
    /// ReadyForQuery. Says nothing new while the requests are in step.
    pub fn request_boundary(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if !self.is_ignored() {
            self.request_regained(at, out);
        }
    }

    /// The connection is over: what is pending comes out without a result.
    pub fn end(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if self.is_ignored() {
            return;
        }
        self.matcher.end(at, out);
        self.tell_gaps(at, out);
        self.finished = true;
    }

    pub fn facts(&self) -> &Arc<SessionFacts> {
        &self.matcher.session.facts
    }

    /// For a session older than the agent whose user and database were found elsewhere.
    pub fn set_facts(&mut self, change: impl FnOnce(&mut SessionFacts)) {
        self.matcher.session.set_facts(change);
    }

    /// The session runs under TLS or GSS encryption.
    pub fn is_opaque(&self) -> bool {
        self.facts().opaque.is_some()
    }

    /// Whatever comes is ignored from here on: after a protocol error, a CancelRequest or the end.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Request bytes so far, lost ones included.
    pub fn request_position(&self) -> u64 {
        self.request.position
    }

    /// Where the request message begins that is not yet complete: the position, if none has begun.
    pub fn request_message_at(&self) -> u64 {
        self.request.position.wrapping_sub(self.request.begun())
    }

    /// What looks at the bytes of a text behind its head: whether a policy could restrict what stands there.
    pub fn set_trigger(&mut self, trigger: Option<Arc<dyn TailTrigger>>) {
        self.trigger = trigger;
    }

    /// A gate refuses this message: the server will never have it whole.
    pub fn refuse(&mut self, number: u64) {
        self.matcher.refused = Some(number);
    }

    /// Whether a message before this one still waits for its answer.
    pub fn is_answer_outstanding_before(&self, number: u64) -> bool {
        self.matcher.is_outstanding_before(number)
    }

    /// Whether the server had answered everything and said ReadyForQuery when this message was sent.
    pub fn is_ready_before(&self, number: u64) -> bool {
        self.matcher.ready && !self.matcher.is_outstanding_before(number)
    }

    /// What a prepared statement of this name may run, as far as its definitions were seen.
    pub fn may_stand_for(&mut self, name: &str) -> Candidates {
        self.matcher
            .statement_candidates(&wire::name(name.as_bytes()))
    }

    pub fn request_in_step(&self) -> bool {
        self.request.lost.is_none()
    }

    pub fn response_in_step(&self) -> bool {
        self.response.lost.is_none()
    }

    /// Whether its bytes are still looked at.
    pub fn is_followed(&self) -> bool {
        !self.is_ignored()
    }

    /// Whether these can be whole messages from a client whose turn it is; for bytes of a stream that is out of step.
    pub fn looks_in_step(bytes: &[u8]) -> bool {
        plausible::is_chain(bytes)
    }

    fn is_ignored(&self) -> bool {
        self.finished || self.is_opaque()
    }

    fn protocol_error(
        &mut self,
        at: TimeNs,
        direction: Direction,
        reason: &'static str,
        out: &mut Vec<Event>,
    ) {
        self.end(at, out);
        out.push(Event::ProtocolError {
            at,
            direction,
            reason,
        });
    }
}
