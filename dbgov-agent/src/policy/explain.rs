//! A verdict, told part by part.

use super::Policy;
use super::action::Action;
use super::context::{Context, Verdict};
use super::evaluate::{By, Question, describe};
use super::matching::{Text, What, Who, matching_addr, matching_name};
use super::rule::Rule;
use crate::sql::{Effect, Facts};

/// How a text was decided on.
#[derive(Debug)]
pub struct Explanation {
    pub effects: Vec<EffectTold>,
    pub verdict: Verdict,
}

/// How an effect was.
#[derive(Debug)]
pub struct EffectTold {
    /// `drop public.t`
    pub effect: String,
    pub uncertain: bool,
    pub dynamic: bool,
    pub missing_where: bool,
    pub server_side: bool,
    pub action: Action,
    /// The rule's name, or `(default)`.
    pub rule: String,
    /// The rule's.
    pub line: Option<usize>,
    /// Key by key, why the rule matched.
    pub because: Vec<String>,
    /// The rules before it.
    pub passed_over: Vec<PassedOver>,
}

/// A rule that did not match, and the key that kept it from matching.
#[derive(Debug)]
pub struct PassedOver {
    pub rule: String,
    pub key: &'static str,
}

impl Policy {
    /// [`Policy::evaluate`] for one text, with the reasons.
    pub fn explain(&self, context: &Context<'_>, facts: &Facts, bytes: u64) -> Explanation {
        let text = Text {
            bytes,
            statements: facts.count,
        };
        let mut effects = Vec::new();
        let decision =
            Question::decide(self, context, facts, bytes, &mut |question, effect, by| {
                effects.push(told(question, effect, by, text));
            });
        Explanation {
            effects,
            verdict: self.verdict(decision),
        }
    }
}

fn told(question: &Question<'_>, effect: &Effect, by: By<'_>, text: Text) -> EffectTold {
    let rules = &question.policy.rules;
    let context = &question.context;
    let (action, name, rule) = match by {
        By::Rule(rule) => (rule.action, &*rule.name, Some(rule)),
        By::Setting(setting) => (question.policy.settings.of(setting), setting.label(), None),
    };
    let before = rule
        .and_then(|rule| rules.iter().position(|other| std::ptr::eq(other, rule)))
        .unwrap_or(rules.len());
    EffectTold {
        effect: describe(effect),
        uncertain: effect.uncertain,
        dynamic: effect.dynamic,
        missing_where: effect.missing_where,
        server_side: effect.server_side,
        action,
        rule: name.to_owned(),
        line: rule.map(|rule| rule.line),
        because: rule.map_or_else(Vec::new, |rule| because(rule, effect, text, context)),
        passed_over: rules[..before]
            .iter()
            .map(|rule| PassedOver {
                rule: rule.name.to_string(),
                key: obstacle(rule, effect, text, context),
            })
            .collect(),
    }
}

/// The first key that does not match.
fn obstacle(rule: &Rule, effect: &Effect, text: Text, context: &Context<'_>) -> &'static str {
    let what = What::ALL
        .iter()
        .find(|what| !what.holds(rule, effect, text, context.search_path));
    let who = Who::ALL
        .iter()
        .find(|who| !who.holds(rule, context, rule.is_restrictive()));
    match (what, who) {
        (Some(what), _) => key_of_what(*what, rule),
        (None, Some(who)) => key_of_who(*who),
        // Everything matches, yet it was passed over.
        (None, None) => "allow, which takes only what is certain",
    }
}

fn because(rule: &Rule, effect: &Effect, text: Text, context: &Context<'_>) -> Vec<String> {
    let what = What::ALL
        .iter()
        .filter(|what| what.asked(rule))
        .map(|what| {
            format!(
                "{}: {}",
                key_of_what(*what, rule),
                why_what(*what, rule, effect, text, context)
            )
        });
    let who = Who::ALL
        .iter()
        .filter(|who| who.asked(rule))
        .map(|who| format!("{}: {}", key_of_who(*who), why_who(*who, rule, context)));
    what.chain(who).collect()
}

fn key_of_what(what: What, rule: &Rule) -> &'static str {
    match what {
        What::Verbs => "verbs",
        What::MissingWhere => "missing_where",
        What::ServerSide => "server_side",
        What::MultiStatement => "multi_statement",
        What::StatementBytes => "statement_bytes",
        What::Objects if !rule.tables.is_empty() => "tables",
        What::Objects if !rule.functions.is_empty() => "functions",
        What::Objects => "settings",
        What::Schemas => "schemas",
    }
}

fn key_of_who(who: Who) -> &'static str {
    match who {
        Who::Identities => "identities",
        Who::Users => "users",
        Who::Roles => "roles",
        Who::Databases => "databases",
        Who::Applications => "applications",
        Who::ClientAddrs => "client_addrs",
        Who::Time => "time",
    }
}

fn why_what(what: What, rule: &Rule, effect: &Effect, text: Text, context: &Context<'_>) -> String {
    if effect.dynamic && !matches!(what, What::MultiStatement | What::StatementBytes) {
        return "code made while it runs may be anything".to_owned();
    }
    match what {
        What::Verbs => effect.verb.name().to_owned(),
        What::MissingWhere if effect.missing_where => "all rows".to_owned(),
        What::MissingWhere => "some rows".to_owned(),
        What::ServerSide => effect.server_side.to_string(),
        What::MultiStatement => format!("{} statements", text.statements),
        What::StatementBytes => format!("{} bytes", text.bytes),
        What::Objects => match &effect.object {
            None => "any object".to_owned(),
            Some(object) => match matching_name(rule, effect, object, context.search_path) {
                Some(pattern) => format!("\"{pattern}\" matches {object}"),
                None => object.to_string(),
            },
        },
        What::Schemas => match &effect.object {
            None => "any object".to_owned(),
            Some(object) => object.to_string(),
        },
    }
}

fn why_who(who: Who, rule: &Rule, context: &Context<'_>) -> String {
    match who {
        Who::Time => "now".to_owned(),
        Who::ClientAddrs => match context.client_addr {
            Some(addr) => match matching_addr(rule, addr) {
                Some(block) => format!("{addr} is in {block}"),
                None => addr.to_string(),
            },
            None => "not known".to_owned(),
        },
        _ => match who.value(context) {
            Some(value) => {
                let glob = who.globs(rule).iter().find(|glob| glob.matches(value));
                glob.map_or_else(
                    || value.to_owned(),
                    |glob| format!("{:?} matches {value:?}", glob.text()),
                )
            }
            None => "not known".to_owned(),
        },
    }
}
