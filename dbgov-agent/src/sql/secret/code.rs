//! Secrets in the tokens of SQL.
//!
//! Nothing here reads a statement: where a name of a secret, a function that takes one, or IDENTIFIED is in it, all its
//! literals count as secrets, but those that stand in the place of something else.

use std::ops::Range;

use super::contents::Contents;
use super::cut::{Cut, contents};
use super::words::{is_secret_name, takes_a_key};
use crate::sql::lexer::{Kind, Lexer, Token};
use crate::sql::{literal, name};

/// How a text is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) conforming: bool,
    /// There may be more behind the end.
    pub(super) cut: bool,
    /// How many literals it lies in.
    pub(super) depth: usize,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) cuts: Vec<Cut>,
    /// It is about a secret, so that what comes from elsewhere (a parameter, another literal) may be that secret.
    pub(super) bears: bool,
    /// A statement that is about a secret is prepared, under a name.
    pub(super) prepares: bool,
    /// A literal, a quoted name or a comment was still open at the end.
    pub(super) open: bool,
    /// A literal is about a secret that is not in it.
    joins: bool,
    /// The name of a secret has something else behind it than a literal: `password=`, `"token": "..."`, or nothing.
    pub(super) followed: bool,
    /// There are words of statements in it.
    pub(super) is_code: bool,
    pub(super) has_strings: bool,
}

/// The words that code is known by.
const CODE: &[&str] = &[
    "alter", "begin", "create", "delete", "execute", "grant", "insert", "perform", "return",
    "select", "update",
];

/// Names before a literal that is no secret, in the options of a server or of its users.
const PLAIN_OPTIONS: &[&str] = &[
    "dbname", "host", "hostaddr", "port", "sslmode", "user", "username",
];

pub(super) fn find(text: &str, reading: Reading) -> Found {
    let mut lexer = Lexer::with(text, reading.conforming);
    let tokens: Vec<Token> = lexer.by_ref().collect();
    let code = Code {
        text,
        tokens: &tokens,
        reading,
        open: lexer.unterminated,
    };
    let mut found = Found {
        open: lexer.unterminated,
        ..Found::default()
    };
    // In a literal a comment may be what the broken rest of a statement became.
    let in_comment = code.comments(&mut found) && reading.depth > 0;
    (found.bears, found.followed) = (in_comment, in_comment);
    let groups = code.groups();
    let several = groups.len() > 1;
    for group in groups {
        code.statement(group, in_comment, &mut found);
    }
    if several && found.joins {
        // A quote too many or too few may have put the literal that was meant behind a semicolon.
        code.statement(0..tokens.len(), true, &mut found);
    }
    if found.bears {
        code.quoting_comments(&mut found);
    }
    found
}

pub(super) struct Code<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token],
    pub(super) reading: Reading,
    open: bool,
}

impl<'a> Code<'a> {
    /// The statements, as ranges of tokens. What is prepared is executed by another statement, and what code assigns is
    /// used by another one of the same body: such a text is one.
    fn groups(&self) -> Vec<Range<usize>> {
        let joined = |token: &Token| {
            ["prepare", "execute", "atomic"]
                .iter()
                .any(|word| self.is_word(*token, word))
        };
        if self.reading.depth > 0 || self.tokens.iter().any(joined) {
            return std::iter::once(0..self.tokens.len()).collect();
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            // What should have been its value may stand behind the semicolon.
            let waits = at > 0 && self.is_secret(self.tokens[at - 1], false);
            if token.kind == Kind::Semicolon && !waits {
                groups.push(start..at);
                start = at + 1;
            }
        }
        groups.push(start..self.tokens.len());
        groups
    }

    /// `bears`: it is about a secret by what is around it.
    fn statement(&self, group: Range<usize>, mut bears: bool, found: &mut Found) {
        let setting = self.sets(group.start);
        bears |= self.defines_role(group.clone());
        let mut plain_options = false;
        for at in group.clone() {
            let token = self.tokens[at];
            if !token.kind.is_ident() {
                continue;
            }
            bears |= self.is_about_secret(at, setting);
            plain_options |= self.is_word(token, "options");
            found.followed |= self.is_followed(at);
            found.is_code |= CODE.iter().any(|word| self.is_word(token, word));
            if self.is_word(token, "mapping") && at > 0 && self.is_word(self.tokens[at - 1], "user")
            {
                bears = true;
            }
        }
        let mut literals = Vec::new();
        for at in group.clone() {
            if !self.tokens[at].kind.is_string() {
                continue;
            }
            found.has_strings = true;
            let is_name = self.is_name_of_setting(at);
            let contents = match is_name {
                Some(secret) => {
                    bears |= secret;
                    Contents::Clean
                }
                None => self.contents(at),
            };
            bears |= matches!(contents, Contents::Secret | Contents::Code(_));
            found.joins |= matches!(contents, Contents::Secret);
            let keep = is_name.is_some() || self.stands_for_something_else(at, plain_options);
            literals.push((at, contents, keep));
        }
        for (at, contents, keep) in literals {
            self.cut_literal(at, contents, bears && !keep, &mut found.cuts);
        }
        if bears {
            self.others(group.clone(), &mut found.cuts);
            self.without_quotes(group.clone(), &mut found.cuts);
            found.prepares |= group
                .clone()
                .any(|at| self.is_word(self.tokens[at], "prepare"));
        }
        found.bears |= bears;
    }

    fn cut_literal(&self, at: usize, contents: Contents, bears: bool, cuts: &mut Vec<Cut>) {
        match contents {
            Contents::Code(inner) => cuts.extend(inner),
            Contents::Parts(inner) if !bears => cuts.extend(inner),
            Contents::Clean if !bears => {}
            _ => cuts.push(self.whole(at)),
        }
    }

    /// What is no literal to PostgreSQL, but is the value of a secret: a number that it is compared with or set to, and
    /// MySQL's `"strings"`.
    fn others(&self, group: Range<usize>, cuts: &mut Vec<Cut>) {
        let identified = group
            .clone()
            .any(|at| self.is_word(self.tokens[at], "identified"));
        for at in group {
            let token = self.tokens[at];
            let Some(before) = at.checked_sub(1).map(|at| self.tokens[at]) else {
                continue;
            };
            let behind_operator = matches!(before.kind, Kind::Operator | Kind::LParen);
            match token.kind {
                Kind::Number if behind_operator => {
                    let named = at.checked_sub(2).map(|at| self.tokens[at]);
                    if named.is_some_and(|named| self.is_secret(named, true)) {
                        cuts.push(self.whole(at));
                    }
                }
                Kind::QuotedIdent => {
                    let is_part = self.is_kind(at + 1, Kind::Dot) || before.kind == Kind::Dot;
                    let behind_word = ["by", "password", "as", "using"].iter().any(|word| {
                        (identified || *word == "password") && self.is_word(before, word)
                    });
                    let in_call = before.kind == Kind::LParen
                        && at > 1
                        && self.is_word(self.tokens[at - 2], "password");
                    if (before.kind == Kind::Operator || behind_word || in_call) && !is_part {
                        cuts.push(self.whole(at));
                        // MySQL reads on behind `\"`.
                        if token.text(self.text).contains('\\') {
                            let from = contents(token, self.text, true).range.start;
                            cuts.push(Cut::inside(from..self.text.len()));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Whoever forgets the quotes gets an error of the server, and has written the password all the same. What of the
    /// statement it is cannot be told: it goes up to its end.
    fn without_quotes(&self, group: Range<usize>, cuts: &mut Vec<Cut>) {
        let role = self.defines_role(group.clone());
        let Some(end) = group
            .end
            .checked_sub(1)
            .map(|last| self.tokens[last].end as usize)
        else {
            return;
        };
        for at in group.clone() {
            let before = |behind: usize, words: &[&str]| {
                let token = at.checked_sub(behind).filter(|at| *at >= group.start);
                token.is_some_and(|token| {
                    words
                        .iter()
                        .any(|word| self.is_word(self.tokens[token], word))
                })
            };
            let announced = role && before(1, &["password"])
                || before(1, &["by"]) && before(2, &["identified"])
                || at > group.start
                    && self.tokens[at - 1].kind == Kind::Operator
                    && before(2, &["password"])
                    && self.is_word(self.tokens[group.start], "set");
            let token = self.tokens[at];
            let meant = ["null", "password", "old_password", "random"]
                .iter()
                .any(|word| self.is_word(token, word));
            let quoted = token.kind.is_string()
                || matches!(
                    token.kind,
                    Kind::QuotedIdent | Kind::Param | Kind::Operator | Kind::LParen
                );
            if announced && !meant && !quoted {
                cuts.push(Cut::inside(token.start as usize..end));
                return;
            }
        }
    }

    fn is_about_secret(&self, at: usize, setting: bool) -> bool {
        let token = self.tokens[at];
        if self.is_word(token, "identified") {
            return ["by", "with", "as"].iter().any(|word| {
                self.tokens
                    .get(at + 1)
                    .is_some_and(|next| self.is_word(*next, word))
            });
        }
        if self.is_secret(token, setting) {
            return true;
        }
        if !self.is_kind(at + 1, Kind::LParen) {
            return false;
        }
        let function = self.ident(token, at);
        takes_a_key(&function)
            || function.eq_ignore_ascii_case("set_config")
                && !self
                    .tokens
                    .get(at + 2)
                    .is_some_and(|name| name.kind.is_string())
    }

    fn is_secret(&self, token: Token, setting: bool) -> bool {
        if !token.kind.is_ident() {
            return false;
        }
        match token.kind {
            Kind::UnicodeIdent => is_secret_name(
                &name::fold(token, self.text, name::UESCAPE_DEFAULT),
                setting,
            ),
            _ => is_secret_name(token.text(self.text).trim_matches('"'), setting),
        }
    }

    fn ident(&self, token: Token, at: usize) -> String {
        name::fold(token, self.text, self.uescape(at)).into_owned()
    }

    /// Behind the name of a secret stands its value, which is no literal, or will be what comes behind this text.
    fn is_followed(&self, at: usize) -> bool {
        if !self.is_secret(self.tokens[at], false) && !self.is_word(self.tokens[at], "identified") {
            return false;
        }
        let mut behind = at + 1;
        let mut operators = 0;
        while let Some(token) = self.tokens.get(behind) {
            let passed = match token.kind {
                Kind::Operator => {
                    operators += 1;
                    // `%L` and `?` are places for values.
                    if token.text(self.text).contains(['%', '?']) {
                        return true;
                    }
                    true
                }
                Kind::LParen => true,
                Kind::Word if self.is_word(*token, "is") => {
                    operators += 1;
                    true
                }
                Kind::Word => ["for", "to", "by", "with", "as", "using", "encrypted"]
                    .iter()
                    .any(|word| self.is_word(*token, word)),
                _ => false,
            };
            if !passed {
                break;
            }
            behind += 1;
        }
        match self.tokens.get(behind) {
            None => true,
            Some(token) if token.kind.is_string() => false,
            Some(token) => {
                operators > 0
                    || matches!(token.kind, Kind::Param | Kind::QuotedIdent | Kind::Number)
            }
        }
    }

    /// SET, or ALTER SYSTEM, ROLE, USER, DATABASE: names in it are those of settings, or of options.
    fn sets(&self, at: usize) -> bool {
        let word = |ahead: usize, words: &[&str]| {
            self.tokens
                .get(at + ahead)
                .is_some_and(|token| words.iter().any(|word| self.is_word(*token, word)))
        };
        word(0, &["set"])
            || word(0, &["alter"])
                && word(
                    1,
                    &[
                        "system", "role", "user", "database", "group", "server", "foreign",
                    ],
                )
            || word(0, &["create"]) && word(1, &["server", "user", "foreign"])
    }

    /// CREATE or ALTER ROLE, USER, GROUP: of its own it has no literals but the password, however that is announced, and
    /// when it expires.
    fn defines_role(&self, group: Range<usize>) -> bool {
        let tokens = &self.tokens[group];
        let word = |ahead: usize, words: &[&str]| {
            tokens
                .get(ahead)
                .is_some_and(|token| words.iter().any(|word| self.is_word(*token, word)))
        };
        word(0, &["create", "alter"])
            && word(1, &["role", "user", "group"])
            && !tokens.iter().any(|token| self.is_word(*token, "set"))
    }

    /// The first argument of `set_config` is the name of a setting: whether that of a secret.
    fn is_name_of_setting(&self, at: usize) -> Option<bool> {
        let call = at.checked_sub(2).map(|at| self.tokens[at])?;
        if self.tokens[at - 1].kind != Kind::LParen
            || !call.kind.is_ident()
            || !self.ident(call, at).eq_ignore_ascii_case("set_config")
        {
            return None;
        }
        let name = self.value(at);
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        is_name.then(|| is_secret_name(&name, true))
    }

    fn stands_for_something_else(&self, at: usize, options: bool) -> bool {
        let Some(before) = at.checked_sub(1).map(|at| self.tokens[at]) else {
            return false;
        };
        let is = |words: &[&str]| words.iter().any(|word| self.is_word(before, word));
        is(&["until", "language"]) || options && is(PLAIN_OPTIONS)
    }

    /// The value of the string token.
    pub(super) fn value(&self, at: usize) -> String {
        let token = self.tokens[at];
        if token.kind == Kind::DollarString && self.is_open(at) {
            let inside = contents(token, self.text, true).range;
            return self.text.get(inside).unwrap_or_default().to_owned();
        }
        literal::value(token, self.text, self.uescape(at))
    }

    /// `UESCAPE '!'` behind the token.
    fn uescape(&self, at: usize) -> char {
        let word = self
            .tokens
            .get(at + 1)
            .filter(|token| self.is_word(**token, "uescape"));
        let escape = word
            .and(self.tokens.get(at + 2))
            .filter(|token| token.kind.is_string());
        escape
            .and_then(|token| {
                literal::value(*token, self.text, name::UESCAPE_DEFAULT)
                    .chars()
                    .next()
            })
            .unwrap_or(name::UESCAPE_DEFAULT)
    }

    pub(super) fn is_open(&self, at: usize) -> bool {
        // A comment that is open stands behind the last token.
        self.open && at + 1 == self.tokens.len() && self.tokens[at].end as usize == self.text.len()
    }

    pub(super) fn whole(&self, at: usize) -> Cut {
        contents(self.tokens[at], self.text, self.is_open(at))
    }

    fn is_kind(&self, at: usize, kind: Kind) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == kind)
    }

    pub(super) fn is_word(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word
            && (token.end - token.start) as usize == word.len()
            && token.text(self.text).eq_ignore_ascii_case(word)
    }
}
