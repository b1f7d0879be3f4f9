//! The rules that can match a verb, so that an effect is compared with no others.

use super::rule::Rule;
use crate::sql::Verb;

/// Numbers of rules, in order.
#[derive(Debug)]
pub(super) struct Index {
    by_verb: Vec<Box<[u16]>>,
    pub(super) all: Box<[u16]>,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        // At most RULES_MAX.
        let numbered = || (0u16..).zip(rules);
        Index {
            by_verb: Verb::ALL
                .iter()
                .map(|&verb| {
                    numbered()
                        .filter(|(_, rule)| rule.verbs.is_none_or(|verbs| verbs.may_contain(verb)))
                        .map(|(number, _)| number)
                        .collect()
                })
                .collect(),
            all: numbered().map(|(number, _)| number).collect(),
        }
    }

    pub(super) fn of(&self, verb: Verb) -> &[u16] {
        self.by_verb
            .get(verb as usize)
            .map_or(&self.all, |numbers| numbers)
    }
}
