//! Secrets in the value of a literal, a parameter or an argument, where that is no SQL: connection strings of libpq
//! (PostgreSQL documentation 34.1.1) and URIs (RFC 3986).

use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::words::{is_secret_name, may_have_secret};

/// What was found in a value, bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It is no value of this form.
    Other,
    /// It is, and these parts of it are secrets; none, where it is empty.
    Parts(Vec<Range<usize>>),
    /// A secret is in it, and where it ends cannot be told.
    Whole,
    /// The secret itself comes from elsewhere: a placeholder, or nothing yet.
    Elsewhere,
}

/// `host=db user=app password=...`
pub(super) fn conninfo(value: &str) -> Found {
    let mut parts = Vec::new();
    let mut rest = Rest { text: value, at: 0 };
    rest.skip_blanks();
    if rest.at_end() {
        return Found::Other;
    }
    while !rest.at_end() {
        let Some((key, range)) = rest.pair() else {
            return Found::Other;
        };
        let of = &value[range.clone()];
        if is_secret_name(key, true) {
            if of.is_empty() || of.starts_with(['$', '%', ':', '?', '{']) {
                return Found::Elsewhere;
            }
            parts.push(range);
        } else if may_have_secret(of) {
            // `options='-c app.token=...'`, `fallback=postgres://...`
            return match has_pair(of) || has_userinfo(of) {
                true => Found::Whole,
                false => Found::Other,
            };
        }
        rest.skip_blanks();
    }
    Found::Parts(parts)
}

struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// A key and where its value stands, quotes included.
    fn pair(&mut self) -> Option<(&'a str, Range<usize>)> {
        let rest = self.rest();
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let key = &rest[..rest.find(|c| !is_key(c)).unwrap_or(rest.len())];
        if key.is_empty() {
            return None;
        }
        self.at += key.len();
        self.skip_blanks();
        if !self.rest().starts_with('=') {
            return None;
        }
        self.at += 1;
        let here = self.at;
        self.skip_blanks();
        // An empty value behind which another key follows, or the end.
        if self.at_end() {
            return Some((key, here..here));
        }
        let start = self.at;
        self.value();
        Some((key, start..self.at))
    }

    /// In quotes up to the next one, else up to a blank; a backslash takes the meaning from what follows.
    fn value(&mut self) {
        let quoted = self.rest().starts_with('\'');
        let mut escaped = false;
        for (at, c) in self.rest().char_indices() {
            let ends = match quoted {
                true => at > 0 && c == '\'',
                false => c.is_whitespace(),
            };
            if ends && !escaped {
                self.at += at + usize::from(quoted);
                return;
            }
            escaped = c == '\\' && !escaped;
        }
        self.at = self.text.len();
    }
}

/// `scheme://user:password@host/path?token=...`, and nothing else.
pub(super) fn uri(value: &str) -> Found {
    let Some((scheme, _)) = value.split_once("://") else {
        return Found::Other;
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | ':');
    if scheme.is_empty()
        || !scheme.chars().all(is_scheme)
        || value.contains(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '\\' | '<' | '>'))
    {
        return Found::Other;
    }
    let from = scheme.len() + "://".len();
    let mut parts = Vec::new();
    // Who writes a password with an unescaped `@`, `/` or `?` means the last `@`.
    if let Some(at) = value[from..].rfind('@')
        && let Some(colon) = value[from..from + at].find(':')
    {
        parts.push(from + colon + 1..from + at);
    }
    let query = value[from..].find(['?', '#', ';']);
    let mut at = query.map_or(value.len(), |query| from + query + 1);
    while at < value.len() {
        let pair = &value[at..];
        let pair = &pair[..pair.find(['&', '#', ';', '?']).unwrap_or(pair.len())];
        if let Some((key, of)) = pair.split_once('=') {
            let plain = percent_decode_str(key).decode_utf8_lossy();
            if is_secret_name(&plain, true) || has_userinfo(of) {
                parts.push(at + key.len() + 1..at + pair.len());
            }
        }
        at += pair.len() + 1;
    }
    let placeholder = |part: &Range<usize>| {
        let of = &value[part.clone()];
        of.is_empty() || of.starts_with(['$', '%', '{']) && !of.starts_with("%2") && of.len() < 4
    };
    match parts.iter().any(placeholder) {
        true => Found::Elsewhere,
        false => Found::Parts(parts),
    }
}

/// Somewhere in the text is `scheme://user:password@`.
pub(crate) fn has_userinfo(text: &str) -> bool {
    text.match_indices("://").any(|(at, separator)| {
        let behind = &text[at + separator.len()..];
        let run = &behind[..behind.find(char::is_whitespace).unwrap_or(behind.len())];
        run.rfind('@').is_some_and(|at| run[..at].contains(':'))
    })
}

/// Somewhere in the text is `password=...` or the like.
pub(super) fn has_pair(text: &str) -> bool {
    let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(['=', ':']).any(|(at, _)| {
        let before = text[..at]
            .trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'));
        let key = before
            .rfind(|c| !is_key(c))
            .map_or(before, |at| before[at..].trim_start_matches(|c| !is_key(c)));
        is_secret_name(key, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(found: Found, text: &str) -> Vec<&str> {
        match found {
            Found::Parts(parts) => parts.into_iter().map(|part| &text[part]).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn connection_strings() {
        for (text, expected) in [
            ("host=db user=app password=s3cret", &["s3cret"][..]),
            ("password=s3cret host=db", &["s3cret"]),
            ("password = 's3 cr''et' host=db", &["'s3 cr'"]),
            (r"password='s3 \' cret' host=db", &[r"'s3 \' cret'"]),
            (r"password=s3\ cret host=db", &[r"s3\ cret"]),
            ("PASSWORD=a sslpassword=b", &["a", "b"]),
            ("host=db dbname=x", &[]),
            ("password=a&b@c", &["a&b@c"]),
        ] {
            if text.contains("''") {
                assert_eq!(conninfo(text), Found::Other, "{text}");
                continue;
            }
            assert_eq!(parts(conninfo(text), text), expected, "{text}");
        }
        for text in ["password=", "host=x password=%s", "password=$1"] {
            assert_eq!(conninfo(text), Found::Elsewhere, "{text}");
        }
        for text in ["", "hello world", "a = ", "x password y"] {
            assert!(!matches!(conninfo(text), Found::Whole), "{text}");
        }
        let nested = "host=db options='-c app.token=x'";
        assert_eq!(conninfo(nested), Found::Whole);
    }

    #[test]
    fn uris() {
        for (text, expected) in [
            ("postgres://u:s3cret@h/db", &["s3cret"][..]),
            (
                "postgresql://u:s3@cret@h:5432/db?sslmode=require",
                &["s3@cret"],
            ),
            ("postgres://u@h/db?password=s3cret&x=1", &["s3cret"]),
            ("postgres://u@h/db?%70assword=s3cret", &["s3cret"]),
            ("jdbc:postgresql://h/db?user=a&password=s3cret", &["s3cret"]),
            ("https://h/cb#access_token=s3cret", &["s3cret"]),
            ("https://h:8080/path", &[]),
            ("s3://bucket/key", &[]),
        ] {
            assert_eq!(parts(uri(text), text), expected, "{text}");
        }
        for text in ["://", "see https://u:p@h", "a b://c", "https://h/ it's"] {
            assert_eq!(uri(text), Found::Other, "{text}");
        }
        assert!(has_userinfo("see https://u:p@h for more"));
        assert!(!has_userinfo("see https://h:80/ or mail a@b"));
        assert!(
            has_pair("{\"password\": \"x\"}")
                && has_pair("a token=x")
                && has_pair("Authorization: Bearer x")
        );
        assert!(!has_pair("the password is wrong = no"));
    }
}
