//! Code in a statement: bodies of DO, functions, procedures and rules. What can be read in it are its effects.
//!
//! PL/pgSQL (documentation chapter 43) is cut into its statements; SQL in them is read as SQL anywhere else. Where that
//! fails, the tokens say what it could be. Languages that are not read may do anything.

use super::collector::Collector;
use super::cursor::{Cursor, Unread};
use super::lexer::{Kind, Lexer, Token};
use super::literal;
use super::name::UESCAPE_DEFAULT;
use super::scan;
use super::statement::{self, Source};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Plpgsql,
    Sql,
    /// `c` and `internal`: the strings name a symbol, not code.
    Compiled,
    Other,
}

impl Language {
    /// The name as the server knows it.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "plpgsql" => Language::Plpgsql,
            "sql" => Language::Sql,
            "c" | "internal" => Language::Compiled,
            _ => Language::Other,
        }
    }
}

/// What LANGUAGE says, wherever it stands.
pub(crate) fn language(mut rest: Cursor<'_>) -> Option<Language> {
    if !rest.skip_past("language") {
        return None;
    }
    let token = rest.peek()?;
    let name = if token.kind.is_string() {
        literal::value(token, rest.text, UESCAPE_DEFAULT)
    } else {
        rest.ident().unwrap_or_default()
    };
    Some(Language::named(&name))
}

/// A body in a string token.
pub(crate) fn string(
    source: &Source<'_>,
    token: Token,
    language: Language,
    found: &mut Collector,
    depth: u8,
) {
    found.literal_dependent = true;
    match language {
        Language::Compiled => {}
        Language::Other => found.dynamic(),
        Language::Sql => sql_text(source, token, found, depth),
        Language::Plpgsql => {
            let text = literal::value(token, source.text, UESCAPE_DEFAULT);
            plpgsql(&text, source.conforming, found, depth);
        }
    }
}

/// A string that is run as SQL.
fn sql_text(source: &Source<'_>, token: Token, found: &mut Collector, depth: u8) {
    found.literal_dependent = true;
    let text = literal::value(token, source.text, UESCAPE_DEFAULT);
    let mut lexer = Lexer::with(&text, source.conforming);
    let tokens: Vec<Token> = lexer.by_ref().collect();
    let inner = Source {
        text: &text,
        blank: false,
        conforming: source.conforming,
    };
    let read = statement::read_all(&inner, &tokens, lexer.unterminated, depth + 1);
    found.absorb(read.found);
}

fn plpgsql(text: &str, conforming: bool, found: &mut Collector, depth: u8) {
    let tokens: Vec<Token> = Lexer::with(text, conforming).collect();
    let source = Source {
        text,
        blank: false,
        conforming,
    };
    let mut reader = Reader {
        source: &source,
        rest: Cursor {
            text,
            tokens: &tokens,
        },
        found,
        depth,
    };
    while !reader.rest.at_end() {
        reader.statement();
    }
}

/// SQL statements with semicolons between them: the actions of a rule, the body between BEGIN ATOMIC and END.
pub(crate) fn statements(source: &Source<'_>, list: Cursor<'_>, found: &mut Collector, depth: u8) {
    let mut reader = Reader {
        source,
        rest: list,
        found,
        depth,
    };
    while !reader.rest.at_end() {
        let chunk = reader.until_semicolon();
        reader.sql(chunk);
    }
}

/// What a function of one expression returns.
pub(crate) fn expression(source: &Source<'_>, list: Cursor<'_>, found: &mut Collector, depth: u8) {
    let mut reader = Reader {
        source,
        rest: list,
        found,
        depth,
    };
    reader.expressions(list);
}

struct Reader<'a, 'b> {
    source: &'b Source<'a>,
    rest: Cursor<'b>,
    found: &'b mut Collector,
    depth: u8,
}

impl<'b> Reader<'_, 'b> {
    /// Passes over one statement, or over the word that opens a block of them.
    fn statement(&mut self) {
        if self.rest.eat_operator("<<") {
            while !self.rest.at_end() && !self.rest.eat_operator(">>") {
                self.rest.next();
            }
            return;
        }
        if let Some(value) = self.assignment() {
            return self.expressions(value);
        }
        let word = self.rest.word_at(0).unwrap_or("").to_ascii_lowercase();
        match word.as_str() {
            "begin" | "else" | "loop" | "exception" => {
                self.rest.next();
            }
            "declare" => {
                self.rest.next();
                self.declarations();
            }
            "if" | "elsif" | "elseif" | "when" => self.condition("then"),
            "while" => self.condition("loop"),
            "case" => self.condition("when"),
            "for" | "foreach" => self.for_loop(),
            "execute" => {
                let chunk = self.until_semicolon();
                self.execute(chunk);
            }
            "perform" => {
                let chunk = self.until_semicolon();
                self.select(chunk);
            }
            "return" => self.return_(),
            "open" => self.open(),
            "end" | "fetch" | "move" | "close" | "get" | "null" | "exit" | "continue" => {
                self.until_semicolon();
            }
            "raise" | "assert" => {
                let chunk = self.until_semicolon();
                scan::code(chunk, self.found);
            }
            _ => {
                let chunk = self.until_semicolon();
                self.sql(chunk);
            }
        }
    }

    /// `target := value;` and `target = value;`, passed over; the value.
    fn assignment(&mut self) -> Option<Cursor<'b>> {
        let before = self.rest;
        let value = assigned(self.until_semicolon());
        if value.is_none() {
            self.rest = before;
        }
        value
    }

    /// `name type := value; name CURSOR FOR query; ...` up to BEGIN.
    fn declarations(&mut self) {
        while !self.rest.at_end() && !self.rest.is("begin") {
            let mut chunk = self.until_semicolon();
            let mut cursor = chunk;
            if cursor.skip_past("cursor") && (cursor.skip_past("for") || cursor.skip_past("is")) {
                self.sql(cursor);
            } else if chunk.skip_past("default")
                || chunk.skip_past_operator(":=")
                || chunk.skip_past_operator("=")
            {
                self.expressions(chunk);
            }
        }
    }

    /// `IF condition THEN` and the like: the first word, the condition and the last.
    fn condition(&mut self, last: &str) {
        self.rest.next();
        let condition = self.until_word(last);
        self.expressions(condition);
    }

    /// `FOR target IN ... LOOP`
    fn for_loop(&mut self) {
        let mut header = self.until_word("loop");
        if !header.skip_past("in") && !header.skip_past("array") {
            return scan::code(header, self.found);
        }
        header.eat("reverse");
        if header.is("execute") {
            self.execute(header);
        } else if statement::starts_query(header) {
            self.sql(header);
        } else {
            // Bounds, or a cursor with arguments.
            let range = |at: &usize| {
                let dot = |at| {
                    header
                        .tokens
                        .get(at)
                        .is_some_and(|t: &Token| t.kind == Kind::Dot)
                };
                dot(*at) && dot(at + 1)
            };
            let split = (0..header.tokens.len()).find(range);
            let (low, high) = header.tokens.split_at(split.unwrap_or(header.tokens.len()));
            for tokens in [low, high.get(2..).unwrap_or(&[])] {
                self.expressions(Cursor { tokens, ..header });
            }
        }
    }

    fn return_(&mut self) {
        self.rest.next();
        let mut chunk = self.until_semicolon();
        if chunk.eat("query") {
            if chunk.is("execute") {
                self.execute(chunk);
            } else {
                self.sql(chunk);
            }
        } else {
            chunk.eat("next");
            self.expressions(chunk);
        }
    }

    /// `OPEN cursor [[NO] SCROLL] FOR query`, `... FOR EXECUTE text`, `OPEN cursor (arguments)`
    fn open(&mut self) {
        let chunk = self.until_semicolon();
        let mut query = chunk;
        if !query.skip_past("for") {
            scan::code(chunk, self.found);
        } else if query.is("execute") {
            self.execute(query);
        } else {
            self.sql(query);
        }
    }

    /// `EXECUTE text [INTO target] [USING values]`: of a literal its effects, of anything else nobody knows what.
    fn execute(&mut self, chunk: Cursor<'_>) {
        let mut rest = chunk;
        rest.next();
        let ends = ["into", "using", "loop"];
        let text: Vec<Token> = rest
            .tokens
            .iter()
            .copied()
            .take_while(|token| {
                let word = token.text(rest.text);
                token.kind != Kind::Word || !ends.iter().any(|end| end.eq_ignore_ascii_case(word))
            })
            .filter(|token| !matches!(token.kind, Kind::LParen | Kind::RParen))
            .collect();
        match text.as_slice() {
            [only] if only.kind.is_string() => {
                sql_text(self.source, *only, self.found, self.depth);
                if rest.skip_past("using") {
                    self.expressions(rest);
                }
            }
            _ => self.found.dynamic(),
        }
    }

    /// PERFORM is SELECT that throws the result away.
    fn select(&mut self, chunk: Cursor<'_>) {
        let mut rest = chunk;
        rest.next();
        let mut inner = Collector::default();
        match statement::read_select(self.source, rest, &mut inner) {
            Ok(()) => self.take(inner),
            Err(Unread) => scan::code(chunk, self.found),
        }
    }

    fn sql(&mut self, chunk: Cursor<'_>) {
        if chunk.at_end() {
            return;
        }
        let tokens = without_target(chunk);
        let statement = Cursor {
            tokens: &tokens,
            ..chunk
        };
        let mut inner = Collector::default();
        match statement::read(self.source, statement, &mut inner, self.depth + 1) {
            Ok(()) => self.take(inner),
            Err(Unread) => scan::code(chunk, self.found),
        }
    }

    fn expressions(&mut self, list: Cursor<'_>) {
        if !list.tokens.iter().any(|token| token.kind == Kind::LParen) {
            return;
        }
        let mut inner = Collector::default();
        match statement::read_expressions(self.source, list, &mut inner) {
            Ok(()) => self.found.absorb(inner),
            Err(Unread) => scan::code(list, self.found),
        }
    }

    fn take(&mut self, mut inner: Collector) {
        inner.finish();
        self.found.absorb(inner);
    }

    /// What stands before the next semicolon, which is passed over too.
    fn until_semicolon(&mut self) -> Cursor<'b> {
        let mut parens = 0usize;
        let end = self.rest.tokens.iter().position(|token| {
            match token.kind {
                Kind::LParen => parens += 1,
                Kind::RParen => parens = parens.saturating_sub(1),
                _ => {}
            }
            token.kind == Kind::Semicolon && parens == 0
        });
        self.split(end)
    }

    /// What stands before the word, which is passed over too; CASE ... END in it is left whole.
    fn until_word(&mut self, last: &str) -> Cursor<'b> {
        let mut cases = 0usize;
        let rest = self.rest;
        let end = rest.tokens.iter().position(|token| {
            let word = if token.kind == Kind::Word {
                token.text(rest.text)
            } else {
                ""
            };
            if cases == 0 && word.eq_ignore_ascii_case(last) {
                return true;
            }
            if word.eq_ignore_ascii_case("case") {
                cases += 1;
            } else if word.eq_ignore_ascii_case("end") {
                cases = cases.saturating_sub(1);
            }
            token.kind == Kind::Semicolon
        });
        self.split(end)
    }

    fn split(&mut self, end: Option<usize>) -> Cursor<'b> {
        let rest = self.rest;
        let end = end.unwrap_or(rest.tokens.len());
        self.rest.tokens = rest.tokens.get(end + 1..).unwrap_or(&[]);
        Cursor {
            tokens: &rest.tokens[..end],
            ..rest
        }
    }
}

fn assigned(mut statement: Cursor<'_>) -> Option<Cursor<'_>> {
    statement.ident().ok()?;
    while !statement.at_end() {
        if statement.eat_kind(Kind::Dot) {
            statement.ident().ok()?;
        } else if statement.brackets().is_none() {
            break;
        }
    }
    (statement.eat_operator(":=") || statement.eat_operator("=")).then_some(statement)
}

/// SQL in PL/pgSQL stores what it returns: `SELECT a INTO b, c.d FROM t`, `DELETE ... RETURNING x INTO y`. It makes no
/// table, and the names are no objects.
fn without_target(chunk: Cursor<'_>) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(chunk.tokens.len());
    let mut rest = chunk;
    let mut depth = 0usize;
    let mut previous = "";
    while let Some(token) = rest.peek() {
        match token.kind {
            Kind::LParen => depth += 1,
            Kind::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let target = depth == 0 && rest.is("into") && !is_one_of(previous, &["insert", "merge"]);
        if target && !chunk.is("import") && !chunk.is("create") {
            rest.next();
            rest.eat("strict");
            skip_targets(&mut rest);
            previous = "";
            continue;
        }
        previous = if token.kind == Kind::Word {
            token.text(rest.text)
        } else {
            ""
        };
        tokens.push(token);
        rest.next();
    }
    tokens
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| other.eq_ignore_ascii_case(word))
}

fn skip_targets(rest: &mut Cursor<'_>) {
    loop {
        if rest.parts().is_err() {
            return;
        }
        while rest.brackets().is_some() {}
        if !rest.eat_kind(Kind::Comma) {
            return;
        }
    }
}
