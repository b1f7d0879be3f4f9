//! Fingerprints, the cache, and any text whatever.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

#[test]
fn fingerprints_group_statements() {
    let fingerprint = |text| facts(text, Dialect::Postgres, false).fingerprint;
    let one = fingerprint("SELECT * FROM t WHERE a = 1 AND b IN (1, 2)");
    assert_eq!(one.len(), 16);
    assert_eq!(
        one,
        fingerprint("select  * from T where a=-2 and b in ('x') -- c")
    );
    assert_ne!(
        one,
        fingerprint("SELECT * FROM u WHERE a = 1 AND b IN (1, 2)")
    );
    assert_ne!(
        one,
        fingerprint("SELECT * FROM t WHERE a = $1 AND b IN (1, 2)")
    );
    // Recorded once: the id must not change from version to version.
    assert_eq!(&*fingerprint("SELECT 1"), "e1c71d1661ae46e0");
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,3}",
        "'[a-z';]{0,4}'",
        Just("true".into()),
        Just("NULL".into()),
        Just("1.5".into()),
        Just("'%'".into()),
        Just("$1".into()),
        Just("E'\\''".into()),
        Just("$$a$$".into()),
        Just("1a".into()),
        Just("-1".into()),
    ]
}

/// Statements of few forms with many literals, so that forms meet again in the cache.
fn statement() -> impl Strategy<Value = String> {
    let forms = prop::sample::select(vec![
        "SELECT {}, {} FROM t",
        "DELETE FROM t WHERE {} = {}",
        "DELETE FROM t WHERE id = {} OR x LIKE {}",
        "UPDATE t SET a = {} WHERE {}",
        "INSERT INTO t VALUES ({}, {})",
        "INSERT INTO t VALUES ({}), ({})",
        "DELETE FROM t WHERE {} IN ({}, 2)",
        "SET a = {}, {}",
        "SELECT CAST({} AS varchar({}))",
        "DELETE FROM t WHERE a IN ({}, {})",
        "DELETE FROM t WHERE {} BETWEEN 0 AND {}",
        "BEGIN; DELETE FROM t WHERE {} < {}; COMMIT",
        "EXPLAIN (ANALYZE {}) DELETE FROM t WHERE {}",
        "SELECT {} {}",
        "DELETE FROM t WHERE {} IS NOT NULL AND NOT {}",
        "COPY t FROM {} {}",
        "DO {} {}",
        "UPDATE t SET a = {} LIMIT {}",
        "SELECT set_config({}, {}, false)",
        "DELETE FROM t WHERE a || {} = a || {}",
        "DELETE FROM t WHERE coalesce({}, {})",
        "DELETE FROM t WHERE CASE {} WHEN {} THEN true END",
        "DELETE FROM t WHERE a < {} OR a >= {}",
        "DELETE FROM t WHERE 'a' LIKE {} OR a ~ {}",
        "SELECT {} FROM t; SELECT set_config('role', {}, true)",
    ]);
    (forms, literal(), literal())
        .prop_map(|(form, one, other)| form.replacen("{}", &one, 1).replacen("{}", &other, 1))
}

fn token_soup() -> impl Strategy<Value = String> {
    let tokens = prop::sample::select(vec![
        "select",
        "from",
        "where",
        "delete",
        "update",
        "set",
        "insert",
        "into",
        "values",
        "(",
        ")",
        ",",
        ";",
        "t",
        "\"T\"",
        "'x'",
        "1",
        "$1",
        "=",
        "and",
        "or",
        "not",
        "with",
        "as",
        "create",
        "table",
        "drop",
        "view",
        "function",
        "$$",
        "'",
        "/*",
        "*/",
        "explain",
        "analyze",
        "copy",
        "to",
        "grant",
        "on",
        "do",
        "call",
        "begin",
        "atomic",
        "end",
        "case",
        "when",
        "then",
        "::",
        "[",
        "]",
        "U&\"",
        "E'",
        "--",
        "\n",
        "*",
        ".",
        "execute",
        "default",
        "references",
        "cursor",
        "for",
        "declare",
        "merge",
        "using",
        "matched",
        "comment",
        "is",
        "null",
        "in",
        "schema",
        "all",
        "prepare",
        "like",
        "interval",
        "recursive",
        "union",
        "uescape",
        "index",
        "rule",
        "set_config",
        "'role'",
        "collate",
        "variadic",
        "only",
        "overriding",
        "search",
        "cycle",
        "rows",
        "perform",
        "loop",
        "if",
        ":=",
        "fetch",
        "language",
        "'\\'",
        "E'a'",
        "check",
        "policy",
        "role",
        "isnull",
        "coalesce",
    ]);
    prop::collection::vec(tokens, 0..25).prop_map(|tokens| tokens.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_cached_answer_is_the_answer(texts in prop::collection::vec(statement(), 1..30)) {
        let mut cache = FactsCache::new(Dialect::Postgres);
        for _ in 0..2 {
            for text in &texts {
                prop_assert_eq!(&*cache.get(text, false), &facts(text, Dialect::Postgres, false), "{}", text);
            }
        }
    }

    #[test]
    fn any_text_has_facts(text in "\\PC{0,60}|[ -~]{0,60}", truncated: bool) {
        let facts = facts(&text, Dialect::Postgres, truncated);
        prop_assert!(!truncated || facts.parse != Parse::Ok);
    }

    #[test]
    fn any_soup_of_tokens_has_facts(text in token_soup()) {
        let mut cache = FactsCache::new(Dialect::Postgres);
        let facts = facts(&text, Dialect::Postgres, false);
        prop_assert_eq!(facts.count == 0, facts.verbs.is_empty());
        prop_assert_eq!(&*cache.get(&text, false), &facts);
        prop_assert_eq!(&*cache.get(&text, false), &facts);
        let unknown = Options { standard_conforming_strings: None };
        let either = cache.get_with(&text, unknown, false);
        // What is read for certain in both ways is read in one.
        for effect in either.effects.iter().filter(|effect| !effect.uncertain) {
            prop_assert!(facts.effects.contains(effect), "{} {:?}", text, effect);
        }
        let body = format!("DO $body$ {text} $body$");
        prop_assert!(super::facts(&body, Dialect::Postgres, false).count > 0);
    }
}

#[test]
fn a_prepared_statement_is_found_by_its_address() {
    let mut cache = FactsCache::new(Dialect::Postgres);
    let text = |sql: &str| {
        Arc::new(crate::protocol::Text {
            text: sql.into(),
            bytes: sql.len() as u64,
            truncated: false,
            tail_hit: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })
    };
    let held = text("SELECT * FROM t WHERE id = $1");
    let prepared = Arc::clone(&held);
    let first = cache.get_text(&prepared);
    assert!(Arc::ptr_eq(&first, &cache.get_text(&prepared)));
    assert_eq!(*first, facts(&held.text, Dialect::Postgres, false));
}

/// `cargo test --release -p dbgov-agent sql::tests::cache::speed -- --ignored --nocapture`
#[test]
#[ignore = "prints times, of use in a release build only"]
fn speed() {
    let measure = |name: &str, texts: &[String]| {
        let mut cache = FactsCache::new(Dialect::Postgres);
        let rounds = 2_000_000 / texts.len();
        let started = std::time::Instant::now();
        for _ in 0..rounds {
            for text in texts {
                std::hint::black_box(cache.get(text, false));
            }
        }
        let ns = started.elapsed().as_nanos() / (rounds * texts.len()) as u128;
        println!("{name}: {ns} ns");
    };
    let vary = |form: &str| -> Vec<String> {
        (0..1000)
            .map(|n| {
                form.replace("{a}", &(n * 97 % 100_000).to_string())
                    .replace("{b}", &(n - 500).to_string())
            })
            .collect()
    };
    measure(
        "select",
        &vary("SELECT abalance FROM pgbench_accounts WHERE aid = {a};"),
    );
    measure(
        "update",
        &vary("UPDATE pgbench_accounts SET abalance = abalance + {b} WHERE aid = {a};"),
    );
    measure(
        "insert",
        &vary(
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ({a}, 1, {a}, {b}, CURRENT_TIMESTAMP);",
        ),
    );
    measure(
        "prepared",
        &vary("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2;"),
    );
    measure("begin", &vary("BEGIN;"));
    measure("set", &["SET extra_float_digits = 3".to_owned()]);
    let texts = vary("UPDATE pgbench_accounts SET abalance = abalance + {b} WHERE aid = {a};");
    let started = std::time::Instant::now();
    for text in &texts {
        std::hint::black_box(facts(text, Dialect::Postgres, false));
    }
    println!(
        "facts, not cached: {} ns",
        started.elapsed().as_nanos() / texts.len() as u128
    );
}
