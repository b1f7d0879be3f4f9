//! What tokens could mean: for statements and code that no reader knows.

use super::body::{self, Language};
use super::builtin;
use super::change::Change;
use super::collector::{Collector, Effect};
use super::cursor::Cursor;
use super::lexer::Kind;
use super::name::{Object, ObjectKind};
use super::statement::Source;
use super::verb::Verb;

/// Verbs of words that can stand anywhere in a statement.
const ANYWHERE: &[(&str, Verb)] = &[
    ("select", Verb::Select),
    ("insert", Verb::Insert),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("merge", Verb::Merge),
    ("truncate", Verb::Truncate),
    ("create", Verb::Create),
    ("alter", Verb::Alter),
    ("drop", Verb::Drop),
    ("grant", Verb::Grant),
    ("revoke", Verb::Revoke),
    ("call", Verb::Call),
    ("do", Verb::Do),
    ("execute", Verb::Execute),
    ("prepare", Verb::Prepare),
    ("explain", Verb::Explain),
    ("notify", Verb::Notify),
    ("declare", Verb::Declare),
    ("comment", Verb::Comment),
    ("lock", Verb::Lock),
    ("vacuum", Verb::Vacuum),
    ("analyze", Verb::Analyze),
    ("analyse", Verb::Analyze),
    ("cluster", Verb::Cluster),
    ("reindex", Verb::Reindex),
    ("refresh", Verb::Refresh),
    ("import", Verb::Import),
    ("reassign", Verb::Reassign),
    ("load", Verb::Load),
    ("checkpoint", Verb::Checkpoint),
];

/// Verbs of words that mean something else unless the statement starts with them (`UPDATE t SET`, `CASE ... END`).
const FIRST: &[(&str, Verb)] = &[
    ("table", Verb::Select),
    ("values", Verb::Select),
    ("set", Verb::Set),
    ("reset", Verb::Reset),
    ("show", Verb::Show),
    ("discard", Verb::Discard),
    ("begin", Verb::Begin),
    ("start", Verb::Begin),
    ("commit", Verb::Commit),
    ("end", Verb::Commit),
    ("rollback", Verb::Rollback),
    ("abort", Verb::Rollback),
    ("savepoint", Verb::Savepoint),
    ("release", Verb::Savepoint),
    ("listen", Verb::Listen),
    ("unlisten", Verb::Unlisten),
    ("deallocate", Verb::Deallocate),
    ("fetch", Verb::Fetch),
    ("move", Verb::Move),
    ("close", Verb::Close),
    ("security", Verb::SecurityLabel),
];

/// Verbs whose effects code carries; of the others (`BEGIN`, `DECLARE`, `FETCH`, ...) procedural languages have their own.
const IN_CODE: &[Verb] = &[
    Verb::Select,
    Verb::Insert,
    Verb::Update,
    Verb::Delete,
    Verb::Merge,
    Verb::Truncate,
    Verb::Create,
    Verb::Alter,
    Verb::Drop,
    Verb::Grant,
    Verb::Revoke,
    Verb::Call,
    Verb::Comment,
    Verb::Lock,
    Verb::Vacuum,
    Verb::Cluster,
    Verb::Reindex,
    Verb::Refresh,
    Verb::Import,
    Verb::Reassign,
    Verb::Notify,
];

fn verb_of(word: &str, list: &[(&str, Verb)]) -> Option<Verb> {
    list.iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, verb)| *verb)
}

/// A statement that could not be read.
pub(crate) fn unparsed(
    source: &Source<'_>,
    statement: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) {
    found.push(Effect::uncertain(Verb::Unknown, None));
    let mut rest = statement;
    let without_where = without_where(statement);
    let has_body = rest.is("do") || rest.is("create");
    if let Some(word) = rest.word_at(0) {
        if word.eq_ignore_ascii_case("copy") {
            copy(rest, found);
        } else if let Some(verb) = verb_of(word, FIRST) {
            found.push(Effect::uncertain(verb, None));
        }
        changes(word, rest, found);
    }
    while let Some(token) = rest.peek() {
        if token.kind == Kind::Word
            && let Some(verb) = verb_of(token.text(rest.text), ANYWHERE)
        {
            act(verb, rest, &without_where, found);
        }
        // The body of a DO or a function that could not be read.
        if has_body && token.kind.is_string() {
            let mut inner = Collector::default();
            body::string(source, token, Language::Plpgsql, &mut inner, depth);
            found.absorb_uncertain(inner);
        }
        relations(rest, Verb::Unknown, found);
        call(rest, found);
        rest.next();
    }
}

/// What a statement may leave to its session that could not be read.
fn changes(first: &str, statement: Cursor<'_>, found: &mut Collector) {
    let mut rest = statement;
    rest.next();
    match first.to_ascii_lowercase().as_str() {
        "set" | "reset" | "discard" => found.set_all_computed(),
        "prepare" => {
            let name = rest.ident();
            if let (Ok(name), true) = (name, rest.skip_past("as")) {
                found.change(Change::Prepare {
                    name: name.into(),
                    text: rest.written().into(),
                });
            }
        }
        "execute" => {
            if let Ok(name) = rest.ident() {
                found.change(Change::Execute { name: name.into() });
            }
        }
        "deallocate" => found.change(Change::Deallocate { name: None }),
        _ => {}
    }
}

fn copy(statement: Cursor<'_>, found: &mut Collector) {
    for (word, verb) in [("from", Verb::CopyFrom), ("to", Verb::CopyTo)] {
        let mut rest = statement;
        if rest.skip_past(word) {
            found.push(Effect {
                server_side: !rest.is("stdin") && !rest.is("stdout"),
                ..Effect::uncertain(verb, None)
            });
        }
    }
}

/// Code that could not be read.
pub(crate) fn code(statement: Cursor<'_>, found: &mut Collector) {
    let mut rest = statement;
    let without_where = without_where(statement);
    let mut previous = "";
    while let Some(token) = rest.peek() {
        let word = if token.kind == Kind::Word {
            token.text(rest.text)
        } else {
            ""
        };
        if word.eq_ignore_ascii_case("perform") {
            found.push(Effect::uncertain(Verb::Select, None));
        } else if word.eq_ignore_ascii_case("execute") {
            execute(rest, found);
        } else if let Some(verb) = verb_of(word, ANYWHERE)
            && IN_CODE.contains(&verb)
            && !is_clause(previous)
        {
            act(verb, rest, &without_where, found);
        }
        if !previous.eq_ignore_ascii_case("delete") {
            relations(rest, Verb::Select, found);
        }
        call(rest, found);
        previous = word;
        rest.next();
    }
}

/// EXECUTE in code runs a text nobody knows. In a trigger's definition and in GRANT it is no statement.
fn execute(mut rest: Cursor<'_>, found: &mut Collector) {
    rest.next();
    if !rest.is("function") && !rest.is("procedure") && !rest.is("on") {
        found.dynamic();
    }
}

/// `name(`, where that is no list of columns and no keyword's.
fn call(here: Cursor<'_>, found: &mut Collector) {
    const NO_FUNCTION: &[&str] = &[
        "all",
        "and",
        "any",
        "array",
        "as",
        "by",
        "case",
        "check",
        "columns",
        "conflict",
        "distinct",
        "else",
        "except",
        "exists",
        "filter",
        "from",
        "group",
        "having",
        "if",
        "in",
        "index",
        "insert",
        "interval",
        "into",
        "is",
        "join",
        "key",
        "lateral",
        "like",
        "limit",
        "not",
        "on",
        "or",
        "over",
        "partition",
        "primary",
        "references",
        "returning",
        "select",
        "set",
        "similar",
        "some",
        "table",
        "then",
        "to",
        "union",
        "unique",
        "using",
        "values",
        "when",
        "where",
        "with",
    ];
    let mut rest = here;
    let quoted = here.peek().is_some_and(|token| token.kind != Kind::Word);
    if !quoted && NO_FUNCTION.iter().any(|word| here.is(word)) {
        return;
    }
    let Ok(name) = rest.ident() else { return };
    if rest.peek().is_some_and(|token| token.kind == Kind::LParen) {
        builtin::call_uncertain(Object::bare(ObjectKind::Function, &name), found);
    }
}

/// `FOR UPDATE`, `ON DELETE CASCADE`, `INSERT OR UPDATE`: no statement starts after these words.
fn is_clause(previous: &str) -> bool {
    ["for", "on", "or", "key", "no", "of", "before", "after"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(previous))
}

/// The verb on the object named right behind it, if one is.
fn act(verb: Verb, mut rest: Cursor<'_>, without_where: &[u32], found: &mut Collector) {
    let missing_where = rest
        .next()
        .is_some_and(|token| without_where.binary_search(&token.start).is_ok());
    let named = match verb {
        Verb::Insert | Verb::Merge => rest.eat("into"),
        Verb::Delete => rest.eat("from"),
        Verb::Update => true,
        Verb::Truncate => {
            rest.eat("table");
            true
        }
        Verb::Create | Verb::Alter | Verb::Drop => {
            rest.eat_one_of(&["table", "view", "materialized view"])
        }
        _ => false,
    };
    rest.eat_one_of(&["if exists", "if not exists"]);
    rest.eat("only");
    let object = if named {
        rest.name(ObjectKind::Relation).ok()
    } else {
        None
    };
    // UPDATE SET of ON CONFLICT DO UPDATE names nothing.
    let object = object.filter(|object| verb != Verb::Update || &*object.name != "set");
    found.push(Effect {
        missing_where,
        ..Effect::uncertain(verb, object)
    });
}

/// The names behind FROM, JOIN or USING, unless they are functions'.
fn relations(mut rest: Cursor<'_>, verb: Verb, found: &mut Collector) {
    const NO_NAME: &[&str] = &["select", "lateral", "where", "values", "rows"];
    if !rest.eat_one_of(&["from", "join", "using"]) {
        return;
    }
    loop {
        rest.eat("only");
        if NO_NAME.iter().any(|word| rest.is(word)) {
            return;
        }
        let Ok(name) = rest.name(ObjectKind::Relation) else {
            return;
        };
        if rest.peek().is_some_and(|token| token.kind == Kind::LParen) {
            return;
        }
        found.push(Effect::uncertain(verb, Some(name)));
        // An alias, and the next of the list.
        rest.eat_star();
        rest.eat("as");
        if rest.peek().is_some_and(|token| token.kind.is_ident()) {
            rest.next();
        }
        if !rest.eat_kind(Kind::Comma) {
            return;
        }
    }
}

/// Where the UPDATEs and DELETEs stand (bytes of the text, ascending) that no WHERE follows: none before the next
/// semicolon or the next of them, and none in the parentheses they stand in.
fn without_where(statement: Cursor<'_>) -> Vec<u32> {
    let mut found = Vec::new();
    let mut outer = Vec::new();
    let mut followed = false;
    for (at, token) in statement.tokens.iter().enumerate().rev() {
        let here = Cursor {
            tokens: &statement.tokens[at..],
            ..statement
        };
        match token.kind {
            Kind::Semicolon => followed = false,
            Kind::RParen => outer.push(std::mem::take(&mut followed)),
            Kind::LParen => followed = outer.pop().unwrap_or_default(),
            Kind::Word if here.is("where") => followed = true,
            Kind::Word if starts_write(here) && !std::mem::take(&mut followed) => {
                found.push(token.start);
            }
            _ => {}
        }
    }
    found.reverse();
    found
}

fn starts_write(here: Cursor<'_>) -> bool {
    (here.is("update") && !here.is_at(1, "set")) || (here.is("delete") && here.is_at(1, "from"))
}
