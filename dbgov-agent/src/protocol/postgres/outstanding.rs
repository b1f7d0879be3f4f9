//! What names may stand for before the answers are there. A gate has to know what an Execute runs when the client sends
//! it; whether the Parse before it succeeded is known later. So this follows the client's side, and where an answer
//! decides, it gives every text the name may stand for.
//!
//! Within one segment (up to Sync or a simple query) the last definition counts: if it fails, the server skips what
//! follows it up to the Sync. Over a Sync whose answer is outstanding, what was defined before it and what stood before
//! that are both possible.

use std::collections::VecDeque;
use std::sync::Arc;

use super::args::Args;
use super::limits::{CANDIDATES_MAX, OUTSTANDING_MAX};
use super::matcher::Matcher;
use super::queue::Op;
use super::scan;
use super::wire::{Name, name};
use crate::protocol::Text;

/// What a name may stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    pub texts: Vec<Arc<Text>>,
    /// Or something whose definition was never seen.
    pub unseen: bool,
}

impl Candidates {
    fn unseen() -> Self {
        Candidates {
            texts: Vec::new(),
            unseen: true,
        }
    }

    fn add(&mut self, text: &Arc<Text>) {
        if self.texts.iter().any(|known| Arc::ptr_eq(known, text)) {
            return;
        }
        if self.texts.len() < CANDIDATES_MAX {
            self.texts.push(text.clone());
        } else {
            self.unseen = true;
        }
    }

    fn absorb(&mut self, other: Candidates) {
        other.texts.iter().for_each(|text| self.add(text));
        self.unseen |= other.unseen;
    }
}

struct Definition<V> {
    segment: u64,
    name: Name,
    value: V,
}

/// Definitions whose segments are not yet answered.
#[derive(Default)]
pub(super) struct Outstanding {
    /// Of the next message.
    segment: u64,
    /// Segments that were answered.
    answered: u64,
    statements: VecDeque<Definition<Arc<Text>>>,
    portals: VecDeque<Definition<Candidates>>,
    /// Some definition was forgotten for want of room.
    overflowed: bool,
    /// Answers were not seen: what names stand for is not certain any more.
    lost_track: bool,
}

fn define<V>(list: &mut VecDeque<Definition<V>>, definition: Definition<V>) -> bool {
    let full = list.len() >= OUTSTANDING_MAX;
    if full {
        list.pop_front();
    }
    list.push_back(definition);
    full
}

impl Outstanding {
    pub(super) fn prepare(&mut self, name: &[u8], text: &Arc<Text>) {
        let definition = Definition {
            segment: self.segment,
            name: name.into(),
            value: text.clone(),
        };
        self.overflowed |= define(&mut self.statements, definition);
    }

    /// The client's segment ends: Sync, a simple query, a function call.
    pub(super) fn segment_ends(&mut self) {
        self.segment += 1;
    }

    /// The answers to what was sent so far will not be tied to it.
    pub(super) fn lose_track(&mut self) {
        if !(self.statements.is_empty() && self.portals.is_empty()) {
            self.lost_track = true;
        }
        self.answered(true);
    }

    fn is_uncertain(&self) -> bool {
        self.overflowed || self.lost_track
    }

    /// The server has answered the oldest segment; with `all` everything that was sent.
    pub(super) fn answered(&mut self, all: bool) {
        self.answered = if all { self.segment } else { self.answered + 1 };
        let answered = self.answered;
        while self
            .statements
            .front()
            .is_some_and(|d| d.segment < answered)
        {
            self.statements.pop_front();
        }
        while self.portals.front().is_some_and(|d| d.segment < answered) {
            self.portals.pop_front();
        }
        if self.statements.is_empty() && self.portals.is_empty() {
            self.overflowed = false;
        }
    }
}

impl Matcher {
    /// What a prepared statement of this name may run.
    pub(super) fn statement_candidates(&mut self, name: &[u8]) -> Candidates {
        let outstanding = &self.outstanding;
        let mut found = Candidates::default();
        for definition in outstanding.statements.iter().rev() {
            if *definition.name == *name {
                found.add(&definition.value);
                if definition.segment == outstanding.segment {
                    return found;
                }
            }
        }
        found.unseen |= outstanding.is_uncertain();
        match self.names.statement(name) {
            Some(prepared) => found.add(&prepared.text),
            // A name nobody defined makes the server say so, unless its definition was before our time.
            None => found.unseen |= found.texts.is_empty(),
        }
        found
    }

    /// What an Execute of this portal may run.
    pub(super) fn portal_candidates(&mut self, portal: &[u8]) -> Candidates {
        let outstanding = &self.outstanding;
        let mut found = Candidates::default();
        for definition in outstanding.portals.iter().rev() {
            if *definition.name == *portal {
                found.absorb(definition.value.clone());
                if definition.segment == outstanding.segment {
                    return found;
                }
            }
        }
        found.unseen |= outstanding.is_uncertain();
        match self.names.portal(portal) {
            Some(portal) => match &portal.statement {
                Some(prepared) => found.add(&prepared.text),
                None => found.unseen = true,
            },
            None if found.texts.is_empty() => return Candidates::unseen(),
            None => {}
        }
        found
    }

    /// The client has sent a Bind.
    pub(super) fn bound_by_client(&mut self, args: &Args) {
        let value = self.statement_candidates(&args.statement);
        let definition = Definition {
            segment: self.outstanding.segment,
            name: args.portal.as_slice().into(),
            value,
        };
        self.outstanding.overflowed |= define(&mut self.outstanding.portals, definition);
    }

    /// The client has sent a simple query: what it prepares, and the end of a segment.
    pub(super) fn queried_by_client(&mut self, text: &Arc<Text>) {
        for (_, change) in scan::prepared_statements(&text.text) {
            if let scan::Prepared::Prepare(id) = change {
                self.outstanding.prepare(&name(id.as_bytes()), text);
            }
        }
        self.outstanding.segment_ends();
    }

    /// Whether a message before this one still waits for its answer.
    pub(super) fn is_outstanding_before(&self, number: u64) -> bool {
        match self.queue.front() {
            Some(Op::Query(run) | Op::Execute(run) | Op::FunctionCall(run)) => {
                run.sent.number < number
            }
            Some(Op::Parse { sent, .. } | Op::Bind { sent, .. }) => sent.number < number,
            // Without a number, and before whatever has one.
            Some(_) => true,
            None => false,
        }
    }
}
