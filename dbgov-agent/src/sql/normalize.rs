//! Texts that differ only in literals, made equal: for the fingerprint in the record, and for the key under which facts
//! are cached.
//!
//! Both work on tokens alone, so that they hold for text no parser reads. The fingerprint is the coarser of the two:
//! texts with one key have one fingerprint.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::lexer::{Kind, Token};

/// Bytes of the SHA-256 that make a fingerprint: 64 bits, enough to tell the statements of one database apart.
const FINGERPRINT_BYTES: usize = 8;

/// Statements whose facts rest on their structure alone, whatever their literals are.
const KEYED_STATEMENTS: &[&str] = &[
    "abort",
    "begin",
    "commit",
    "delete",
    "end",
    "insert",
    "merge",
    "release",
    "rollback",
    "savepoint",
    "select",
    "start",
    "table",
    "update",
    "values",
    "with",
];

/// Words after which an expression starts, so that a sign behind them belongs to the number.
const BEFORE_EXPRESSION: &[&str] = &[
    "and",
    "between",
    "by",
    "case",
    "default",
    "distinct",
    "else",
    "from",
    "having",
    "in",
    "is",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "return",
    "returning",
    "select",
    "set",
    "then",
    "to",
    "values",
    "when",
    "where",
];

fn is_word(token: Token, text: &str, word: &str) -> bool {
    // The length tells nearly all words apart, without a look at the text.
    token.kind == Kind::Word
        && (token.end - token.start) as usize == word.len()
        && token.text(text).eq_ignore_ascii_case(word)
}

fn is_one_of(token: Token, text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| is_word(token, text, word))
}

fn is_literal(token: Token) -> bool {
    token.kind == Kind::Number || token.kind.is_string()
}

fn is_sign(token: Token, text: &str) -> bool {
    token.kind == Kind::Operator && matches!(token.text(text), "-" | "+")
}

/// Where the list ends that opens at `open`, if there is nothing in it but literals and those `also` lets count as such.
fn literal_list_end(tokens: &[Token], text: &str, open: usize, also: &[&str]) -> Option<usize> {
    let close = match tokens.get(open)?.kind {
        Kind::LParen => Kind::RParen,
        Kind::LBracket => Kind::RBracket,
        _ => return None,
    };
    let mut at = open + 1;
    loop {
        if is_sign(*tokens.get(at)?, text) && tokens.get(at + 1)?.kind == Kind::Number {
            at += 1;
        }
        let item = *tokens.get(at)?;
        if !is_literal(item) && !is_one_of(item, text, also) {
            return None;
        }
        match tokens.get(at + 1)?.kind {
            Kind::Comma => at += 2,
            kind if kind == close => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The end of the last of the literal lists, separated by commas, that follow the one closed at `close`.
fn last_literal_list(tokens: &[Token], text: &str, mut close: usize, also: &[&str]) -> usize {
    while tokens
        .get(close + 1)
        .is_some_and(|token| token.kind == Kind::Comma)
    {
        match literal_list_end(tokens, text, close + 2, also) {
            Some(end) => close = end,
            None => break,
        }
    }
    close
}

/// Makes lists of literals behind IN and VALUES lists of one, and VALUES rows of literals one row. Nothing in the facts
/// depends on how many there are, and a bulk insert becomes short enough to parse.
pub(crate) fn collapse_lists(tokens: &mut Vec<Token>, text: &str) {
    let (mut read, mut write) = (0, 0);
    while read < tokens.len() {
        let token = tokens[read];
        tokens[write] = token;
        (read, write) = (read + 1, write + 1);
        let rows = is_word(token, text, "values");
        if !rows && !is_word(token, text, "in") {
            continue;
        }
        if let Some(close) = literal_list_end(tokens, text, read, &[]) {
            let end = if rows {
                last_literal_list(tokens, text, close, &[])
            } else {
                close
            };
            tokens[write] = tokens[read];
            tokens[write + 1] = tokens[close - 1];
            tokens[write + 2] = tokens[close];
            (read, write) = (end + 1, write + 3);
        }
    }
    tokens.truncate(write);
}

/// Writes into `key` what the facts of the text depend on; `false` if they may depend on its literals.
pub(crate) fn write_key(tokens: &[Token], text: &str, key: &mut Vec<u8>) -> bool {
    key.clear();
    let mut starts = true;
    let mut number_end = None;
    for &token in tokens {
        let written = token.text(text).as_bytes();
        if starts && token.kind != Kind::Semicolon && token.kind != Kind::LParen {
            if !is_one_of(token, text, KEYED_STATEMENTS) {
                return false;
            }
            starts = false;
        }
        // "1a": what follows a number without a gap is junk to some servers and an alias to others.
        if number_end == Some(token.start)
            && matches!(token.kind, Kind::Word | Kind::Number | Kind::Param)
        {
            return false;
        }
        number_end = None;
        match token.kind {
            Kind::UnicodeIdent | Kind::UnicodeString | Kind::Other => return false,
            Kind::Word => {
                let word_at = key.len();
                key.extend_from_slice(written);
                key[word_at..].make_ascii_lowercase();
            }
            Kind::Number => {
                key.push(b'0');
                number_end = Some(token.end);
            }
            kind if kind.is_string() => key.push(b'\''),
            kind => {
                starts |= kind == Kind::Semicolon;
                key.extend_from_slice(written);
            }
        }
        key.push(b' ');
    }
    true
}

/// The id under which statements of the same form are found: 16 hex digits.
pub(crate) fn fingerprint(tokens: &[Token], text: &str) -> Arc<str> {
    let digest = Sha256::digest(normal_form(tokens, text));
    hex::encode(&digest[..FINGERPRINT_BYTES]).into()
}

/// Lower-case tokens with one space between them, `?` for literals.
fn normal_form(tokens: &[Token], text: &str) -> String {
    const ALSO_LITERAL: &[&str] = &["null", "true", "false", "default"];
    let mut form = String::with_capacity(text.len().min(tokens.len() * 8));
    let mut last: Option<Token> = None;
    let mut separator = false;
    let mut at = 0;
    while let Some(&token) = tokens.get(at) {
        let follows_literal = last.is_some_and(|last| last.kind.is_string());
        let starts_expression = last.is_none_or(|last| match last.kind {
            Kind::Operator | Kind::LParen | Kind::LBracket | Kind::Comma | Kind::Semicolon => true,
            _ => is_one_of(last, text, BEFORE_EXPRESSION),
        });
        last = Some(token);
        at += 1;
        if token.kind == Kind::Semicolon {
            separator = !form.is_empty();
            continue;
        }
        let sign =
            is_sign(token, text) && tokens.get(at).is_some_and(|next| next.kind == Kind::Number);
        if (sign && starts_expression) || (follows_literal && token.kind.is_string()) {
            continue;
        }
        if !form.is_empty() {
            form.push_str(if separator { " ; " } else { " " });
        }
        separator = false;
        if let Some(close) = literal_list_end(tokens, text, at - 1, ALSO_LITERAL) {
            form.push_str(if token.kind == Kind::LParen {
                "( ? )"
            } else {
                "[ ? ]"
            });
            let end = last_literal_list(tokens, text, close, ALSO_LITERAL);
            last = tokens.get(end).copied();
            at = end + 1;
        } else if is_literal(token) {
            form.push('?');
        } else if token.kind == Kind::Word {
            form.extend(token.text(text).chars().map(|c| c.to_ascii_lowercase()));
        } else {
            form.push_str(token.text(text));
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::Lexer;

    fn form(text: &str) -> String {
        let mut tokens: Vec<_> = Lexer::new(text).collect();
        let whole = normal_form(&tokens, text);
        collapse_lists(&mut tokens, text);
        assert_eq!(whole, normal_form(&tokens, text), "{text}");
        whole
    }

    #[test]
    fn literals_comments_and_case_do_not_count() {
        for (text, expected) in [
            ("SELECT * FROM T WHERE a = 1", "select * from t where a = ?"),
            (
                "select/**/*from t where a='x' -- c",
                "select * from t where a = ?",
            ),
            (
                "SELECT E'a\\'b', U&'c', $$d$$, X'0f', N'n', 1e5",
                "select ? , ? , ? , ? , ? , ?",
            ),
            ("SELECT 'a'\n'b'", "select ?"),
            (
                "SELECT $1 + -5, a -5, a - -5",
                "select $1 + ? , a - ? , a - ?",
            ),
            ("SELECT -1 LIMIT +2", "select ? limit ?"),
            ("SELECT \"A\" FROM B", "select \"A\" from b"),
            ("x IN (1, 2, -3)", "x in ( ? )"),
            ("x IN ($1, 2)", "x in ( $1 , ? )"),
            ("VALUES (1,'a'),(2,NULL), (3,true)", "values ( ? )"),
            (
                "VALUES (1, now()), (2, now())",
                "values ( ? , now ( ) ) , ( ? , now ( ) )",
            ),
            ("ARRAY[1,2]", "array [ ? ]"),
            ("SELECT 1;;SELECT 2;", "select ? ; select ?"),
            (";;", ""),
            ("SELECT ((1)), f()", "select ( ( ? ) ) , f ( )"),
            ("foo bar 'unterminated", "foo bar ?"),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
    }

    fn key(text: &str) -> Option<String> {
        let mut tokens: Vec<_> = Lexer::new(text).collect();
        collapse_lists(&mut tokens, text);
        let mut key = Vec::new();
        write_key(&tokens, text, &mut key).then(|| String::from_utf8(key).unwrap())
    }

    #[test]
    fn keys_keep_what_facts_depend_on() {
        assert_eq!(
            key("SELECT a+-12, 'x'").as_deref(),
            Some("select a + - 0 , ' ")
        );
        assert_eq!(key("x"), None);
        assert_eq!(key("SELECT 1; SET a = 1"), None);
        assert_eq!(key("SELECT 1a"), None);
        assert_eq!(key("SELECT U&\"a\""), None);
        assert_eq!(
            key("INSERT INTO t VALUES (1,'a'),(2,'b')"),
            key("insert into T values ('c')")
        );
        assert_ne!(key("SELECT f(1, 2)"), key("SELECT f(1)"));
        assert_ne!(key("SELECT \"a b\""), key("SELECT a b"));
    }
}
