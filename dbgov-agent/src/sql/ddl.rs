//! CREATE, ALTER, DROP: the kind and the name from the tokens in front, then whatever else names a relation or is code.

use super::collector::Collector;
use super::cursor::{Cursor, Unread};
use super::lexer::Kind;
use super::name::{Object, ObjectKind};
use super::scan;
use super::statement::{self, Source};
use super::utility;
use super::verb::Verb;

type Read = Result<(), Unread>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `name`
    Plain,
    /// `name ON table`: triggers, rules, policies.
    OnTable,
    /// The name is no plain identifier (casts, operators, user mappings, ...).
    Nameless,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct KindOf {
    words: &'static str,
    pub(crate) object: ObjectKind,
    form: Form,
}

const fn plain(words: &'static str, object: ObjectKind) -> KindOf {
    KindOf {
        words,
        object,
        form: Form::Plain,
    }
}

const fn of_form(words: &'static str, form: Form) -> KindOf {
    KindOf {
        words,
        object: ObjectKind::Other,
        form,
    }
}

/// What can be created, altered or dropped; longer spellings before their beginnings.
const KINDS: &[KindOf] = &[
    plain("foreign table", ObjectKind::Relation),
    plain("materialized view", ObjectKind::Relation),
    plain("table", ObjectKind::Relation),
    plain("view", ObjectKind::Relation),
    plain("index", ObjectKind::Index),
    plain("sequence", ObjectKind::Sequence),
    plain("function", ObjectKind::Function),
    plain("procedure", ObjectKind::Function),
    plain("routine", ObjectKind::Function),
    plain("aggregate", ObjectKind::Function),
    plain("type", ObjectKind::Type),
    plain("domain", ObjectKind::Type),
    plain("schema", ObjectKind::Schema),
    plain("database", ObjectKind::Database),
    plain("role", ObjectKind::Role),
    of_form("user mapping", Form::Nameless),
    plain("user", ObjectKind::Role),
    plain("group", ObjectKind::Role),
    of_form("event trigger", Form::Plain),
    of_form("trigger", Form::OnTable),
    of_form("rule", Form::OnTable),
    of_form("policy", Form::OnTable),
    of_form("foreign data wrapper", Form::Plain),
    of_form("access method", Form::Plain),
    of_form("text search configuration", Form::Plain),
    of_form("text search dictionary", Form::Plain),
    of_form("text search parser", Form::Plain),
    of_form("text search template", Form::Plain),
    of_form("operator class", Form::Plain),
    of_form("operator family", Form::Plain),
    of_form("operator", Form::Nameless),
    of_form("cast", Form::Nameless),
    of_form("transform", Form::Nameless),
    of_form("large object", Form::Nameless),
    of_form("foreign server", Form::Plain),
    of_form("server", Form::Plain),
    of_form("extension", Form::Plain),
    of_form("language", Form::Plain),
    of_form("procedural language", Form::Plain),
    of_form("collation", Form::Plain),
    of_form("conversion", Form::Plain),
    of_form("statistics", Form::Plain),
    of_form("publication", Form::Plain),
    of_form("subscription", Form::Plain),
    of_form("tablespace", Form::Plain),
];

/// The kind of object, if the next words are one.
pub(crate) fn kind(rest: &mut Cursor<'_>) -> Option<KindOf> {
    KINDS.iter().copied().find(|kind| rest.eat(kind.words))
}

pub(crate) fn read(
    source: &Source<'_>,
    statement: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) -> Read {
    let mut rest = statement;
    if rest.eat("create") {
        create(source, rest, found, depth)
    } else if rest.eat("alter") {
        alter(source, rest, found)
    } else {
        rest.expect("drop")?;
        drop_(rest, found)
    }
}

/// `kind name`, `kind name ON table`: one object.
pub(crate) fn object(verb: Verb, rest: &mut Cursor<'_>, found: &mut Collector) -> Read {
    let kind = kind(rest).ok_or(Unread)?;
    rest.eat_one_of(&["if exists", "if not exists"]);
    match kind.form {
        Form::Nameless => found.verb(verb),
        Form::Plain => found.on(verb, rest.name(kind.object)?),
        Form::OnTable => {
            let name = rest.name(kind.object)?;
            rest.expect("on")?;
            found.on(verb, rest.name(ObjectKind::Relation)?);
            found.on(verb, name);
        }
    }
    Ok(())
}

fn drop_(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if rest.eat("owned by") {
        return utility::roles(Verb::Drop, rest, found);
    }
    let before = rest;
    let kind = kind(&mut rest).ok_or(Unread)?;
    if kind.form != Form::Plain {
        rest = before;
        return object(Verb::Drop, &mut rest, found);
    }
    rest.eat("concurrently");
    rest.eat("if exists");
    for name in rest.names(kind.object)? {
        found.on(Verb::Drop, name);
    }
    rest.eat_one_of(&["cascade", "restrict"]);
    // DROP OPERATOR CLASS name USING method, DROP DATABASE name WITH (FORCE)
    if rest.is("using") || rest.is("with") {
        Ok(())
    } else {
        rest.end()
    }
}

fn alter(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    found.verb(Verb::Alter);
    if rest.eat("default privileges") {
        let mut grant = rest;
        if grant.skip_past("grant") {
            found.verb(Verb::Grant);
        } else if rest.skip_past("revoke") {
            found.verb(Verb::Revoke);
        } else {
            return Err(Unread);
        }
        return Ok(());
    }
    if rest.eat("system") {
        rest.eat_one_of(&["set", "reset"]);
        let name = rest.parts()?.join(".");
        found.on(Verb::Alter, Object::bare(ObjectKind::Setting, &name));
        return Ok(());
    }
    let before = rest;
    let kind = kind(&mut rest).ok_or(Unread)?;
    if kind.form != Form::Plain {
        rest = before;
        return object(Verb::Alter, &mut rest, found);
    }
    if rest.eat("all in tablespace") {
        return Ok(());
    }
    rest.eat("if exists");
    rest.eat("only");
    let name = rest.name(kind.object)?;
    found.on(Verb::Alter, name);
    match kind.object {
        ObjectKind::Relation | ObjectKind::Sequence => mentioned(source, Verb::Alter, rest, found),
        _ => Ok(()),
    }
}

/// Relations that the definition of another refers to, and the functions of its defaults.
fn mentioned(source: &Source<'_>, verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    const BEFORE_NAME: &[&str] = &[
        "references",
        "partition of",
        "attach partition",
        "detach partition",
        "inherit",
        "no inherit",
    ];
    let mut element_starts = false;
    while let Some(token) = rest.peek() {
        if rest.eat_one_of(BEFORE_NAME) || (element_starts && rest.eat("like")) {
            found.on(verb, rest.name(ObjectKind::Relation)?);
        } else if rest.eat("inherits") {
            for parent in rest.parens().ok_or(Unread)?.names(ObjectKind::Relation)? {
                found.on(verb, parent);
            }
        } else if rest.eat("owned by") {
            // SEQUENCE ... OWNED BY table.column
            let mut parts = rest.parts()?;
            parts.pop();
            if let Some(table) = Object::from_parts(ObjectKind::Relation, &parts) {
                found.on(verb, table);
            }
        } else if rest.eat("default") {
            default_call(source, &mut rest, found)?;
        } else {
            rest.next();
        }
        element_starts = matches!(token.kind, Kind::LParen | Kind::Comma);
    }
    Ok(())
}

/// `DEFAULT f(...)`; what else a default can be calls nothing or is passed over.
fn default_call(source: &Source<'_>, rest: &mut Cursor<'_>, found: &mut Collector) -> Read {
    let mut call = *rest;
    let Ok(name) = call.name(ObjectKind::Function) else {
        return Ok(());
    };
    if call.peek().is_some_and(|token| token.kind == Kind::LParen) {
        let inside = call.parens().ok_or(Unread)?;
        found.on(Verb::Call, name);
        statement::read_expressions(source, inside, found)?;
        *rest = call;
    }
    Ok(())
}

fn create(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    const MODIFIERS: &[&str] = &[
        "or replace",
        "temporary",
        "temp",
        "global",
        "local",
        "unlogged",
        "unique",
        "recursive",
        "constraint",
        "trusted",
        "procedural",
        "default",
    ];
    found.verb(Verb::Create);
    while rest.eat_one_of(MODIFIERS) {}
    let kind = kind(&mut rest).ok_or(Unread)?;
    rest.eat("concurrently");
    rest.eat("if not exists");
    match kind.words {
        "index" => index(rest, found),
        "schema" => schema(rest, found),
        "trigger" => trigger(rest, found),
        "rule" => rule(rest, found),
        "policy" => {
            let name = rest.name(ObjectKind::Other)?;
            rest.expect("on")?;
            found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
            found.on(Verb::Create, name);
            Ok(())
        }
        "function" | "procedure" => routine(rest, found),
        "table" | "view" | "materialized view" => relation(source, rest, found, depth),
        _ if kind.form == Form::Nameless => Ok(()),
        _ => {
            found.on(Verb::Create, rest.name(kind.object)?);
            match kind.object {
                ObjectKind::Relation | ObjectKind::Sequence => {
                    mentioned(source, Verb::Create, rest, found)
                }
                _ => Ok(()),
            }
        }
    }
}

/// `[name] ON table`
fn index(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let name = if rest.is("on") {
        None
    } else {
        Some(rest.name(ObjectKind::Index)?)
    };
    rest.expect("on")?;
    rest.eat("only");
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    if let Some(name) = name {
        found.on(Verb::Create, name);
    }
    Ok(())
}

/// The elements of a new schema are statements without semicolons: what their tokens say.
fn schema(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if !rest.is("authorization") {
        found.on(Verb::Create, rest.name(ObjectKind::Schema)?);
    }
    if rest.eat("authorization") {
        found.on(Verb::Create, rest.name(ObjectKind::Role)?);
    }
    scan::code(rest, found);
    Ok(())
}

/// `name BEFORE INSERT OR ... ON table ... EXECUTE FUNCTION f(...)`
fn trigger(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let name = rest.name(ObjectKind::Other)?;
    if !rest.skip_past("on") {
        return Err(Unread);
    }
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    found.on(Verb::Create, name);
    if rest.eat("from") {
        found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    }
    if !rest.skip_past("execute") || !rest.eat_one_of(&["function", "procedure"]) {
        return Err(Unread);
    }
    found.on(Verb::Call, rest.name(ObjectKind::Function)?);
    Ok(())
}

/// `name AS ON event TO table [WHERE ...] DO statements`
fn rule(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let name = rest.name(ObjectKind::Other)?;
    rest.expect("as")?;
    if !rest.skip_past("to") {
        return Err(Unread);
    }
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    found.on(Verb::Create, name);
    if !rest.skip_past("do") {
        return Err(Unread);
    }
    scan::code(rest, found);
    Ok(())
}

/// The strings behind AS, and what stands between BEGIN ATOMIC and END or behind RETURN, are code.
fn routine(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    found.on(Verb::Create, rest.name(ObjectKind::Function)?);
    if !rest.skip_parens() {
        return Err(Unread);
    }
    let mut body = false;
    while let Some(token) = rest.next() {
        if token.kind == Kind::Word {
            let word = token.text(rest.text);
            body = word.eq_ignore_ascii_case("as");
            if word.eq_ignore_ascii_case("atomic") || word.eq_ignore_ascii_case("return") {
                scan::code(rest, found);
                return Ok(());
            }
        } else if body && token.kind.is_string() {
            scan::body(token, rest.text, found);
        }
    }
    Ok(())
}

/// Tables and views: `name (...) ... [AS query]`.
fn relation(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    let mut query = rest;
    let definition = if query.skip_past("as") {
        Cursor {
            tokens: &rest.tokens[..rest.tokens.len() - query.tokens.len()],
            ..rest
        }
    } else {
        query.tokens = &[];
        rest
    };
    mentioned(source, Verb::Create, definition, found)?;
    if query.at_end() {
        return Ok(());
    }
    for words in [
        "with no data",
        "with data",
        "with check option",
        "with local check option",
        "with cascaded check option",
    ] {
        query.strip_end(words);
    }
    found.absorb(statement::read_inner(source, query, depth)?);
    Ok(())
}
