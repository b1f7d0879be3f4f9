//! One rule against one effect: part by part, each a key of the rule.

use std::fmt;
use std::net::IpAddr;

use super::context::Context;
use super::names::{self, NamePattern, SearchPath};
use super::rule::Rule;
use super::verbs::VerbSet;
use crate::glob::Glob;
use crate::sql::{Effect, Object, ObjectKind, Verb};

/// What a rule may ask of an effect and of the message it is in. Cheap ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Verbs,
    MissingWhere,
    ServerSide,
    MultiStatement,
    StatementBytes,
    Objects,
    Schemas,
}

/// What a rule may ask of who sends it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Identities,
    Users,
    Roles,
    Databases,
    Applications,
    ClientAddrs,
    Time,
}

/// The message an effect is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) bytes: u64,
    pub(super) statements: u32,
}

/// Verbs that say whether they are for all rows.
pub(super) const WITH_WHERE: VerbSet = VerbSet::of(&[Verb::Update, Verb::Delete, Verb::Merge]);

/// On a schema, a database or a role (DROP OWNED) these concern whatever is in it, without naming it.
pub(super) const CONTAINING: VerbSet =
    VerbSet::of(&[Verb::Drop, Verb::Grant, Verb::Revoke, Verb::Reassign]);

/// With no table named these concern every one.
pub(super) const EVERY_TABLE: VerbSet = VerbSet::of(&[Verb::Vacuum, Verb::Analyze, Verb::Cluster]);

impl What {
    pub(super) const ALL: [What; 7] = [
        What::Verbs,
        What::MissingWhere,
        What::ServerSide,
        What::MultiStatement,
        What::StatementBytes,
        What::Objects,
        What::Schemas,
    ];

    /// Whether the rule asks for this at all.
    pub(super) fn asked(self, rule: &Rule) -> bool {
        match self {
            What::Verbs => rule.verbs.is_some(),
            What::MissingWhere => rule.missing_where.is_some(),
            What::ServerSide => rule.server_side.is_some(),
            What::MultiStatement => rule.multi_statement.is_some(),
            What::StatementBytes => rule.statement_bytes.is_some(),
            What::Objects => {
                !rule.tables.is_empty() || !rule.functions.is_empty() || !rule.settings.is_empty()
            }
            What::Schemas => !rule.schemas.is_empty(),
        }
    }

    pub(super) fn holds(self, rule: &Rule, effect: &Effect, text: Text, path: &SearchPath) -> bool {
        // Code that nobody knows may do anything to anything.
        let anything = effect.dynamic;
        match self {
            What::Verbs => rule.verbs.is_none_or(|verbs| {
                anything || verbs.covers(effect.verb, effect.object.as_ref(), effect.uncertain)
            }),
            What::MissingWhere => rule.missing_where.is_none_or(|asked| {
                anything
                    || (WITH_WHERE.contains(effect.verb)
                        && flag(asked, effect.missing_where, effect.uncertain))
            }),
            What::ServerSide => rule
                .server_side
                .is_none_or(|asked| anything || flag(asked, effect.server_side, effect.uncertain)),
            What::MultiStatement => rule
                .multi_statement
                .is_none_or(|asked| asked == (text.statements > 1)),
            What::StatementBytes => rule.statement_bytes.is_none_or(|bytes| text.bytes > bytes),
            What::Objects => !self.asked(rule) || anything || concerns(rule, effect, path),
            What::Schemas => {
                !self.asked(rule) || anything || in_schemas(&rule.schemas, rule, effect, path)
            }
        }
    }
}

/// What was not read for certain may lack what a rule wants to be absent.
fn flag(asked: bool, found: bool, uncertain: bool) -> bool {
    asked == found || (uncertain && !asked)
}

fn concerns(rule: &Rule, effect: &Effect, path: &SearchPath) -> bool {
    let Some(object) = &effect.object else {
        let every_table = EVERY_TABLE.contains(effect.verb) && !rule.tables.is_empty();
        // What is set can be any setting, but is no table.
        let sets = matches!(effect.verb, Verb::Set | Verb::Reset | Verb::Show);
        let possible = effect.uncertain && (!sets || !rule.settings.is_empty());
        return (possible || every_table) && rule.is_restrictive();
    };
    matching_name(rule, effect, object, path).is_some()
}

/// The pattern among `tables`, `functions` and `settings` that matches.
pub(super) fn matching_name<'a>(
    rule: &'a Rule,
    effect: &Effect,
    object: &Object,
    path: &SearchPath,
) -> Option<&'a dyn fmt::Display> {
    let restrictive = rule.is_restrictive();
    let find = |patterns: &'a [NamePattern]| -> Option<&'a dyn fmt::Display> {
        let mut patterns = patterns.iter();
        let found = patterns.find(|pattern| pattern.matches(object, path, restrictive))?;
        Some(found)
    };
    match object.kind {
        ObjectKind::Relation | ObjectKind::Index | ObjectKind::Sequence => find(&rule.tables),
        ObjectKind::Function => find(&rule.functions).or_else(|| {
            let calls = rule.verbs.is_some_and(|verbs| verbs.contains(Verb::Call));
            if calls { find(&rule.tables) } else { None }
        }),
        ObjectKind::Setting => {
            let all = restrictive && effect.verb == Verb::Reset && &*object.name == "all";
            let mut settings = rule.settings.iter();
            let found = settings.find(|setting| all || setting.matches(&object.name))?;
            Some(found)
        }
        ObjectKind::Schema | ObjectKind::Database | ObjectKind::Role
            if restrictive && concerns_contents(effect.verb, object.kind) =>
        {
            let mut names = rule.tables.iter().chain(&rule.functions);
            let found = names.find(|pattern| match &pattern.schema {
                Some(schema) if object.kind == ObjectKind::Schema => schema.matches(&object.name),
                _ => true,
            })?;
            Some(found)
        }
        _ => None,
    }
}

/// Rights on a database and membership in a role are none on tables.
fn concerns_contents(verb: Verb, kind: ObjectKind) -> bool {
    let of_rights = matches!(verb, Verb::Grant | Verb::Revoke);
    CONTAINING.contains(verb) && (kind == ObjectKind::Schema || !of_rights)
}

fn in_schemas(schemas: &[Glob], rule: &Rule, effect: &Effect, path: &SearchPath) -> bool {
    let restrictive = rule.is_restrictive();
    match &effect.object {
        None => (effect.uncertain || EVERY_TABLE.contains(effect.verb)) && restrictive,
        Some(object) => schemas
            .iter()
            .any(|schema| names::in_schema(schema, object, path, restrictive)),
    }
}

impl Who {
    pub(super) const ALL: [Who; 7] = [
        Who::Identities,
        Who::Users,
        Who::Roles,
        Who::Databases,
        Who::Applications,
        Who::ClientAddrs,
        Who::Time,
    ];

    /// What stays as it is while a connection lives.
    pub(super) const OF_CONNECTION: [Who; 4] = [
        Who::Identities,
        Who::Users,
        Who::Databases,
        Who::ClientAddrs,
    ];

    pub(super) fn asked(self, rule: &Rule) -> bool {
        match self {
            Who::ClientAddrs => !rule.client_addrs.is_empty(),
            Who::Time => rule.time.is_some(),
            _ => !self.globs(rule).is_empty(),
        }
    }

    /// `unknown`: whether what is not known matches.
    pub(super) fn holds(self, rule: &Rule, context: &Context<'_>, unknown: bool) -> bool {
        match self {
            _ if !self.asked(rule) => true,
            Who::ClientAddrs => match context.client_addr {
                Some(addr) => matching_addr(rule, addr).is_some(),
                None => unknown,
            },
            Who::Time => rule
                .time
                .as_ref()
                .is_none_or(|time| time.holds(context.unix_ns)),
            _ => match self.value(context) {
                Some(value) => self.globs(rule).iter().any(|glob| glob.matches(value)),
                None => unknown,
            },
        }
    }

    pub(super) fn globs(self, rule: &Rule) -> &[Glob] {
        match self {
            Who::Identities => &rule.identities,
            Who::Users => &rule.users,
            Who::Roles => &rule.roles,
            Who::Databases => &rule.databases,
            Who::Applications => &rule.applications,
            Who::ClientAddrs | Who::Time => &[],
        }
    }

    pub(super) fn value<'a>(self, context: &Context<'a>) -> Option<&'a str> {
        match self {
            Who::Identities => context.identity,
            Who::Users => context.user,
            Who::Roles => context.role,
            Who::Databases => context.database,
            Who::Applications => context.application,
            Who::ClientAddrs | Who::Time => None,
        }
    }
}

pub(super) fn matching_addr(rule: &Rule, addr: IpAddr) -> Option<&super::Cidr> {
    let addr = addr.to_canonical();
    rule.client_addrs.iter().find(|block| block.contains(&addr))
}
