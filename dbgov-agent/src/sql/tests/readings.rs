//! Strings and names: how the server cuts a text, where that can be two ways, and what hides in it.

use super::*;

fn with(conforming: Option<bool>, text: &str) -> Facts {
    let options = Options {
        standard_conforming_strings: conforming,
    };
    let facts = facts_with(text, Dialect::Postgres, options, false);
    let mut cache = FactsCache::new(Dialect::Postgres);
    for _ in 0..2 {
        assert_eq!(*cache.get_with(text, options, false), facts);
    }
    facts
}

#[test]
fn backslashes_are_read_as_the_session_reads_them() {
    let hidden_when_on = r"SELECT '\'; DROP TABLE x; --'";
    let hidden_when_off = r"SELECT '\' || '; DROP TABLE x; --'";
    let effects = |conforming, text| effects_of(&with(conforming, text)).join(", ");
    assert_eq!(effects(Some(true), hidden_when_on), "select, drop x");
    assert_eq!(effects(Some(false), hidden_when_on), "select");
    assert_eq!(effects(None, hidden_when_on), "select, drop x?");
    assert_eq!(effects(Some(true), hidden_when_off), "select");
    assert_eq!(effects(Some(false), hidden_when_off), "select, drop x");
    assert_eq!(effects(None, hidden_when_off), "select, drop x?");
    // Nothing is uncertain where both readings are one.
    assert_eq!(effects(None, r"DELETE FROM t WHERE a = 'x\y'"), "delete t");
    assert_eq!(
        effects(Some(false), r"DELETE FROM t WHERE '\x61' = 'a'"),
        "delete t!"
    );
    // In code in strings too.
    assert_eq!(
        effects(Some(false), r"DO 'BEGIN DR\117P TABLE x; END'"),
        "drop x, do"
    );
}

#[test]
fn strings_go_on_as_they_began() {
    check_effects(&[
        // The second part is an escape string too: the quote behind the backslash is text.
        ("SELECT E'a'\n'\\''; DROP TABLE t; --'", "select, drop t"),
        ("SELECT E'a' -- c\n '\\'; DROP TABLE t; --'", "select"),
        ("SELECT 'a'\n'\\'; DROP TABLE t; --'", "select, drop t"),
        ("SELECT U&'a'\n'\\0027; DROP TABLE t; --'", "select"),
        ("DO 'BEGIN DR'\n'OP TABLE x; END'", "do, drop x"),
    ]);
}

#[test]
fn names_are_those_the_server_means() {
    let long = "x".repeat(70);
    let cut = "x".repeat(63);
    check_effects(&[
        ("DROP TABLE U&\"d!0061ta\" UESCAPE '!'", "drop data"),
        (
            "DROP TABLE U&\"d!0061ta\" UESCAPE $$!$$, b",
            "drop data, drop b",
        ),
        ("DROP TABLE U&\"d!0061ta\" UESCAPE E'!'", "drop data"),
        ("DROP TABLE u&\"\\0053\".U&\"t\\+000061\"", "drop S.ta"),
        ("DROP TABLE \"a\"\"b\", C", "drop a\"b, drop c"),
        ("SELECT 1 FROM ONLY (t)", "select t"),
        (
            "DELETE FROM ONLY t * WHERE a",
            "unknown?, delete t?, unknown t?",
        ),
        (
            "SELECT * FROM a JOIN b USING (x), LATERAL f(a.y), c TABLESAMPLE system (1)",
            "select a, select b, call f, select c",
        ),
        ("SELECT 0x1$a$; DROP TABLE t; --$a$", "select, drop t"),
    ]);
    assert_eq!(
        effects(&format!("DROP TABLE {long}")),
        format!("drop {cut}")
    );
    assert_eq!(
        effects(&format!("DROP TABLE \"{long}\"")),
        format!("drop {cut}")
    );
}

#[test]
fn everyday_syntax_is_read() {
    for text in [
        "SELECT a COLLATE \"C\" FROM t ORDER BY b::text COLLATE pg_catalog.\"default\"",
        "SELECT collation for (a) FROM t",
        "SELECT f(VARIADIC ARRAY[1, 2])",
        "SELECT a ISNULL, b NOTNULL, c AS isnull FROM t",
        "SELECT a BETWEEN SYMMETRIC 2 AND 1 FROM t",
        "UPDATE t SET a[1] = 2, b[1:2].c = 3, d['x'] = '1' WHERE e[1] = 5",
        "INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1)",
        "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT DEFAULT VALUES WHEN MATCHED THEN DO NOTHING",
        "SELECT sum(a) OVER (ORDER BY b ROWS 1 PRECEDING EXCLUDE CURRENT ROW) FROM t",
        "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 2 FROM r) SEARCH DEPTH FIRST BY a SET b SELECT * FROM r",
        "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 2 FROM r) CYCLE a SET b TO 'x' DEFAULT 'y' USING c SELECT * FROM r",
        "SELECT * FROM ROWS FROM (f(1), g(2)) WITH ORDINALITY AS x(a, b, c)",
        "SELECT * FROM json_to_record('{}') AS (a int, b text)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NO INHERIT",
        "ALTER TABLE t NO INHERIT u",
        "CREATE TABLE t (a int, EXCLUDE USING gist (a WITH &&))",
    ] {
        let facts = facts(text, Dialect::Postgres, false);
        assert_eq!(facts.parse, Parse::Ok, "{text}");
    }
}
