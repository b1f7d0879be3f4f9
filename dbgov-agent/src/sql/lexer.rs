//! PostgreSQL's lexical structure (documentation section 4.1, `src/backend/parser/scan.l`), over bytes.
//!
//! Never fails, allocates nothing and is linear: what is not closed ends where the text ends. Comments and white space
//! are passed over.

/// An operator is a name, and the server refuses one longer than NAMEDATALEN - 1; the bound also keeps the look-back
/// over trailing signs linear.
const OPERATOR_BYTES_MAX: usize = 63;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keyword or unquoted identifier.
    Word,
    /// `"name"`
    QuotedIdent,
    /// `U&"name"`
    UnicodeIdent,
    /// `'text'` and `N'text'`
    String,
    /// `E'text'`
    EscapeString,
    /// `U&'text'`
    UnicodeString,
    /// `B'01'` and `X'0f'`
    BitString,
    /// `$tag$text$tag$`
    DollarString,
    Number,
    /// `$1`
    Param,
    Operator,
    Comma,
    Semicolon,
    Dot,
    LParen,
    RParen,
    LBracket,
    RBracket,
    /// A byte no token of PostgreSQL starts with.
    Other,
}

impl Kind {
    pub(crate) fn is_string(self) -> bool {
        matches!(
            self,
            Kind::String
                | Kind::EscapeString
                | Kind::UnicodeString
                | Kind::BitString
                | Kind::DollarString
        )
    }

    pub(crate) fn is_ident(self) -> bool {
        matches!(self, Kind::Word | Kind::QuotedIdent | Kind::UnicodeIdent)
    }
}

/// A token and where it stands: `start..end` are bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Token {
    /// The token as it was written. Boundaries of tokens are ASCII, so that the slice is always there.
    pub(crate) fn text(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }
}

pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// `standard_conforming_strings`, on by default: a backslash in a plain string is nothing special. Otherwise plain
    /// strings are escape strings.
    conforming: bool,
    /// A string, identifier or comment was still open at the end of the text.
    pub(crate) unterminated: bool,
    /// With the other `standard_conforming_strings` the text is another one.
    pub(crate) ambiguous: bool,
}

/// What a byte can start or continue.
const BLANK: u8 = 1;
const IDENT_START: u8 = 2;
const IDENT_PART: u8 = 4;
const DIGIT: u8 = 8;
const OPERATOR: u8 = 16;
/// An operator with one of these may end in `+` or `-`.
const OPERATOR_FREE: u8 = 32;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => IDENT_START | IDENT_PART,
            b'0'..=b'9' => DIGIT | IDENT_PART,
            b'$' => IDENT_PART,
            b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' => OPERATOR,
            b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?' => {
                OPERATOR | OPERATOR_FREE
            }
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

impl<'a> Lexer<'a> {
    #[cfg(test)]
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer::with(text, true)
    }

    pub(crate) fn with(text: &'a str, conforming: bool) -> Self {
        Lexer {
            bytes: text.as_bytes(),
            at: 0,
            conforming,
            unterminated: false,
            ambiguous: false,
        }
    }

    /// The byte `ahead` of the next one, 0 past the end (a NUL cannot be in a statement).
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, class: u8) {
        while self.at < self.bytes.len() && is(self.bytes[self.at], class) {
            self.at += 1;
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            self.skip_while(BLANK);
            match (self.peek(0), self.peek(1)) {
                (b'-', b'-') => {
                    while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
                        self.at += 1;
                    }
                }
                (b'/', b'*') => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest (4.1.5).
    fn skip_block_comment(&mut self) {
        let mut depth = 0u32;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.unterminated = true;
    }

    /// From the opening quote on; a doubled quote is one quote, a backslash hides a byte only where `backslash`.
    fn skip_quoted(&mut self, quote: u8, backslash: bool) {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            if byte == quote {
                if self.peek(0) != quote {
                    return;
                }
                self.at += 1;
            } else if backslash && byte == b'\\' && self.at < self.bytes.len() {
                self.at += 1;
            }
        }
        self.unterminated = true;
    }

    /// A string of parts on several lines (4.1.2.1) is one token, and every part of it of the kind of the first.
    fn skip_string(&mut self, backslash: bool) {
        self.skip_quoted(b'\'', backslash);
        while let Some(next) = continuation(self.bytes, self.at) {
            self.at = next;
            self.skip_quoted(b'\'', backslash);
        }
    }

    /// `'...'` or, with its letter passed over, `N'...'`.
    fn plain_string(&mut self) -> Kind {
        let open = self.at;
        self.skip_string(!self.conforming);
        self.ambiguous |= self.bytes[open..self.at].contains(&b'\\');
        if self.conforming {
            Kind::String
        } else {
            Kind::EscapeString
        }
    }

    /// Letters that change what a quote after them means, or else a word.
    fn word_or_prefixed(&mut self) -> Kind {
        let (kind, prefix, quote) = match (self.peek(0) | 0x20, self.peek(1), self.peek(2)) {
            (b'e', b'\'', _) => (Kind::EscapeString, 1, b'\''),
            (b'b' | b'x', b'\'', _) => (Kind::BitString, 1, b'\''),
            (b'n', b'\'', _) => (Kind::String, 1, b'\''),
            (b'u', b'&', b'\'') => (Kind::UnicodeString, 2, b'\''),
            (b'u', b'&', b'"') => (Kind::UnicodeIdent, 2, b'"'),
            _ => {
                self.skip_while(IDENT_PART);
                return Kind::Word;
            }
        };
        self.at += prefix;
        match kind {
            Kind::String => return self.plain_string(),
            Kind::UnicodeIdent => self.skip_quoted(quote, false),
            _ => self.skip_string(kind == Kind::EscapeString),
        }
        kind
    }

    /// `12`, `1_000`, `1.5`, `.5`, `1e10`, `0x1F`, `0o17`, `0b11` (4.1.2.6); `1..2` is a number and two dots.
    fn number(&mut self) -> Kind {
        let open = self.at;
        self.skip_number();
        // Before PostgreSQL 16, `0x1$a$` is a number and an alias. Later servers read a dollar quote, and an error.
        let new = self.bytes[open..self.at]
            .iter()
            .any(|byte| matches!(byte | 0x20, b'x' | b'o' | b'b') || *byte == b'_');
        if new && self.peek(0) == b'$' {
            self.skip_while(IDENT_PART);
        }
        Kind::Number
    }

    fn skip_number(&mut self) {
        if self.peek(0) == b'0' && matches!(self.peek(1) | 0x20, b'x' | b'o' | b'b') {
            let radix_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'_';
            if radix_digit(self.peek(2)) {
                self.at += 2;
                while radix_digit(self.peek(0)) {
                    self.at += 1;
                }
                return;
            }
        }
        self.skip_digits();
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_digits();
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_digits();
            }
        }
    }

    fn skip_digits(&mut self) {
        while self.peek(0).is_ascii_digit()
            || (self.peek(0) == b'_' && self.peek(1).is_ascii_digit())
        {
            self.at += 1;
        }
    }

    /// `$1`, `$tag$...$tag$`, or a lone dollar.
    fn dollar(&mut self) -> Kind {
        let open = self.at;
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            self.skip_while(DIGIT);
            return Kind::Param;
        }
        if is(self.peek(0), IDENT_START) {
            while is(self.peek(0), IDENT_START | DIGIT) {
                self.at += 1;
            }
        }
        if self.peek(0) != b'$' {
            self.at = open + 1;
            return Kind::Other;
        }
        self.at += 1;
        let tag = &self.bytes[open..self.at];
        // The tag holds no dollar but its first and last byte, so that stepping from dollar to dollar is linear.
        while let Some(next) = self.bytes[self.at..].iter().position(|&byte| byte == b'$') {
            self.at += next;
            if self.bytes[self.at..].starts_with(tag) {
                self.at += tag.len();
                return Kind::DollarString;
            }
            self.at += 1;
        }
        self.at = self.bytes.len();
        self.unterminated = true;
        Kind::DollarString
    }

    /// The longest run of operator characters that opens no comment and, unless one of `~!@#%^&|\`?` is in it, does
    /// not end in a sign (4.1.3).
    fn operator(&mut self) -> Kind {
        let open = self.at;
        let mut free = false;
        while self.at - open < OPERATOR_BYTES_MAX && is(self.peek(0), OPERATOR) {
            if self.at > open && matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*'))
            {
                break;
            }
            free |= is(self.peek(0), OPERATOR_FREE);
            self.at += 1;
        }
        while !free && self.at > open + 1 && matches!(self.bytes[self.at - 1], b'+' | b'-') {
            self.at -= 1;
        }
        Kind::Operator
    }

    fn one(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }
}

/// The quote that goes on with the string whose closing quote ends at `at`: only blanks and `--` comments with a newline
/// among them stand between.
pub(crate) fn continuation(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut newline = false;
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => newline = true,
            byte if is(*byte, BLANK) => {}
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | b'\r'))?;
                continue;
            }
            b'\'' if newline => return Some(at),
            _ => return None,
        }
        at += 1;
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let start = self.at;
        let &first = self.bytes.get(start)?;
        let kind = match first {
            b'\'' => self.plain_string(),
            b'"' => {
                self.skip_quoted(b'"', false);
                Kind::QuotedIdent
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'.' => self.one(Kind::Dot),
            b'$' => self.dollar(),
            b',' => self.one(Kind::Comma),
            b';' => self.one(Kind::Semicolon),
            b'(' => self.one(Kind::LParen),
            b')' => self.one(Kind::RParen),
            b'[' => self.one(Kind::LBracket),
            b']' => self.one(Kind::RBracket),
            b':' => {
                self.at += 1 + usize::from(matches!(self.peek(1), b':' | b'='));
                Kind::Operator
            }
            _ if is(first, IDENT_START) => self.word_or_prefixed(),
            _ if is(first, OPERATOR) => self.operator(),
            _ => self.one(Kind::Other),
        };
        Some(Token {
            kind,
            start: u32::try_from(start).ok()?,
            end: u32::try_from(self.at).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::*;
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(Kind, &str)]) {
        let found: Vec<_> = Lexer::new(text).map(|t| (t.kind, t.text(text))).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn tokens_are_those_of_postgresql() {
        check("a.B1$", &[(Word, "a"), (Dot, "."), (Word, "B1$")]);
        check("'it''s' x", &[(String, "'it''s'"), (Word, "x")]);
        check(r"'\' x", &[(String, r"'\'"), (Word, "x")]);
        check(r"E'\' x' y", &[(EscapeString, r"E'\' x'"), (Word, "y")]);
        check(
            r#"U&"d!0061" u&'x'"#,
            &[(UnicodeIdent, r#"U&"d!0061""#), (UnicodeString, "u&'x'")],
        );
        check(
            "B'01'x'ff'N'n'",
            &[(BitString, "B'01'"), (BitString, "x'ff'"), (String, "N'n'")],
        );
        check(r#""a""b"c"#, &[(QuotedIdent, r#""a""b""#), (Word, "c")]);
        check(
            "$$ $a$ $$ $1",
            &[(DollarString, "$$ $a$ $$"), (Param, "$1")],
        );
        check(
            "$a$ $b$ $$ $a$;",
            &[(DollarString, "$a$ $b$ $$ $a$"), (Semicolon, ";")],
        );
        check("a$$b", &[(Word, "a$$b")]);
        check("/* a /* b */ */ x -- y\nz", &[(Word, "x"), (Word, "z")]);
        check(
            "1 1.5 .5 1e10 1.e-3 0x1F 1_000 1..2",
            &[
                (Number, "1"),
                (Number, "1.5"),
                (Number, ".5"),
                (Number, "1e10"),
                (Number, "1.e-3"),
                (Number, "0x1F"),
                (Number, "1_000"),
                (Number, "1"),
                (Dot, "."),
                (Number, ".2"),
            ],
        );
        check(
            "a::int := b",
            &[
                (Word, "a"),
                (Operator, "::"),
                (Word, "int"),
                (Operator, ":="),
                (Word, "b"),
            ],
        );
        check(
            "1+-2",
            &[
                (Number, "1"),
                (Operator, "+"),
                (Operator, "-"),
                (Number, "2"),
            ],
        );
        check("a @- b", &[(Word, "a"), (Operator, "@-"), (Word, "b")]);
        check(
            "a->>'b'",
            &[(Word, "a"), (Operator, "->>"), (String, "'b'")],
        );
        check(
            "1*/* c */2",
            &[(Number, "1"), (Operator, "*"), (Number, "2")],
        );
        check("1---2\n3", &[(Number, "1"), (Number, "3")]);
        check("größe € 1", &[(Word, "größe"), (Word, "€"), (Number, "1")]);
    }

    #[test]
    fn what_is_not_closed_ends_with_the_text() {
        for text in [
            "'a", "\"a", "$$a", "$x$a$$", "/* a", "E'a\\", "/*/", "U&'", "'a''",
        ] {
            let mut lexer = Lexer::new(text);
            assert!(lexer.by_ref().count() <= 1, "{text}");
            assert!(lexer.unterminated, "{text}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_in_order_and_inside(text in "[ -~é\n$'\"/*;]{0,80}|\\PC*") {
            let mut last = 0;
            for token in Lexer::new(&text) {
                prop_assert!(token.start >= last && token.end > token.start);
                prop_assert!(!token.text(&text).is_empty());
                last = token.end;
            }
            prop_assert!(last as usize <= text.len());
        }
    }
}
