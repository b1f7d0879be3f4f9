//! A message into its statements, each to the reader that knows it.

use std::collections::HashMap;

use super::Parse;
use super::change::Change;
use super::collector::Collector;
use super::cursor::{Cursor, Unread};
use super::lexer::{Kind, Token};
use super::name::Object;
use super::verb::Verb;
use super::{ddl, query, scan, utility};

/// How deep statements stand in statements (EXPLAIN of DECLARE of ...). The server's grammar allows three.
const NESTED_STATEMENTS_MAX: u8 = 4;

/// A text and how its literals are to be read.
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    /// Every literal of a kind is the same one.
    pub(crate) blank: bool,
    /// `standard_conforming_strings`, which holds for texts in its strings too.
    pub(crate) conforming: bool,
}

pub(crate) struct Read {
    pub(crate) count: u32,
    pub(crate) parse: Parse,
    pub(crate) found: Collector,
}

/// `cut`: the text ends before its last statement does. `depth`: how deep it stands in strings of others.
pub(crate) fn read_all(source: &Source<'_>, tokens: &[Token], cut: bool, depth: u8) -> Read {
    let mut read = Read {
        count: 0,
        parse: Parse::Ok,
        found: Collector::default(),
    };
    let mut cursors = Cursors::default();
    let mut failed = 0;
    let mut rest = tokens;
    loop {
        let end = self::end(source.text, rest);
        let last = end == rest.len();
        let statement = Cursor {
            text: source.text,
            tokens: &rest[..end],
        };
        if !statement.at_end() || (cut && last) {
            read.count += 1;
            let mut found = Collector::default();
            let whole = !(cut && last);
            if !whole || self::read(source, statement, &mut found, depth).is_err() {
                failed += 1;
                found = Collector::default();
                scan::unparsed(source, statement, &mut found, depth);
            }
            found.finish();
            cursors.pass(&mut found);
            read.found.absorb(found);
        }
        if last {
            break;
        }
        rest = &rest[end + 1..];
    }
    if failed > 0 {
        read.parse = if failed == read.count {
            Parse::Failed
        } else {
            Parse::Partial
        };
    }
    read
}

/// The cursors that a text declares, for the FETCHes in it.
#[derive(Default)]
struct Cursors {
    relations: HashMap<Box<str>, Vec<Object>>,
}

impl Cursors {
    fn pass(&mut self, found: &mut Collector) {
        let mut fetched = Vec::new();
        for change in &found.changes {
            match change {
                Change::Declare { name, .. } => {
                    let read = found.relations().cloned().collect();
                    self.relations.insert(name.clone(), read);
                }
                Change::Fetch { name } => {
                    fetched.extend(self.relations.get(name).into_iter().flatten().cloned());
                }
                _ => {}
            }
        }
        for relation in fetched {
            found.on(Verb::Fetch, relation);
        }
    }
}

/// The index of the semicolon that ends the first statement, or the number of tokens. Semicolons in parentheses (rules)
/// and between BEGIN ATOMIC and its END (SQL-standard function bodies) end none.
pub(crate) fn end(text: &str, tokens: &[Token]) -> usize {
    let mut parens = 0usize;
    let mut blocks = 0usize;
    let mut routine = false;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::LParen => parens += 1,
            Kind::RParen => parens = parens.saturating_sub(1),
            Kind::Semicolon if parens == 0 && blocks == 0 => return at,
            Kind::Word => {
                let here = Cursor {
                    text,
                    tokens: &tokens[at..],
                };
                // CREATE OR REPLACE FUNCTION: at most three words on.
                if at == 0 && here.is("create") {
                    let kind = if here.is_at(1, "or") { 3 } else { 1 };
                    routine = here.is_at(kind, "function") || here.is_at(kind, "procedure");
                }
                if routine && (is_atomic(tokens, at, text) || (blocks > 0 && here.is("case"))) {
                    blocks += 1;
                } else if blocks > 0 && here.is("end") {
                    blocks -= 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// BEGIN ATOMIC, at its second word.
fn is_atomic(tokens: &[Token], at: usize, text: &str) -> bool {
    let begin = Cursor {
        text,
        tokens: &tokens[at.saturating_sub(1)..],
    };
    begin.is("begin") && begin.is_at(1, "atomic")
}

/// One statement; `Err` leaves `found` in any state.
pub(crate) fn read(
    source: &Source<'_>,
    statement: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) -> Result<(), Unread> {
    if depth > NESTED_STATEMENTS_MAX {
        return Err(Unread);
    }
    let Some(first) = statement.peek() else {
        return Err(Unread);
    };
    if first.kind == Kind::LParen || starts_query(statement) {
        return query::read(source, statement, found);
    }
    let word = statement.word_at(0).ok_or(Unread)?.to_ascii_lowercase();
    match word.as_str() {
        "create" | "alter" | "drop" => ddl::read(source, statement, found, depth),
        _ => {
            let mut cursor = statement;
            cursor.next();
            utility::read(source, &word, cursor, found, depth)
        }
    }
}

/// Is it a query, perhaps in parentheses, or a write that can return rows?
pub(crate) fn starts_query(statement: Cursor<'_>) -> bool {
    const WORDS: &[&str] = &[
        "select", "values", "table", "with", "insert", "update", "delete", "merge",
    ];
    let first = statement
        .tokens
        .iter()
        .position(|token| token.kind != Kind::LParen);
    first.is_some_and(|at| WORDS.iter().any(|word| statement.is_at(at, word)))
}

/// A query whose SELECT is not written.
pub(crate) fn read_select(
    source: &Source<'_>,
    list: Cursor<'_>,
    found: &mut Collector,
) -> Result<(), Unread> {
    query::read_expressions(source, list, found)
}

/// The effects of a statement that stands in another, without those on nothing.
pub(crate) fn read_inner(
    source: &Source<'_>,
    statement: Cursor<'_>,
    depth: u8,
) -> Result<Collector, Unread> {
    let mut found = Collector::default();
    read(source, statement, &mut found, depth + 1)?;
    found.finish();
    Ok(found)
}

/// Expressions that stand alone (arguments of CALL and EXECUTE, a default): what their calls and subqueries do.
pub(crate) fn read_expressions(
    source: &Source<'_>,
    list: Cursor<'_>,
    found: &mut Collector,
) -> Result<(), Unread> {
    if list.at_end() {
        return Ok(());
    }
    let mut inner = Collector::default();
    query::read_expressions(source, list, &mut inner)?;
    inner.verbs.retain(|verb| *verb != Verb::Select);
    found.absorb(inner);
    Ok(())
}
