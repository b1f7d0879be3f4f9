//! Where tokens decide: false friends, text no parser reads, heads of texts.

use super::*;

#[test]
fn words_in_the_wrong_place_do_nothing() {
    check_all(&[
        ("SELECT 'DROP TABLE x'", "1 ok select -"),
        (
            "SELECT 1 /* ; DROP TABLE x */ -- DROP TABLE y",
            "1 ok select -",
        ),
        ("SELECT \"drop\" FROM \"delete\"", "1 ok select delete"),
        ("SELECT $q$; DROP TABLE x; $$ $q$", "1 ok select -"),
        ("SELECT E'\\'; DROP TABLE x; --'", "1 ok select -"),
        // Backslashes are nothing special in a plain string.
        ("SELECT '\\'; DROP TABLE x; --'", "2 ok select,drop x"),
        ("SELECT /* /* */ ; DROP TABLE x; */ 1", "1 ok select -"),
        ("DROP/**/TABLE/**/x", "1 ok drop x"),
    ]);
}

#[test]
fn what_cannot_be_read_could_be_anything_its_tokens_say() {
    check_all(&[
        ("hello", "1 failed unknown -"),
        ("SELEC 1", "1 failed unknown -"),
        (
            "SELECT FROM WHERE 'drop' \"alter\" delete",
            "1 failed unknown,select,delete -",
        ),
        ("SELECT 1; foo; SELECT 2", "3 partial select,unknown -"),
        ("DELETE FROM t WHERE )", "1 failed unknown,delete t"),
        ("DELETE FROM t )", "1 failed unknown,delete t missing_where"),
        (
            "UPDATE t SET a = = 1",
            "1 failed unknown,update t missing_where",
        ),
        ("DROP TABLE t garbage here", "1 failed unknown,drop t"),
        ("SELECT 'unterminated", "1 failed unknown,select -"),
        ("SELECT 1 /* unterminated", "1 failed unknown,select -"),
        ("SET", "1 failed unknown,set -"),
        ("COPY t FROM PROGRAM", "1 ok copy_from t server_side"),
    ]);
}

#[test]
fn effects_name_verb_and_object() {
    let effects = |text| -> Vec<String> {
        let facts = facts(text, Dialect::Postgres, false);
        let name = |effect: &Effect| match &effect.object {
            Some(object) => format!(
                "{} {object}{}",
                effect.verb,
                if effect.uncertain { "?" } else { "" }
            ),
            None => format!("{}{}", effect.verb, if effect.uncertain { "?" } else { "" }),
        };
        facts.effects.iter().map(name).collect()
    };
    assert_eq!(
        effects("INSERT INTO a SELECT count(*) FROM b"),
        ["insert a", "call count", "select b"]
    );
    assert_eq!(effects("SELECT 1; SELECT * FROM t"), ["select", "select t"]);
    assert_eq!(effects("SET ROLE x"), ["set role"]);
    assert_eq!(effects("DROP TABLE a, s.b"), ["drop a", "drop s.b"]);
    assert_eq!(
        effects("DELETE FROM t )"),
        ["unknown?", "delete t?", "unknown t?"]
    );
}

#[test]
fn the_head_of_a_text_is_never_ok() {
    let head = |text| line(&facts(text, Dialect::Postgres, true));
    assert_eq!(
        head("SELECT 1; INSERT INTO t VALUES ('a"),
        "2 partial select,unknown,insert t"
    );
    assert_eq!(
        head("INSERT INTO t VALUES (1)"),
        "1 failed unknown,insert t"
    );
    assert_eq!(head("SELECT 1;"), "2 partial select,unknown -");
    assert_eq!(head("/* "), "1 failed unknown -");
}
