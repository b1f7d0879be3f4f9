//! Finds the statements in a text that make or drop prepared statements in SQL (PREPARE, DEALLOCATE, DISCARD ALL), by
//! PostgreSQL's lexical rules (documentation, 4.1 "Lexical Structure"). Linear in the text, no recursion.
//!
//! Strings are read as with `standard_conforming_strings = on`, the default since 9.1.

mod lexer;

use crate::chars::head;
use lexer::{Lexer, Token};

/// PostgreSQL keeps `NAMEDATALEN` - 1 bytes of an identifier.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Tokens kept of a statement: `DEALLOCATE PREPARE U&"name" UESCAPE '!'` has five, and one more shows that it goes on.
const HEAD_TOKENS_MAX: usize = 6;

/// What a statement does to the prepared statements of its session. Names are folded as the server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    Prepare(String),
    Deallocate(String),
    DeallocateAll,
    DiscardAll,
}

/// Each such statement of the text with its index among the non-empty statements.
pub fn prepared_statements(text: &str) -> Vec<(usize, Prepared)> {
    let mut found = Vec::new();
    if !mentions_keyword(text.as_bytes()) {
        return found;
    }
    let mut lexer = Lexer::new(text);
    let mut statement = StatementHead::default();
    let mut index = 0;
    loop {
        let token = lexer.next_token();
        let is_end = token.is_none_or(|token| statement.ends_at(token));
        if !is_end {
            continue;
        }
        if !statement.tokens.is_empty() {
            if let Some(prepared) = statement.classify() {
                found.push((index, prepared));
            }
            index += 1;
        }
        if token.is_none() {
            return found;
        }
        statement = StatementHead::default();
    }
}

/// An identifier as the server compares it: unquoted in lower case (ASCII), quoted without its quotes; both cut.
pub fn fold_identifier(raw: &str) -> String {
    let folded = match raw.strip_prefix('"') {
        Some(quoted) => unquote(quoted),
        None => raw.to_ascii_lowercase(),
    };
    head(&folded, IDENTIFIER_BYTES_MAX).to_owned()
}

/// Cheap and exact enough: most texts end here.
fn mentions_keyword(text: &[u8]) -> bool {
    let begins = |rest: &[u8], word: &[u8]| {
        rest.get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    text.iter().enumerate().any(|(at, byte)| {
        let rest = text.get(at..).unwrap_or_default();
        match byte | 0x20 {
            b'p' => begins(rest, b"prepare"),
            b'd' => begins(rest, b"deallocate") || begins(rest, b"discard"),
            _ => false,
        }
    })
}

/// What stood between the quotes: the closing one dropped, doubled ones single.
fn unquote(quoted: &str) -> String {
    let inner = quoted.strip_suffix('"').unwrap_or(quoted);
    inner.replace("\"\"", "\"")
}

/// The first tokens of a statement, and how deep in it the lexer is.
#[derive(Debug, Default)]
struct StatementHead<'a> {
    tokens: Vec<Token<'a>>,
    /// CREATE RULE has statements in parentheses.
    parentheses: usize,
    /// BEGIN ATOMIC and the CASEs in it, each with its END: the body of an SQL function has statements of its own.
    body_depth: usize,
    after_begin: bool,
}

impl<'a> StatementHead<'a> {
    /// Takes the next token; true if it ended the statement.
    fn ends_at(&mut self, token: Token<'a>) -> bool {
        match token {
            Token::Semicolon if self.parentheses == 0 && self.body_depth == 0 => return true,
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            _ => self.follow_body(token),
        }
        self.after_begin = token.is_word("begin");
        if self.tokens.len() < HEAD_TOKENS_MAX {
            self.tokens.push(token);
        }
        false
    }

    fn follow_body(&mut self, token: Token<'_>) {
        if self.body_depth > 0 {
            if token.is_word("case") {
                self.body_depth += 1;
            } else if token.is_word("end") {
                self.body_depth -= 1;
            }
        } else if self.after_begin && token.is_word("atomic") && self.parentheses == 0 {
            self.body_depth = usize::from(self.creates_routine());
        }
    }

    /// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`: elsewhere `begin atomic` is a column and its alias.
    fn creates_routine(&self) -> bool {
        let kind = match self.tokens.as_slice() {
            [create, or, replace, kind, ..]
                if create.is_word("create") && or.is_word("or") && replace.is_word("replace") =>
            {
                kind
            }
            [create, kind, ..] if create.is_word("create") => kind,
            _ => return false,
        };
        kind.is_word("function") || kind.is_word("procedure")
    }

    fn classify(&self) -> Option<Prepared> {
        let (first, rest) = self.tokens.split_first()?;
        if first.is_word("prepare") {
            let (name, rest) = name(rest)?;
            // `PREPARE TRANSACTION 'x'` is something else, `PREPARE transaction AS ..` is not.
            let next = rest.first()?;
            (*next == Token::Open || next.is_word("as")).then_some(Prepared::Prepare(name))
        } else if first.is_word("deallocate") {
            let rest = match rest {
                [prepare, tail @ ..] if prepare.is_word("prepare") && !tail.is_empty() => tail,
                other => other,
            };
            match rest {
                [all] if all.is_word("all") => Some(Prepared::DeallocateAll),
                _ => match name(rest)? {
                    (name, []) => Some(Prepared::Deallocate(name)),
                    _ => None,
                },
            }
        } else {
            let is_all = matches!(rest, [all] if all.is_word("all"));
            (first.is_word("discard") && is_all).then_some(Prepared::DiscardAll)
        }
    }
}

/// The name at the head of the tokens, and what follows it.
fn name<'s, 'a>(tokens: &'s [Token<'a>]) -> Option<(String, &'s [Token<'a>])> {
    let (first, rest) = tokens.split_first()?;
    match first {
        Token::Word(raw) | Token::Quoted(raw) => Some((fold_identifier(raw), rest)),
        Token::UnicodeQuoted(raw) => {
            let (escape, rest) = match rest {
                [uescape, Token::String(escape), tail @ ..] if uescape.is_word("uescape") => {
                    (escape.chars().nth(1)?, tail)
                }
                other => ('\\', other),
            };
            let inner = unquote(raw.strip_prefix('"')?);
            let name = decode_unicode_escapes(&inner, escape)?;
            let name = head(&name, IDENTIFIER_BYTES_MAX).to_owned();
            Some((name, rest))
        }
        _ => None,
    }
}

/// `\0061` and `\+000061` (4.1.2.3); a doubled escape is itself. `None` where the server would refuse it.
fn decode_unicode_escapes(text: &str, escape: char) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut high_surrogate = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        if c != escape || rest.starts_with(escape) {
            rest = rest
                .strip_prefix(escape)
                .filter(|_| c == escape)
                .unwrap_or(rest);
            decoded.push(c);
            continue;
        }
        let (digits, tail) = match rest.strip_prefix('+') {
            Some(long) => (long.get(..6)?, long.get(6..)?),
            None => (rest.get(..4)?, rest.get(4..)?),
        };
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        rest = tail;
        let code = u32::from_str_radix(digits, 16).ok()?;
        match (high_surrogate.take(), code) {
            (None, 0xD800..=0xDBFF) => high_surrogate = Some(code),
            (Some(high), 0xDC00..=0xDFFF) => decoded.push(char::from_u32(
                0x1_0000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            )?),
            (None, code) => decoded.push(char::from_u32(code)?),
            (Some(_), _) => return None,
        }
    }
    high_surrogate.is_none().then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `+name` made, `-name` dropped, `-*` all dropped, `!` everything discarded.
    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str)]) {
        let found: Vec<(usize, String)> = prepared_statements(text)
            .into_iter()
            .map(|(index, prepared)| match prepared {
                Prepared::Prepare(name) => (index, format!("+{name}")),
                Prepared::Deallocate(name) => (index, format!("-{name}")),
                Prepared::DeallocateAll => (index, "-*".to_owned()),
                Prepared::DiscardAll => (index, "!".to_owned()),
            })
            .collect();
        let expected: Vec<(usize, String)> = expected
            .iter()
            .map(|(index, what)| (*index, (*what).to_owned()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_statements_and_their_index() {
        check("PREPARE q AS SELECT 1", &[(0, "+q")]);
        check("prepare Q (int, text) as select $1", &[(0, "+q")]);
        check(
            "PREPARE q(int) AS SELECT 1; DEALLOCATE q",
            &[(0, "+q"), (1, "-q")],
        );
        check(";; SELECT 1;; DISCARD ALL ;", &[(1, "!")]);
        check("DEALLOCATE PREPARE q", &[(0, "-q")]);
        check(
            "DEALLOCATE ALL;DEALLOCATE PREPARE ALL",
            &[(0, "-*"), (1, "-*")],
        );
        check("DEALLOCATE \"ALL\"", &[(0, "-ALL")]);
        check("DEALLOCATE prepare", &[(0, "-prepare")]);
        check("PREPARE transaction AS SELECT 1", &[(0, "+transaction")]);
        check("PREPARE q/**/AS SELECT 1 -- c", &[(0, "+q")]);
        check(
            "/* a /* b */ ; */ -- ;\n \t PREPARE q AS SELECT 1",
            &[(0, "+q")],
        );
    }

    #[test]
    fn what_only_looks_like_one() {
        for text in [
            "",
            "SELECT 1",
            "PREPARE TRANSACTION 'x'",
            "PREPARE q",
            "PREPARE 'q' AS SELECT 1",
            "DEALLOCATE",
            "DEALLOCATE q r",
            "DISCARD PLANS",
            "DISCARD ALL x",
            "SELECT 'x; PREPARE q AS SELECT 1'",
            "SELECT $$; DISCARD ALL $$",
            "SELECT $a$ $$; $b$; DISCARD ALL $a$",
            "SELECT \"; DISCARD ALL;\"",
            "SELECT E'\\'; DISCARD ALL;'",
            "SELECT e'a' -- c\n '\\'; DISCARD ALL;'",
            "SELECT 1 /* ; DISCARD ALL; */",
            "EXPLAIN EXECUTE discard",
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; DISCARD ALL)",
            "SELECT '; DISCARD ALL",
            "SELECT /* ; DISCARD ALL",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn strings_end_where_the_server_ends_them() {
        check("SELECT '\\'; DISCARD ALL", &[(1, "!")]);
        check("SELECT ''''; DISCARD ALL", &[(1, "!")]);
        check("SELECT E'\\\\'; DISCARD ALL", &[(1, "!")]);
        check("SELECT E'\\é'; DISCARD ALL", &[(1, "!")]);
        check("SELECT E'a' '\\'; DISCARD ALL", &[(1, "!")]);
        check("SELECT somee'\\'; DISCARD ALL", &[(1, "!")]);
        check("SELECT U&'\\0061\\'; DISCARD ALL", &[(1, "!")]);
        check("SELECT a$b$; DISCARD ALL; SELECT $b$", &[(1, "!")]);
        check("SELECT $1$$;$$; DISCARD ALL", &[(1, "!")]);
        check("SELECT $é$;$é$; DISCARD ALL", &[(1, "!")]);
        check("SELECT x'1f', b'0', n'\\'; DISCARD ALL", &[(1, "!")]);
    }

    #[test]
    fn an_sql_body_is_one_statement() {
        let body = "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; DISCARD ALL";
        check(
            &format!("CREATE FUNCTION f() RETURNS int {body}"),
            &[(1, "!")],
        );
        check(
            &format!("CREATE OR REPLACE PROCEDURE p() {body}"),
            &[(1, "!")],
        );
        check("BEGIN; DISCARD ALL; END", &[(1, "!")]);
        check(
            "CREATE VIEW v AS SELECT begin atomic FROM t; DISCARD ALL",
            &[(1, "!")],
        );
    }

    #[test]
    fn names_are_folded() {
        check("PREPARE \"Q\"\"1\" AS SELECT 1", &[(0, "+Q\"1")]);
        check("PREPARE Été AS SELECT 1", &[(0, "+Été")]);
        check(
            "PREPARE U&\"d\\0061t\\+000061\" AS SELECT 1",
            &[(0, "+data")],
        );
        check("DEALLOCATE u&\"d!0061!!\" UESCAPE '!'", &[(0, "-da!")]);
        check(
            "DEALLOCATE PREPARE u&\"!D83D!DE00\" UESCAPE '!'",
            &[(0, "-😀")],
        );
        check("DEALLOCATE U&\"\\D83D\"", &[]);
        check("DEALLOCATE U&\"\\00g1\"", &[]);
        assert_eq!(fold_identifier("ABC"), "abc");
        assert_eq!(fold_identifier("\"ABC\""), "ABC");
        assert_eq!(fold_identifier("\"a\"\"b\""), "a\"b");
        assert_eq!(fold_identifier(&"A".repeat(80)), "a".repeat(63));
        assert_eq!(
            fold_identifier(&format!("\"{}\"", "é".repeat(40))),
            "é".repeat(31)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_scanned(text in r#"(?s)(prepare |;|'|"|\$|[a-z]|E'|U&"|/\*|\*/|--|\n|\\|\(|\)|as |é|.){0,40}"#) {
            let found = prepared_statements(&format!("{text} discard"));
            prop_assert!(found.len() <= text.matches(';').count() + 1);
            fold_identifier(&text);
        }

        #[test]
        fn a_quoted_text_hides_nothing(text in "[a-z'; ]{0,30}") {
            let literal = text.replace('\'', "''");
            let sql = format!("SELECT '{literal}', $q${text}$q$; DISCARD ALL");
            prop_assert_eq!(prepared_statements(&sql), vec![(1, Prepared::DiscardAll)]);
        }
    }
}
