//! `policy.toml` to rules and settings.

mod error;
mod reader;
mod rule;
mod window;

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::DeTable;

pub use error::{PolicyError, Problem};
use reader::{Reader, Section};
pub(crate) use rule::block;

use super::action::Action;
use super::rule::{AgentDown, Rule, Settings};
use super::{Policy, RULES_MAX};

/// A policy file, bytes: thousands of lines are far below.
pub const POLICY_BYTES_MAX: usize = 4 << 20;

const KEYS: &[&str] = &[
    "default",
    "unparsed",
    "unseen",
    "opaque",
    "malformed",
    "on_agent_down",
    "rule",
];

impl Policy {
    /// Reads a policy file's text; `path` is for messages only.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line and column, and what was expected.
    pub fn parse(text: &str, path: &Path) -> Result<Policy, PolicyError> {
        let failed = |problems| PolicyError {
            path: path.to_owned(),
            problems,
        };
        if text.len() > POLICY_BYTES_MAX {
            let message = format!("the policy is larger than {POLICY_BYTES_MAX} bytes");
            return Err(failed(vec![Problem::new("", 0..0, message)]));
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader::new(text);
        for error in errors {
            reader.problem(error.span().unwrap_or(0..0), error.message());
        }
        // What else is wrong with a file that is no TOML would mislead.
        if !reader.problems.is_empty() {
            return Err(failed(reader.into_problems()));
        }
        let (settings, rules) = document_of(&mut reader, &document);
        if !reader.problems.is_empty() {
            return Err(failed(reader.into_problems()));
        }
        let sha256 = hex::encode(Sha256::digest(text)).into();
        Ok(Policy::new(rules, settings, sha256))
    }
}

fn document_of(reader: &mut Reader<'_>, document: &Spanned<DeTable<'_>>) -> (Settings, Vec<Rule>) {
    let top = Section {
        table: document.get_ref(),
        span: (0, 0),
    };
    reader.known_keys(top, "a policy", KEYS);
    (settings(reader, top), rules(reader, top))
}

const DENY: (&str, Action) = ("deny", Action::Reset);
const ALLOW: (&str, Action) = ("allow", Action::Allow);
const ALERT: (&str, Action) = ("alert", Action::Alert);
const HOLD: (&str, Action) = ("hold", Action::Hold);

fn settings(reader: &mut Reader<'_>, top: Section<'_>) -> Settings {
    let standard = Settings::default();
    let actions: Vec<_> = Action::ALL
        .iter()
        .map(|action| (action.name(), *action))
        .collect();
    let mut setting = |key, choices: &[(&str, Action)], otherwise| {
        reader.choice(top, key, choices).unwrap_or(otherwise)
    };
    Settings {
        default: setting("default", &actions, standard.default),
        unparsed: setting("unparsed", &[ALLOW, ALERT, HOLD, DENY], standard.unparsed),
        unseen: setting("unseen", &[ALLOW, ALERT, DENY], standard.unseen),
        opaque: setting("opaque", &[ALLOW, ALERT, DENY], standard.opaque),
        malformed: setting("malformed", &[DENY, ALERT], standard.malformed),
        on_agent_down: reader
            .choice(
                top,
                "on_agent_down",
                &[AgentDown::Open, AgentDown::Closed].map(|down| (down.name(), down)),
            )
            .unwrap_or(standard.on_agent_down),
    }
}

fn rules(reader: &mut Reader<'_>, top: Section<'_>) -> Vec<Rule> {
    let Some(value) = top.table.get("rule") else {
        return Vec::new();
    };
    let Some(entries) = value.get_ref().as_array() else {
        let _: Option<()> = reader.expected("rule", "a list of tables: write `[[rule]]`", value);
        return Vec::new();
    };
    if entries.len() > RULES_MAX {
        reader.problem(
            value.span(),
            format!(
                "there are {} rules; at most {RULES_MAX} are taken",
                entries.len()
            ),
        );
        return Vec::new();
    }
    let mut rules = Vec::new();
    let mut lines = HashMap::new();
    for entry in entries {
        let Some(table) = entry.get_ref().as_table() else {
            let _: Option<()> = reader.expected("rule", "a table: write `[[rule]]`", entry);
            continue;
        };
        let section = Section {
            table,
            span: (entry.span().start, entry.span().end),
        };
        let Some(rule) = rule::read(reader, section) else {
            continue;
        };
        if let Some(line) = lines.insert(rule.name.clone(), rule.line) {
            let span = table.get("name").map_or(entry.span(), Spanned::span);
            reader.problem(
                span,
                format!(
                    "the rule of line {line} is called {:?} too; records tell rules apart by name",
                    rule.name
                ),
            );
        }
        rules.push(rule);
    }
    rules
}
