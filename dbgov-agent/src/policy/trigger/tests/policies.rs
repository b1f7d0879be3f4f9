//! Policies of every kind of rule.

use std::sync::Arc;

use super::generator::Dice;
use crate::policy::{
    APPROVAL_TIMEOUT_DEFAULT, Action, GROUPS, Glob, NamePattern, Policy, Rule, Settings, VerbSet,
};
use crate::sql::Verb;

const TABLE_PATTERNS: &[&str] = &[
    "secrets",
    "Secrets",
    "secret*",
    "*crets*",
    "audit.*",
    "audit.secrets",
    "audit.log",
    "orders",
    "t",
    "a*",
    "pg_*",
    "sec rets",
    "se\"crets",
    "geheimé",
    "information_schema.*",
    "customer_payment_details_with_a_name_of_just_sixty_three_bytes_x",
    "p?g_authid",
    "drop",
    "*",
];

const FUNCTION_PATTERNS: &[&str] = &[
    "pg_sleep",
    "pg_*",
    "purge",
    "admin.purge",
    "lo_*",
    "*",
    "set_config",
];

const SETTING_PATTERNS: &[&str] = &[
    "role",
    "session_*",
    "search_path",
    "timezone",
    "work_mem",
    "*",
    "client_encoding",
    "transaction*",
    "all",
];

pub(super) fn rule(name: &str, action: Action) -> Rule {
    Rule {
        name: name.into(),
        action,
        verbs: None,
        tables: Vec::new(),
        functions: Vec::new(),
        settings: Vec::new(),
        schemas: Vec::new(),
        missing_where: None,
        server_side: None,
        multi_statement: None,
        statement_bytes: None,
        identities: Vec::new(),
        users: Vec::new(),
        roles: Vec::new(),
        databases: Vec::new(),
        applications: Vec::new(),
        client_addrs: Vec::new(),
        time: None,
        reason: None,
        approval_timeout: APPROVAL_TIMEOUT_DEFAULT,
        line: 1,
    }
}

pub(super) fn policy(rules: Vec<Rule>) -> Policy {
    Policy::new(rules, Settings::default(), Arc::from("-"))
}

pub(super) fn about(verbs: &[Verb]) -> Rule {
    Rule {
        verbs: Some(VerbSet::of(verbs)),
        ..rule("rule", Action::Reset)
    }
}

/// One to three rules.
pub(super) fn random_policy(dice: &mut Dice) -> Policy {
    let rules = (0..=dice.below(3)).map(|n| random_rule(dice, n)).collect();
    policy(rules)
}

fn random_rule(dice: &mut Dice, n: usize) -> Rule {
    let action = Action::ALL[dice.below(Action::ALL.len())];
    let mut rule = rule(&format!("rule {n}"), action);
    if !dice.one_in(4) {
        rule.verbs = Some(random_verbs(dice));
    }
    if dice.one_in(3) {
        rule.tables = some(dice, TABLE_PATTERNS)
            .map(|text| NamePattern::new(text).unwrap())
            .collect();
    }
    if dice.one_in(6) {
        rule.functions = some(dice, FUNCTION_PATTERNS)
            .map(|text| NamePattern::new(text).unwrap())
            .collect();
    }
    if dice.one_in(6) {
        rule.settings = some(dice, SETTING_PATTERNS)
            .map(|text| Glob::new(text).unwrap())
            .collect();
    }
    if dice.one_in(8) {
        rule.schemas = vec![Glob::new(dice.pick(&["audit", "public", "a*"])).unwrap()];
    }
    let mut flag = |times| dice.one_in(times).then(|| !dice.one_in(4));
    rule.missing_where = flag(5);
    rule.server_side = flag(8);
    rule.multi_statement = flag(8);
    rule.statement_bytes = dice.one_in(10).then_some(40);
    rule
}

fn random_verbs(dice: &mut Dice) -> VerbSet {
    if dice.one_in(4) {
        return GROUPS[dice.below(GROUPS.len())].1;
    }
    let verbs: Vec<Verb> = (0..=dice.below(3))
        .map(|_| Verb::ALL[dice.below(Verb::ALL.len())])
        .collect();
    VerbSet::of(&verbs)
}

fn some<'a>(dice: &mut Dice, list: &[&'a str]) -> impl Iterator<Item = &'a str> + use<'a> {
    let picked: Vec<&str> = (0..=dice.below(2)).map(|_| dice.pick(list)).collect();
    picked.into_iter()
}
