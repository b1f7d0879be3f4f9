//! Secrets of the configuration, taken out of what somebody else says: receivers repeat the token they refuse, or the
//! path they do not have.

use std::cmp::Reverse;

use base64::prelude::*;
use secrecy::{ExposeSecret, SecretString};

/// Shorter ones would take half of every message with them, and are no secrets.
const SECRET_CHARS_MIN: usize = 4;
/// What an error shows of an answer.
const EXCERPT_CHARS_MAX: usize = 200;
const REMOVED: &str = "[removed]";

/// What must not be shown, longest first: a text goes as a whole before a part of it does.
#[derive(Debug, Clone, Default)]
pub struct Scrub(Vec<SecretString>);

impl Scrub {
    /// From now on `secret` is removed, also in the forms it has in JSON and in base64.
    pub fn hide(&mut self, secret: &str) {
        let quoted = serde_json::Value::from(secret).to_string();
        let in_json = quoted.trim_matches('"');
        let encoded = BASE64_STANDARD.encode(secret);
        for form in [secret, in_json, encoded.trim_end_matches('=')] {
            let known = self.0.iter().any(|known| known.expose_secret() == form);
            if secret.chars().count() >= SECRET_CHARS_MIN && !known {
                self.0.push(form.into());
            }
        }
        self.0
            .sort_by_key(|form| Reverse(form.expose_secret().len()));
    }

    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), REMOVED);
            }
        }
        text
    }

    /// One line, of bounded length, of what somebody else wrote. Cut only when nothing secret is left: of half a secret
    /// nobody would know what it is.
    pub fn excerpt(&self, text: &str) -> String {
        let text = self.text(text);
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let mut short: String = text.chars().take(EXCERPT_CHARS_MAX).map(clean).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(secrets: &[&str]) -> Scrub {
        let mut scrub = Scrub::default();
        secrets.iter().for_each(|secret| scrub.hide(secret));
        scrub
    }

    #[test]
    fn a_secret_goes_in_every_form_and_whole_before_its_parts() {
        let scrub = scrub(&["hunter", "hunter2-long", "a\"b\\c", "abc"]);
        for (said, shown) in [
            ("no hunter2-long, no hunter", "no [removed], no [removed]"),
            ("aHVudGVyMi1sb25n is wrong", "[removed] is wrong"),
            (r#"{"token":"a\"b\\c"}"#, r#"{"token":"[removed]"}"#),
            // Three characters stand everywhere.
            ("abc", "abc"),
        ] {
            assert_eq!(scrub.text(said), shown);
        }
        assert!(!format!("{scrub:?}").contains("hunter"));
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        let text = Scrub::default().excerpt(&"ä\r\n".repeat(1000));
        assert_eq!(text.chars().count(), EXCERPT_CHARS_MAX + 1);
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_secret_at_the_end_of_an_excerpt_is_not_cut_but_removed() {
        let scrub = scrub(&["hunter2-long"]);
        for before in EXCERPT_CHARS_MAX - 12..=EXCERPT_CHARS_MAX {
            let text = scrub.excerpt(&format!("{}hunter2-long", "x".repeat(before)));
            assert!(!text.contains('h'), "{text}");
        }
    }
}
