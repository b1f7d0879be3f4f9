//! The policies of `deploy/policies`.

use super::{ask, line, policy, somebody};
use crate::policy::{Context, Policy, SearchPath};

fn ready_made(name: &str) -> Policy {
    let path = format!(
        "{}/../deploy/policies/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let policy = policy(&std::fs::read_to_string(path).unwrap());
    assert_eq!(policy.check(), []);
    policy
}

/// Verdicts `rule action`, which of a statement without one is `-`.
fn check(policy: &Policy, context: &Context<'_>, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        let told = line(&ask(policy, context, sql));
        let told = told
            .split(':')
            .next()
            .unwrap()
            .replace("(default) allow", "-");
        assert_eq!(told, *expected, "{sql}");
    }
}

#[test]
fn ai_agent_guardrails() {
    let policy = ready_made("ai-agent-guardrails");
    let path = SearchPath::Unknown;
    let agent = somebody(&path);
    check(
        &policy,
        &agent,
        &[
            ("SELECT * FROM orders WHERE id = 1", "-"),
            (
                "SELECT count(*), now() FROM orders o JOIN items USING (order_id)",
                "-",
            ),
            ("SELECT 'DROP TABLE orders'", "-"),
            ("BEGIN", "-"),
            ("SET statement_timeout = 1000", "-"),
            ("INSERT INTO notes VALUES (1)", "agents-write alert"),
            (
                "UPDATE orders SET state = 'x' WHERE id = 1",
                "agents-write alert",
            ),
            (
                "UPDATE orders SET state = 'x'",
                "agents-change-rows-not-tables hold",
            ),
            (
                "DELETE FROM orders WHERE 1 = 1",
                "agents-change-rows-not-tables hold",
            ),
            (
                "WITH d AS (DELETE FROM orders RETURNING 1) SELECT * FROM d",
                "agents-change-rows-not-tables hold",
            ),
            ("DROP TABLE orders", "agents-keep-the-schema reject"),
            (
                "SELECT 1; drop /* x */ table orders",
                "agents-keep-the-schema reject",
            ),
            ("TRUNCATE orders", "agents-keep-the-schema reject"),
            (
                "CREATE TABLE copy AS SELECT * FROM orders",
                "agents-keep-the-schema reject",
            ),
            (
                "GRANT ALL ON orders TO public",
                "agents-keep-their-rights reset",
            ),
            ("ALTER ROLE app SUPERUSER", "agents-keep-their-rights reset"),
            ("SET ROLE admin", "agents-keep-their-role reset"),
            (
                "SET SESSION AUTHORIZATION admin",
                "agents-keep-their-role reset",
            ),
            (
                "DO $$ BEGIN EXECUTE 'DR' || 'OP TABLE t'; END $$",
                "agents-run-no-code reject",
            ),
            (
                "COPY orders TO '/tmp/x'",
                "agents-stay-in-the-database reset",
            ),
            (
                "COPY orders FROM PROGRAM 'id'",
                "agents-stay-in-the-database reset",
            ),
            ("COPY orders TO STDOUT", "-"),
            (
                "SELECT pg_read_file('/etc/passwd')",
                "agents-leave-the-server-alone reset",
            ),
            (
                "SELECT pg_terminate_backend(1)",
                "agents-leave-the-server-alone reset",
            ),
            (
                "SELECT rolpassword FROM pg_authid",
                "agents-see-no-passwords reset",
            ),
        ],
    );
    let person = Context {
        identity: Some("alice"),
        ..agent
    };
    check(
        &policy,
        &person,
        &[
            ("DROP TABLE orders", "-"),
            ("DO $$ BEGIN EXECUTE x; END $$", "-"),
            ("DELETE FROM orders", "-"),
        ],
    );
}

#[test]
fn read_only_analyst() {
    let policy = ready_made("read-only-analyst");
    let path = SearchPath::Unknown;
    let app = somebody(&path);
    let analyst = Context {
        user: Some("analyst_eva"),
        role: Some("analyst_eva"),
        ..app
    };
    check(
        &policy,
        &analyst,
        &[
            ("SELECT * FROM orders", "-"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "-"),
            ("EXPLAIN SELECT * FROM orders", "-"),
            ("BEGIN", "-"),
            ("SET work_mem = '64MB'", "-"),
            ("SHOW ALL", "-"),
            (
                "COPY (SELECT * FROM orders) TO STDOUT",
                "analysts-take-copies alert",
            ),
            (
                "EXPLAIN ANALYZE DELETE FROM orders",
                "analysts-only-read reject",
            ),
            ("INSERT INTO orders VALUES (1)", "analysts-only-read reject"),
            (
                "SELECT * INTO copy FROM orders",
                "analysts-only-read reject",
            ),
            ("CREATE TEMP TABLE x (a int)", "analysts-only-read reject"),
            (
                "GRANT SELECT ON orders TO public",
                "analysts-only-read reject",
            ),
            ("LOCK TABLE orders", "analysts-only-read reject"),
            ("VACUUM", "analysts-only-read reject"),
            (
                "SELECT setval('s', 1)",
                "analysts-call-nothing-that-writes reject",
            ),
            (
                "SELECT lo_unlink(1)",
                "analysts-call-nothing-that-writes reject",
            ),
            ("SELECT lo_import('/x')", "analysts-leave-files-alone reset"),
            (
                "COPY orders TO '/tmp/x'",
                "analysts-stay-in-the-database reset",
            ),
            ("DO $$ BEGIN NULL; END $$", "analysts-run-no-code reject"),
            (
                "SET default_transaction_read_only = off",
                "analysts-stay-who-they-are reject",
            ),
            ("SET ROLE app", "analysts-stay-who-they-are reject"),
        ],
    );
    check(
        &policy,
        &app,
        &[
            ("DROP TABLE orders", "-"),
            ("INSERT INTO orders VALUES (1)", "-"),
        ],
    );
}

#[test]
fn change_window() {
    let policy = ready_made("change-window");
    let path = SearchPath::Unknown;
    let at = |time: &str| Context {
        unix_ns: time.parse::<jiff::Timestamp>().unwrap().as_nanosecond(),
        ..somebody(&path)
    };
    // A Monday noon, and the Tuesday night behind it.
    let (day, night) = (at("2026-11-23T12:00:00Z"), at("2026-11-25T01:00:00Z"));
    for (sql, by_day, by_night) in [
        (
            "ALTER TABLE orders ADD note text",
            "changes-wait-for-the-window reject",
            "changes-are-marked alert",
        ),
        (
            "DROP TABLE orders",
            "changes-wait-for-the-window reject",
            "changes-are-marked alert",
        ),
        (
            "CREATE INDEX i ON orders (id)",
            "changes-wait-for-the-window reject",
            "changes-are-marked alert",
        ),
        (
            "CREATE ROLE x",
            "changes-wait-for-the-window reject",
            "changes-are-marked alert",
        ),
        ("SELECT 1", "-", "-"),
        ("INSERT INTO orders VALUES (1)", "-", "-"),
        ("DELETE FROM orders", "-", "-"),
    ] {
        check(&policy, &day, &[(sql, by_day)]);
        check(&policy, &night, &[(sql, by_night)]);
    }
    let emergency = Context {
        identity: Some("breakglass:alice"),
        ..day
    };
    check(
        &policy,
        &emergency,
        &[
            ("DROP TABLE orders", "emergency alert"),
            ("DO $$ BEGIN EXECUTE x; END $$", "emergency alert"),
        ],
    );
}

/// What the documentation shows.
#[test]
fn examples() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.contains("[[rule]]"))
        .collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        assert_eq!(policy(block).check(), [], "{block}");
    }
}
