//! CREATE: what it names, and the code in it.

use super::body::{self, Language};
use super::builtin;
use super::collector::Collector;
use super::cursor::{Cursor, Unread};
use super::ddl::{Form, expressions, kind, mentioned, published};
use super::lexer::Kind;
use super::name::ObjectKind;
use super::statement::{self, Source};
use super::verb::Verb;

type Read = Result<(), Unread>;

pub(crate) fn create(
    source: &Source<'_>,
    mut rest: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) -> Read {
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
