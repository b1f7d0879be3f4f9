//! Secrets in the tokens of SQL.
//!
//! Nothing here reads a statement: where a name of a secret, a function that takes one, or IDENTIFIED is in it, all its
//! literals count as secrets, but those that stand in the place of something else.

use std::ops::Range;

use super::cut::{Cut, contents};
use super::value::{self, has_pair, has_userinfo};
use super::words::{first_plain, is_secret_name, may_have_secret, takes_a_key};
use crate::sql::lexer::{Kind, Lexer, Token};
use crate::sql::{claims, literal, name};

/// SQL in a literal in SQL in a literal: more levels than code is written in. What is deeper counts as a secret whole.
const DEPTH_MAX: usize = 4;

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
    /// The name of a secret has something else behind it than a literal: `password=`, `"token": "..."`, or nothing.
    followed: bool,
    /// There are words of statements in it.
    is_code: bool,
    has_strings: bool,
}

/// What a literal is by its contents.
enum Contents {
    Clean,
    /// Parts of it are secrets.
    Parts(Vec<Cut>),
    /// It is code about a secret: these parts of it are one, and so may be the literals beside it.
    Code(Vec<Cut>),
    Whole,
    /// It is about a secret, and so may be the literals beside it.
    Secret,
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
    for group in code.groups() {
        code.statement(group, in_comment, &mut found);
    }
    if found.bears {
        code.quoting_comments(&mut found);
    }
    found
}

struct Code<'a> {
    text: &'a str,
    tokens: &'a [Token],
    reading: Reading,
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
            let keep = is_name.is_some() || self.stands_for_something_else(at, plain_options);
            literals.push((at, contents, keep));
        }
        for (at, contents, keep) in literals {
            self.cut_literal(at, contents, bears && !keep, &mut found.cuts);
        }
        if bears {
            self.others(group.clone(), &mut found.cuts);
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
    fn value(&self, at: usize) -> String {
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

    fn contents(&self, at: usize) -> Contents {
        let token = self.tokens[at];
        let value = self.value(at);
        if !may_have_secret(&value) {
            return Contents::Clean;
        }
        if self.reading.depth >= DEPTH_MAX {
            return Contents::Secret;
        }
        let open = self.is_open(at);
        let verbatim = self.verbatim(token, open);
        let found = match value::conninfo(&value) {
            value::Found::Other => value::uri(&value),
            found => found,
        };
        match found {
            _ if open && token.kind != Kind::DollarString => return Contents::Whole,
            value::Found::Elsewhere => return Contents::Secret,
            value::Found::Whole => return Contents::Whole,
            value::Found::Parts(parts) if parts.is_empty() => return Contents::Clean,
            value::Found::Parts(_) if self.is_put_together(at) => return Contents::Secret,
            value::Found::Parts(parts) => {
                let cut =
                    |part: Range<usize>| verbatim.map(|offset| Cut::inside(part).shifted(offset));
                let cuts: Option<Vec<Cut>> = parts.into_iter().map(cut).collect();
                return cuts.map_or(Contents::Whole, Contents::Parts);
            }
            value::Found::Other => {}
        }
        let inner = find(
            &value,
            Reading {
                depth: self.reading.depth + 1,
                cut: open || self.reading.cut,
                ..self.reading
            },
        );
        if inner.open && !open && (inner.bears || first_plain(&value).is_some()) {
            return Contents::Secret;
        }
        let offset = verbatim.filter(|_| token.kind == Kind::DollarString && inner.is_code);
        let shifted = |offset: usize| inner.cuts.iter().map(|cut| cut.shifted(offset)).collect();
        match offset {
            Some(offset) if inner.bears => Contents::Code(shifted(offset)),
            Some(offset) if !inner.cuts.is_empty() => Contents::Parts(shifted(offset)),
            _ if inner.followed || inner.bears && inner.has_strings => Contents::Secret,
            _ if !inner.cuts.is_empty() || has_userinfo(&value) || has_pair(&value) => {
                Contents::Whole
            }
            _ => Contents::Clean,
        }
    }

    /// Where the value begins in the text, if it stands there as it is.
    fn verbatim(&self, token: Token, open: bool) -> Option<usize> {
        let inside = contents(token, self.text, open).range;
        let written = self.text.get(inside.clone())?;
        let plain = match token.kind {
            Kind::DollarString => true,
            Kind::String => !written.contains('\''),
            Kind::EscapeString => !written.contains(['\'', '\\']),
            _ => false,
        };
        plain.then_some(inside.start)
    }

    /// Something is joined to the literal at one of its ends, or it is a pattern for something.
    fn is_put_together(&self, at: usize) -> bool {
        let around = [at.checked_sub(1), Some(at + 1)];
        let joined = around.into_iter().flatten().any(|at| {
            let token = self.tokens.get(at);
            token.is_some_and(|token| {
                token.kind == Kind::Operator && token.text(self.text).contains('|')
            })
        });
        let functions = [
            "concat",
            "concat_ws",
            "format",
            "overlay",
            "replace",
            "string_agg",
        ];
        joined
            || self
                .tokens
                .iter()
                .any(|token| functions.iter().any(|word| self.is_word(*token, word)))
    }

    /// Behind `--` and between `/*` and `*/`. Where one comment is about a secret, none of them stays: they may be lines
    /// of one. Whether one is.
    fn comments(&self, found: &mut Found) -> bool {
        let comments = comments(self.text, self.tokens);
        let is_secret = |range: &Range<usize>| {
            let comment = &self.text[range.clone()];
            if !may_have_secret(comment) {
                return false;
            }
            if self.reading.depth >= DEPTH_MAX || has_pair(comment) || has_userinfo(comment) {
                return true;
            }
            let reading = Reading {
                cut: true,
                depth: self.reading.depth + 1,
                ..self.reading
            };
            let inner = find(comment, reading);
            inner.bears || inner.followed || !inner.cuts.is_empty()
        };
        let any = comments.iter().any(is_secret);
        if any {
            found.cuts.extend(comments.into_iter().map(Cut::inside));
        }
        any
    }

    /// In a statement about a secret, comments with quotes may be what was meant to be its literals. Those by which a
    /// client says why it asks are not.
    fn quoting_comments(&self, found: &mut Found) {
        for range in comments(self.text, self.tokens) {
            let comment = &self.text[range.clone()];
            if comment.contains(['\'', '"', '$']) && claims(&format!("/*{comment}*/")).is_empty() {
                found.cuts.push(Cut::inside(range));
            }
        }
    }

    fn is_open(&self, at: usize) -> bool {
        // A comment that is open stands behind the last token.
        self.open && at + 1 == self.tokens.len() && self.tokens[at].end as usize == self.text.len()
    }

    fn whole(&self, at: usize) -> Cut {
        contents(self.tokens[at], self.text, self.is_open(at))
    }

    fn is_kind(&self, at: usize, kind: Kind) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == kind)
    }

    fn is_word(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word
            && (token.end - token.start) as usize == word.len()
            && token.text(self.text).eq_ignore_ascii_case(word)
    }
}

/// What is inside the comments between the tokens of a text.
pub(crate) fn comments(text: &str, tokens: &[Token]) -> Vec<Range<usize>> {
    let mut comments = Vec::new();
    let mut from = 0;
    let ends = tokens
        .iter()
        .map(|token| (token.start as usize, token.end as usize));
    for (start, end) in ends.chain([(text.len(), text.len())]) {
        let mut at = from;
        while let Some(comment) = comment(text, at, start) {
            at = comment.end;
            comments.push(comment);
        }
        from = end;
    }
    comments
}

/// The inside of the next comment between `from` and `to`.
fn comment(text: &str, from: usize, to: usize) -> Option<Range<usize>> {
    let gap = text.get(from..to)?;
    let open = [gap.find("--"), gap.find("/*")]
        .into_iter()
        .flatten()
        .min()?;
    let inside = &gap[open + 2..];
    let length = match gap[open..].starts_with("--") {
        true => inside.find(['\n', '\r']).unwrap_or(inside.len()),
        false => block_length(inside),
    };
    Some(from + open + 2..from + open + 2 + length)
}

/// Up to the `*/` that closes the comment; they nest (4.1.5).
fn block_length(inside: &str) -> usize {
    let bytes = inside.as_bytes();
    let mut depth = 1usize;
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) if depth == 1 => return at,
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    inside.len()
}
