//! How the kernel looks at a connection: the rules that can be about it, compiled once for all connections that have the
//! same ones.

use std::collections::HashMap;
use std::sync::Arc;

use dbgov_common::gate::{
    AUTOMATON_HIT, AUTOMATON_SLOTS, AUTOMATON_START, CLASS_PASS, CLASS_STRICT, CLASS_TRIGGER,
};

use crate::policy::trigger::{Trigger, Words};
use crate::policy::{Context, Policy};
use crate::protocol::postgres::TailTrigger;

/// A policy's half of the kernel's slots; the other half is that of the policy before, whose connections are moved over
/// one by one.
const SLOTS: u8 = (AUTOMATON_SLOTS / 2) as u8;

/// How one connection is looked at.
#[derive(Debug, Clone)]
pub struct Class {
    /// `CLASS_PASS`, `CLASS_TRIGGER`, `CLASS_STRICT`.
    pub class: u8,
    pub slot: u8,
    pub words: Option<Arc<Words>>,
}

impl Class {
    fn plain(class: u8) -> Self {
        Class {
            class,
            slot: 0,
            words: None,
        }
    }

    /// Of a connection in which nothing can be read.
    pub fn passing() -> Self {
        Class::plain(CLASS_PASS)
    }

    pub fn is_same(&self, other: &Class) -> bool {
        self.class == other.class
            && self.slot == other.slot
            && match (&self.words, &other.words) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            }
    }
}

/// The classes of one policy.
#[derive(Debug, Default)]
pub struct Classes {
    by_rules: HashMap<Vec<usize>, Class>,
    first_slot: u8,
    used_slots: u8,
    /// Automata the kernel has not been given yet.
    to_load: Vec<(u8, Arc<Words>)>,
}

impl Classes {
    /// For the policy that follows the one of these classes.
    pub fn successor(&self) -> Classes {
        Classes {
            first_slot: SLOTS - self.first_slot,
            ..Classes::default()
        }
    }

    /// The class of a connection of which this much is known.
    pub fn of(&mut self, policy: &Policy, context: &Context<'_>) -> Class {
        let rules: Vec<_> = policy.rules_for(context).collect();
        let key: Vec<usize> = rules.iter().map(|rule| rule.line).collect();
        if let Some(known) = self.by_rules.get(&key) {
            return known.clone();
        }
        // The last slot is for all rules, whomever they are about: it can hold too much, never too little.
        let last = self.used_slots + 1 >= SLOTS;
        let trigger = match last {
            true => Trigger::compile(&policy.rules, &policy.settings),
            false => Trigger::compile(rules, &policy.settings),
        };
        let class = match trigger {
            Trigger::Pass => Class::plain(CLASS_PASS),
            Trigger::Strict(_) => Class::plain(CLASS_STRICT),
            Trigger::Automaton(words) => self.automaton(Arc::new(words), last),
        };
        self.by_rules.insert(key, class.clone());
        class
    }

    fn automaton(&mut self, words: Arc<Words>, last: bool) -> Class {
        let slot = self.first_slot + self.used_slots.min(SLOTS - 1);
        if last
            && let Some(shared) = self
                .by_rules
                .values()
                .find(|class| class.slot == slot && class.words.is_some())
        {
            return shared.clone();
        }
        self.used_slots = (self.used_slots + 1).min(SLOTS);
        self.to_load.push((slot, Arc::clone(&words)));
        Class {
            class: CLASS_TRIGGER,
            slot,
            words: Some(words),
        }
    }

    /// The automata to be loaded before any connection is given a class that has one.
    pub fn take_to_load(&mut self) -> Vec<(u8, Arc<Words>)> {
        std::mem::take(&mut self.to_load)
    }
}

/// Looks at what is behind the kept head of a text, for all rules of a policy.
pub struct Tail(Words);

impl Tail {
    /// `None`: the policy cannot be reduced to words.
    pub fn of(policy: &Policy) -> Option<Arc<dyn TailTrigger>> {
        match Trigger::compile(&policy.rules, &policy.settings) {
            Trigger::Automaton(words) => Some(Arc::new(Tail(words))),
            Trigger::Pass => Some(Arc::new(Nothing)),
            Trigger::Strict(_) => None,
        }
    }
}

impl TailTrigger for Tail {
    fn start(&self) -> u16 {
        AUTOMATON_START
    }

    fn run(&self, state: u16, bytes: &[u8]) -> u16 {
        self.0.run(state, bytes).0
    }

    fn is_hit(&self, state: u16) -> bool {
        state == AUTOMATON_HIT
    }
}

/// No rule stops anything.
struct Nothing;

impl TailTrigger for Nothing {
    fn start(&self) -> u16 {
        AUTOMATON_START
    }

    fn run(&self, state: u16, _bytes: &[u8]) -> u16 {
        state
    }

    fn is_hit(&self, _state: u16) -> bool {
        false
    }
}
