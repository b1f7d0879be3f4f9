//! The comments of a text, which the lexer passes over.

use std::ops::Range;

use super::code::{Code, Found, Reading, find};
use super::contents::DEPTH_MAX;
use super::cut::Cut;
use super::value::{has_pair, has_userinfo};
use super::words::may_have_secret;
use crate::sql::claims;
use crate::sql::lexer::Token;

impl Code<'_> {
    /// Behind `--` and between `/*` and `*/`. Where one comment is about a secret, none of them stays: they may be lines
    /// of one. Whether one is.
    pub(super) fn comments(&self, found: &mut Found) -> bool {
        let comments = comments(self.text, self.tokens);
        let is_secret = |range: &Range<usize>| {
            let comment = &self.text[range.clone()];
            if !may_have_secret(comment) {
                return false;
            }
            if self.reading.depth >= DEPTH_MAX || has_pair(comment) || has_userinfo(comment) {
                return true;
            }
            let reading = Reading {
                cut: true,
                depth: self.reading.depth + 1,
                ..self.reading
            };
            let inner = find(comment, reading);
            inner.bears || inner.followed || !inner.cuts.is_empty()
        };
        let any = comments.iter().any(is_secret);
        if any {
            self.literals_behind(&comments, found);
            found.cuts.extend(comments.into_iter().map(Cut::inside));
        }
        any
    }

    /// `/* ALTER ROLE app PASSWORD */ 'x'`: a literal next to a comment may be its rest, and so may the parts that
    /// continue it on further lines (4.1.2.1).
    fn literals_behind(&self, comments: &[Range<usize>], found: &mut Found) {
        let mut behind = false;
        let mut from = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            let next = comments.partition_point(|comment| comment.start < from);
            let in_gap = |comment: &Range<usize>| comment.start < token.start as usize;
            behind = token.kind.is_string() && (behind || comments.get(next).is_some_and(in_gap));
            if behind {
                found.cuts.push(self.whole(at));
            }
            from = token.end as usize;
        }
    }

    /// In a statement about a secret, comments with quotes may be what was meant to be its literals. Those by which a
    /// client says why it asks are not.
    pub(super) fn quoting_comments(&self, found: &mut Found) {
        for range in comments(self.text, self.tokens) {
            let comment = &self.text[range.clone()];
            if comment.contains(['\'', '"', '$']) && claims(&format!("/*{comment}*/")).is_empty() {
                found.cuts.push(Cut::inside(range));
            }
        }
    }
}

/// What is inside the comments between the tokens of a text.
pub(crate) fn comments(text: &str, tokens: &[Token]) -> Vec<Range<usize>> {
    let mut comments = Vec::new();
    let mut from = 0;
    let ends = tokens
        .iter()
        .map(|token| (token.start as usize, token.end as usize));
    for (start, end) in ends.chain([(text.len(), text.len())]) {
        let mut at = from;
        while let Some(comment) = comment(text, at, start) {
            at = comment.end;
            comments.push(comment);
        }
        from = end;
    }
    comments
}

/// The inside of the next comment between `from` and `to`.
fn comment(text: &str, from: usize, to: usize) -> Option<Range<usize>> {
    let gap = text.get(from..to)?;
    let open = [gap.find("--"), gap.find("/*")]
        .into_iter()
        .flatten()
        .min()?;
    let inside = &gap[open + 2..];
    let length = match gap[open..].starts_with("--") {
        true => inside.find(['\n', '\r']).unwrap_or(inside.len()),
        false => block_length(inside),
    };
    Some(from + open + 2..from + open + 2 + length)
}

/// Up to the `*/` that closes the comment; they nest (4.1.5).
fn block_length(inside: &str) -> usize {
    let bytes = inside.as_bytes();
    let mut depth = 1usize;
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) if depth == 1 => return at,
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    inside.len()
}
