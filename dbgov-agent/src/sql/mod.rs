//! Statement text to facts: what a statement does, on what. Pure.
//!
//! ```text
//! lexer       text -> tokens, as PostgreSQL cuts them
//! normalize   tokens -> fingerprint; tokens -> cache key
//! cursor      a reading position in the tokens of a statement
//! statement   tokens -> statements; each to the reader that knows it
//!   utility     SET, COPY, EXPLAIN, GRANT, ...: read from their tokens
//!   ddl         CREATE, ALTER, DROP: likewise
//!   query       SELECT, INSERT, UPDATE, DELETE, MERGE: sqlparser; `walk` and `condition` read its tree
//!   scan        whatever is left, and the bodies of functions: what the tokens could mean
//! collector   where they put what they find
//! cache       facts of texts seen before
//! ```
#![forbid(unsafe_code)]

mod builtin;
mod cache;
mod change;
mod collector;
mod condition;
mod cursor;
mod ddl;
mod lexer;
mod name;
mod normalize;
mod query;
mod scan;
mod statement;
#[cfg(test)]
mod tests;
mod utility;
mod verb;
mod walk;

use std::sync::Arc;

pub use builtin::RUN_TEXT;
pub use cache::FactsCache;
pub use change::{Change, NewValue, Tracked};
pub use collector::Effect;
pub use name::{Object, ObjectKind};
pub use verb::{UnknownVerb, Verb};

use lexer::{Lexer, Token};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    #[default]
    Postgres,
}

/// How much of a text was read by a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parse {
    /// Every statement.
    Ok,
    /// Some; of the others only the tokens are known.
    Partial,
    /// None.
    Failed,
}

impl Parse {
    /// The name in the audit record (`statement.parse`).
    pub fn name(self) -> &'static str {
        match self {
            Parse::Ok => "ok",
            Parse::Partial => "partial",
            Parse::Failed => "failed",
        }
    }
}

/// What a message does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Statements that are not empty.
    pub count: u32,
    pub parse: Parse,
    /// In order of first appearance.
    pub verbs: Arc<[&'static str]>,
    /// In order of first appearance, with their schema where the text gives it.
    pub tables: Arc<[Box<str>]>,
    pub effects: Vec<Effect>,
    /// What it changes for later messages of its session.
    pub changes: Vec<Change>,
    /// One of the effects is for all rows by its text alone.
    pub missing_where: bool,
    /// One of the effects is on a file or a program of the server.
    pub server_side: bool,
    /// 16 hex digits, equal for texts that differ in literals, white space, comments and case only.
    pub fingerprint: Arc<str>,
    /// Another text with other literals, but the same in all else, may have other facts.
    literal_dependent: bool,
}

/// The facts of a text. `truncated`: it is the head of a longer one.
pub fn facts(text: &str, dialect: Dialect, truncated: bool) -> Facts {
    let mut lexed = Lexed::default();
    lexed.lex(text, truncated);
    lexed.facts(text, dialect)
}

/// A text cut into tokens. Kept from one text to the next for the room it has.
#[derive(Debug, Default)]
struct Lexed {
    /// With lists of literals made short.
    tokens: Vec<Token>,
    /// What the facts depend on, where that is not the literals.
    key: Vec<u8>,
    keyed: bool,
    /// The last statement is not whole.
    cut: bool,
}

/// Room kept from one text to the next, tokens: enough for everyday texts; a huge one does not hold memory for ever.
const TOKENS_KEPT: usize = 16 * 1024;

impl Lexed {
    fn lex(&mut self, text: &str, truncated: bool) {
        if self.tokens.capacity() > TOKENS_KEPT {
            *self = Lexed::default();
        }
        let mut lexer = Lexer::new(text);
        self.tokens.clear();
        self.tokens.extend(lexer.by_ref());
        self.cut = truncated || lexer.unterminated;
        normalize::collapse_lists(&mut self.tokens, text);
        self.keyed = !self.cut && normalize::write_key(&self.tokens, text, &mut self.key);
    }

    fn facts(&self, text: &str, Dialect::Postgres: Dialect) -> Facts {
        let blank = self.facts_of(&self.tokens, text, self.keyed);
        if !blank.literal_dependent || !self.keyed {
            return blank;
        }
        let tokens: Vec<Token> = Lexer::new(text).collect();
        Facts {
            literal_dependent: true,
            ..self.facts_of(&tokens, text, false)
        }
    }

    /// `blank`: put the same literal in place of all of them, so that the facts can be those of the key.
    fn facts_of(&self, tokens: &[Token], text: &str, blank: bool) -> Facts {
        let read = statement::read_all(&statement::Source { text, blank }, tokens, self.cut);
        let found = read.found;
        Facts {
            count: read.count,
            parse: read.parse,
            verbs: found.verbs.iter().map(|verb| verb.name()).collect(),
            tables: found.tables().into(),
            missing_where: found.any(|effect| effect.missing_where),
            server_side: found.any(|effect| effect.server_side),
            changes: found.changes,
            literal_dependent: found.literal_dependent || !self.keyed,
            effects: found.effects,
            fingerprint: normalize::fingerprint(&self.tokens, text),
        }
    }
}
