//! Rules that can never match, or whose matching changes nothing.

use super::Policy;
use super::action::Action;
use super::matching::{WITH_WHERE, What, Who};
use super::names::NamePattern;
use super::rule::{APPROVAL_TIMEOUT_DEFAULT, Rule};
use super::verbs::VerbSet;
use crate::glob::Glob;
use crate::sql::Verb;

/// Something about a policy that its author cannot have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Of the policy file, from 1.
    pub line: usize,
    pub message: String,
}

/// What can touch files or programs of the server.
const WITH_FILES: VerbSet = VerbSet::of(&[
    Verb::CopyFrom,
    Verb::CopyTo,
    Verb::Call,
    Verb::Load,
    Verb::Create,
    Verb::Alter,
    Verb::Unknown,
]);

/// What can be done to a function.
const WITH_FUNCTIONS: VerbSet = VerbSet::of(&[
    Verb::Call,
    Verb::Create,
    Verb::Alter,
    Verb::Drop,
    Verb::Grant,
    Verb::Revoke,
    Verb::Comment,
    Verb::Reassign,
    Verb::SecurityLabel,
    Verb::Unknown,
]);

/// What can be done to a configuration parameter.
const WITH_SETTINGS: VerbSet = VerbSet::of(&[
    Verb::Set,
    Verb::Reset,
    Verb::Show,
    Verb::Alter,
    Verb::Grant,
    Verb::Revoke,
    Verb::Unknown,
]);

/// What names nothing that is in a schema.
const WITHOUT_OBJECTS: VerbSet = VerbSet::of(&[
    Verb::Load,
    Verb::Do,
    Verb::Prepare,
    Verb::Execute,
    Verb::Deallocate,
    Verb::Close,
    Verb::Set,
    Verb::Reset,
    Verb::Show,
    Verb::Discard,
    Verb::Begin,
    Verb::Commit,
    Verb::Rollback,
    Verb::Savepoint,
    Verb::Listen,
    Verb::Unlisten,
    Verb::Notify,
    Verb::Checkpoint,
]);

impl Policy {
    /// Warnings, in the order of the rules. None is an error: the policy means what it says.
    pub fn check(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let mut warn = |what: String| {
                warnings.push(Warning {
                    line: rule.line,
                    message: format!("rule {:?} {what}", rule.name),
                });
            };
            if let Some(why) = contradiction(rule) {
                warn(format!("can never match: {why}"));
            } else if let Some(earlier) = self.rules[..at]
                .iter()
                .find(|earlier| covers(earlier, rule))
            {
                warn(shadowed(earlier, rule));
            } else if self.is_idle(at) {
                warn("changes nothing: it allows what `default` allows, and no rule behind it restricts".to_owned());
            }
            if rule.action != Action::Hold && rule.approval_timeout != APPROVAL_TIMEOUT_DEFAULT {
                warn(format!(
                    "has an `approval_timeout`, which only `hold` uses; its action is `{}`",
                    rule.action.name()
                ));
            }
        }
        warnings
    }

    fn is_idle(&self, at: usize) -> bool {
        self.rules[at].action == Action::Allow
            && self.settings.default == Action::Allow
            && !self.rules[at..].iter().any(Rule::is_restrictive)
    }
}

fn shadowed(earlier: &Rule, rule: &Rule) -> String {
    let place = format!("{:?} of line {}", earlier.name, earlier.line);
    if earlier.is_restrictive() || !rule.is_restrictive() {
        format!("can never match: the rule {place} takes everything it could")
    } else {
        format!(
            "matches only what is uncertain: the rule {place} allows everything else it could match"
        )
    }
}

fn contradiction(rule: &Rule) -> Option<String> {
    let verbs = rule.verbs?;
    let lacks = |key: &str, wanted: VerbSet| {
        (!verbs.meets(wanted)).then(|| format!("none of its verbs has {key}"))
    };
    if rule.missing_where.is_some()
        && let Some(why) = lacks(
            "`missing_where` (update, delete and merge have)",
            WITH_WHERE,
        )
    {
        return Some(why);
    }
    if rule.server_side == Some(true)
        && let Some(why) = lacks(
            "`server_side` (copy_from, copy_to and call have)",
            WITH_FILES,
        )
    {
        return Some(why);
    }
    if rule.tables.is_empty()
        && !rule.functions.is_empty()
        && let Some(why) = lacks(
            "functions (call, create, alter, drop, grant and revoke have)",
            WITH_FUNCTIONS,
        )
    {
        return Some(why);
    }
    if verbs.is_subset(WITHOUT_OBJECTS) {
        for (key, asked) in [
            (
                "tables",
                !rule.tables.is_empty() && rule.settings.is_empty(),
            ),
            ("schemas", !rule.schemas.is_empty()),
        ] {
            if asked {
                return Some(format!(
                    "none of its verbs is for anything that `{key}` could name"
                ));
            }
        }
    }
    if rule.tables.is_empty()
        && rule.functions.is_empty()
        && !rule.settings.is_empty()
        && let Some(why) = lacks("settings (set, reset, show and alter have)", WITH_SETTINGS)
    {
        return Some(why);
    }
    if rule.action == Action::Allow && verbs.is_subset(VerbSet::of(&[Verb::Unknown])) {
        return Some("`unknown` is never certain, and `allow` takes only what is".to_owned());
    }
    None
}

/// Whatever matches the later rule matches the earlier one (but for doubt). `false` where that is not easily seen.
fn covers(earlier: &Rule, rule: &Rule) -> bool {
    What::ALL
        .iter()
        .all(|what| !what.asked(earlier) || covers_what(*what, earlier, rule))
        && Who::ALL
            .iter()
            .all(|who| !who.asked(earlier) || covers_who(*who, earlier, rule))
}

fn covers_what(what: What, earlier: &Rule, rule: &Rule) -> bool {
    match what {
        What::Verbs => match (earlier.verbs, rule.verbs) {
            (Some(earlier), Some(verbs)) => verbs.is_subset(earlier),
            _ => false,
        },
        What::MissingWhere => earlier.missing_where == rule.missing_where,
        What::ServerSide => earlier.server_side == rule.server_side,
        What::MultiStatement => earlier.multi_statement == rule.multi_statement,
        What::StatementBytes => rule.statement_bytes.is_some_and(|bytes| {
            earlier
                .statement_bytes
                .is_some_and(|earlier| earlier <= bytes)
        }),
        What::Objects => {
            what.asked(rule)
                && names_covered(&earlier.tables, &rule.tables)
                && names_covered(&earlier.functions, &rule.functions)
                && globs_covered(&earlier.settings, &rule.settings)
        }
        What::Schemas => what.asked(rule) && globs_covered(&earlier.schemas, &rule.schemas),
    }
}

fn names_covered(earlier: &[NamePattern], names: &[NamePattern]) -> bool {
    names
        .iter()
        .all(|name| earlier.iter().any(|earlier| earlier.includes(name)))
}

fn covers_who(who: Who, earlier: &Rule, rule: &Rule) -> bool {
    match who {
        Who::ClientAddrs => {
            !rule.client_addrs.is_empty()
                && rule.client_addrs.iter().all(|block| {
                    earlier
                        .client_addrs
                        .iter()
                        .any(|earlier| earlier.contains(block))
                })
        }
        Who::Time => earlier.time == rule.time,
        _ => who.asked(rule) && globs_covered(who.globs(earlier), who.globs(rule)),
    }
}

fn globs_covered(earlier: &[Glob], globs: &[Glob]) -> bool {
    globs
        .iter()
        .all(|glob| earlier.iter().any(|earlier| earlier.includes(glob)))
}
