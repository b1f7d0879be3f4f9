//! Where the secrets of a text are: passwords, keys, and what else lets somebody in.
//!
//! Takes too much rather than too little. Nothing here parses: the tokens alone decide, so that it holds for text that
//! no reader of statements knows, for another dialect, and for what a client has broken.
//!
//! ```text
//! words    what a secret stands beside; a quick look whether any of it is in a text
//! value    connection strings and URIs
//! code     the tokens of SQL; `contents` what its literals hold, `comments` what the lexer passes over
//! cut      what of a token goes, and what takes its place
//! ```

mod code;
mod comments;
mod contents;
mod cut;
mod message;
#[cfg(test)]
mod tests;
mod value;
mod words;

use std::borrow::Cow;
use std::collections::HashSet;

pub(crate) use comments::comments;
pub use cut::MARK;
pub(crate) use cut::{Cut, contents, merged, replaced};
pub(crate) use message::quoted_replaced;
pub(crate) use value::has_userinfo;
pub(crate) use words::{is_secret_name, may_have_secret};

use self::code::{Found, Reading};

use super::lexer::{Lexer, Token};
use super::literal;
use super::name::UESCAPE_DEFAULT;

/// The secrets of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    pub(crate) cuts: Vec<Cut>,
    /// The text is about a secret: what it gets as a parameter may be that.
    pub bears: bool,
    /// It prepares such a statement, to be executed by another text.
    pub prepares: bool,
}

/// `None` where there are none. `truncated`: it is the head of a longer text.
///
/// ```
/// use dbgov_agent::sql::secret;
/// let text = "ALTER ROLE app PASSWORD 'hunter2'";
/// let secrets = secret::secrets(text, false).unwrap();
/// assert_eq!(secrets.redacted(text), "ALTER ROLE app PASSWORD '***'");
/// ```
pub fn secrets(text: &str, truncated: bool) -> Option<Secrets> {
    if !may_have_secret(text) {
        return None;
    }
    let reading = Reading {
        conforming: true,
        cut: truncated,
        depth: 0,
    };
    let found = code::find(text, reading);
    let mut secrets = Secrets::of(&found);
    if found.open && !truncated {
        // Nobody knows what is inside the quotes and what is outside.
        let word = words::first_plain(text);
        if let Some(word) = word.or(found.bears.then_some(0)) {
            let quote = text.find(['\'', '"', '$']).unwrap_or(text.len());
            secrets
                .cuts
                .push(Cut::inside(word.min(quote + 1).min(text.len())..text.len()));
            secrets.bears = true;
        }
    }
    secrets.cuts.extend(found.cuts);
    // A backslash may be an escape in any string: after SET standard_conforming_strings, and in MySQL always.
    if text.contains('\\') {
        let other = code::find(
            text,
            Reading {
                conforming: false,
                cut: true,
                ..reading
            },
        );
        let escaped = Secrets::of(&other);
        secrets.bears |= escaped.bears;
        secrets.prepares |= escaped.prepares;
        secrets.cuts.extend(other.cuts);
    }
    secrets.cuts = merged(secrets.cuts);
    let any = secrets.bears || !secrets.cuts.is_empty();
    any.then_some(secrets)
}

/// All literals and comments of a text whose meaning is not in it: it executes what is about a secret.
pub fn everything(text: &str) -> Secrets {
    let mut cuts = Vec::new();
    for conforming in [true, false] {
        match literals(text, conforming) {
            Some(literals) => cuts.extend(literals.into_iter().map(|literal| literal.cut)),
            None => cuts.push(Cut::inside(0..text.len())),
        }
    }
    Secrets {
        cuts: merged(cuts),
        bears: true,
        prepares: false,
    }
}

/// A value that came beside a text, or an argument of a command, without the secrets in it. `None` where there are none.
pub fn value(value: &str) -> Option<String> {
    if !may_have_secret(value) {
        return None;
    }
    let parts = match value::conninfo(value) {
        value::Found::Other => value::uri(value),
        found => found,
    };
    match parts {
        value::Found::Parts(parts) if parts.is_empty() => None,
        value::Found::Parts(parts) => {
            let cuts: Vec<Cut> = parts.into_iter().map(Cut::inside).collect();
            Some(replaced(value, &merged(cuts), |_| MARK.into()))
        }
        value::Found::Whole | value::Found::Elsewhere => Some(MARK.to_owned()),
        value::Found::Other => text_in_value(value),
    }
}

/// A value that is a text: SQL, JSON, a command.
fn text_in_value(value: &str) -> Option<String> {
    if value::has_userinfo(value) || value::has_pair(value) {
        return Some(MARK.to_owned());
    }
    let secrets = secrets(value, false)?;
    (!secrets.cuts.is_empty()).then(|| secrets.redacted(value))
}

impl Secrets {
    fn of(found: &Found) -> Self {
        Secrets {
            cuts: Vec::new(),
            bears: found.bears,
            prepares: found.prepares,
        }
    }

    /// The text without them.
    pub fn redacted(&self, text: &str) -> String {
        replaced(text, &self.cuts, |_| MARK.into())
    }

    /// What was taken out, as it was written and as the server may say it.
    pub fn values(&self, text: &str) -> Vec<String> {
        let mut values = Vec::new();
        for cut in &self.cuts {
            let Some(written) = text
                .get(cut.range.clone())
                .filter(|written| !written.is_empty())
            else {
                continue;
            };
            values.push(written.to_owned());
            for spelled in [format!("'{written}'"), format!("E'{written}'")] {
                if let Some(token) = Lexer::with(&spelled, true).next() {
                    values.push(literal::value(token, &spelled, UESCAPE_DEFAULT));
                }
            }
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        values
    }
}

/// Shorter values are left where they stand in other texts, bytes: they would be found in any.
const VALUE_BYTES_MIN: usize = 3;

/// A text that may quote another one, without what was taken out of that.
pub fn scrubbed<'a>(text: &'a str, values: &[String]) -> Cow<'a, str> {
    let mut scrubbed = Cow::Borrowed(text);
    for value in values.iter().filter(|value| value.len() >= VALUE_BYTES_MIN) {
        if scrubbed.contains(value.as_str()) {
            scrubbed = Cow::Owned(scrubbed.replace(value.as_str(), MARK));
        }
    }
    scrubbed
}

/// The words and names of a text, in lower case and without quotes.
pub(crate) fn names_in(text: &str) -> HashSet<String> {
    Lexer::with(text, true)
        .filter(|token| token.kind.is_ident())
        .map(|token| token.text(text).trim_matches('"').to_ascii_lowercase())
        .collect()
}

/// A literal, or the inside of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) cut: Cut,
    /// Without quotes and escapes, so that it is the same as that of a parameter.
    pub(crate) value: String,
}

/// The literals and comments of a text, in order. `None` where it cannot be cut into tokens.
pub(crate) fn literals(text: &str, conforming: bool) -> Option<Vec<Literal>> {
    let mut lexer = Lexer::with(text, conforming);
    let tokens: Vec<Token> = lexer.by_ref().collect();
    if lexer.unterminated {
        return None;
    }
    let mut literals: Vec<Literal> = comments(text, &tokens)
        .into_iter()
        .map(|range| Literal {
            value: text[range.clone()].trim().to_owned(),
            cut: Cut::inside(range),
        })
        .collect();
    let is_literal =
        |token: &&Token| token.kind.is_string() || token.kind == super::lexer::Kind::Number;
    for token in tokens.iter().filter(is_literal) {
        literals.push(Literal {
            cut: contents(*token, text, false),
            value: match token.kind.is_string() {
                true => literal::value(*token, text, UESCAPE_DEFAULT),
                false => token.text(text).to_owned(),
            },
        });
    }
    literals.sort_by_key(|literal| literal.cut.range.start);
    Some(literals)
}
