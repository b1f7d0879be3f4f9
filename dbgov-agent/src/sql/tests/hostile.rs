//! Texts made to break the reader.

use super::*;

/// Hostile depth in a debug build on a small stack: an answer, not an overflow.
#[test]
fn deep_texts_do_not_overflow_the_stack() {
    let (deep, n) = (100_000, 20_000);
    let texts: Vec<String> = vec![
        format!("SELECT {}1{}", "(".repeat(deep), ")".repeat(deep)),
        "(".repeat(n),
        format!("SELECT {} true", "NOT ".repeat(deep)),
        format!("SELECT {}", "CASE WHEN ".repeat(deep)),
        format!("SELECT {}", "CASE ".repeat(deep)),
        format!("SELECT 1{}", "+1".repeat(deep)),
        format!("SELECT 1{}", "+1".repeat(550)),
        format!("SELECT * FROM t WHERE a{}", " AND a".repeat(deep)),
        format!("DELETE FROM t WHERE a = 1{}", " OR a = 1".repeat(10_000)),
        format!("DELETE FROM t WHERE a = 1{}", " OR a = 1".repeat(250)),
        format!("DELETE FROM t WHERE {} true", "NOT ".repeat(60)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(n)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(500)),
        format!("SELECT 1{}", "::int".repeat(n)),
        format!("SELECT 1{}", "::int".repeat(500)),
        format!("SELECT a{}", "[1]".repeat(n)),
        format!("SELECT a::int{}", "[]".repeat(500)),
        format!("SELECT {}1", "- ".repeat(n)),
        format!("SELECT {}1", "-+".repeat(n)),
        format!("SELECT {}", "INTERVAL ".repeat(n)),
        format!("SELECT {}", "ARRAY[".repeat(n)),
        format!("SELECT {}", "f(".repeat(n)),
        format!("SELECT * FROM {}", "(".repeat(n)),
        format!("SELECT * FROM t{}", " JOIN t ON a".repeat(n)),
        format!("SELECT * FROM {}t", "(SELECT * FROM ".repeat(n)),
        format!("SELECT a IS NULL{}", " IS NULL".repeat(500)),
        format!("SELECT a{}", " COLLATE b".repeat(500)),
        format!("SELECT a{}", ".b".repeat(n)),
        format!("SELECT x::{}", "ARRAY<".repeat(n)),
        format!("SELECT x::{}", "STRUCT<a ".repeat(n)),
        "EXPLAIN ".repeat(n),
        "PREPARE a AS ".repeat(n),
        "WITH a AS (".repeat(n),
        format!("CREATE TABLE t ({}", "a int DEFAULT f(".repeat(n)),
        format!("CREATE TABLE t ({}", "a int DEFAULT f(1), ".repeat(n)),
        format!("CREATE VIEW v AS {}", "CREATE VIEW v AS ".repeat(n)),
        format!("DO {}", "$$ EXECUTE ".repeat(n)),
        format!("DO $$ {} $$", "EXECUTE 'SELECT 1'; ".repeat(n)),
        format!("DO $$ {} $$", "a[".repeat(n)),
        format!("DO $$ {} $$", "a[;".repeat(n)),
        format!("DO $$ {} $$", "IF (".repeat(n)),
        format!("DO $$ {} $$", "IF case ".repeat(n)),
        format!("DO $$ {} $$", "FOR a IN (;".repeat(n)),
        format!("DO $$ {} $$", "<< ".repeat(n)),
        format!("DO $$ {} $$", "DECLARE ".repeat(n)),
        format!("DO $$ {} $$", "SELECT a INTO b, ".repeat(n)),
        format!("DO $$ {} $$", "x := f(1); ".repeat(n)),
        format!("DO $$ {} $$", "DO $x$ BEGIN ".repeat(n)),
        format!("DO $$ {} $$", "EXECUTE 'DO ''".repeat(n)),
        format!("CREATE RULE r AS ON INSERT TO t DO ({}", "(;".repeat(n)),
        format!("CREATE SCHEMA s {}", "CREATE TABLE t (a int) ".repeat(n)),
        format!("CREATE INDEX ON t {}", "(".repeat(n)),
        format!("CREATE INDEX ON t {}", "(a) ".repeat(n)),
        format!("CREATE TABLE t ({}", "check (".repeat(n)),
        format!(
            "ALTER TABLE t {}",
            "ALTER a TYPE int USING f(1), ".repeat(n)
        ),
        format!("SELECT * FROM {}", "only (".repeat(n)),
        format!("UPDATE t SET {}", "a[1".repeat(n)),
        format!("SELECT {}", "f() as (a b".repeat(n)),
        format!(
            "WITH a AS (SELECT 1) {}",
            "search depth first by ".repeat(n)
        ),
        format!("SELECT {}", "U&\"a\" UESCAPE ".repeat(n)),
        format!("SELECT 'a'{}", "\n'a'".repeat(n)),
        format!("SELECT 'a'{}", "\n-- '".repeat(n)),
        format!("DELETE FROM t WHERE {} 1", "(1, 2) IN ".repeat(n)),
        "set_config( ".repeat(n),
        "DELETE FROM t ".repeat(n),
        "SELECT set_config('role', 'a', true);".repeat(n),
        "SELECT '\\'; DROP TABLE t; --'\n;".repeat(n),
        format!("SELECT {}", "f(1) from a, b, ".repeat(n)),
        "+-".repeat(n),
        "$a".repeat(n),
        "/*".repeat(n),
        ";".repeat(n),
        "x;".repeat(n),
        "SELECT 1;".repeat(n),
        format!("INSERT INTO t VALUES {}", "(1, now()),".repeat(n)),
        format!("SELECT * FROM t WHERE a IN ({}1)", "1,".repeat(n)),
        format!("SELECT {}", "a,".repeat(n)),
        format!("WITH {}", "a AS (DELETE FROM t),".repeat(n)),
    ];
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let run = move || {
        for text in texts {
            let started = std::time::Instant::now();
            // Both readings of the strings, and so the longer way.
            let options = Options {
                standard_conforming_strings: None,
            };
            let facts = facts_with(&text, Dialect::Postgres, options, false);
            assert!(facts.count > 0 || text.starts_with([';', '/']));
            let head: String = text.chars().take(40).collect();
            let took = started.elapsed();
            assert!(took.as_secs() < 20, "{head}: {took:?}");
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
}

/// Where sqlparser tries one reading after another, nesting must not multiply the attempts.
#[test]
fn nesting_does_not_multiply_time() {
    let nests = [
        ("SELECT ", "(", "1", ")"),
        ("SELECT ", "((", "SELECT 1", "))"),
        ("SELECT * FROM ", "(", "t", ")"),
        ("SELECT * FROM ", "(", "SELECT 1", ") x"),
        ("SELECT * FROM ", "(", "t", " JOIN t ON a)"),
        ("SELECT * FROM ", "(t JOIN ", "t", " ON a)"),
        ("SELECT ", "f(", "1", ")"),
        ("SELECT ", "(1, ", "1", ")"),
        ("SELECT ", "CASE WHEN a THEN ", "1", " END"),
        ("SELECT ", "CASE ", "1", " WHEN a THEN 1 END"),
        ("SELECT ", "NOT (", "a", ")"),
        ("SELECT 1 WHERE a IN ", "(", "1", ")"),
        ("SELECT 1 WHERE ", "a IN (", "1", ")"),
        ("SELECT ", "ARRAY[", "1", "]"),
        ("SELECT ", "CAST(", "1", " AS int)"),
        ("SELECT ", "EXISTS (SELECT ", "1", ")"),
        ("SELECT ", "INTERVAL (", "1", ")"),
        ("SELECT ", "a -> (", "1", ")"),
        ("SELECT ", "extract(year FROM ", "a", ")"),
        ("SELECT ", "position(", "1", " IN a)"),
        ("SELECT ", "trim(", "a", ")"),
        ("SELECT ", "substring(", "a", " FROM 1)"),
        ("SELECT ", "overlay(", "a", " PLACING 'x' FROM 1)"),
        ("SELECT ", "a BETWEEN (", "1", ") AND 2"),
        ("SELECT ", "map(", "1", ")"),
        ("SELECT ", "date(", "1", ")"),
        ("SELECT ", "x::numeric(", "1", ")"),
        ("", "WITH a AS (", "SELECT 1", ") SELECT 1"),
        ("", "(", "SELECT 1", " UNION SELECT 2)"),
        ("INSERT INTO t ", "(", "SELECT 1", ")"),
        ("INSERT INTO t VALUES (", "(", "1", ")"),
        ("SELECT 1 GROUP BY ", "ROLLUP (", "1", ")"),
        ("SELECT 1 GROUP BY ", "(", "a", ", 1)"),
        ("SELECT ", "listagg(a) OVER (PARTITION BY ", "1", ")"),
        ("SELECT ", "try_cast(", "a", " AS int)"),
        ("SELECT ", "json_object(", "a", " : 1)"),
        ("SELECT * FROM ", "json_table(", "a", ")"),
        ("SELECT * FROM ", "unnest(", "a", ")"),
        ("SELECT * FROM ", "LATERAL (", "SELECT 1", ")"),
        ("SELECT * FROM ", "TABLE(", "f()", ")"),
        ("DELETE FROM t WHERE ", "(", "1", " BETWEEN 0 AND 2)"),
        ("DELETE FROM t WHERE ", "(", "1", " IN (1, 2, 3))"),
        ("DELETE FROM t WHERE ", "(1 = ", "1", ")"),
        ("DELETE FROM t WHERE ", "(id = ", "id", ")"),
        ("DELETE FROM t WHERE ", "coalesce(NULL, ", "true", ")"),
        (
            "DELETE FROM t WHERE ",
            "CASE WHEN ",
            "true",
            " THEN true END",
        ),
        ("DELETE FROM t WHERE ", "(a OR ", "b", ")"),
        ("DELETE FROM t WHERE ", "(", "1", " LIKE '%a%a%a%a%')"),
    ];
    for (start, open, inner, close) in nests {
        for depth in [10, 30, 60] {
            let body = open.repeat(depth) + inner;
            for text in [
                format!("{start}{body}{}", close.repeat(depth)),
                format!("{start}{body}{} )", close.repeat(depth)),
                format!("{start}{body}{}", close.repeat(depth / 2)),
                format!("{start}{body} ! {}", close.repeat(depth)),
            ] {
                let started = std::time::Instant::now();
                facts(&text, Dialect::Postgres, false);
                let took = started.elapsed();
                assert!(took.as_secs() < 2, "{took:?} {text}");
            }
        }
    }
}

#[test]
fn long_lists_of_literals_are_read() {
    let rows = "(1, 'text', -2.5), ".repeat(100_000);
    check(
        &format!("INSERT INTO t VALUES {rows}(1, 'x', 3)"),
        "1 ok insert t",
    );
    let items = "1, ".repeat(100_000);
    check(
        &format!("DELETE FROM t WHERE id IN ({items} 2)"),
        "1 ok delete t",
    );
    check(
        &format!("DELETE FROM t WHERE 2 IN ({items} 2)"),
        "1 failed unknown,delete t",
    );
}
