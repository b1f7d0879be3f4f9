//! What the ready-made policies hold of everyday SQL: of what pgbench, object mappers and drivers send.

use std::path::Path;
use std::time::Instant;

use dbgov_common::gate::AUTOMATON_START;

use super::generator::Dice;
use crate::policy::trigger::{Trigger, Words};
use crate::policy::{Context, Policy, SearchPath};

/// pgbench 17: TPC-B, and its select-only and simple-update scripts.
const PGBENCH: &[&str] = &[
    "BEGIN;",
    "UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 5678;",
    "SELECT abalance FROM pgbench_accounts WHERE aid = 5678;",
    "UPDATE pgbench_tellers SET tbalance = tbalance + -1234 WHERE tid = 5;",
    "UPDATE pgbench_branches SET bbalance = bbalance + -1234 WHERE bid = 1;",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (5, 1, 5678, -1234, CURRENT_TIMESTAMP);",
    "END;",
    "select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) cross join lateral (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent) where c.relname = 'pgbench_accounts' and o.n is not null group by 1, 2 order by 1 asc limit 1",
];

/// Of SQLAlchemy, Django, Rails, Hibernate, Prisma, GORM, JDBC, Npgsql and node-postgres, as they send it.
const APPLICATIONS: &[&str] = &[
    "SELECT users.id, users.name, users.updated_at, users.created_at, users.deleted_at FROM users WHERE users.id = $1::INTEGER",
    "SELECT \"todos\".* FROM \"todos\" WHERE \"todos\".\"done\" = $1 ORDER BY \"todos\".\"created_at\" DESC LIMIT $2",
    "select * from todo where undo = false order by position",
    "INSERT INTO users (name, email, role) VALUES (%(name)s, %(email)s, 'user') RETURNING users.id",
    "INSERT INTO \"orders\" (\"user_id\", \"total\", \"created_at\") VALUES ($1, $2, $3) RETURNING \"id\"",
    "INSERT INTO tags (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
    "INSERT INTO counters (id, n) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET n = counters.n + 1",
    "UPDATE \"orders\" SET \"status\" = $1, \"updated_at\" = $2 WHERE \"orders\".\"id\" = $3",
    "DELETE FROM \"sessions\" WHERE \"sessions\".\"expires_at\" < $1",
    "SELECT 1",
    "SELECT \"django_session\".\"session_key\", \"django_session\".\"session_data\", \"django_session\".\"expire_date\" FROM \"django_session\" WHERE (\"django_session\".\"expire_date\" > '2026-11-23T00:00:00+00:00'::timestamptz AND \"django_session\".\"session_key\" = 'x') LIMIT 21",
    "SELECT COUNT(*) AS \"__count\" FROM \"auth_user\" INNER JOIN \"auth_group\" ON (\"auth_user\".\"group_id\" = \"auth_group\".\"id\") WHERE \"auth_user\".\"is_active\"",
    "select u1_0.id,u1_0.email,u1_0.version from app_user u1_0 where u1_0.email=$1 for update",
    "select nextval('users_id_seq')",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT sp1",
    "RELEASE SAVEPOINT sp1",
    "BEGIN READ WRITE",
    "START TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET TIME ZONE 'UTC'",
    "SET client_min_messages TO 'warning'",
    "SET standard_conforming_strings = on",
    "SET application_name = 'web'",
    "SET extra_float_digits = 3",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type as t LEFT JOIN pg_range as r ON oid = rngtypid WHERE t.typname IN ('int2', 'int4', 'text')",
    "SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attrelid = '\"users\"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    "select current_schema()",
    "select pg_catalog.version()",
    "show standard_conforming_strings",
    "SELECT set_config('search_path', '', false)",
    "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'",
    "WITH recent AS (SELECT id FROM orders WHERE created_at > now() - interval '1 day') SELECT count(*) FROM recent JOIN order_items USING (order_id)",
    "SELECT date_trunc('hour', created_at) AS hour, sum(total) FROM orders GROUP BY 1 HAVING sum(total) > 10 ORDER BY 1",
    "SELECT * FROM articles WHERE to_tsvector('english', body) @@ plainto_tsquery('english', 'drop shipping') LIMIT 20",
    "UPDATE users SET last_login = now(), login_count = login_count + 1 WHERE id = $1 RETURNING login_count",
    "SELECT id, payload FROM jobs WHERE state = 'queued' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 10",
    "INSERT INTO logs (level, message) VALUES ('info', 'user created; see audit'), ('warn', 'lock timeout')",
    "SELECT p.id, p.title, array_agg(t.name) FROM posts p LEFT JOIN post_tags pt ON pt.post_id = p.id LEFT JOIN tags t ON t.id = pt.tag_id GROUP BY p.id",
    "DEALLOCATE pdo_stmt_00000001",
    "LISTEN jobs",
    "NOTIFY jobs, 'x'",
    "SELECT EXISTS (SELECT 1 FROM users WHERE email = $1)",
    "SELECT CASE WHEN total > 10 THEN 'big' ELSE 'small' END FROM orders OFFSET 20",
    "select pg_advisory_xact_lock(42)",
    "SELECT \"User\".\"id\" AS \"User_id\", \"User\".\"drop\" FROM \"user\" \"User\" WHERE \"User\".\"id\" IN ($1, $2)",
];

fn ready_made(file: &str) -> Policy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/policies")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    Policy::parse(&text, &path).unwrap()
}

fn trigger(policy: &Policy, identity: &str, user: &str) -> Words {
    let path = SearchPath::Unknown;
    let context = Context {
        identity: Some(identity),
        user: Some(user),
        role: None,
        database: Some("prod"),
        application: None,
        client_addr: None,
        unix_ns: 0,
        search_path: &path,
    };
    match Trigger::compile(policy.rules_for(&context), &policy.settings) {
        Trigger::Automaton(words) => words,
        other => panic!("{other:?}"),
    }
}

fn query(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 5).unwrap();
    [b"Q", &length.to_be_bytes()[..], text.as_bytes(), b"\0"].concat()
}

/// The texts that are held, and the word that did it.
fn held<'a>(words: &'a Words, texts: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let hit = |text: &&str| words.run(AUTOMATON_START, &query(text)).1.is_some();
    let texts = texts.iter().filter(|text| hit(text));
    texts
        .map(|text| (words.explain(text.as_bytes()).unwrap_or("?"), *text))
        .collect()
}

fn held_words(words: &Words, texts: &[&str]) -> Vec<String> {
    held(words, texts)
        .iter()
        .map(|(word, _)| (*word).to_owned())
        .collect()
}

/// Changes of rows are what the guardrails are about; of the rest next to nothing is held.
#[test]
fn guardrails_hold_what_changes_rows() {
    let words = trigger(&ready_made("ai-agent-guardrails.toml"), "agent:sync", "app");
    println!("{} words, {:?}", words.words().count(), words);
    let changes = |word: &str| ["update", "delete", "into"].contains(&word);
    let pgbench = held_words(&words, PGBENCH);
    println!("{pgbench:?}");
    assert!(pgbench.iter().all(|word| changes(word)), "{pgbench:?}");
    let mut others = held(&words, APPLICATIONS);
    println!("{others:#?}");
    others.retain(|(word, _)| !changes(word));
    assert!(others.len() <= 6, "{others:#?}");
}

#[test]
fn analysts_are_held_where_they_write() {
    let words = trigger(&ready_made("read-only-analyst.toml"), "user:ann", "analyst");
    assert_eq!(
        held_words(&words, PGBENCH),
        ["update", "update", "update", "insert"]
    );
}

#[test]
fn changes_of_the_schema_are_all_that_a_window_holds() {
    let words = trigger(&ready_made("change-window.toml"), "unit:web", "app");
    assert_eq!(held_words(&words, PGBENCH), [""; 0]);
    // A string, and a column of that name.
    assert_eq!(held_words(&words, APPLICATIONS), ["drop", "drop"]);
}

/// `cargo test --release -p dbgov-agent --lib trigger::tests::everyday::speed -- --ignored --nocapture`
#[test]
#[ignore = "prints a figure"]
fn speed() {
    let words = trigger(&ready_made("change-window.toml"), "unit:web", "app");
    let mut dice = Dice::new(3);
    let stream: Vec<u8> = (0..100_000)
        .flat_map(|_| query(dice.pick(&[PGBENCH, APPLICATIONS].concat())))
        .collect();
    let start = Instant::now();
    let hit = words.run(AUTOMATON_START, &stream).1;
    let time = start.elapsed();
    assert_eq!(hit, None);
    println!(
        "{:.2} ns per byte",
        time.as_secs_f64() * 1e9 / stream.len() as f64
    );
}
