//! The request bytes of one gated connection: which may go to the server, which wait. Pure.
//!
//! Positions count the bytes of the request stream from where the decoder began. Everything before `released` is TCP's;
//! from there on the kernel holds, and what this module lets go is sent from its own copy, so that the server gets the
//! bytes that were judged and no others.

use std::collections::VecDeque;
use std::ops::Range;

/// Released bytes kept until the server has acknowledged them, since TCP may drop them and the client's retransmission
/// is not let in, bytes. More than that is in flight only where the server does not read.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 1 << 20;

/// Bytes that may wait behind a held message: what a client can send without being acknowledged (`tcp_rmem`), bytes.
pub const HELD_BYTES_MAX: usize = 16 << 20;

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    /// Wait for somebody's decision.
    Hold,
    /// Put this text, of the same length, in the place of the statement's.
    Rewrite(Vec<u8>),
    /// The connection ends before this message.
    Reset,
}

/// The decision on one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub number: u64,
    /// Where the message stands in the stream.
    pub span: Range<u64>,
    /// Where its statement's text begins.
    pub text_at: Option<u64>,
    pub outcome: Outcome,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes; `ends_message`: a message ends with them, and nothing is held behind.
    Release {
        range: Range<u64>,
        ends_message: bool,
    },
    /// End the connection, because of this message; `wanted_reject`: it was to be rewritten, but its text has gone.
    Refuse { number: u64, wanted_reject: bool },
    /// This message waits.
    Wait { number: u64 },
}

/// More waits than is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {HELD_BYTES_MAX} bytes wait behind a held message")]
pub struct TooMuchHeld;

#[derive(Debug, Default)]
pub struct Flow {
    bytes: Vec<u8>,
    /// Position of the first of them.
    start: u64,
    released: u64,
    decisions: VecDeque<Decision>,
}

impl Flow {
    /// Everything before `position` has passed.
    pub fn new(position: u64) -> Self {
        Flow {
            start: position,
            released: position,
            ..Flow::default()
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Whether bytes wait.
    pub fn is_holding(&self) -> bool {
        self.released < self.end()
    }

    /// What was released ends where the first decision's message begins: nothing of it has gone.
    pub fn is_between_messages(&self) -> bool {
        self.decisions
            .front()
            .is_some_and(|decision| decision.span.start == self.released)
    }

    pub fn released(&self) -> u64 {
        self.released
    }

    /// The next bytes of the stream. `held`: the kernel did not let them pass.
    pub fn arrived(&mut self, bytes: &[u8], held: bool) -> Result<(), TooMuchHeld> {
        self.bytes.extend_from_slice(bytes);
        if !held {
            self.released = self.end();
        }
        let waiting = (self.end() - self.released) as usize;
        if waiting > HELD_BYTES_MAX {
            return Err(TooMuchHeld);
        }
        // Half of it at once, so that a stream of data is not moved once for each packet.
        if self.bytes.len() > waiting + UNACKNOWLEDGED_BYTES_MAX {
            self.forget(self.bytes.len() - waiting - UNACKNOWLEDGED_BYTES_MAX / 2);
        }
        Ok(())
    }

    /// Bytes of the stream that were never seen, and passed.
    pub fn missed(&mut self, bytes: u64) {
        let position = self.end() + bytes;
        *self = Flow {
            decisions: std::mem::take(&mut self.decisions),
            ..Flow::new(position)
        };
    }

    /// The server has everything before `position`.
    pub fn acknowledged(&mut self, position: u64) {
        let known = position.clamp(self.start, self.released);
        self.forget((known - self.start) as usize);
    }

    fn forget(&mut self, count: usize) {
        if count == self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.drain(..count);
        }
        self.start += count as u64;
    }

    /// A message is complete and judged; in the order of the stream.
    pub fn decide(&mut self, decision: Decision) {
        if decision.span.end > self.released {
            self.decisions.push_back(decision);
        }
    }

    /// Changes the decision on a message that waits.
    pub fn settle(&mut self, number: u64, outcome: Outcome) {
        if let Some(decision) = self.decisions.iter_mut().find(|d| d.number == number) {
            decision.outcome = outcome;
        }
    }

    /// Goes as far as the decisions allow. `boundary`: where the first message begins that is not complete.
    pub fn advance(&mut self, boundary: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut barrier = self.end();
        while let Some(decision) = self.decisions.front() {
            let (number, start) = (decision.number, decision.span.start);
            let outcome = match &decision.outcome {
                Outcome::Pass => Some(true),
                Outcome::Rewrite(_) => Some(self.rewrite()),
                Outcome::Hold | Outcome::Reset => None,
            };
            if outcome == Some(true) {
                self.decisions.pop_front();
                continue;
            }
            // What of it has gone cannot be called back; its last byte has not.
            barrier = start.max(self.released);
            let holds = self.decisions[0].outcome == Outcome::Hold;
            steps.push(match holds {
                true => Step::Wait { number },
                false => Step::Refuse {
                    number,
                    wanted_reject: outcome.is_some(),
                },
            });
            break;
        }
        if barrier > self.released {
            let range = self.released..barrier;
            self.released = barrier;
            let ends_message = barrier == self.end() && barrier == boundary;
            steps.insert(
                0,
                Step::Release {
                    range,
                    ends_message,
                },
            );
        }
        steps
    }

    /// Puts the replacement of the first decision in its place, if all of the text is still here.
    fn rewrite(&mut self) -> bool {
        let Some(Decision {
            text_at: Some(at),
            outcome: Outcome::Rewrite(text),
            ..
        }) = self.decisions.front()
        else {
            return false;
        };
        if *at < self.released {
            return false;
        }
        let from = (*at - self.start) as usize;
        match self.bytes.get_mut(from..from + text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                true
            }
            None => false,
        }
    }

    /// The bytes at these positions; `None` where some are no longer kept.
    pub fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let from = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..to)
    }

    /// What of these positions has been released and not yet acknowledged: what may be sent once more.
    pub fn released_part(&self, range: Range<u64>) -> Range<u64> {
        let start = range.start.max(self.start);
        start..range.end.min(self.released).max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(number: u64, span: Range<u64>, outcome: Outcome) -> Decision {
        let text_at = Some(span.start + 5);
        Decision {
            number,
            span,
            text_at,
            outcome,
        }
    }

    fn release(range: Range<u64>, ends_message: bool) -> Step {
        Step::Release {
            range,
            ends_message,
        }
    }

    #[test]
    fn what_passed_is_not_sent_again() {
        let mut flow = Flow::new(0);
        flow.arrived(b"abc", false).unwrap();
        assert!(!flow.is_holding());
        assert_eq!(flow.advance(3), []);
    }

    #[test]
    fn an_incomplete_message_goes_as_it_comes_and_its_end_waits_for_the_verdict() {
        let mut flow = Flow::new(10);
        flow.arrived(b"Q....drop", true).unwrap();
        assert_eq!(flow.advance(10), [release(10..19, false)]);
        flow.arrived(b" table t\0", true).unwrap();
        flow.decide(decision(1, 10..28, Outcome::Reset));
        assert_eq!(
            flow.advance(28),
            [Step::Refuse {
                number: 1,
                wanted_reject: false
            }]
        );
        assert_eq!(flow.bytes(19..28), Some(&b" table t\0"[..]));
        assert_eq!(flow.released(), 19);
    }

    #[test]
    fn messages_before_a_held_one_go() {
        let mut flow = Flow::new(0);
        flow.arrived(&[b'x'; 30], true).unwrap();
        flow.decide(decision(1, 0..10, Outcome::Pass));
        flow.decide(decision(2, 10..20, Outcome::Hold));
        flow.decide(decision(3, 20..30, Outcome::Pass));
        assert_eq!(
            flow.advance(30),
            [release(0..10, false), Step::Wait { number: 2 }]
        );
        assert_eq!(flow.advance(30), [Step::Wait { number: 2 }]);
        flow.settle(2, Outcome::Pass);
        assert_eq!(flow.advance(30), [release(10..30, true)]);
        assert!(!flow.is_holding());
    }

    #[test]
    fn a_text_is_rewritten_only_while_all_of_it_is_here() {
        let mut flow = Flow::new(0);
        flow.arrived(b"Q....drop table t\0", true).unwrap();
        flow.decide(decision(
            1,
            0..18,
            Outcome::Rewrite(b"dbgov_denied".to_vec()),
        ));
        assert_eq!(flow.advance(18), [release(0..18, true)]);
        assert_eq!(flow.bytes(0..18), Some(&b"Q....dbgov_denied\0"[..]));

        let mut flow = Flow::new(0);
        flow.arrived(b"Q....dr", true).unwrap();
        flow.advance(0);
        flow.arrived(b"op table t\0", true).unwrap();
        flow.decide(decision(
            1,
            0..18,
            Outcome::Rewrite(b"dbgov_denied".to_vec()),
        ));
        assert_eq!(
            flow.advance(18),
            [Step::Refuse {
                number: 1,
                wanted_reject: true
            }]
        );
    }

    #[test]
    fn released_bytes_are_kept_until_they_are_acknowledged() {
        let mut flow = Flow::new(0);
        flow.arrived(b"abcdef", true).unwrap();
        flow.advance(6);
        assert_eq!(flow.bytes(2..4), Some(&b"cd"[..]));
        flow.acknowledged(3);
        assert_eq!(flow.bytes(2..4), None);
        assert_eq!(flow.bytes(3..6), Some(&b"def"[..]));
        assert_eq!(flow.released_part(3..9), 3..6);
        // Never beyond what was released.
        flow.arrived(b"gh", true).unwrap();
        flow.acknowledged(100);
        assert_eq!(flow.bytes(6..8), Some(&b"gh"[..]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut flow = Flow::new(0);
        let piece = vec![0; 1 << 20];
        for _ in 0..8 {
            flow.arrived(&piece, false).unwrap();
        }
        assert!(flow.bytes.len() <= UNACKNOWLEDGED_BYTES_MAX);
        let end = flow.end();
        flow.arrived(b"x", true).unwrap();
        flow.decide(decision(1, end..end + 1, Outcome::Hold));
        let held: Result<(), TooMuchHeld> = (0..32).try_for_each(|_| flow.arrived(&piece, true));
        assert_eq!(held, Err(TooMuchHeld));
    }
}
