//! What a server's message quotes.

use std::borrow::Cow;

/// Quotation marks that open and those that close, of the languages that PostgreSQL's messages come in.
const QUOTES: &[(&[char], &[char])] = &[
    (&['"'], &['"']),
    (&['\u{ab}', '\u{bb}'], &['\u{ab}', '\u{bb}']),
    (
        &['\u{201c}', '\u{201d}', '\u{201e}'],
        &['\u{201c}', '\u{201d}'],
    ),
    (&['\u{300c}', '\u{300e}'], &['\u{300d}', '\u{300f}']),
    (
        &['\'', '\u{2018}', '\u{201a}', '`'],
        &['\'', '\u{2018}', '\u{2019}'],
    ),
];

/// The message with something else in place of what it quotes, unless that is `known`. From the first that is not on
/// nothing is kept up to the last quotation mark: a value may have marks of its own.
pub(crate) fn quoted_replaced<'a>(
    message: &'a str,
    known: impl Fn(&str) -> bool,
    with: impl Fn(&str) -> String,
) -> Cow<'a, str> {
    let mut message = Cow::Borrowed(message);
    for (open, close) in QUOTES {
        if let Some((from, to)) = unknown(&message, open, close, &known) {
            let instead = with(&message[from..to]);
            message = Cow::Owned(format!("{}{instead}{}", &message[..from], &message[to..]));
        }
    }
    message
}

/// From behind the first mark whose quotation is not known to the last mark (or the end, where it is cut).
fn unknown(
    message: &str,
    open: &[char],
    close: &[char],
    known: &impl Fn(&str) -> bool,
) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(found) = message[at..].find(|c| open.contains(&c)) {
        let mark = message[at + found..].chars().next()?;
        // "can't"
        let inside_word = mark == '\''
            && message[..at + found]
                .chars()
                .next_back()
                .is_some_and(char::is_alphanumeric);
        let from = at + found + mark.len_utf8();
        if inside_word {
            at = from;
            continue;
        }
        let to = message[from..]
            .find(|c| close.contains(&c))
            .map(|to| from + to);
        let quoted = &message[from..to.unwrap_or(message.len())];
        if to.is_none() || !known(quoted) {
            let last = message
                .rfind(|c| close.contains(&c))
                .filter(|last| *last >= from);
            return Some((from, last.unwrap_or(message.len())));
        }
        let to = to?;
        at = to + message[to..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> String {
        let known = |quoted: &str| quoted == "orders" || quoted == "bob";
        quoted_replaced(message, known, |_| "***".to_owned()).into_owned()
    }

    #[test]
    fn names_stay_and_values_go() {
        for (message, expected) in [
            (
                "relation \"orders\" does not exist",
                "relation \"orders\" does not exist",
            ),
            (
                "invalid input syntax for type integer: \"s3cret\"",
                "invalid input syntax for type integer: \"***\"",
            ),
            (
                "syntax error at or near \"'s\"3\"cret'\"",
                "syntax error at or near \"***\"",
            ),
            (
                "role \"bob\" has \"s3cret\" and \"orders\"",
                "role \"bob\" has \"***\"",
            ),
            ("cut off \"s3cr", "cut off \"***"),
            ("can't do it", "can't do it"),
            ("near 's3cret' at line 1", "near '***' at line 1"),
            ("Syntaxfehler bei »s3cret«", "Syntaxfehler bei »***«"),
            ("erreur près de « s3cret »", "erreur près de «***»"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(told(message), expected);
        }
    }
}
