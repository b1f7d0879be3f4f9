//! Verdicts.

use super::{ask, line, policy, somebody, told};
use crate::policy::{Context, Message, Policy, SearchPath};
use crate::sql::{Change, Dialect, NewValue, Tracked, facts};

fn check(policy: &Policy, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(told(policy, sql), *expected, "{sql}");
    }
}

#[test]
fn the_strictest_effect_counts_and_the_first_rule_decides_each() {
    let policy = policy(
        r#"
        default = "alert"
        [[rule]]
        name = "reads"
        action = "allow"
        verbs = ["read", "call"]
        [[rule]]
        name = "no-reads-of-secrets"
        action = "reset"
        tables = ["secrets"]
        [[rule]]
        name = "writes"
        action = "hold"
        verbs = ["write"]
        [[rule]]
        name = "ddl"
        action = "reject"
        verbs = ["ddl"]
    "#,
    );
    check(
        &policy,
        &[
            ("SELECT * FROM t", "reads allow"),
            ("SELECT count(*) FROM secrets", "reads allow"),
            (
                "UPDATE secrets SET a = 1 WHERE b = 2",
                "no-reads-of-secrets reset: update secrets",
            ),
            ("DELETE FROM t WHERE a = 1", "writes hold: delete t"),
            (
                "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
                "writes hold: delete t",
            ),
            (
                "SELECT 1; DROP TABLE t; DELETE FROM t",
                "ddl reject: drop t",
            ),
            ("BEGIN", "(default) alert: begin"),
            ("SELECT 'DROP TABLE t'", "reads allow"),
            ("/* nothing */ ;", "(default) allow"),
        ],
    );
}

#[test]
fn missing_where() {
    let policy = policy(
        r#"
        [[rule]]
        name = "where"
        action = "hold"
        verbs = ["delete", "update"]
        missing_where = true
        [[rule]]
        name = "some-rows"
        action = "alert"
        missing_where = false
    "#,
    );
    check(
        &policy,
        &[
            ("DELETE FROM t", "where hold: delete t"),
            ("DELETE FROM t WHERE true", "where hold: delete t"),
            ("DELETE FROM t\nWHERE id = 1", "some-rows alert: delete t"),
            (
                "DELETE FROM t WHERE id = 1; UPDATE t SET a = 1",
                "where hold: update t",
            ),
            ("SELECT * FROM t", "(default) allow"),
        ],
    );
}

#[test]
fn message_as_a_whole() {
    let policy = policy(
        r#"
        [[rule]]
        name = "several"
        action = "reject"
        multi_statement = true
        verbs = ["write"]
        [[rule]]
        name = "large"
        action = "alert"
        statement_bytes = 40
        [[rule]]
        name = "files"
        action = "reset"
        server_side = true
    "#,
    );
    check(
        &policy,
        &[
            ("INSERT INTO t VALUES (1)", "(default) allow"),
            ("INSERT INTO t VALUES (1);", "(default) allow"),
            (
                "BEGIN; INSERT INTO t VALUES (1)",
                "several reject: insert t",
            ),
            ("SELECT 1; SELECT 2", "(default) allow"),
            (
                "SELECT 1 /* a comment that is longer than that */",
                "large alert: select",
            ),
            ("COPY t FROM STDIN", "(default) allow"),
            ("COPY t TO PROGRAM 'cat'", "files reset: copy_to t"),
        ],
    );
}

#[test]
fn what_cannot_be_read() {
    let rules = r#"
        [[rule]]
        name = "all-reads"
        action = "allow"
        verbs = ["read", "unknown"]
        [[rule]]
        name = "no-drop"
        action = "reset"
        verbs = ["drop"]
    "#;
    let denies = policy(&format!("unparsed = \"deny\"\n{rules}"));
    let allows = policy(rules);
    let strict = policy(&format!("default = \"reject\"\n{rules}"));
    // Not SQL.
    let unread = "FROBNICATE THE select";
    check(&denies, &[(unread, "(unparsed) reset: unknown")]);
    check(&allows, &[(unread, "(unparsed) allow")]);
    check(&strict, &[(unread, "(default) reject: unknown")]);
    for policy in [&denies, &allows, &strict] {
        check(
            policy,
            &[("FROBNICATE THE DROP TABLE t", "no-drop reset: drop t")],
        );
    }
}

#[test]
fn code_that_nobody_knows_is_anything() {
    let policy = policy(
        r#"
        [[rule]]
        name = "everything"
        action = "allow"
        users = ["app"]
        [[rule]]
        name = "others"
        action = "reset"
        identities = ["someone-else"]
        [[rule]]
        name = "narrow"
        action = "hold"
        verbs = ["delete"]
        tables = ["audit.log"]
        missing_where = true
        server_side = true
    "#,
    );
    check(
        &policy,
        &[
            (
                "DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE t'; END $$",
                "narrow hold: unknown",
            ),
            ("DELETE FROM audit.log", "everything allow"),
        ],
    );
}

#[test]
fn objects() {
    let policy = policy(
        r#"
        [[rule]]
        name = "hr"
        action = "reset"
        schemas = ["hr"]
        [[rule]]
        name = "salaries"
        action = "reject"
        tables = ["pay.salaries", "Bonus"]
        [[rule]]
        name = "files"
        action = "hold"
        functions = ["pg_read_*", "lo_import"]
        [[rule]]
        name = "sleep"
        action = "alert"
        verbs = ["call"]
        tables = ["pg_sleep"]
    "#,
    );
    check(
        &policy,
        &[
            ("SELECT * FROM hr.people", "hr reset: select hr.people"),
            ("DROP SCHEMA hr CASCADE", "hr reset: drop hr"),
            ("SELECT * FROM sales.people", "(default) allow"),
            (
                "SELECT * FROM pay.salaries",
                "salaries reject: select pay.salaries",
            ),
            ("SELECT * FROM other.salaries", "(default) allow"),
            ("SELECT * FROM \"Bonus\"", "hr reset: select Bonus"),
            (
                "SELECT * FROM x.\"Bonus\"",
                "salaries reject: select x.Bonus",
            ),
            ("SELECT * FROM x.bonus", "(default) allow"),
            ("SET search_path = hr", "(default) allow"),
        ],
    );
    let path = SearchPath::Known(vec!["pay".into()]);
    let known = |sql| line(&ask(&policy, &somebody(&path), sql));
    assert_eq!(
        known("SELECT * FROM salaries"),
        "salaries reject: select salaries"
    );
    assert_eq!(known("SELECT * FROM people"), "(default) allow");
    assert_eq!(
        known("SELECT pg_read_file('x')"),
        "files hold: call pg_read_file"
    );
    assert_eq!(known("SELECT pg_sleep(1)"), "sleep alert: call pg_sleep");
    assert_eq!(
        known("DROP SCHEMA pay CASCADE"),
        "salaries reject: drop pay"
    );
    assert_eq!(known("DROP DATABASE shop"), "salaries reject: drop shop");
}

#[test]
fn what_holds_tables_holds_them_without_naming_them() {
    let policy = policy("[[rule]]\nname = \"r\"\naction = \"reset\"\ntables = [\"s.t\"]");
    check(
        &policy,
        &[
            ("DROP SCHEMA s CASCADE", "r reset: drop s"),
            ("DROP SCHEMA x CASCADE", "(default) allow"),
            ("CREATE SCHEMA s", "(default) allow"),
            ("DROP DATABASE d", "r reset: drop d"),
            ("DROP OWNED BY bob", "r reset: drop bob"),
            (
                "GRANT ALL ON ALL TABLES IN SCHEMA s TO bob",
                "r reset: grant s",
            ),
            ("GRANT CONNECT ON DATABASE d TO bob", "(default) allow"),
            ("GRANT admin TO bob", "(default) allow"),
            ("VACUUM", "r reset: vacuum"),
            ("VACUUM x.t", "(default) allow"),
        ],
    );
}

#[test]
fn settings() {
    let policy = policy(
        "[[rule]]\nname = \"r\"\naction = \"reset\"\nverbs = [\"set\", \"reset\"]\nsettings = [\"role\", \"row_*\"]",
    );
    check(
        &policy,
        &[
            ("SET ROLE admin", "r reset: set role"),
            ("SET LOCAL row_security = off", "r reset: set row_security"),
            ("RESET ALL", "r reset: reset all"),
            ("SET work_mem = 1", "(default) allow"),
            ("SHOW role", "(default) allow"),
            ("VACUUM", "(default) allow"),
        ],
    );
}

/// In one message, path and role are not the ones that were known before it.
#[test]
fn a_message_that_changes_what_it_means() {
    let policy = policy(
        "[[rule]]\nname = \"hr\"\naction = \"reset\"\nschemas = [\"hr\"]\nroles = [\"clerk\"]",
    );
    let path = SearchPath::Known(vec!["public".into()]);
    let context = Context {
        role: Some("clerk"),
        ..somebody(&path)
    };
    let mut read = facts("SELECT * FROM people", Dialect::Postgres, false);
    let mut told = |context: &Context<'_>, setting: Option<Tracked>| {
        read.changes = setting
            .map(|setting| Change::Set {
                setting,
                value: NewValue::Computed,
                local: false,
            })
            .into_iter()
            .collect();
        let message = Message::Statement {
            facts: &[&read],
            bytes: 0,
        };
        policy.evaluate(context, &message).action.name()
    };
    assert_eq!(told(&context, None), "allow");
    assert_eq!(told(&context, Some(Tracked::SearchPath)), "reset");
    let hr = SearchPath::Known(vec!["hr".into()]);
    let other = Context {
        role: Some("other"),
        ..somebody(&hr)
    };
    assert_eq!(told(&other, None), "allow");
    assert_eq!(told(&other, Some(Tracked::Role)), "reset");
    assert_eq!(told(&other, Some(Tracked::SessionAuthorization)), "reset");
}

#[test]
fn roles() {
    let policy = policy("[[rule]]\nname = \"r\"\naction = \"reset\"\nverbs = [\"role\"]");
    check(
        &policy,
        &[
            ("CREATE ROLE x", "r reset: create x"),
            ("ALTER USER x SUPERUSER", "r reset: alter x"),
            ("DROP ROLE x", "r reset: drop x"),
            ("GRANT SELECT ON t TO x", "r reset: grant t"),
            ("CREATE TABLE x (a int)", "(default) allow"),
            ("DROP TABLE x", "(default) allow"),
        ],
    );
}

#[test]
fn an_allow_for_names_needs_certainty() {
    let policy = policy(
        r#"
        default = "reset"
        [[rule]]
        name = "own"
        action = "allow"
        verbs = ["select"]
        tables = ["public.*"]
    "#,
    );
    let public = SearchPath::Known(vec!["public".into()]);
    let known = |sql| line(&ask(&policy, &somebody(&public), sql));
    assert_eq!(known("SELECT a FROM t"), "own allow");
    assert_eq!(known("SELECT a FROM public.t"), "own allow");
    assert_eq!(
        known("SELECT a FROM pg_authid"),
        "(default) reset: select pg_authid"
    );
    check(
        &policy,
        &[
            ("SELECT a FROM t", "(default) reset: select t"),
            ("SELECT a FROM public.t", "own allow"),
        ],
    );
}

#[test]
fn what_is_no_statement() {
    let policy = policy(
        r#"
        unseen = "deny"
        [[rule]]
        name = "nobody"
        action = "reset"
        users = ["nobody"]
        [[rule]]
        name = "no-drop"
        action = "hold"
        verbs = ["drop"]
        [[rule]]
        name = "no-import"
        action = "hold"
        functions = ["lo_import"]
    "#,
    );
    let path = SearchPath::Unknown;
    let all = somebody(&path);
    let told = |context, message| line(&policy.evaluate(&context, &message));
    assert_eq!(told(all, Message::Unseen), "(unseen) reset");
    assert_eq!(
        told(
            all,
            Message::Statement {
                facts: &[],
                bytes: 0
            }
        ),
        "(unseen) reset"
    );
    assert_eq!(told(all, Message::Opaque), "(opaque) alert");
    assert_eq!(
        told(Context { user: None, ..all }, Message::Opaque),
        "(opaque) alert"
    );
    assert_eq!(
        told(
            Context {
                user: Some("nobody"),
                ..all
            },
            Message::Opaque
        ),
        "nobody reset"
    );
    assert_eq!(told(all, Message::Malformed), "(malformed) reset");
    assert_eq!(
        told(all, Message::FunctionCall { oid: 952 }),
        "(default) allow"
    );
    assert_eq!(
        told(all, Message::FunctionCall { oid: 764 }),
        "no-import hold: call pg_catalog.lo_import"
    );
    assert_eq!(
        told(all, Message::FunctionCall { oid: 99_999 }),
        "no-import hold: call"
    );
}

#[test]
fn of_several_texts_the_strictest_counts() {
    let policy = policy(
        "[[rule]]\nname = \"no-drop\"\naction = \"hold\"\nverbs = [\"drop\"]\nreason = \"why\"\napproval_timeout = \"1m\"",
    );
    let [one, two] = ["SELECT 1", "DROP TABLE t"].map(|sql| facts(sql, Dialect::Postgres, false));
    let path = SearchPath::Unknown;
    let verdict = policy.evaluate(
        &somebody(&path),
        &Message::Statement {
            facts: &[&one, &two],
            bytes: 10,
        },
    );
    assert_eq!(line(&verdict), "no-drop hold: drop t");
    assert_eq!(verdict.reason.as_deref(), Some("why"));
    assert_eq!(verdict.approval_timeout.as_secs(), 60);
}
