//! What a literal holds.

use std::ops::Range;

use super::code::{Code, Reading, find};
use super::cut::{Cut, contents};
use super::value::{self, has_pair, has_userinfo};
use super::words::{first_plain, may_have_secret};
use crate::sql::lexer::{Kind, Token};

/// SQL in a literal in SQL in a literal: more levels than code is written in. What is deeper counts as a secret whole.
pub(super) const DEPTH_MAX: usize = 4;

/// What a literal is by its contents.
pub(super) enum Contents {
    Clean,
    /// Parts of it are secrets.
    Parts(Vec<Cut>),
    /// It is code about a secret: these parts of it are one, and so may be the literals beside it.
    Code(Vec<Cut>),
    Whole,
    /// It is about a secret, and so may be the literals beside it.
    Secret,
}

impl Code<'_> {
    pub(super) fn contents(&self, at: usize) -> Contents {
        let token = self.tokens[at];
        let value = self.value(at);
        if !may_have_secret(&value) {
            return Contents::Clean;
        }
        if self.reading.depth >= DEPTH_MAX {
            return Contents::Secret;
        }
        let open = self.is_open(at);
        let verbatim = self.verbatim(token, open);
        let found = match value::conninfo(&value) {
            value::Found::Other => value::uri(&value),
            found => found,
        };
        match found {
            _ if open && token.kind != Kind::DollarString => return Contents::Whole,
            value::Found::Elsewhere => return Contents::Secret,
            value::Found::Whole => return Contents::Whole,
            value::Found::Parts(parts) if parts.is_empty() => return Contents::Clean,
            value::Found::Parts(_) if self.is_put_together(at) => return Contents::Secret,
            value::Found::Parts(parts) => {
                let cut =
                    |part: Range<usize>| verbatim.map(|offset| Cut::inside(part).shifted(offset));
                let cuts: Option<Vec<Cut>> = parts.into_iter().map(cut).collect();
                return cuts.map_or(Contents::Whole, Contents::Parts);
            }
            value::Found::Other => {}
        }
        let inner = find(
            &value,
            Reading {
                depth: self.reading.depth + 1,
                cut: open || self.reading.cut,
                ..self.reading
            },
        );
        if inner.open && !open && (inner.bears || first_plain(&value).is_some()) {
            return Contents::Secret;
        }
        let offset = verbatim.filter(|_| token.kind == Kind::DollarString && inner.is_code);
        let shifted = |offset: usize| inner.cuts.iter().map(|cut| cut.shifted(offset)).collect();
        match offset {
            Some(offset) if inner.bears => Contents::Code(shifted(offset)),
            Some(offset) if !inner.cuts.is_empty() => Contents::Parts(shifted(offset)),
            _ if inner.followed || inner.bears && inner.has_strings => Contents::Secret,
            _ if !inner.cuts.is_empty() || has_userinfo(&value) || has_pair(&value) => {
                Contents::Whole
            }
            _ => Contents::Clean,
        }
    }

    /// Where the value begins in the text, if it stands there as it is.
    fn verbatim(&self, token: Token, open: bool) -> Option<usize> {
        let inside = contents(token, self.text, open).range;
        let written = self.text.get(inside.clone())?;
        let plain = match token.kind {
            Kind::DollarString => true,
            Kind::String => !written.contains('\''),
            Kind::EscapeString => !written.contains(['\'', '\\']),
            _ => false,
        };
        plain.then_some(inside.start)
    }

    /// Something is joined to the literal at one of its ends, or it is a pattern for something.
    fn is_put_together(&self, at: usize) -> bool {
        let around = [at.checked_sub(1), Some(at + 1)];
        let joined = around.into_iter().flatten().any(|at| {
            let token = self.tokens.get(at);
            token.is_some_and(|token| {
                token.kind == Kind::Operator && token.text(self.text).contains('|')
            })
        });
        let functions = [
            "concat",
            "concat_ws",
            "format",
            "overlay",
            "replace",
            "string_agg",
        ];
        joined
            || self
                .tokens
                .iter()
                .any(|token| functions.iter().any(|word| self.is_word(*token, word)))
    }
}
