//! A reading position in the tokens of one statement.

use super::lexer::{Kind, Token};
use super::literal;
use super::name::{self, Object, ObjectKind};

#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: &'a [Token],
}

/// The tokens are not what the reader knows; the statement is left to [`super::scan`].
#[derive(Debug)]
pub(crate) struct Unread;

impl<'a> Cursor<'a> {
    pub(crate) fn peek(&self) -> Option<Token> {
        self.tokens.first().copied()
    }

    pub(crate) fn next(&mut self) -> Option<Token> {
        let (&first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The text of the tokens, with what stands between them.
    pub(crate) fn written(&self) -> &'a str {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => self
                .text
                .get(first.start as usize..last.end as usize)
                .unwrap_or(""),
            _ => "",
        }
    }

    /// The unquoted word `ahead` tokens on, as written.
    pub(crate) fn word_at(&self, ahead: usize) -> Option<&'a str> {
        let token = self.tokens.get(ahead)?;
        (token.kind == Kind::Word).then(|| token.text(self.text))
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        self.is_at(0, word)
    }

    pub(crate) fn is_at(&self, ahead: usize, word: &str) -> bool {
        self.word_at(ahead)
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    }

    /// Passes over the words if they are next, all of them.
    pub(crate) fn eat(&mut self, words: &str) -> bool {
        let count = words.split(' ').count();
        let found = words
            .split(' ')
            .enumerate()
            .all(|(ahead, word)| self.is_at(ahead, word));
        if found {
            self.tokens = &self.tokens[count..];
        }
        found
    }

    /// Passes over the first of the words that is next.
    pub(crate) fn eat_one_of(&mut self, words: &[&str]) -> bool {
        words.iter().any(|words| self.eat(words))
    }

    pub(crate) fn expect(&mut self, words: &str) -> Result<(), Unread> {
        if self.eat(words) { Ok(()) } else { Err(Unread) }
    }

    pub(crate) fn eat_kind(&mut self, kind: Kind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn eat_operator(&mut self, operator: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|token| token.kind == Kind::Operator && token.text(self.text) == operator);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn eat_star(&mut self) -> bool {
        let found = self
            .peek()
            .is_some_and(|token| token.text(self.text) == "*");
        if found {
            self.next();
        }
        found
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Unread> {
        if self.at_end() { Ok(()) } else { Err(Unread) }
    }

    /// One identifier, folded.
    pub(crate) fn ident(&mut self) -> Result<String, Unread> {
        let token = self
            .next()
            .filter(|token| token.kind.is_ident())
            .ok_or(Unread)?;
        let uescape = self.eat_uescape(token.kind == Kind::UnicodeIdent);
        Ok(name::fold(token, self.text, uescape).into_owned())
    }

    /// `UESCAPE '!'` behind a `U&` token.
    pub(crate) fn eat_uescape(&mut self, allowed: bool) -> char {
        if !allowed || !self.is("uescape") {
            return name::UESCAPE_DEFAULT;
        }
        let Some(literal) = self.tokens.get(1).filter(|token| token.kind.is_string()) else {
            return name::UESCAPE_DEFAULT;
        };
        let escape = literal::value(*literal, self.text, name::UESCAPE_DEFAULT);
        self.tokens = &self.tokens[2..];
        escape.chars().next().unwrap_or(name::UESCAPE_DEFAULT)
    }

    pub(crate) fn parts(&mut self) -> Result<Vec<String>, Unread> {
        let mut parts = vec![self.ident()?];
        while self.eat_kind(Kind::Dot) {
            parts.push(self.ident()?);
        }
        Ok(parts)
    }

    /// `[database.][schema.]name`
    pub(crate) fn name(&mut self, kind: ObjectKind) -> Result<Object, Unread> {
        Object::from_parts(kind, &self.parts()?).ok_or(Unread)
    }

    /// `name, name, ...`, each with ONLY in front and `*` or a list in parentheses behind where that is written.
    pub(crate) fn names(&mut self, kind: ObjectKind) -> Result<Vec<Object>, Unread> {
        let mut names = Vec::new();
        loop {
            self.eat("only");
            let bracketed = self.eat_kind(Kind::LParen);
            names.push(self.name(kind)?);
            if bracketed && !self.eat_kind(Kind::RParen) {
                return Err(Unread);
            }
            self.eat_star();
            self.skip_parens();
            if !self.eat_kind(Kind::Comma) {
                return Ok(names);
            }
        }
    }

    /// Passes over `( ... )` if that is next; tells whether there was one.
    pub(crate) fn skip_parens(&mut self) -> bool {
        self.parens().is_some()
    }

    /// What is inside `( ... )` if that is next.
    pub(crate) fn parens(&mut self) -> Option<Cursor<'a>> {
        self.between(Kind::LParen, Kind::RParen)
    }

    /// What is inside `[ ... ]` if that is next.
    pub(crate) fn brackets(&mut self) -> Option<Cursor<'a>> {
        self.between(Kind::LBracket, Kind::RBracket)
    }

    fn between(&mut self, open: Kind, close: Kind) -> Option<Cursor<'a>> {
        if self.peek()?.kind != open {
            return None;
        }
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate() {
            if token.kind == open {
                depth += 1;
            } else if token.kind == close {
                depth -= 1;
            }
            if depth == 0 {
                let inside = Cursor {
                    text: self.text,
                    tokens: &self.tokens[1..at],
                };
                self.tokens = &self.tokens[at + 1..];
                return Some(inside);
            }
        }
        None
    }

    /// Passes over everything up to the word, outside of parentheses, and the word; `false` (and nothing passed over)
    /// if it is not there.
    pub(crate) fn skip_past(&mut self, word: &str) -> bool {
        self.skip_past_token(|token, text| {
            token.kind == Kind::Word && token.text(text).eq_ignore_ascii_case(word)
        })
    }

    /// [`Cursor::skip_past`] for an operator.
    pub(crate) fn skip_past_operator(&mut self, operator: &str) -> bool {
        self.skip_past_token(|token, text| {
            token.kind == Kind::Operator && token.text(text) == operator
        })
    }

    fn skip_past_token(&mut self, test: impl Fn(Token, &str) -> bool) -> bool {
        let mut depth = 0usize;
        for (at, &token) in self.tokens.iter().enumerate() {
            match token.kind {
                Kind::LParen => depth += 1,
                Kind::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 && test(token, self.text) => {
                    self.tokens = &self.tokens[at + 1..];
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// Passes over everything up to the next comma outside of parentheses.
    pub(crate) fn skip_to_comma(&mut self) {
        let mut depth = 0usize;
        let end = self.tokens.iter().position(|token| {
            match token.kind {
                Kind::LParen => depth += 1,
                Kind::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.kind == Kind::Comma
        });
        self.tokens = &self.tokens[end.unwrap_or(self.tokens.len())..];
    }

    /// What stands before a later position in the same tokens.
    pub(crate) fn up_to(self, later: Cursor<'_>) -> Cursor<'a> {
        let before = self.tokens.len().saturating_sub(later.tokens.len());
        Cursor {
            text: self.text,
            tokens: &self.tokens[..before],
        }
    }

    /// Takes the words off the end if they are the last; tells whether they were.
    pub(crate) fn strip_end(&mut self, words: &str) -> bool {
        let count = words.split(' ').count();
        let Some(from) = self.tokens.len().checked_sub(count) else {
            return false;
        };
        let found = words
            .split(' ')
            .enumerate()
            .all(|(ahead, word)| self.is_at(from + ahead, word));
        if found {
            self.tokens = &self.tokens[..from];
        }
        found
    }
}
