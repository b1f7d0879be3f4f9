//! Rules that cannot be meant.

use super::policy;

/// Rules, each on a line of keys.
fn warnings(settings: &str, rules: &[&str]) -> Vec<String> {
    let mut text = format!("{settings}\n");
    for (number, rule) in rules.iter().enumerate() {
        text.push_str(&format!(
            "[[rule]]\nname = \"r{number}\"\n{}\n",
            rule.replace("; ", "\n")
        ));
    }
    policy(&text)
        .check()
        .into_iter()
        .map(|warning| warning.message)
        .collect()
}

#[test]
fn shadowed() {
    for (earlier, later, expected) in [
        (
            "action = \"hold\"",
            "action = \"reset\"; verbs = [\"drop\"]",
            "can never match: the rule \"r0\" of line 2",
        ),
        (
            "action = \"hold\"; verbs = [\"ddl\"]; tables = [\"s.*\"]",
            "action = \"reset\"; verbs = [\"drop\"]; tables = [\"s.t\", \"s.u*\"]; users = [\"u\"]",
            "can never match",
        ),
        (
            "action = \"hold\"; identities = [\"agent:*\"]",
            "action = \"reset\"; identities = [\"agent:sync\"]",
            "can never match",
        ),
        (
            "action = \"hold\"; client_addrs = [\"10.0.0.0/8\"]",
            "action = \"reset\"; client_addrs = [\"10.1.0.0/16\"]",
            "can never match",
        ),
        (
            "action = \"hold\"; statement_bytes = 10",
            "action = \"reset\"; statement_bytes = 20",
            "can never match",
        ),
        (
            "action = \"hold\"; time = { zone = \"UTC\", to = \"09:00\" }",
            "action = \"reset\"; time = { zone = \"UTC\", to = \"09:00\" }",
            "can never match",
        ),
        (
            "action = \"allow\"; verbs = [\"ddl\"]",
            "action = \"reset\"; verbs = [\"drop\"]",
            "matches only what is uncertain",
        ),
    ] {
        let warnings = warnings("", &[earlier, later]);
        assert_eq!(warnings.len(), 1, "{later}: {warnings:?}");
        assert!(
            warnings[0].starts_with("rule \"r1\"") && warnings[0].contains(expected),
            "{warnings:?}"
        );
    }
}

#[test]
fn not_shadowed() {
    for (earlier, later) in [
        ("verbs = [\"drop\"]", "verbs = [\"drop\", \"alter\"]"),
        ("tables = [\"s.*\"]", "tables = [\"t\"]"),
        ("tables = [\"t\"]", "functions = [\"t\"]"),
        ("users = [\"a\"]", "roles = [\"a\"]"),
        ("users = [\"a\"]", "verbs = [\"drop\"]"),
        ("missing_where = true", "missing_where = false"),
        ("statement_bytes = 20", "statement_bytes = 10"),
        (
            "time = { zone = \"UTC\", to = \"09:00\" }",
            "time = { zone = \"UTC\", to = \"10:00\" }",
        ),
        ("multi_statement = true", "verbs = [\"drop\"]"),
        ("verbs = [\"role\"]", "verbs = [\"drop\"]"),
    ] {
        let rules = [earlier, later].map(|rule| format!("action = \"hold\"; {rule}"));
        assert_eq!(
            warnings("", &[&rules[0], &rules[1]]),
            [""; 0],
            "{earlier}, {later}"
        );
    }
}

#[test]
fn contradictions() {
    for (rule, expected) in [
        (
            "action = \"hold\"; verbs = [\"drop\"]; missing_where = true",
            "none of its verbs has `missing_where`",
        ),
        (
            "action = \"hold\"; verbs = [\"drop\"]; server_side = true",
            "none of its verbs has `server_side`",
        ),
        (
            "action = \"hold\"; verbs = [\"select\"]; functions = [\"f\"]",
            "none of its verbs has functions",
        ),
        (
            "action = \"hold\"; verbs = [\"select\"]; settings = [\"role\"]",
            "none of its verbs has settings",
        ),
        (
            "action = \"hold\"; verbs = [\"begin\", \"show\"]; tables = [\"t\"]",
            "anything that `tables` could name",
        ),
        (
            "action = \"hold\"; verbs = [\"commit\"]; schemas = [\"t\"]",
            "anything that `schemas` could name",
        ),
        (
            "action = \"allow\"; verbs = [\"unknown\"]",
            "`unknown` is never certain",
        ),
        (
            "action = \"reset\"; approval_timeout = \"1m\"",
            "which only `hold` uses",
        ),
        ("action = \"allow\"; verbs = [\"drop\"]", "changes nothing"),
    ] {
        let warnings = warnings("", &[rule]);
        assert_eq!(warnings.len(), 1, "{rule}: {warnings:?}");
        assert!(warnings[0].contains(expected), "{warnings:?}");
    }
    assert_eq!(
        warnings(
            "default = \"reset\"",
            &["action = \"allow\"; verbs = [\"drop\"]"]
        ),
        [""; 0]
    );
}
