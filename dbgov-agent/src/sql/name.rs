//! Names as the server folds them (documentation 4.1.1).

use std::borrow::Cow;
use std::fmt;

use super::lexer::{Kind, Token};
use crate::chars::head;

/// NAMEDATALEN - 1: the server cuts longer names, at a character boundary.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// The escape character of `U&"..."` where no UESCAPE clause names another.
pub(crate) const UESCAPE_DEFAULT: char = '\\';

/// What kind of thing a name stands for, as far as the text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// Table, view, materialized view, foreign table: what the record's `tables` lists.
    Relation,
    Index,
    Sequence,
    Function,
    Type,
    Schema,
    Database,
    Role,
    /// A configuration parameter.
    Setting,
    /// Prepared statement, cursor, channel, trigger, extension and everything else.
    Other,
}

/// A thing in the database, as the text names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object {
    pub kind: ObjectKind,
    /// Only where the text gives it.
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Object {
    pub(crate) fn bare(kind: ObjectKind, name: &str) -> Self {
        Object {
            kind,
            schema: None,
            name: name.into(),
        }
    }

    /// From the parts of a dotted name. A database in front can only be the current one and is dropped.
    pub(crate) fn from_parts<S: AsRef<str>>(kind: ObjectKind, parts: &[S]) -> Option<Self> {
        let (name, qualifiers) = parts.split_last()?;
        Some(Object {
            kind,
            schema: qualifiers.last().map(|schema| schema.as_ref().into()),
            name: name.as_ref().into(),
        })
    }
}

/// The first [`NAME_BYTES_MAX`] bytes, less what would split a character.
pub(crate) fn truncate(name: &str) -> &str {
    head(name, NAME_BYTES_MAX)
}

/// An identifier token as the server knows it: unquoted ones in lower case (ASCII only, as in every multi-byte encoding).
pub(crate) fn fold<'a>(token: Token, text: &'a str, uescape: char) -> Cow<'a, str> {
    let written = token.text(text);
    match token.kind {
        Kind::QuotedIdent => {
            let inner = unquote(written, 1, '"');
            if inner.len() <= NAME_BYTES_MAX {
                return inner;
            }
            Cow::Owned(truncate(&inner).to_owned())
        }
        Kind::UnicodeIdent => {
            let decoded = decode_unicode(&unquote(written, 3, '"'), uescape);
            Cow::Owned(truncate(&decoded).to_owned())
        }
        _ => {
            let name = truncate(written);
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(name.to_ascii_lowercase())
            } else {
                Cow::Borrowed(name)
            }
        }
    }
}

/// What stands between the quotes, of which the opening one ends at `open`; doubled quotes made single.
pub(crate) fn unquote(written: &str, open: usize, quote: char) -> Cow<'_, str> {
    let inner = written.get(open..).unwrap_or("");
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    if inner.contains(quote) {
        let doubled: String = [quote, quote].iter().collect();
        Cow::Owned(inner.replace(&doubled, quote.encode_utf8(&mut [0; 4])))
    } else {
        Cow::Borrowed(inner)
    }
}

/// `\0061` and `\+000061` (4.1.2.3), surrogate pairs joined; what is no escape stays as it is.
pub(crate) fn decode_unicode(raw: &str, escape: char) -> String {
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(escape) {
        decoded.push_str(&rest[..at]);
        rest = &rest[at + escape.len_utf8()..];
        if let Some(after) = rest.strip_prefix(escape) {
            decoded.push(escape);
            rest = after;
        } else if let Some((unit, after)) = code_unit(rest) {
            let low = after
                .strip_prefix(escape)
                .and_then(code_unit)
                .filter(|(low, _)| {
                    (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(low)
                });
            let (code, after) = match low {
                Some((low, after)) => (0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), after),
                None => (unit, after),
            };
            decoded.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = after;
        } else {
            decoded.push(escape);
        }
    }
    decoded.push_str(rest);
    decoded
}

fn code_unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = match text.strip_prefix('+') {
        Some(long) => (long.get(..6)?, &long[6..]),
        None => (text.get(..4)?, &text[4..]),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::Lexer;

    fn check(text: &str, expected: &str) {
        let token = Lexer::new(text).next().unwrap();
        assert_eq!(fold(token, text, UESCAPE_DEFAULT), expected, "{text}");
    }

    #[test]
    fn names_fold_as_the_server_folds_them() {
        check("Foo", "foo");
        check("\"Foo\"\"Bar\"", "Foo\"Bar");
        check("ÄB", "Äb");
        check(r#"U&"dr\006fp""#, "drop");
        check(r#"U&"\+01F600\d83d\de00\\""#, "😀😀\\");
        check(r#"U&"\zz\00""#, r"\zz\00");
        check(&"x".repeat(70), &"x".repeat(63));
        check(&format!("\"{}\"", "é".repeat(40)), &"é".repeat(31));
    }
}
