//! Words that a secret stands beside.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// What no secret of the kinds that are looked for can do without, in any case of its letters. The first [`PLAIN`] of
/// them are about secrets wherever they stand; of the others only the tokens around them tell.
const NEEDLES: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "bearer",
    "authorization",
    "identified",
    "private_key",
    "access_key",
    "api_key",
    "apikey",
    "api-key",
    // Keys of encryption in names of settings; functions that take a key.
    "key",
    "auth",
    "crypt",
    "hmac",
    "pgp_",
    "set_config",
    // USER MAPPING, COPY ... PROGRAM, scheme://user:password@host.
    "mapping",
    "program",
    // Whatever stands there in place of PASSWORD, misspelled.
    "alter group",
    "alter role",
    "alter user",
    "create group",
    "create role",
    "create user",
    "://",
    // A word that is spelled in escapes.
    "\\",
    "u&",
];
const PLAIN: usize = 13;

/// `None` (it is made of constants) would count everything as a hit.
static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(NEEDLES)
        .ok()
});

/// Whether there can be a secret in the text: without one of the words there is none to be found.
pub(crate) fn may_have_secret(text: &str) -> bool {
    AUTOMATON
        .as_ref()
        .is_none_or(|automaton| automaton.is_match(text))
}

/// Where the first word is that is about secrets wherever it stands.
pub(super) fn first_plain(text: &str) -> Option<usize> {
    let Some(automaton) = AUTOMATON.as_ref() else {
        return Some(0);
    };
    automaton
        .find_overlapping_iter(text)
        .filter(|found| found.pattern().as_usize() < PLAIN)
        .map(|found| found.start())
        .min()
}

/// Parts of names of which any name with them is one of a secret.
const STRONG: &[&str] = &[
    "password",
    "passwd",
    "passwort",
    "passphrase",
    "secret",
    "apikey",
    "api_key",
    "private_key",
    "privatekey",
    "access_key",
    "accesskey",
    "credential",
    "bearer",
    "authorization",
];

/// Names with such a part whose values are none.
const HARMLESS: &[&str] = &["password_encryption", "passfile", "tokenizer"];

/// Whether a value under this name is a secret. `setting`: it is the name of a setting or an option, where `key` is that
/// of encryption and not a column's.
pub(crate) fn is_secret_name(name: &str, setting: bool) -> bool {
    if !may_have_secret(name)
        && !name
            .to_ascii_lowercase()
            .split(not_alphanumeric)
            .any(|p| p == "pw")
    {
        return false;
    }
    let folded = name.to_ascii_lowercase();
    if HARMLESS.contains(&folded.as_str()) {
        return false;
    }
    if STRONG.iter().any(|part| folded.contains(part)) {
        return true;
    }
    folded.split(not_alphanumeric).any(|part| {
        let plain = matches!(part, "pass" | "dbpass" | "userpass" | "pw" | "apitoken")
            || part.ends_with("token")
            || part.ends_with("pwd");
        plain || setting && (part.ends_with("key") || part == "auth")
    }) || has_camel_part(name)
}

fn not_alphanumeric(c: char) -> bool {
    !c.is_alphanumeric()
}

/// `accessTokenValue`, `userPassHash`
fn has_camel_part(name: &str) -> bool {
    ["Token", "Pass", "Pwd"].iter().any(|part| {
        name.match_indices(part).any(|(at, _)| {
            let next = name[at + part.len()..].chars().next();
            next.is_none_or(|next| !next.is_lowercase())
        })
    })
}

/// Functions that take a key or a password: of pgcrypto, and MySQL's.
const FUNCTIONS: &[&str] = &[
    "aes_decrypt",
    "aes_encrypt",
    "crypt",
    "decrypt",
    "decrypt_iv",
    "des_decrypt",
    "des_encrypt",
    "encrypt",
    "encrypt_iv",
    "hmac",
    "old_password",
    "pgp_pub_decrypt",
    "pgp_pub_decrypt_bytea",
    "pgp_sym_decrypt",
    "pgp_sym_decrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
];

pub(super) fn takes_a_key(function: &str) -> bool {
    FUNCTIONS
        .binary_search_by(|known| known.cmp(&function.to_ascii_lowercase().as_str()))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "password",
            "PASSWORD",
            "rolpassword",
            "passwd",
            "db_pass",
            "pwd",
            "mysql_pwd",
            "PGPASSWORD",
            "client_secret",
            "token",
            "accesstoken",
            "refresh_token",
            "accessTokenValue",
            "api_key",
            "apikey",
            "ssl_passphrase",
            "user_pw",
            "private_key",
            "aws_credentials",
        ] {
            assert!(is_secret_name(name, false), "{name}");
        }
        for name in [
            "passenger",
            "prompt_tokens",
            "max_tokens",
            "compass",
            "primary_key",
            "key",
            "author",
            "password_encryption",
            "bypass",
            "tokenizer",
            "tokenized_at",
        ] {
            assert!(!is_secret_name(name, false), "{name}");
        }
        for name in ["encryption_key", "sslkey", "auth", "key"] {
            assert!(is_secret_name(name, true), "{name}");
        }
    }

    #[test]
    fn tables_of_words_are_in_order() {
        assert!(FUNCTIONS.is_sorted());
        assert_eq!(NEEDLES[PLAIN], "key");
        assert!(takes_a_key("PGP_SYM_ENCRYPT") && !takes_a_key("gen_salt"));
    }

    #[test]
    fn words_are_found_in_any_case() {
        assert!(may_have_secret("ALTER ROLE x PassWord 'y'"));
        assert!(!may_have_secret(
            "SELECT id, name FROM orders WHERE id = 42"
        ));
        assert_eq!(first_plain("a key, a PASSWORD"), Some(9));
        assert_eq!(first_plain("a key"), None);
    }
}
