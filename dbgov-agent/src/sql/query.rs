//! SELECT, INSERT, UPDATE, DELETE, MERGE: our tokens through sqlparser's grammar.
//!
//! sqlparser gets tokens, not text, so that the text is cut once, as the server cuts it, and names are folded already.

use sqlparser::ast::{Statement, Visit};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token as Sql, Tokenizer};

use super::collector::Collector;
use super::cursor::{Cursor, Unread};
use super::grammar;
use super::lexer::{Kind, Token};
use super::literal;
use super::name;
use super::statement::Source;
use super::verb::Verb;
use super::walk::Walker;

/// Tokens of one statement given to sqlparser; it takes about a microsecond and 300 bytes for each.
const TOKENS_MAX: usize = 100_000;

/// Text of one statement given to sqlparser, bytes (literals are copied).
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// How deep the tree of a statement can become, levels. sqlparser makes a level of every operator of a chain, and
/// dropping, comparing and reading a tree takes stack for each.
const DEPTH_MAX: usize = 600;

/// sqlparser's own bound on parentheses, subqueries and the like, levels.
const NESTING_MAX: usize = 64;

/// Stack that sqlparser must have left at each step of its recursion before it takes a new segment, bytes. The default
/// of the crate it uses for that (128 KiB) is less than some of its functions need in a debug build.
const STACK_LEFT_BYTES_MIN: usize = 512 * 1024;

/// Words that make the tree deeper without parentheses.
const DEEPENING_WORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "at",
    "between",
    "case",
    "collate",
    "distinct",
    "else",
    "escape",
    "except",
    "exists",
    "ilike",
    "in",
    "intersect",
    "interval",
    "is",
    "isnull",
    "join",
    "like",
    "not",
    "notnull",
    "operator",
    "or",
    "overlaps",
    "prior",
    "similar",
    "some",
    "then",
    "union",
    "when",
];

pub(crate) fn read(
    source: &Source<'_>,
    statement: Cursor<'_>,
    found: &mut Collector,
) -> Result<(), Unread> {
    let tree = parse(source, statement, &[])?;
    let mut walker = Walker::new(found);
    let _ = tree.visit(&mut walker);
    if found.verbs.is_empty() {
        // `(VALUES (1))`: a query of no SELECT.
        found.verb(Verb::Select);
    }
    Ok(())
}

/// A list of expressions: read as `SELECT list`.
pub(crate) fn read_expressions(
    source: &Source<'_>,
    list: Cursor<'_>,
    found: &mut Collector,
) -> Result<(), Unread> {
    let tree = parse(source, list, &[Sql::make_word("select", None)])?;
    let mut walker = Walker::new(found);
    let _ = tree.visit(&mut walker);
    Ok(())
}

fn parse(source: &Source<'_>, statement: Cursor<'_>, before: &[Sql]) -> Result<Statement, Unread> {
    let tokens = statement.tokens;
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err(Unread);
    };
    let literal_bytes = if source.blank {
        0
    } else {
        (last.end - first.start) as usize
    };
    if tokens.len() > TOKENS_MAX || literal_bytes > TEXT_BYTES_MAX || depth(statement) > DEPTH_MAX {
        return Err(Unread);
    }
    let mut converted = before.to_vec();
    convert(source, statement, &mut converted)?;
    recursive::set_minimum_stack_size(STACK_LEFT_BYTES_MIN);
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(NESTING_MAX)
        .with_tokens(converted);
    let tree = parser.parse_statement().map_err(|_| Unread)?;
    if parser.peek_token_ref().token != Sql::EOF {
        return Err(Unread);
    }
    Ok(tree)
}

/// An upper bound on the depth of the statement's tree: on every path of open parentheses, what can deepen it since the
/// last comma.
fn depth(statement: Cursor<'_>) -> usize {
    /// A list: the chain being read, the deepest in parentheses in it, the deepest element before.
    #[derive(Default, Clone, Copy)]
    struct List {
        chain: usize,
        inside: usize,
        deepest: usize,
    }
    impl List {
        fn depth(self) -> usize {
            self.deepest.max(self.chain + self.inside)
        }
    }
    let mut open = Vec::new();
    let mut list = List::default();
    for token in statement.tokens {
        match token.kind {
            Kind::LParen => open.push(std::mem::take(&mut list)),
            Kind::RParen => {
                let inside = list.depth() + 1;
                list = open.pop().unwrap_or_default();
                list.inside = list.inside.max(inside);
            }
            Kind::Comma => {
                list = List {
                    deepest: list.depth(),
                    ..List::default()
                }
            }
            Kind::Operator | Kind::LBracket => list.chain += 1,
            Kind::Word => {
                let word = token.text(statement.text);
                let deepens = DEEPENING_WORDS
                    .iter()
                    .any(|other| other.eq_ignore_ascii_case(word));
                list.chain += usize::from(deepens);
            }
            _ => {}
        }
    }
    while let Some(outer) = open.pop() {
        let inside = list.depth() + 1;
        list = outer;
        list.inside = list.inside.max(inside);
    }
    list.depth()
}

fn convert(
    source: &Source<'_>,
    statement: Cursor<'_>,
    converted: &mut Vec<Sql>,
) -> Result<(), Unread> {
    let mut rest = statement;
    converted.reserve(rest.tokens.len());
    while let Some(token) = rest.next() {
        let text = token.text(source.text);
        let sql = match token.kind {
            Kind::Word => {
                if let Some(sql) = catalog_operator(token, &mut rest)? {
                    converted.push(sql);
                    continue;
                }
                let folded = name::fold(token, source.text, name::UESCAPE_DEFAULT);
                if grammar::other_words(&folded, &mut rest, converted) {
                    continue;
                }
                Sql::make_word(&folded, None)
            }
            Kind::QuotedIdent | Kind::UnicodeIdent => {
                let uescape = rest.eat_uescape(token.kind == Kind::UnicodeIdent);
                Sql::make_word(&name::fold(token, source.text, uescape), Some('"'))
            }
            kind if kind.is_string() => string(source, token, &mut rest),
            Kind::Number if source.blank => Sql::Number("1".to_owned(), false),
            Kind::Number => Sql::Number(text.to_owned(), false),
            Kind::Param => Sql::Placeholder(text.to_owned()),
            Kind::Operator => operator(text)?,
            Kind::Comma => {
                grammar::after_comma(&mut rest, converted);
                continue;
            }
            Kind::Semicolon => Sql::SemiColon,
            Kind::Dot if converted.last() == Some(&Sql::RParen) && rest.eat_star() => {
                // (f(x)).*: sqlparser does not know it, and it changes no fact.
                continue;
            }
            Kind::Dot => Sql::Period,
            Kind::LParen => Sql::LParen,
            Kind::RParen => Sql::RParen,
            Kind::LBracket => Sql::LBracket,
            Kind::RBracket => Sql::RBracket,
            _ => return Err(Unread),
        };
        converted.push(sql);
    }
    Ok(())
}

/// `OPERATOR(pg_catalog.=)`, which is `=` but for its precedence; sqlparser does not take it in front of ANY.
fn catalog_operator(token: Token, rest: &mut Cursor<'_>) -> Result<Option<Sql>, Unread> {
    let mut after = *rest;
    if !is_word(token, rest.text, "operator") {
        return Ok(None);
    }
    let Some(mut inside) = after.parens() else {
        return Ok(None);
    };
    let named = inside.eat("pg_catalog") && inside.eat_kind(Kind::Dot);
    match inside.tokens {
        [only] if named && only.kind == Kind::Operator => {
            *rest = after;
            operator(only.text(rest.text)).map(Some)
        }
        _ => Ok(None),
    }
}

fn is_word(token: Token, text: &str, word: &str) -> bool {
    token.text(text).eq_ignore_ascii_case(word)
}

/// Every form of string is the same to the grammar.
fn string(source: &Source<'_>, token: Token, rest: &mut Cursor<'_>) -> Sql {
    let uescape = rest.eat_uescape(token.kind == Kind::UnicodeString);
    Sql::SingleQuotedString(if source.blank {
        String::new()
    } else {
        literal::value(token, source.text, uescape)
    })
}

/// Operators are few and short: sqlparser's own tokenizer names them.
fn operator(text: &str) -> Result<Sql, Unread> {
    Ok(match text {
        "=" => Sql::Eq,
        "*" => Sql::Mul,
        "+" => Sql::Plus,
        "-" => Sql::Minus,
        "/" => Sql::Div,
        "<" => Sql::Lt,
        ">" => Sql::Gt,
        "::" => Sql::DoubleColon,
        _ => {
            let mut named = Tokenizer::new(&PostgreSqlDialect {}, text)
                .tokenize()
                .map_err(|_| Unread)?;
            match (named.pop(), named.is_empty()) {
                (Some(token), true) => token,
                _ => Sql::CustomBinaryOperator(text.to_owned()),
            }
        }
    })
}
