//! CREATE, ALTER, DROP: the kind and the name from the tokens in front, then whatever else names a relation or is code.

use super::builtin;
use super::collector::Collector;
use super::create;
use super::cursor::{Cursor, Unread};
use super::lexer::Kind;
use super::name::{Object, ObjectKind};
use super::scan;
use super::statement::{self, Source};
use super::utility;
use super::verb::Verb;

type Read = Result<(), Unread>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `name`
    Plain,
    /// `name ON table`: triggers, rules, policies.
    OnTable,
    /// The name is no plain identifier (casts, operators, user mappings, ...).
    Nameless,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct KindOf {
    pub(crate) words: &'static str,
    pub(crate) object: ObjectKind,
    pub(crate) form: Form,
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
        create::create(source, rest, found, depth)
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
pub(crate) fn published(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
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
pub(crate) fn mentioned(
    source: &Source<'_>,
    verb: Verb,
    mut rest: Cursor<'_>,
    found: &mut Collector,
) -> Read {
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

/// What expressions call and read; where they cannot be read, what their tokens could mean.
pub(crate) fn expressions(source: &Source<'_>, list: Cursor<'_>, found: &mut Collector) {
    let mut inner = Collector::default();
    let worth_it = list.tokens.iter().any(|token| token.kind == Kind::LParen);
    if worth_it && statement::read_expressions(source, list, &mut inner).is_err() {
        inner = Collector::default();
        scan::code(list, &mut inner);
    }
    found.absorb(inner);
}
