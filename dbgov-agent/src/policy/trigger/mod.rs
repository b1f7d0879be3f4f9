//! Policy to kernel trigger: what the gate of a connection has to look for in the bytes of its requests. Pure.
//!
//! ```text
//! words      a rule -> needles, of which every text that the rule could stop has one
//! names      names of objects, likewise
//! needle     a word, a piece of a name, a byte, and what may stand around it
//! states     needles -> a deterministic automaton over bytes
//! ```
//!
//! The automaton knows nothing of messages. It may hit where nothing is to be stopped; it must hit whatever a rule would
//! stop, before the last byte of the message (a statement's text ends with a NUL on the wire, so that a word at its very
//! end has a byte behind it). That rests on three facts of PostgreSQL's scanner (`src/backend/parser/scan.l`, versions 13
//! to 18), which `tests` checks against the whole evaluation:
//!
//! * A keyword is an unquoted word of ASCII letters in any case. No escape, quote or comment can stand in it.
//! * Names are the bytes themselves in any case, or `U&"..."` with escapes; that beginning is a needle.
//! * SQL in strings is run by a few words only (`EXECUTE`, `DO`, functions that run a text, bodies of functions):
//!   all of them are needles.
#![forbid(unsafe_code)]

mod names;
mod needle;
mod states;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use dbgov_common::gate::{AUTOMATON_HIT, AUTOMATON_START, Automaton};

use super::{Rule, Settings};
use needle::{Needle, Right};
use states::{Matcher, Position};

/// How the request bytes of a connection are looked at.
#[derive(Debug)]
pub enum Trigger {
    /// Not at all: nothing can be stopped.
    Pass,
    /// What has one of the words is held.
    Automaton(Words),
    /// Every message is held.
    Strict(Irreducible),
}

/// Why a policy cannot be reduced to words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Irreducible {
    #[error("`{0}` stops messages that no rule names")]
    Setting(&'static str),
    #[error("rule `{rule}` {why}")]
    Rule { rule: Arc<str>, why: &'static str },
    #[error("the rules have more words than an automaton has room for")]
    TooManyWords,
}

impl Trigger {
    /// For connections that these rules can be about (of the rules that stop nothing, none matters). `settings`: those of
    /// the policy. `opaque` and `malformed` need no words: what they are about is known before the first statement, or
    /// is refused by the server as well.
    pub fn compile<'a>(rules: impl IntoIterator<Item = &'a Rule>, settings: &Settings) -> Trigger {
        let stopping = [
            ("default", settings.default),
            ("unparsed", settings.unparsed),
            ("unseen", settings.unseen),
        ];
        if let Some((name, _)) = stopping.iter().find(|(_, action)| action.stops()) {
            return Trigger::Strict(Irreducible::Setting(name));
        }
        let mut rules = rules
            .into_iter()
            .filter(|rule| rule.action.stops())
            .peekable();
        if rules.peek().is_none() {
            return Trigger::Pass;
        }
        let mut needles = words::that_hide();
        for rule in rules {
            match words::of_rule(rule) {
                Ok(words) => needles.extend(words),
                Err(why) => {
                    let rule = Arc::clone(&rule.name);
                    return Trigger::Strict(Irreducible::Rule { rule, why });
                }
            }
        }
        match Words::new(needles) {
            Some(words) => Trigger::Automaton(words),
            None => Trigger::Strict(Irreducible::TooManyWords),
        }
    }
}

/// Needles and the automaton that finds them.
pub struct Words {
    needles: Vec<Needle>,
    /// Where a word begins does not count.
    anywhere: bool,
    automaton: Box<Automaton>,
    states: usize,
}

impl Words {
    /// `None`: too many. The fewer states there is room for, the more is held.
    fn new(needles: Vec<Needle>) -> Option<Words> {
        let needles = without_repeated(needles);
        let unguarded: Vec<Needle> = needles.iter().cloned().map(Needle::unguarded).collect();
        let ways = [(&needles, false), (&unguarded, false), (&unguarded, true)];
        ways.into_iter().find_map(|(needles, anywhere)| {
            let (automaton, states) = Matcher { needles, anywhere }.build()?;
            Some(Words {
                needles: needles.clone(),
                anywhere,
                automaton,
                states,
            })
        })
    }

    pub fn automaton(&self) -> &Automaton {
        &self.automaton
    }

    /// How many states of it are used.
    pub fn states(&self) -> usize {
        self.states
    }

    /// What is looked for, as it is told to people.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.needles.iter().map(|needle| &*needle.name)
    }

    /// The state after these bytes, and the byte (from 0) that hit.
    pub fn run(&self, mut state: u16, bytes: &[u8]) -> (u16, Option<usize>) {
        if state == AUTOMATON_HIT {
            return (state, Some(0));
        }
        for (at, &byte) in bytes.iter().enumerate() {
            state = self.automaton.next[usize::from(state) * 256 + usize::from(byte)];
            if state == AUTOMATON_HIT {
                return (state, Some(at));
            }
        }
        (state, None)
    }

    /// A Parse with this statement (its text as on the wire, without the NUL) would be held.
    pub fn hits(&self, text: &[u8]) -> bool {
        let (state, _) = self.run(AUTOMATON_START, &[0]);
        let (state, hit) = self.run(state, text);
        hit.is_some() || self.run(state, &[0]).1.is_some()
    }

    /// The first word of the text that is looked for.
    pub fn explain(&self, text: &[u8]) -> Option<&str> {
        let matcher = Matcher {
            needles: &self.needles,
            anywhere: self.anywhere,
        };
        let mut position = Position::default();
        for &byte in [0].iter().chain(text).chain(&[0]) {
            match matcher.step(&position, byte) {
                Ok(next) => position = next,
                Err(needle) => return Some(&self.needles[needle].name),
            }
        }
        None
    }
}

/// Each once, and none that begins with another.
fn without_repeated(mut needles: Vec<Needle>) -> Vec<Needle> {
    let mut known = HashSet::new();
    needles.retain(|needle| known.insert(needle.clone()));
    let shorter: Vec<Needle> = needles
        .iter()
        .filter(|needle| needle.right == Right::Open)
        .cloned()
        .collect();
    needles.retain(|needle| !shorter.iter().any(|other| other.includes(needle)));
    needles
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words")
            .field("words", &self.words().collect::<Vec<_>>())
            .field("states", &self.states)
            .field("anywhere", &self.anywhere)
            .finish_non_exhaustive()
    }
}
