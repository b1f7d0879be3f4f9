//! What is said about mistakes in a policy file.

use std::path::Path;

use super::policy;
use crate::policy::Policy;

fn error(text: &str) -> String {
    Policy::parse(text, Path::new("policy.toml"))
        .unwrap_err()
        .to_string()
}

/// A rule with this line in it, the third.
fn rule(line: &str) -> String {
    format!("[[rule]]\nname = \"r\"\naction = \"reset\"\n{line}\n")
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, place, message) in [
        (
            "defualt = \"allow\"",
            "line 1, column 1",
            "a policy has no key `defualt`; did you mean `default`?",
        ),
        (
            "default = \"deny\"",
            "line 1, column 11",
            "expected `allow`, `alert`, `hold`, `reject` or `reset`",
        ),
        (
            "unparsed = \"reset\"",
            "line 1, column 12",
            "expected `allow`, `alert`, `hold` or `deny`",
        ),
        (
            "malformed = \"allow\"",
            "line 1",
            "expected `deny` or `alert`",
        ),
        (
            "on_agent_down = \"close\"",
            "line 1",
            "did you mean `closed`?",
        ),
        (
            "default = 1",
            "line 1, column 11",
            "`default` must be a string, not an integer",
        ),
        ("[rule]\nname = \"r\"", "line 1", "write `[[rule]]`"),
        (
            "[[rule]]\naction = \"reset\"",
            "line 1, column 1",
            "the rule has no `name`",
        ),
        (
            "[[rule]]\nname = \"r\"",
            "line 1, column 1",
            "the rule has no `action`",
        ),
        (
            "[[rule]]\nname = \"a\"\naction = \"block\"",
            "line 3, column 10",
            "`action` cannot be \"block\"; expected `allow`",
        ),
        (
            "[[rule]]\nname = \" \"\naction = \"hold\"",
            "line 2, column 8",
            "`name` is empty",
        ),
        (
            "[[rule]]\nname = \"(default)\"\naction = \"hold\"",
            "line 2",
            "those of settings",
        ),
        (
            "[[rule]]\nname = \"a\\nb\"\naction = \"hold\"",
            "line 2",
            "control characters",
        ),
        (
            "[[rule]]\nname = \"a\"\naction = \"hold\"\n[[rule]]\nname = \"a\"\naction = \"hold\"",
            "line 5, column 8",
            "the rule of line 1 is called \"a\" too",
        ),
        ("default = \"allow", "line 1", "string"),
        ("a = 1\na = 2", "line 2, column 1", "duplicate key"),
    ] {
        let error = error(text);
        assert!(
            error.starts_with(&format!("policy.toml: {place}")),
            "{text}\n{error}"
        );
        assert!(error.contains(message), "{text}\n{error}");
    }
}

#[test]
fn mistakes_in_a_rule() {
    for (line, column, message) in [
        (
            "verb = [\"drop\"]",
            1,
            "a rule has no key `verb`; did you mean `verbs`?",
        ),
        (
            "verbs = [\"select\", \"dorp\"]",
            20,
            "\"dorp\": no verb is called so; did you mean `drop`?",
        ),
        ("verbs = [\"DROP\"]", 10, "did you mean `drop`?"),
        (
            "verbs = [\"\"]",
            10,
            "or a group: read, write, ddl, role, session, code",
        ),
        ("verbs = \"drop\"", 9, "`verbs` must be a list of strings"),
        ("verbs = []", 9, "`verbs` is empty and could match nothing"),
        (
            "verbs = [1]",
            10,
            "`verbs` must be a string, not an integer",
        ),
        (
            "tables = [\"a.b.c\"]",
            11,
            "expected `name` or `schema.name`",
        ),
        (
            "tables = [\"t[ab]\"]",
            11,
            "`[` has no meaning in a pattern",
        ),
        ("users = [\"\"]", 10, "the pattern is empty"),
        (
            "client_addrs = [\"10.0.0.0/33\"]",
            17,
            "expected an address or a block",
        ),
        (
            "client_addrs = [\"10.0.0.1/8\"]",
            17,
            "did you mean `10.0.0.0/8`?",
        ),
        (
            "missing_where = \"yes\"",
            17,
            "`missing_where` must be true or false",
        ),
        ("statement_bytes = -1", 19, "a whole number of 0 or more"),
        ("approval_timeout = \"10\"", 20, "such as `30s`, `10m`"),
        ("approval_timeout = \"-10m\"", 20, "such as `30s`, `10m`"),
        ("approval_timeout = \"9000h\"", 20, "up to `7d`"),
        ("reason = \"a\\u0000\"", 10, "control characters"),
        ("time = \"09:00\"", 8, "`time` must be a table such as"),
        ("time = { from = \"09:00\" }", 8, "`time` has no `zone`"),
        (
            "time = { zone = \"Europe/Berln\" }",
            17,
            "did you mean `Europe/Berlin`?",
        ),
        (
            "time = { zone = \"UTC\", from = \"9\" }",
            31,
            "expected a time from `00:00` to `24:00`",
        ),
        (
            "time = { zone = \"UTC\", from = \"09:60\" }",
            31,
            "expected a time",
        ),
        (
            "time = { zone = \"UTC\", from = \"09:00\", to = \"09:00\" }",
            8,
            "`time` is empty",
        ),
        (
            "time = { zone = \"UTC\", days = [\"monday\"] }",
            32,
            "mon, tue, wed",
        ),
        (
            "time = { zone = \"UTC\", til = \"09:00\" }",
            24,
            "`time` has no key `til`",
        ),
    ] {
        let error = error(&rule(line));
        let place = format!("policy.toml: line 4, column {column}: ");
        assert!(error.starts_with(&place), "{line}\n{error}");
        assert!(error.contains(message), "{line}\n{error}");
    }
}

#[test]
fn the_line_is_shown_and_all_mistakes_are() {
    let text = "default = \"allow\"\n[[rule]]\nname = \"r\"\naction = \"reset\"\nverbs = [\"é\", \"dorp\"]\nusers = []\n";
    assert_eq!(
        error(text),
        "\
policy.toml: line 5, column 10: `verbs`, \"é\": no verb is called so; expected a verb such as `select` or `drop`, or a group: read, write, ddl, role, session, code
   |
 5 | verbs = [\"é\", \"dorp\"]
   |          ^^^
policy.toml: line 5, column 15: `verbs`, \"dorp\": no verb is called so; did you mean `drop`?
   |
 5 | verbs = [\"é\", \"dorp\"]
   |               ^^^^^^
policy.toml: line 6, column 9: `users` is empty and could match nothing; leave it out to match anything
   |
 6 | users = []
   |         ^^"
    );
}

#[test]
fn too_much_is_refused() {
    let text = "[[rule]]\n".repeat(1025);
    assert!(error(&text).contains("at most 1024 are taken"));
    let text = format!("#{}", "x".repeat(4 << 20));
    assert!(error(&text).contains("larger than"));
}

#[test]
fn what_is_read() {
    let policy = policy(
        "default = \"alert\"\nopaque = \"deny\"\non_agent_down = \"closed\"\n\n[[rule]]\nname = \"r\"\naction = \"hold\"\n\
         approval_timeout = \"1h 30m\"\nreason = \"because\"\nclient_addrs = [\"10.0.0.1\", \"fd00::/8\"]\n",
    );
    assert_eq!(policy.settings.default.name(), "alert");
    assert_eq!(policy.settings.opaque.name(), "reset");
    assert_eq!(policy.settings.unseen.name(), "alert");
    assert_eq!(policy.settings.on_agent_down.name(), "closed");
    assert_eq!(policy.sha256.len(), 64);
    let rule = &policy.rules[0];
    assert_eq!(rule.approval_timeout.as_secs(), 5400);
    assert_eq!(rule.line, 5);
    assert_eq!(rule.client_addrs[0].to_string(), "10.0.0.1/32");
}

proptest::proptest! {
    /// No text makes it panic, and what is said has a place in it.
    #[test]
    fn any_text(parts in proptest::collection::vec(proptest::sample::select(&[
        "[[rule]]", "[rule]", "name", "verbs", "time", "users", " = ", "\"", "'", "[", "]", "{", "}", ",", "\n", "é",
        "drop", "a.b", "\\", "1", "true", "#", "\u{0}", "default", "10.0.0.0/8", "zone", "UTC", "action", "\"reset\"",
    ][..]), 0..40)) {
        let text = parts.concat();
        if let Err(error) = Policy::parse(&text, Path::new("p")) {
            let lines = text.matches('\n').count() + 1;
            proptest::prop_assert!(!error.problems.is_empty());
            proptest::prop_assert!(error.problems.iter().all(|problem| problem.line <= lines));
            let _ = error.to_string();
        }
    }
}
