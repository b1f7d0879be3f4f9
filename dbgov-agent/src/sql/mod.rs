//! Statement text to facts: what a statement does, on what. Pure.
//!
//! ```text
//! lexer       text -> tokens, as PostgreSQL cuts them
//! normalize   tokens -> fingerprint; tokens -> cache key
//! cursor      a reading position in the tokens of a statement
//! statement   tokens -> statements; each to the reader that knows it
//!   utility     COPY, EXPLAIN, GRANT, ...: read from their tokens
//!   session     SET, PREPARE, FETCH, ...: likewise
//!   ddl         CREATE, ALTER, DROP: likewise; `create` for what only CREATE has
//!   query       SELECT, INSERT, UPDATE, DELETE, MERGE: sqlparser, with `grammar` for what it does not know; `walk`,
//!               `condition` and `same` read its tree
//!   body        code: PL/pgSQL cut into its statements, SQL in strings
//!   scan        whatever is left: what the tokens could mean
//! collector   where they put what they find
//! cache       facts of texts seen before
//! secret      where the passwords of a text are
//! ```
#![forbid(unsafe_code)]

mod body;
mod builtin;
mod cache;
mod change;
mod collector;
mod comment;
mod condition;
mod create;
mod cursor;
mod ddl;
mod grammar;
mod lexer;
mod literal;
mod name;
mod normalize;
mod query;
mod same;
mod scan;
pub mod secret;
mod session;
mod statement;
#[cfg(test)]
mod tests;
mod utility;
mod verb;
mod walk;

use std::collections::HashSet;
use std::sync::Arc;

pub use builtin::{FILES, RUN_TEXT};
pub use cache::FactsCache;
pub use change::{Change, NewValue, Tracked};
pub use collector::Effect;
pub use comment::{Claims, claims};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Settings of the session on which the meaning of a text rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// As the server last reported it. Where it is not known (`None`) and the two readings of a text differ, its facts
    /// are those of both, and what only one of them says is uncertain.
    pub standard_conforming_strings: Option<bool>,
}

/// The server's defaults.
impl Default for Options {
    fn default() -> Self {
        Options {
            standard_conforming_strings: Some(true),
        }
    }
}

/// The facts of a text under the default [`Options`]. `truncated`: it is the head of a longer one.
pub fn facts(text: &str, dialect: Dialect, truncated: bool) -> Facts {
    facts_with(text, dialect, Options::default(), truncated)
}

pub fn facts_with(text: &str, dialect: Dialect, options: Options, truncated: bool) -> Facts {
    let read = |conforming| {
        let mut lexed = Lexed::default();
        lexed.lex(text, truncated, conforming);
        (lexed.facts(text, dialect), lexed.ambiguous)
    };
    let (facts, ambiguous) = read(options.standard_conforming_strings.unwrap_or(true));
    if options.standard_conforming_strings.is_none() && ambiguous {
        return facts.or(read(false).0);
    }
    facts
}

impl Facts {
    /// Of what cannot be read at all and may do anything.
    pub fn anything() -> Self {
        Facts {
            count: 1,
            parse: Parse::Failed,
            verbs: [Verb::Unknown.name()].into(),
            tables: [].into(),
            effects: vec![Effect {
                verb: Verb::Unknown,
                object: None,
                uncertain: true,
                dynamic: true,
                missing_where: false,
                server_side: false,
            }],
            changes: Vec::new(),
            missing_where: false,
            server_side: false,
            fingerprint: "".into(),
            literal_dependent: false,
        }
    }

    /// What a text may do that is read in one of two ways.
    fn or(mut self, other: Facts) -> Facts {
        let ours: HashSet<Effect> = self.effects.iter().cloned().collect();
        let theirs: HashSet<Effect> = other.effects.iter().cloned().collect();
        for effect in &mut self.effects {
            effect.uncertain |= !theirs.contains(effect);
        }
        let only_theirs = other
            .effects
            .into_iter()
            .filter(|effect| !ours.contains(effect));
        self.effects.extend(only_theirs.map(|effect| Effect {
            uncertain: true,
            ..effect
        }));
        for change in other.changes {
            if !self.changes.contains(&change) {
                self.changes.push(change);
            }
        }
        self.count = self.count.max(other.count);
        self.parse = self.parse.max(other.parse);
        self.verbs = union(&self.verbs, &other.verbs);
        self.tables = union(&self.tables, &other.tables);
        self.missing_where |= other.missing_where;
        self.server_side |= other.server_side;
        self.literal_dependent = true;
        self
    }
}

fn union<T: Clone + PartialEq>(one: &[T], other: &[T]) -> Arc<[T]> {
    let more = other.iter().filter(|item| !one.contains(item));
    one.iter().chain(more).cloned().collect()
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
    /// How plain strings were read, and whether that matters.
    conforming: bool,
    ambiguous: bool,
}

/// Room kept from one text to the next, tokens: enough for everyday texts; a huge one does not hold memory for ever.
const TOKENS_KEPT: usize = 16 * 1024;

impl Lexed {
    fn lex(&mut self, text: &str, truncated: bool, conforming: bool) {
        if self.tokens.capacity() > TOKENS_KEPT {
            *self = Lexed::default();
        }
        let mut lexer = Lexer::with(text, conforming);
        self.tokens.clear();
        self.tokens.extend(lexer.by_ref());
        self.conforming = conforming;
        self.ambiguous = lexer.ambiguous;
        self.cut = truncated || lexer.unterminated;
        normalize::collapse_lists(&mut self.tokens, text);
        self.keyed = !self.cut && normalize::write_key(&self.tokens, text, &mut self.key);
    }

    fn facts(&self, text: &str, Dialect::Postgres: Dialect) -> Facts {
        let blank = self.facts_of(&self.tokens, text, self.keyed);
        if !blank.literal_dependent || !self.keyed {
            return blank;
        }
        let tokens: Vec<Token> = Lexer::with(text, self.conforming).collect();
        Facts {
            literal_dependent: true,
            ..self.facts_of(&tokens, text, false)
        }
    }

    /// `blank`: put the same literal in place of all of them, so that the facts can be those of the key.
    fn facts_of(&self, tokens: &[Token], text: &str, blank: bool) -> Facts {
        let source = statement::Source {
            text,
            blank,
            conforming: self.conforming,
        };
        let read = statement::read_all(&source, tokens, self.cut, 0);
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
