//! Sets of verbs, and the groups that may be written in a verb's place.

use crate::sql::{Object, ObjectKind, Verb};

/// Verbs of a rule: a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VerbSet(u64);

/// `role` takes CREATE, ALTER and DROP in as far as they concern roles.
const ROLE_DDL: u64 = 1 << 63;
const ROLE_DDL_VERBS: VerbSet = VerbSet::of(&[Verb::Create, Verb::Alter, Verb::Drop]);

const _: () = assert!(Verb::ALL.len() < 63);

/// POLICY.md, "Effects". `session` is what concerns the session and its transactions and touches no data.
pub const GROUPS: &[(&str, VerbSet)] = &[
    (
        "read",
        VerbSet::of(&[
            Verb::Select,
            Verb::CopyTo,
            Verb::Explain,
            Verb::Show,
            Verb::Fetch,
            Verb::Declare,
        ]),
    ),
    (
        "write",
        VerbSet::of(&[
            Verb::Insert,
            Verb::Update,
            Verb::Delete,
            Verb::Merge,
            Verb::CopyFrom,
            Verb::Truncate,
        ]),
    ),
    (
        "ddl",
        VerbSet::of(&[
            Verb::Create,
            Verb::Alter,
            Verb::Drop,
            Verb::Truncate,
            Verb::Comment,
            Verb::Reindex,
            Verb::Cluster,
            Verb::Refresh,
            Verb::Import,
            Verb::Reassign,
            Verb::SecurityLabel,
        ]),
    ),
    (
        "role",
        VerbSet(VerbSet::of(&[Verb::Grant, Verb::Revoke]).0 | ROLE_DDL),
    ),
    (
        "session",
        VerbSet::of(&[
            Verb::Set,
            Verb::Reset,
            Verb::Discard,
            Verb::Begin,
            Verb::Commit,
            Verb::Rollback,
            Verb::Savepoint,
            Verb::Prepare,
            Verb::Deallocate,
            Verb::Move,
            Verb::Close,
            Verb::Listen,
            Verb::Unlisten,
            Verb::Notify,
        ]),
    ),
    (
        "code",
        VerbSet::of(&[Verb::Do, Verb::Call, Verb::Execute, Verb::Load]),
    ),
];

impl VerbSet {
    pub const EMPTY: VerbSet = VerbSet(0);

    pub const fn of(verbs: &[Verb]) -> VerbSet {
        let mut bits = 0;
        let mut at = 0;
        while at < verbs.len() {
            bits |= 1 << verbs[at] as u64;
            at += 1;
        }
        VerbSet(bits)
    }

    /// A verb or a group, by its name in a policy.
    pub fn named(name: &str) -> Option<VerbSet> {
        let group = GROUPS.iter().find(|(group, _)| *group == name);
        match group {
            Some((_, verbs)) => Some(*verbs),
            None => name.parse().ok().map(|verb| VerbSet::of(&[verb])),
        }
    }

    /// Everything [`VerbSet::named`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let verbs = Verb::ALL.iter().map(|verb| verb.name());
        verbs.chain(GROUPS.iter().map(|(name, _)| *name))
    }

    pub fn union(self, other: VerbSet) -> VerbSet {
        VerbSet(self.0 | other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whatever its object.
    pub fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u64) != 0
    }

    /// The verb on this object. `uncertain`: what the object is, is not certain either.
    pub fn covers(self, verb: Verb, object: Option<&Object>, uncertain: bool) -> bool {
        self.contains(verb)
            || (self.may_contain(verb)
                && (uncertain || object.is_some_and(|object| object.kind == ObjectKind::Role)))
    }

    /// On some object at least.
    pub fn may_contain(self, verb: Verb) -> bool {
        self.contains(verb) || (self.0 & ROLE_DDL != 0 && ROLE_DDL_VERBS.contains(verb))
    }

    /// CREATE, ALTER and DROP are meant of roles (too).
    pub fn has_role_ddl(self) -> bool {
        self.0 & ROLE_DDL != 0
    }

    /// Every verb that is in the set, on some object at least.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL
            .iter()
            .copied()
            .filter(move |verb| self.may_contain(*verb))
    }

    /// Everything in this set is in the other.
    pub fn is_subset(self, other: VerbSet) -> bool {
        let role_ddl_in_full = if ROLE_DDL_VERBS.0 & other.0 == ROLE_DDL_VERBS.0 {
            ROLE_DDL
        } else {
            0
        };
        self.0 & !(other.0 | role_ddl_in_full) == 0
    }

    /// Something is in both.
    pub fn meets(self, other: VerbSet) -> bool {
        self.iter().any(|verb| other.may_contain(verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_ddl_is_of_roles_only() {
        let role = VerbSet::named("role").unwrap();
        let on = |kind| Object {
            kind,
            schema: None,
            name: "x".into(),
        };
        assert!(role.covers(Verb::Grant, None, false));
        assert!(role.covers(Verb::Drop, Some(&on(ObjectKind::Role)), false));
        assert!(!role.covers(Verb::Drop, Some(&on(ObjectKind::Relation)), false));
        assert!(!role.covers(Verb::Drop, None, false));
        assert!(role.covers(Verb::Drop, None, true));
        assert!(!role.covers(Verb::Select, None, true));
        assert!(role.iter().any(|verb| verb == Verb::Alter));
        let ddl = VerbSet::named("ddl").unwrap();
        assert!(!role.is_subset(ddl));
        assert!(role.is_subset(ddl.union(VerbSet::of(&[Verb::Grant, Verb::Revoke]))));
        assert!(role.meets(ddl));
    }

    #[test]
    fn every_name_is_known_and_no_group_is_a_verb() {
        for name in VerbSet::names() {
            assert!(VerbSet::named(name).is_some_and(|set| !set.is_empty()));
        }
        for (group, _) in GROUPS {
            assert!(group.parse::<Verb>().is_err());
        }
        assert_eq!(VerbSet::named("selct"), None);
    }
}
