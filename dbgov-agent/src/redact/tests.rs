use std::sync::Arc;

use super::*;
use crate::protocol::Text;
use crate::sql::{Dialect, Options, facts, secret};

fn rules(text: &str) -> Vec<RedactRule> {
    #[derive(serde::Deserialize)]
    struct File {
        redact: Vec<RedactRule>,
    }
    toml::from_str::<File>(text).unwrap().redact
}

fn redactor(text: &str) -> Redactor {
    Redactor::new(rules(text), Some(Key::of(7)))
}

const SUBJECT: Subject<'static> = Subject {
    database: Some("shop"),
    user: Some("app"),
    identity: Some("agent:sync"),
};

fn shown(redactor: &Redactor, text: &str) -> Shown {
    let original = Arc::new(Text {
        text: text.into(),
        bytes: text.len() as u64,
        truncated: false,
        lossy: false,
        tail_hit: false,
        sha256: Some([0; 32]),
        encoding: None,
    });
    let facts = facts(text, Dialect::Postgres, false);
    let treatment = redactor.treatment(&SUBJECT, Some(&facts));
    let secrets = secret::secrets(text, false).map(Arc::new);
    Shown::new(redactor, &original, secrets, treatment, Options::default())
}

fn text(redactor: &Redactor, sql: &str) -> String {
    shown(redactor, sql).text.text.to_string()
}

fn treatment(rules: &str, sql: &str) -> (Treat, Treat) {
    let facts = facts(sql, Dialect::Postgres, false);
    let treatment = redactor(rules).treatment(&SUBJECT, Some(&facts));
    (treatment.literals, treatment.params)
}

#[test]
fn the_first_rule_that_is_for_it_decides() {
    use Treat::*;
    let by_table = "[[redact]]\ntables = [\"public.orders\"]\n[[redact]]\ntables = [\"users\", \"hr.*\"]\nliterals = \"remove\"\nparams = \"hash\"";
    for (sql, expected) in [
        ("SELECT 1", (Keep, Keep)),
        ("SELECT 'x' FROM orders", (Remove, Hash)),
        ("SELECT 'x' FROM users", (Remove, Hash)),
        ("SELECT 'x' FROM public.users", (Remove, Hash)),
        ("SELECT 'x' FROM hr.salaries", (Remove, Hash)),
        // It may be hr's: nobody knows the search path here.
        ("SELECT 'x' FROM salaries", (Remove, Hash)),
        ("SELECT 'x' FROM other.t", (Keep, Keep)),
        ("SELECT 'x' FROM public.orders", (Keep, Keep)),
        // One of them is enough to remove, none to keep.
        ("SELECT 'x' FROM public.orders, users", (Remove, Hash)),
        ("UPDATE users SET a = 'x'", (Remove, Hash)),
        // May touch any.
        ("DO $$ BEGIN EXECUTE x; END $$", (Remove, Hash)),
        ("no statement 'x'", (Remove, Hash)),
    ] {
        assert_eq!(treatment(by_table, sql), expected, "{sql}");
    }
    for (rule, expected) in [
        ("databases = [\"shop\"]", Remove),
        (
            "databases = [\"sh*\"]\nusers = [\"app\"]\nidentities = [\"agent:*\"]",
            Remove,
        ),
        ("databases = [\"other\"]", Keep),
        ("users = [\"other\", \"ap?\"]", Remove),
        ("identities = [\"human:*\"]", Keep),
    ] {
        let rules = format!("[[redact]]\n{rule}\nliterals = \"remove\"");
        assert_eq!(treatment(&rules, "SELECT 'x'").0, expected, "{rule}");
    }
    // What is not known counts as what is to be removed, and never as what may be kept.
    let nobody = Subject::default();
    let remove = redactor("[[redact]]\ndatabases = [\"x\"]\nliterals = \"remove\"");
    assert_eq!(remove.treatment(&nobody, None).literals, Remove);
    let keep = redactor("[[redact]]\ndatabases = [\"x\"]\n[[redact]]\nliterals = \"hash\"");
    assert_eq!(keep.treatment(&nobody, None).literals, Hash);
}

#[test]
fn literals() {
    let remove = redactor("[[redact]]\nliterals = \"remove\"");
    for (sql, expected) in [
        (
            "SELECT a, \"B\" FROM t WHERE x = 'y' AND n = -42",
            "SELECT a, \"B\" FROM t WHERE x = '***' AND n = -'***'",
        ),
        (
            "SELECT $$a$$, E'\\n', X'ff', 1.5e3, $1 -- note",
            "SELECT $$***$$, E'***', X'***', '***', $1 --***",
        ),
        ("SELECT 1 /*dbgov_run='r'*/", "SELECT '***' /*****/"),
        ("SELECT NULL, true", "SELECT NULL, true"),
        ("SELECT 'its", "***"),
        ("ALTER ROLE a PASSWORD 'x'", "ALTER ROLE a PASSWORD '***'"),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=x' PUBLICATION p",
            "CREATE SUBSCRIPTION s CONNECTION '***' PUBLICATION p",
        ),
    ] {
        assert_eq!(text(&remove, sql), expected);
    }
    let hash = redactor("[[redact]]\nliterals = \"hash\"\nparams = \"hash\"");
    let value = |value: &str| hash.value(value, Treat::Hash).into_owned();
    let sql = "SELECT 1 FROM t WHERE a = 'x''y' AND b = 'x''y' AND c = 1";
    let expected = format!(
        "SELECT '{0}' FROM t WHERE a = '{1}' AND b = '{1}' AND c = '{0}'",
        value("1"),
        value("x'y")
    );
    assert_eq!(text(&hash, sql), expected);
    assert_eq!(value("1").len(), 1 + HASH_DIGITS);
    // HMAC-SHA-256 under 32 bytes 07, by `printf 1 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707...`.
    let mut params = vec![Some("x'y".to_owned()), None, Some("1".to_owned())];
    assert_eq!(
        hash.params(&mut params, hash.treatment(&SUBJECT, None), false),
        [PARAMS]
    );
    assert_eq!(
        params,
        [Some(value("x'y")), None, Some(value("1"))],
        "equal to the literal"
    );
    let other = Redactor::new(rules("[[redact]]\nliterals = \"hash\""), Some(Key::of(8)));
    assert_ne!(other.value("1", Treat::Hash), value("1"));
    assert_eq!(
        Redactor::new(Vec::new(), None).value("1", Treat::Hash),
        MARK
    );
    // A secret is not hashed: short ones could be found by whoever has the key.
    assert!(text(&hash, "ALTER ROLE a PASSWORD 'x'").ends_with("'***'"));
    assert!(text(&hash, "SELECT 'a', dblink('host=h password=x', 'b')").contains("dblink('***'"));
}

#[test]
fn what_was_done_is_told() {
    let idle = Redactor::default();
    let remove = redactor("[[redact]]\nliterals = \"remove\"");
    for (redactor, sql, expected) in [
        (&idle, "SELECT 'x'", &[][..]),
        (&idle, "ALTER ROLE a PASSWORD 'x'", &[PASSWORD]),
        (&idle, "UPDATE u SET password = $1", &[]),
        (&remove, "SELECT 'x'", &[LITERALS]),
        (&remove, "SELECT a FROM t", &[]),
        (&remove, "ALTER ROLE a PASSWORD 'x'", &[PASSWORD, LITERALS]),
    ] {
        let shown = shown(redactor, sql);
        assert_eq!(shown.redacted, expected, "{sql}");
        // A hash of all of the text would let a short secret be guessed.
        assert_eq!(shown.text.sha256.is_none(), !expected.is_empty(), "{sql}");
        assert_eq!(shown.text.bytes, sql.len() as u64);
    }
}

#[test]
fn parameters() {
    let idle = Redactor::default();
    let keep = Treatment::default();
    let mut params = vec![
        Some("a".to_owned()),
        Some("host=h password=s3cret".to_owned()),
        None,
    ];
    assert_eq!(idle.params(&mut params, keep, false), [PASSWORD]);
    assert_eq!(
        params,
        [
            Some("a".to_owned()),
            Some("host=h password=***".to_owned()),
            None
        ]
    );
    assert_eq!(idle.params(&mut params, keep, true), [PASSWORD]);
    assert_eq!(
        params,
        [Some("***".to_owned()), Some("***".to_owned()), None]
    );
    let mut plain = vec![Some("a".to_owned())];
    assert!(idle.params(&mut plain, keep, false).is_empty());
}

#[test]
fn messages_of_the_server() {
    let idle = Redactor::default();
    let remove = redactor("[[redact]]\nliterals = \"remove\"");
    for (redactor, sql, message, expected) in [
        (
            &idle,
            "ALTER ROLE bob PASSWORD 's3cret'",
            "role \"bob\" does not exist",
            "role \"bob\" does not exist",
        ),
        (
            &idle,
            "ALTER ROLE bob PASSWORD 's3cret' x",
            "syntax error at or near \"x\"",
            "syntax error at or near \"x\"",
        ),
        (
            &idle,
            "ALTER ROLE bob PASSWORT 's3cret'",
            "syntax error at or near \"'s3cret'\"",
            "syntax error at or near \"***\"",
        ),
        (
            &idle,
            "DO $$ BEGIN RAISE EXCEPTION 'bad password s3cret'; END $$",
            "bad password s3cret",
            "bad password s3cret",
        ),
        (
            &idle,
            "SELECT dblink_connect('password=s3cret')",
            "could not connect: s3cret",
            "could not connect: ***",
        ),
        (
            &idle,
            "SELECT 'x'::int",
            "invalid input syntax for type integer: \"x\"",
            "invalid input syntax for type integer: \"x\"",
        ),
        (
            &idle,
            "SELECT 1",
            "no connection to postgres://u:s3cret@h",
            "***",
        ),
        (
            &idle,
            "SELECT $1::int",
            "invalid input syntax for type integer: \"host=h password=s3cret\"",
            "invalid input syntax for type integer: \"***\"",
        ),
        (
            &idle,
            "UPDATE u SET password = $1::int",
            "invalid input syntax for type integer: \"s3cret\"",
            "invalid input syntax for type integer: \"***\"",
        ),
        (
            &remove,
            "SELECT 'x'::int",
            "invalid input syntax for type integer: \"x\"",
            "invalid input syntax for type integer: \"***\"",
        ),
        (
            &remove,
            "SELECT 'x' FROM hr.t",
            "relation \"hr.t\" does not exist",
            "relation \"hr.t\" does not exist",
        ),
    ] {
        let told = shown(redactor, sql).message(redactor, message);
        assert_eq!(told, expected, "{sql}");
    }
    let treatment = remove.treatment(&SUBJECT, None);
    assert_eq!(
        remove.session_message("user \"app\" and \"x\"", treatment, |name| name == "app"),
        "user \"app\" and \"***\""
    );
}
