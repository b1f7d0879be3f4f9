//! Where the readers put what they find.

use std::collections::HashSet;

use super::builtin;
use super::name::{Object, ObjectKind};
use super::verb::Verb;

/// Effects kept for one message, entries. A message that names more objects has an effect on an unknown one besides.
const EFFECTS_MAX: usize = 8192;

/// A verb on an object, or on none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Effect {
    pub verb: Verb,
    pub object: Option<Object>,
    /// What the tokens could mean, where the text was not parsed: to be taken for true where it restricts, never where
    /// it permits.
    pub uncertain: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) effects: Vec<Effect>,
    seen: HashSet<Effect>,
    /// In order of first appearance; a verb stands here before its objects are known.
    pub(crate) verbs: Vec<Verb>,
    pub(crate) missing_where: bool,
    pub(crate) server_side: bool,
    /// A literal was looked at to decide something.
    pub(crate) literal_dependent: bool,
}

impl Collector {
    /// The statement does this, to objects that may follow.
    pub(crate) fn verb(&mut self, verb: Verb) {
        if !self.verbs.contains(&verb) {
            self.verbs.push(verb);
        }
    }

    pub(crate) fn on(&mut self, verb: Verb, object: Object) {
        self.push(verb, Some(object), false);
    }

    pub(crate) fn push(&mut self, verb: Verb, object: Option<Object>, uncertain: bool) {
        // Everyone calls count() and now(): an effect, but no news for the record.
        let everyday = verb == Verb::Call && object.as_ref().is_some_and(builtin::is_everyday);
        if !everyday {
            self.verb(verb);
        }
        let effect = if self.effects.len() < EFFECTS_MAX {
            Effect {
                verb,
                object,
                uncertain,
            }
        } else {
            self.verb(Verb::Unknown);
            Effect {
                verb: Verb::Unknown,
                object: None,
                uncertain: true,
            }
        };
        if self.seen.insert(effect.clone()) {
            self.effects.push(effect);
        }
    }

    /// The end of a statement: verbs that met no object become effects on none.
    pub(crate) fn finish(&mut self) {
        let bare: Vec<Verb> = self
            .verbs
            .iter()
            .copied()
            .filter(|verb| !self.effects.iter().any(|effect| effect.verb == *verb))
            .collect();
        for verb in bare {
            self.push(verb, None, false);
        }
    }

    pub(crate) fn absorb(&mut self, other: Collector) {
        for verb in other.verbs {
            self.verb(verb);
        }
        for effect in other.effects {
            self.push(effect.verb, effect.object, effect.uncertain);
        }
        self.missing_where |= other.missing_where;
        self.server_side |= other.server_side;
        self.literal_dependent |= other.literal_dependent;
    }

    /// Names of relations in order of first appearance.
    pub(crate) fn tables(&self) -> Vec<Box<str>> {
        let mut seen = HashSet::new();
        self.effects
            .iter()
            .filter_map(|effect| effect.object.as_ref())
            .filter(|object| object.kind == ObjectKind::Relation)
            .filter(|object| seen.insert((object.schema.as_deref(), &*object.name)))
            .map(|object| object.to_string().into())
            .collect()
    }
}
