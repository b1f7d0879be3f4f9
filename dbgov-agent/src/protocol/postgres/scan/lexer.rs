//! A statement's text as tokens, as coarse as the search for prepared statements allows (PostgreSQL documentation, 4.1).

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Keyword or unquoted identifier.
    Word(&'a str),
    /// `"…"`, with its quotes.
    Quoted(&'a str),
    /// `U&"…"`, without the `U&`.
    UnicodeQuoted(&'a str),
    /// `'…'`, with its quotes and without a prefix letter.
    String(&'a str),
    Semicolon,
    Open,
    Close,
    /// Anything else; what it is does not matter here.
    Other,
}

impl Token<'_> {
    pub(super) fn is_word(self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own.eq_ignore_ascii_case(word))
    }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Between tokens always at a character boundary: tokens end behind an ASCII byte, before one, or at the end.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { text, at: 0 }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let start = self.at;
        let token = match (self.byte(0)?, self.byte(1), self.byte(2)) {
            (b'\'', ..) => self.string(0, Escapes::Doubled),
            (b'e' | b'E', Some(b'\''), _) => self.string(1, Escapes::Backslash),
            (b'b' | b'B' | b'n' | b'N' | b'x' | b'X', Some(b'\''), _) => {
                self.string(1, Escapes::Doubled)
            }
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => self.string(2, Escapes::Doubled),
            (b'u' | b'U', Some(b'&'), Some(b'"')) => {
                self.at += 2;
                Token::UnicodeQuoted(self.quoted(b'"', Escapes::Doubled))
            }
            (b'"', ..) => Token::Quoted(self.quoted(b'"', Escapes::Doubled)),
            (b'$', ..) => self.dollar(),
            (first, ..) if is_word_start(first) => {
                self.skip_while(is_word_part);
                Token::Word(self.since(start))
            }
            (other, ..) => {
                self.at += 1;
                match other {
                    b';' => Token::Semicolon,
                    b'(' => Token::Open,
                    b')' => Token::Close,
                    _ => Token::Other,
                }
            }
        };
        Some(token)
    }

    fn skip_while(&mut self, is_part: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&is_part) {
            self.at += 1;
        }
    }

    /// White space and comments.
    fn skip_blank(&mut self) {
        loop {
            self.skip_while(is_space);
            match (self.byte(0), self.byte(1)) {
                (Some(b'-'), Some(b'-')) => self.skip_while(|byte| !is_newline(byte)),
                (Some(b'/'), Some(b'*')) => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    /// Comments nest, against the habit of C.
    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(first) = self.byte(0) {
            match (first, self.byte(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth = depth.saturating_sub(1);
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn string(&mut self, prefix_bytes: usize, escapes: Escapes) -> Token<'a> {
        self.at += prefix_bytes;
        let quoted = self.quoted(b'\'', escapes);
        // Strings with only white space and a newline between them are one, and the first says how escapes are read.
        while escapes == Escapes::Backslash && self.skip_to_continuation() {
            self.quoted(b'\'', escapes);
        }
        Token::String(quoted)
    }

    fn skip_to_continuation(&mut self) -> bool {
        let start = self.at;
        loop {
            self.skip_while(is_space);
            if !self.rest().starts_with("--") {
                break;
            }
            self.skip_while(|byte| !is_newline(byte));
        }
        if self.byte(0) == Some(b'\'') && self.since(start).bytes().any(is_newline) {
            return true;
        }
        self.at = start;
        false
    }

    /// From the opening quote to behind the closing one, or to the end of the text.
    fn quoted(&mut self, quote: u8, escapes: Escapes) -> &'a str {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            if byte == b'\\' && escapes == Escapes::Backslash {
                self.at = (self.at + 1).min(self.text.len());
            } else if byte == quote {
                if self.byte(0) != Some(quote) {
                    break;
                }
                self.at += 1;
            }
        }
        self.since(start)
    }

    /// A dollar-quoted string, a parameter, or just a dollar sign (4.1.2.4).
    fn dollar(&mut self) -> Token<'a> {
        let start = self.at;
        self.at += 1;
        if self.byte(0).is_some_and(is_word_start) {
            self.skip_while(|byte| is_word_part(byte) && byte != b'$');
        }
        if self.byte(0) == Some(b'$') {
            self.at += 1;
            let tag = self.since(start);
            self.at = match self.rest().find(tag) {
                Some(inner_bytes) => self.at + inner_bytes + tag.len(),
                None => self.text.len(),
            };
        } else {
            self.at = start + 1;
        }
        Token::Other
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// Only a doubled quote.
    Doubled,
    /// A backslash too.
    Backslash,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0B' | b'\x0C')
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
