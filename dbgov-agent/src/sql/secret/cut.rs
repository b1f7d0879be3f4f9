//! What of a token is taken out, and what takes its place.

use std::ops::Range;

use crate::sql::lexer::{Kind, Token};

/// Stands where something was taken out.
pub const MARK: &str = "***";

/// A part of a text to be taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes of the text.
    pub(crate) range: Range<usize>,
    /// It has no quotes around it that stay: the mark brings its own, so that the text still parses.
    pub(crate) bare: bool,
}

impl Cut {
    pub(super) fn inside(range: Range<usize>) -> Self {
        Cut { range, bare: false }
    }

    pub(super) fn shifted(&self, offset: usize) -> Self {
        Cut {
            range: self.range.start + offset..self.range.end + offset,
            bare: self.bare,
        }
    }
}

/// What stands between the quotes of a literal or a quoted name; all of a number. `open`: its closing quote is missing.
pub(crate) fn contents(token: Token, text: &str, open: bool) -> Cut {
    let written = token.text(text).as_bytes();
    let (start, end) = (token.start as usize, token.end as usize);
    let quote = |quote: u8| {
        written
            .iter()
            .position(|byte| *byte == quote)
            .map_or(0, |at| at + 1)
    };
    let before = match token.kind {
        // `$tag$`
        Kind::DollarString => {
            let tag = written.iter().skip(1).position(|byte| *byte == b'$');
            tag.map_or(written.len(), |at| at + 2)
        }
        Kind::QuotedIdent | Kind::UnicodeIdent => quote(b'"'),
        Kind::Number => {
            return Cut {
                range: start..end,
                bare: true,
            };
        }
        _ => quote(b'\''),
    };
    let behind = match (open, token.kind) {
        (true, _) => 0,
        (false, Kind::DollarString) => before,
        (false, _) => 1,
    };
    let from = (start + before).min(end);
    Cut::inside(from..end.saturating_sub(behind).max(from))
}

/// In order, what overlaps made one.
pub(crate) fn merged(mut cuts: Vec<Cut>) -> Vec<Cut> {
    cuts.sort_by_key(|cut| (cut.range.start, cut.range.end));
    let mut merged: Vec<Cut> = Vec::with_capacity(cuts.len());
    for cut in cuts {
        match merged.last_mut() {
            Some(last) if cut.range.start <= last.range.end => {
                last.range.end = last.range.end.max(cut.range.end);
                last.bare &= cut.bare;
            }
            _ => merged.push(cut),
        }
    }
    merged
}

/// The text with something else in place of each of the cuts, which are in order and apart. What would not lie between
/// characters (it cannot be) takes the rest of the text with it.
pub(crate) fn replaced<'a>(
    text: &str,
    cuts: &[Cut],
    mut with: impl FnMut(usize) -> std::borrow::Cow<'a, str>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (number, cut) in cuts.iter().enumerate() {
        let Some(before) = text.get(at..cut.range.start) else {
            out.push_str(MARK);
            return out;
        };
        out.push_str(before);
        if cut.bare {
            out.push('\'');
        }
        out.push_str(&with(number));
        if cut.bare {
            out.push('\'');
        }
        at = cut.range.end;
    }
    match text.get(at..) {
        Some(rest) => out.push_str(rest),
        None => out.push_str(MARK),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::Lexer;

    #[test]
    fn quotes_and_letters_before_them_stay() {
        for (text, expected) in [
            ("'a''b'", "'***'"),
            ("E'a\\'b'", "E'***'"),
            ("U&'a'", "U&'***'"),
            ("x'ff'", "x'***'"),
            ("N'n'", "N'***'"),
            ("''", "'***'"),
            ("$$a$$", "$$***$$"),
            ("$tag$a$b$tag$", "$tag$***$tag$"),
            ("$$$$", "$$***$$"),
            ("'a'\n -- c\n 'b'", "'***'"),
            ("\"a\"", "\"***\""),
            ("12.5", "'***'"),
        ] {
            let token = Lexer::new(text).next().unwrap();
            let cuts = [contents(token, text, false)];
            assert_eq!(replaced(text, &cuts, |_| MARK.into()), expected);
        }
        for (text, expected) in [
            ("'a", "'***"),
            ("$x$a", "$x$***"),
            ("E'a\\'", "E'***"),
            ("'", "'***"),
        ] {
            let token = Lexer::new(text).next().unwrap();
            let cuts = [contents(token, text, true)];
            assert_eq!(replaced(text, &cuts, |_| MARK.into()), expected);
        }
    }

    #[test]
    fn overlaps_become_one() {
        let cut = |range| Cut::inside(range);
        assert_eq!(
            merged(vec![cut(5..9), cut(1..3), cut(2..4), cut(5..9)]),
            [cut(1..4), cut(5..9)]
        );
        assert_eq!(merged(vec![cut(1..3), cut(3..5)]), [cut(1..5)]);
    }
}
