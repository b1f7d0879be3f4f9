//! What a text leaves to its session.

use super::*;
use NewValue::{Computed, Default as AtStart, To};
use Tracked::*;

fn changes(text: &str) -> Vec<Change> {
    facts(text, Dialect::Postgres, false).changes
}

fn set(setting: Tracked, value: NewValue) -> Change {
    Change::Set {
        setting,
        value,
        local: false,
    }
}

fn to(items: &[&str]) -> NewValue {
    To(items.iter().map(|item| (*item).into()).collect())
}

#[test]
fn settings_are_told_as_the_server_takes_them() {
    for (text, setting, value) in [
        (
            "SET search_path TO a, \"B\", 'C d'",
            SearchPath,
            to(&["a", "B", "C d"]),
        ),
        ("SET \"SEARCH_PATH\" = A", SearchPath, to(&["a"])),
        ("SET SCHEMA 'x'", SearchPath, to(&["x"])),
        ("SET SESSION search_path = DEFAULT", SearchPath, AtStart),
        ("RESET search_path", SearchPath, AtStart),
        ("SET search_path FROM CURRENT", SearchPath, Computed),
        ("SET ROLE Admin", Role, to(&["admin"])),
        ("SET ROLE 'Admin'", Role, to(&["Admin"])),
        ("SET ROLE NONE", Role, to(&["none"])),
        ("RESET ROLE", Role, AtStart),
        (
            "SET SESSION AUTHORIZATION bob",
            SessionAuthorization,
            to(&["bob"]),
        ),
        (
            "SET SESSION AUTHORIZATION DEFAULT",
            SessionAuthorization,
            AtStart,
        ),
        (
            "SET standard_conforming_strings = off",
            StandardConformingStrings,
            to(&["off"]),
        ),
        ("SET NAMES 'SJIS'", ClientEncoding, to(&["SJIS"])),
        (
            "SELECT set_config('search_path', 'a, \"B\"', false)",
            SearchPath,
            to(&["a", "B"]),
        ),
        (
            "SELECT pg_catalog.set_config('search_path', '', false)",
            SearchPath,
            to(&[]),
        ),
        (
            "SELECT set_config('search_path', x, false) FROM t",
            SearchPath,
            Computed,
        ),
        (
            "SELECT * FROM set_config('role', 'admin', false)",
            Role,
            to(&["admin"]),
        ),
        ("DO $$ BEGIN SET ROLE admin; END $$", Role, Computed),
    ] {
        assert_eq!(changes(text), [set(setting, value)], "{text}");
    }
    let local = Change::Set {
        setting: Role,
        value: to(&["a"]),
        local: true,
    };
    assert_eq!(changes("SET LOCAL ROLE a"), std::slice::from_ref(&local));
    assert_eq!(changes("SELECT set_config('role', 'a', true)"), [local]);
    let all: Vec<Change> = Tracked::ALL.iter().map(|&one| set(one, Computed)).collect();
    assert_eq!(changes("SELECT set_config(a, 'b', false) FROM t"), all);
    assert_eq!(
        changes("UPDATE pg_settings SET setting = 'x' WHERE name = 'y'"),
        all
    );
    assert_eq!(changes("SELECT set_config('role', 'a', false) )"), all);
    for text in [
        "SET statement_timeout = 1",
        "SHOW role",
        "PREPARE p AS SELECT set_config('role', 'a', false)",
        "EXPLAIN SELECT set_config('role', 'a', false)",
        "SET TRANSACTION READ ONLY",
    ] {
        let set = changes(text);
        let sets = set
            .iter()
            .filter(|change| matches!(change, Change::Set { .. }));
        assert_eq!(sets.count(), 0, "{text}");
    }
    assert_eq!(
        effects("SELECT set_config('Role', 'a', false)"),
        "call set_config, set role, select"
    );
}

#[test]
fn prepared_statements_and_cursors_are_told() {
    let prepare = |name: &str, text: &str| Change::Prepare {
        name: name.into(),
        text: text.into(),
    };
    let execute = |name: &str| Change::Execute { name: name.into() };
    assert_eq!(
        changes(
            "PREPARE \"P\" (int) AS DELETE FROM t /* x */ WHERE id = $1; EXECUTE p (1); DEALLOCATE p"
        ),
        [
            prepare("P", "DELETE FROM t /* x */ WHERE id = $1"),
            execute("p"),
            Change::Deallocate {
                name: Some("p".into())
            },
        ]
    );
    assert_eq!(
        changes("PREPARE p AS DELETE FROM t )"),
        [prepare("p", "DELETE FROM t )")]
    );
    assert_eq!(changes("EXPLAIN ANALYZE EXECUTE p"), [execute("p")]);
    assert_eq!(changes("EXPLAIN EXECUTE p"), []);
    assert_eq!(
        changes("CREATE TABLE t AS EXECUTE p(1) WITH NO DATA"),
        [execute("p")]
    );
    assert_eq!(changes("DISCARD ALL")[0], Change::Deallocate { name: None });
    assert_eq!(
        changes("DECLARE c CURSOR FOR SELECT 1 FROM t; FETCH 1 FROM c"),
        [
            Change::Declare {
                name: "c".into(),
                text: "SELECT 1 FROM t".into()
            },
            Change::Fetch { name: "c".into() },
        ]
    );
    check_effects(&[
        (
            "DECLARE c CURSOR FOR SELECT 1 FROM a, b; FETCH ALL IN c; MOVE c; FETCH other",
            "declare c, select a, select b, fetch c, fetch a, fetch b, move c, fetch other",
        ),
        ("FETCH FORWARD 5 U&\"d!0061\" UESCAPE '!'", "fetch da"),
        (
            "EXECUTE p((SELECT max(a) FROM t))",
            "execute p, call max, select t",
        ),
    ]);
}
