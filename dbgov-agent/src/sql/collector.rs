//! Where the readers put what they find.

use std::collections::HashSet;

use super::builtin;
use super::change::{Change, NewValue, Tracked};
use super::name::{Object, ObjectKind};
use super::verb::Verb;

/// Effects kept for one message, entries. The verbs of a message that names more objects are on unknown ones besides.
const EFFECTS_MAX: usize = 8192;

/// Changes of the session kept for one message, entries; one with more may change anything.
const CHANGES_MAX: usize = 1024;

/// A verb on an object, or on none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any of them can be together"
)]
pub struct Effect {
    pub verb: Verb,
    /// `None` of an uncertain effect is any object: the tokens do not tell which.
    pub object: Option<Object>,
    /// What the tokens could mean, where the text was not parsed: to be taken for true where it restricts, never where
    /// it permits.
    pub uncertain: bool,
    /// An UPDATE, DELETE or MERGE of every row by its text alone.
    pub missing_where: bool,
    /// A file or a program of the server is read, written or run.
    pub server_side: bool,
    /// Text made while the statement runs is run as SQL: this effect (`unknown` on no object, uncertain) may be any verb
    /// on any object. An `unknown` without it only says that a statement could not be read; what its tokens could mean
    /// stands beside it.
    pub dynamic: bool,
}

impl Effect {
    pub(crate) fn new(verb: Verb, object: Option<Object>) -> Self {
        Effect {
            verb,
            object,
            uncertain: false,
            missing_where: false,
            server_side: false,
            dynamic: false,
        }
    }

    pub(crate) fn uncertain(verb: Verb, object: Option<Object>) -> Self {
        Effect {
            uncertain: true,
            ..Effect::new(verb, object)
        }
    }

    fn dynamic() -> Self {
        Effect {
            dynamic: true,
            ..Effect::uncertain(Verb::Unknown, None)
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) effects: Vec<Effect>,
    seen: HashSet<Effect>,
    /// In order of first appearance; a verb stands here before its objects are known.
    pub(crate) verbs: Vec<Verb>,
    pub(crate) changes: Vec<Change>,
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
        self.push(Effect::new(verb, Some(object)));
    }

    /// Code nobody knows before it runs.
    pub(crate) fn dynamic(&mut self) {
        self.push(Effect::dynamic());
    }

    pub(crate) fn change(&mut self, change: Change) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(change);
        } else {
            self.dynamic();
        }
    }

    pub(crate) fn set(&mut self, setting: Tracked, value: NewValue, local: bool) {
        self.change(Change::Set {
            setting,
            value,
            local,
        });
    }

    /// Some parameter is set, nobody knows which or to what.
    pub(crate) fn set_all_computed(&mut self) {
        for &setting in Tracked::ALL {
            self.set(setting, NewValue::Computed, false);
        }
    }

    /// Code that may or may not run sets a parameter, or leaves it.
    pub(crate) fn compute_sets(&mut self) {
        for change in &mut self.changes {
            if let Change::Set { value, .. } = change {
                *value = NewValue::Computed;
            }
        }
    }

    pub(crate) fn push(&mut self, mut effect: Effect) {
        // Everyone calls count() and now(): an effect, but no news for the record.
        let everyday =
            effect.verb == Verb::Call && effect.object.as_ref().is_some_and(builtin::is_everyday);
        if !everyday {
            self.verb(effect.verb);
        }
        if self.effects.len() >= EFFECTS_MAX {
            effect.object = None;
            effect.uncertain = true;
        }
        if !self.seen.contains(&effect) {
            self.seen.insert(effect.clone());
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
            self.push(Effect::new(verb, None));
        }
    }

    pub(crate) fn absorb(&mut self, other: Collector) {
        for verb in other.verbs {
            self.verb(verb);
        }
        for effect in other.effects {
            self.push(effect);
        }
        for change in other.changes {
            self.change(change);
        }
        self.literal_dependent |= other.literal_dependent;
    }

    /// Effects of a text that was not read as what it is.
    pub(crate) fn absorb_uncertain(&mut self, mut other: Collector) {
        for effect in &mut other.effects {
            effect.uncertain = true;
        }
        other.seen.clear();
        self.absorb(other);
    }

    pub(crate) fn any(&self, flag: impl Fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(flag)
    }

    /// The relations of its effects.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &Object> {
        self.effects
            .iter()
            .filter_map(|effect| effect.object.as_ref())
            .filter(|object| object.kind == ObjectKind::Relation)
    }

    /// Names of relations in order of first appearance.
    pub(crate) fn tables(&self) -> Vec<Box<str>> {
        let mut seen = HashSet::new();
        self.relations()
            .filter(|object| seen.insert((object.schema.as_deref(), &*object.name)))
            .map(|object| object.to_string().into())
            .collect()
    }
}
