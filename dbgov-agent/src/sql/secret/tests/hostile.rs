//! Whatever a client sends: no panic, no endless work, and no secret.

use proptest::prelude::*;

use super::*;

/// The head of a text that was cut anywhere, as the record has it.
#[test]
fn every_head_of_the_table() {
    for (text, _) in TABLE {
        // What follows a secret may be what tells that it is one: that is not in the head.
        let comes_before = |word: &str| {
            let lower = text.to_ascii_lowercase();
            lower
                .find(word)
                .is_some_and(|at| text.find("eim7").is_some_and(|secret| at < secret))
        };
        let told = [
            "password",
            "passwd",
            "identified by",
            "identified with",
            "secret",
            "token",
            "passphrase",
            "api_key",
            "apikey",
            "encrypt",
            "decrypt",
            "hmac",
            "crypt(",
            "mapping",
            "set_config",
            "bearer",
        ];
        if !told.iter().any(|word| comes_before(word))
            || text.contains("UESCAPE")
            || text.contains("it's")
        {
            continue;
        }
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let head = &text[..end];
            has_none(&redacted(head, true), head);
            has_none(&redacted(head, false), head);
        }
    }
}

/// A value in each form of a literal.
fn spelled(value: &str, form: usize) -> String {
    match form {
        0 => format!("'{}'", value.replace('\'', "''")),
        1 => format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
        2 => format!(
            "E'{}'",
            value
                .bytes()
                .map(|b| format!("\\x{b:02x}"))
                .collect::<String>()
        ),
        3 => format!("$q${value}$q$"),
        4 => format!("U&'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
        5 => {
            let (one, two) = value.split_at(value.len() / 2);
            format!(
                "'{}'\n  '{}'",
                one.replace('\'', "''"),
                two.replace('\'', "''")
            )
        }
        _ => format!(
            "'{}'",
            value
                .chars()
                .map(|c| if c == '\'' {
                    "''".to_owned()
                } else {
                    c.to_string()
                })
                .collect::<String>()
        ),
    }
}

const TEMPLATES: &[&str] = &[
    "ALTER ROLE app PASSWORD {}",
    "CREATE USER app WITH LOGIN ENCRYPTED PASSWORD {} VALID UNTIL 'infinity'",
    "SET app.secret = {}",
    "SELECT set_config('app.token', {}, false)",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'x', password {})",
    "UPDATE users SET password = {} WHERE name = 'bob'",
    "SELECT pgp_sym_encrypt('x', {})",
    "CREATE USER bob IDENTIFIED BY {}",
    "DO $outer$ BEGIN EXECUTE format('ALTER ROLE a PASSWORD %L', {}); END $outer$",
    "BEGIN; SET PASSWORD = {}; COMMIT",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_in_any_form_of_a_literal(value in "[A-Za-z0-9 '!@#%;,.=/-]{0,12}Geheim7[A-Za-z0-9 '!@#%;,.=/-]{0,12}", form in 0usize..7, template in prop::sample::select(TEMPLATES)) {
        let text = template.replace("{}", &spelled(&value, form));
        has_none(&redacted(&text, false), &text);
    }

    #[test]
    fn broken_statements(
        row in prop::sample::select(TABLE),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(&["'", "\"", "$", "$$", "\\", "/*", "*/", "--", "\n", ";", "(", ")", " ", "E'", "é", ""][..]),
        remove in 0usize..2,
    ) {
        let text = row.0;
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let here = ends[at.index(ends.len())];
        // Inside the word or the secret it would be another one.
        let lower = text.to_ascii_lowercase();
        let words = ["password", "passwd", "identified", "secret", "token", "passphrase", "api_key", "apikey", "crypt", "hmac", "mapping", "geheim7"];
        let inside = words.iter().any(|word| lower.match_indices(word).any(|(at, word)| (at..at + word.len()).contains(&here)));
        let next = text[here..].chars().next().map_or(0, char::len_utf8) * remove;
        let broken = format!("{}{byte}{}", &text[..here], &text[here + next..]);
        let redacted = redacted(&broken, false);
        // Never a panic; and of a plain password no more than what was not one any more.
        if !inside && text.to_ascii_uppercase().contains("ROLE APP PASSWORD '") && !text.contains('\\') && !text.contains('\n') {
            has_none_unless_outside(&redacted, &broken);
        }
    }

    #[test]
    fn any_text(text in "(password|PASSWORD|identified by|://|[ -~é\n'\"$\\\\/*;@:=-]){0,40}") {
        for truncated in [true, false] {
            if let Some(secrets) = secrets(&text, truncated) {
                secrets.redacted(&text);
                secrets.values(&text);
            }
        }
        everything(&text).redacted(&text);
        value(&text);
        literals(&text, true);
        quoted_replaced(&text, |_| false, |_| String::new());
    }
}

/// In a broken statement the secret may have become a name; what is a literal by either reading has to go.
fn has_none_unless_outside(redacted: &str, of: &str) {
    for conforming in [true, false] {
        for token in Lexer::with(redacted, conforming).filter(|token| token.kind.is_string()) {
            let value = literal::value(token, redacted, UESCAPE_DEFAULT);
            for piece in pieces() {
                assert!(!value.contains(piece), "{of}\nbecame\n{redacted}");
            }
        }
    }
}

/// Work grows with the text, not with its square.
#[test]
fn long_texts() {
    for text in [
        "password '".repeat(50_000),
        "'password',".repeat(50_000),
        "/* password ".repeat(50_000),
        "$a$ password ".repeat(50_000),
        "postgres://u:p@h ".repeat(50_000),
        "password=x ".repeat(50_000),
        "password = ( ".repeat(50_000),
        "\"password\" ".repeat(50_000),
        "password for ".repeat(50_000),
        format!("SELECT '{}'", "password ".repeat(50_000)),
        format!("SELECT '{}'", "://:@".repeat(50_000)),
        format!("SELECT '{}'", "password ===".repeat(20_000)),
        format!("{}password{}", "'".repeat(100_000), "'".repeat(100_000)),
    ] {
        let start = std::time::Instant::now();
        secrets(&text, false);
        value(&text);
        let took = start.elapsed();
        assert!(took.as_secs() < 20, "{took:?}: {}", &text[..20]);
        eprintln!("{took:?}: {}", &text[..20]);
    }
}
