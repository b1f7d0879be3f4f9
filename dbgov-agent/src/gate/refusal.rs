//! What a refused client is told.
//!
//! [`fatal`] is a message of the server's that ends the session. [`reject_text`] takes the place of a statement's text:
//! the server itself answers it with an error.
#![forbid(unsafe_code)]

use crate::chars::cut;

/// `insufficient_privilege` (PostgreSQL documentation, appendix A).
pub const SQLSTATE: &str = "42501";
/// Of the text told, bytes: with its headers it fits into the smallest packet any path takes (576 bytes, RFC 791).
const MESSAGE_BYTES_MAX: usize = 400;
/// A reason that has to be cut shorter than this, bytes, is left out: it would tell nothing.
const REASON_BYTES_MIN: usize = 12;

/// ErrorResponse (PostgreSQL documentation 55.7 and 55.8) of severity FATAL that names rule and reason. With `utf8`
/// (the session's client_encoding) their characters are kept, otherwise what is not ASCII becomes `?`.
pub fn fatal(rule: &str, reason: Option<&str>, utf8: bool) -> Vec<u8> {
    let mut text = format!("dbgov: denied by rule \"{rule}\"");
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        text.push_str(": ");
        text.push_str(reason);
    }
    let mut text = printable(&text, utf8);
    shorten(&mut text, MESSAGE_BYTES_MAX);
    let mut body = Vec::with_capacity(text.len() + 32);
    for (field, value) in [
        // S is translated in the server's messages, V never is (since 9.6).
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', SQLSTATE),
        (b'M', &text),
    ] {
        body.push(field);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut message = vec![b'E'];
    // At most MESSAGE_BYTES_MAX and a few.
    message.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    message.extend_from_slice(&body);
    message
}

/// A text of exactly `bytes` bytes for a statement that is to fail. No statement of SQL, and no command of a
/// replication connection, begins with a string or a name of nobody's, so the server's parser answers
/// `syntax error at or near "…"` and shows the first token: `dbgov`, the rule and the reason as far as they have room
/// there. Nothing of it runs. `None` where there is no room for anything (`bytes` is 0: no statement either).
///
/// A string, since a quoted name above 63 bytes brings a notice first. All of it is ASCII without a backslash, which is
/// the same in every client encoding and with every setting.
pub fn reject_text(bytes: usize, rule: &str, reason: Option<&str>) -> Option<Vec<u8>> {
    if bytes == 0 {
        return None;
    }
    let mut text = candidate(bytes, &quotable(rule), reason.map(quotable).as_deref());
    text.truncate(bytes);
    let mut text = text.into_bytes();
    text.resize(bytes, b' ');
    Some(text)
}

/// The longest text with something to tell in it that has room.
fn candidate(bytes: usize, rule: &str, reason: Option<&str>) -> String {
    let with_rule = format!("dbgov: denied by rule \"{rule}\"");
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        let room = bytes.saturating_sub(with_rule.len() + ": ".len() + 2);
        let mut reason = reason.to_owned();
        if room >= reason.len().min(REASON_BYTES_MIN) {
            shorten(&mut reason, room.min(MESSAGE_BYTES_MAX));
            return format!("'{with_rule}: {reason}'");
        }
    }
    for text in [with_rule, format!("dbgov: {rule}")] {
        if text.len() + 2 <= bytes {
            return format!("'{text}'");
        }
    }
    // A plain name: whatever it is cut to, it is no keyword.
    let word = rule
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    "dbgov_".chars().chain(word).collect()
}

/// Without what could end a string or mean something in one.
fn quotable(text: &str) -> String {
    printable(text, false)
        .chars()
        .map(|c| match c {
            '\'' => '`',
            '\\' => '/',
            c => c,
        })
        .collect()
}

/// Control characters become spaces (none may end a message's field early, or play with a terminal).
fn printable(text: &str, utf8: bool) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if c.is_ascii() || utf8 => c,
            _ => '?',
        })
        .collect()
}

/// To at most `bytes`, with dots where something is missing.
fn shorten(text: &mut String, bytes: usize) {
    const DOTS: &str = "...";
    if text.len() <= bytes {
        return;
    }
    cut(text, bytes.saturating_sub(DOTS.len()));
    text.push_str(DOTS);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of an ErrorResponse.
    fn fields(message: &[u8]) -> Vec<(char, String)> {
        assert_eq!(message[0], b'E');
        let length = u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize;
        assert_eq!(length + 1, message.len());
        let (end, body) = message[5..].split_last().unwrap();
        assert_eq!(*end, 0);
        let fields = body.strip_suffix(&[0]).unwrap().split(|byte| *byte == 0);
        fields
            .map(|field| {
                (
                    char::from(field[0]),
                    std::str::from_utf8(&field[1..]).unwrap().to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn a_fatal_error_names_rule_and_reason() {
        let reason = Some("agents do not change schemas");
        let message = fatal("no-destructive-ddl", reason, true);
        let text =
            "dbgov: denied by rule \"no-destructive-ddl\": agents do not change schemas".to_owned();
        assert_eq!(
            fields(&message),
            [
                ('S', "FATAL".to_owned()),
                ('V', "FATAL".to_owned()),
                ('C', "42501".to_owned()),
                ('M', text)
            ]
        );
        let bare = fields(&fatal("r", None, false));
        assert_eq!(bare[3].1, "dbgov: denied by rule \"r\"");
    }

    #[test]
    fn a_reason_cannot_break_the_message() {
        let reason = Some("eins\0zwei\n\u{1b}[31mrot é漢");
        assert!(
            fields(&fatal("r", reason, true))[3]
                .1
                .ends_with("eins zwei  [31mrot é漢")
        );
        assert!(fields(&fatal("r", reason, false))[3].1.ends_with("rot ??"));
        let long = "漢".repeat(1000);
        let message = fatal("r", Some(&long), true);
        assert!(message.len() < 500);
        assert!(fields(&message)[3].1.ends_with("漢..."));
    }

    fn rejected(bytes: usize, rule: &str, reason: Option<&str>) -> String {
        let text = reject_text(bytes, rule, reason).unwrap();
        assert_eq!(text.len(), bytes);
        String::from_utf8(text).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_replacement_tells_what_has_room() {
        let reason = Some("agents do not change schemas");
        for (bytes, expected) in [
            (1, "d"),
            (5, "dbgov"),
            (13, "dbgov_no_ddl"),
            (15, "'dbgov: no-ddl'"),
            (31, "'dbgov: no-ddl'"),
            (32, "'dbgov: denied by rule \"no-ddl\"'"),
            (45, "'dbgov: denied by rule \"no-ddl\"'"),
            (46, "'dbgov: denied by rule \"no-ddl\": agents do...'"),
            (
                62,
                "'dbgov: denied by rule \"no-ddl\": agents do not change schemas'",
            ),
            (
                500,
                "'dbgov: denied by rule \"no-ddl\": agents do not change schemas'",
            ),
        ] {
            assert_eq!(rejected(bytes, "no-ddl", reason), expected, "{bytes}");
        }
        assert_eq!(reject_text(0, "no-ddl", reason), None);
    }

    /// The whole token stands in the text, and nothing else does: one string, or one word.
    #[test]
    fn a_replacement_is_one_token_whatever_the_rule_is_called() {
        let hostile = "'; DROP TABLE t; -- \\' \0\n$$ é";
        for rule in ["no-ddl", "", hostile, "x".repeat(300).as_str()] {
            for reason in [None, Some(""), Some("because"), Some(hostile)] {
                for bytes in 1..700 {
                    let text = rejected(bytes, rule, reason);
                    assert!(text.is_ascii() && !text.contains('\\'), "{text}");
                    match text.strip_prefix('\'') {
                        Some(rest) => {
                            assert_eq!(rest.find('\''), Some(rest.len() - 1), "{text}")
                        }
                        None => {
                            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                            assert!("dbgov_".starts_with(&text[..text.len().min(6)]));
                            assert!(text.chars().all(word), "{text}");
                        }
                    }
                }
            }
        }
    }
}
