//! CREATE, ALTER, DROP: the kind and the name from the tokens in front, then whatever else names a relation or is code.

use super::body::{self, Language};
use super::builtin;
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
        return default_privileges(rest, found);
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
        _ if kind.words == "publication" => published(Verb::Alter, rest, found),
        _ => Ok(()),
    }
}

/// `FOR TABLE a, b (c) WHERE (d), TABLES IN SCHEMA s`
fn published(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    while !rest.at_end() {
        if rest.eat("table") {
            for table in rest.names(ObjectKind::Relation)? {
                found.on(verb, table);
            }
        } else {
            rest.next();
        }
    }
    Ok(())
}

/// `[FOR ROLE roles] [IN SCHEMA schemas] GRANT ...`: on the schemas, or on none.
fn default_privileges(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let mut grant = rest;
    let verb = if grant.skip_past("grant") {
        Verb::Grant
    } else if grant.skip_past("revoke") {
        Verb::Revoke
    } else {
        return Err(Unread);
    };
    found.verb(verb);
    if rest.skip_past("in") && rest.eat("schema") {
        for schema in rest.names(ObjectKind::Schema)? {
            found.on(Verb::Alter, schema.clone());
            found.on(verb, schema);
        }
    }
    Ok(())
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
        if rest.eat("exclude using") {
            rest.next();
        } else if rest.eat("not null no inherit") {
            // Of a constraint, not of the table.
        } else if rest.eat_one_of(BEFORE_NAME) || (element_starts && rest.eat("like")) {
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
        } else if rest.eat_one_of(&["check", "generated always as", "where"]) {
            if rest.peek().is_some_and(|token| token.kind == Kind::LParen) {
                expressions(source, rest.parens().ok_or(Unread)?, found);
                rest.eat("no inherit");
            }
        } else if rest.eat("using") {
            // ALTER COLUMN ... TYPE ... USING expression
            let (mut expression, mut after) = (rest, rest);
            after.skip_to_comma();
            expression.tokens = &expression.tokens[..expression.tokens.len() - after.tokens.len()];
            expressions(source, expression, found);
            rest = after;
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
        builtin::call(name, found);
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
        "index" => index(source, rest, found),
        "schema" => schema(source, rest, found, depth),
        "trigger" => trigger(source, rest, found),
        "event trigger" => event_trigger(rest, found),
        "rule" => rule(source, rest, found, depth),
        "policy" => policy(source, rest, found),
        "function" | "procedure" => routine(source, rest, found, depth),
        "statistics" => statistics(source, rest, found),
        "publication" => {
            found.on(Verb::Create, rest.name(ObjectKind::Other)?);
            published(Verb::Create, rest, found)
        }
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

/// `[name] ON table (expressions) WHERE (condition)`: the functions run for every row.
fn index(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
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
    calls(source, rest, found);
    if rest.skip_past("where") {
        expressions(source, rest, found);
    }
    Ok(())
}

/// The elements of a new schema are statements without semicolons.
fn schema(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    if !rest.is("authorization") {
        found.on(Verb::Create, rest.name(ObjectKind::Schema)?);
    }
    if rest.eat("authorization") {
        found.on(Verb::Create, rest.name(ObjectKind::Role)?);
    }
    while !rest.at_end() {
        let end = element_end(rest);
        let element = Cursor {
            tokens: &rest.tokens[..end],
            ..rest
        };
        rest.tokens = &rest.tokens[end..];
        found.absorb(statement::read_inner(source, element, depth)?);
    }
    Ok(())
}

/// Where the next CREATE or GRANT stands that is no privilege.
fn element_end(rest: Cursor<'_>) -> usize {
    let mut depth = 0usize;
    for (at, token) in rest.tokens.iter().enumerate().skip(1) {
        match token.kind {
            Kind::LParen => depth += 1,
            Kind::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let privilege = rest.is_at(at - 1, "grant") || rest.tokens[at - 1].kind == Kind::Comma;
        if depth == 0 && !privilege && (rest.is_at(at, "create") || rest.is_at(at, "grant")) {
            return at;
        }
    }
    rest.tokens.len()
}

/// `name BEFORE INSERT OR ... ON table ... WHEN (condition) EXECUTE FUNCTION f(...)`
fn trigger(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let name = rest.name(ObjectKind::Other)?;
    if !rest.skip_past("on") {
        return Err(Unread);
    }
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    found.on(Verb::Create, name);
    if rest.eat("from") {
        found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    }
    let mut when = rest;
    if when.skip_past("when")
        && let Some(condition) = when.parens()
    {
        expressions(source, condition, found);
    }
    executed(rest, found)
}

fn event_trigger(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    found.on(Verb::Create, rest.name(ObjectKind::Other)?);
    executed(rest, found)
}

/// `EXECUTE FUNCTION f(...)`
fn executed(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if !rest.skip_past("execute") || !rest.eat_one_of(&["function", "procedure"]) {
        return Err(Unread);
    }
    builtin::call(rest.name(ObjectKind::Function)?, found);
    Ok(())
}

/// `name AS ON event TO table [WHERE condition] DO statements`
fn rule(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    let name = rest.name(ObjectKind::Other)?;
    rest.expect("as")?;
    if !rest.skip_past("to") {
        return Err(Unread);
    }
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    found.on(Verb::Create, name);
    let mut condition = rest;
    if !rest.skip_past("do") {
        return Err(Unread);
    }
    condition = condition.up_to(rest);
    condition.strip_end("do");
    if condition.eat("where") {
        expressions(source, condition, found);
    }
    rest.eat_one_of(&["also", "instead"]);
    if rest.eat("nothing") {
        return rest.end();
    }
    let several = rest;
    let actions = rest.parens().filter(|_| rest.at_end()).unwrap_or(several);
    let mut inner = Collector::default();
    body::statements(source, actions, &mut inner, depth);
    inner.changes.clear();
    found.absorb(inner);
    Ok(())
}

/// `name ON table ... USING (condition) WITH CHECK (condition)`
fn policy(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let name = rest.name(ObjectKind::Other)?;
    rest.expect("on")?;
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    found.on(Verb::Create, name);
    calls(source, rest, found);
    Ok(())
}

/// `[name] [(kinds)] ON expressions FROM table`
fn statistics(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if !rest.is("on") && rest.peek().is_some_and(|token| token.kind.is_ident()) {
        found.on(Verb::Create, rest.name(ObjectKind::Other)?);
    }
    rest.skip_parens();
    rest.expect("on")?;
    let mut list = rest;
    if !rest.skip_past("from") {
        return Err(Unread);
    }
    list = list.up_to(rest);
    list.strip_end("from");
    found.on(Verb::Create, rest.name(ObjectKind::Relation)?);
    expressions(source, list, found);
    Ok(())
}

/// The string behind AS, what stands between BEGIN ATOMIC and END, and what stands behind RETURN, are code.
fn routine(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    found.on(Verb::Create, rest.name(ObjectKind::Function)?);
    if !rest.skip_parens() {
        return Err(Unread);
    }
    let language = body::language(rest).unwrap_or(Language::Sql);
    let mut inner = Collector::default();
    let mut body = false;
    while let Some(token) = rest.next() {
        if token.kind == Kind::Word {
            let word = token.text(rest.text);
            body = word.eq_ignore_ascii_case("as");
            if word.eq_ignore_ascii_case("atomic") {
                rest.strip_end("end");
                body::statements(source, rest, &mut inner, depth);
                break;
            } else if word.eq_ignore_ascii_case("return") {
                body::expression(source, rest, &mut inner, depth);
                break;
            }
        } else if body && token.kind.is_string() {
            body::string(source, token, language, &mut inner, depth);
        }
    }
    // It runs when the function is called, which nobody is told.
    inner.changes.clear();
    found.absorb(inner);
    Ok(())
}

/// Every `(...)` and `name(...)` at the top: conditions and calls. What is none of them is passed over.
fn calls(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) {
    while !rest.at_end() {
        if let Some(inside) = rest.parens() {
            expressions(source, inside, found);
        } else if rest.next().is_some_and(|token| token.kind == Kind::LParen) {
            // Not closed; looking for the end of each of them would take for ever.
            return;
        }
    }
}

fn expressions(source: &Source<'_>, list: Cursor<'_>, found: &mut Collector) {
    let mut inner = Collector::default();
    let worth_it = list.tokens.iter().any(|token| token.kind == Kind::LParen);
    if worth_it && statement::read_expressions(source, list, &mut inner).is_err() {
        inner = Collector::default();
        scan::code(list, &mut inner);
    }
    found.absorb(inner);
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
