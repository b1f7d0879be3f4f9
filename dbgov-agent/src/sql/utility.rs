//! Utility statements other than CREATE, ALTER and DROP, read from their tokens (documentation part VI, SQL commands).
//! Their grammar is flat, and sqlparser knows only some of them.

use super::body::{self, Language};
use super::collector::{Collector, Effect};
use super::cursor::{Cursor, Unread};
use super::ddl;
use super::lexer::Kind;
use super::literal;
use super::name::{Object, ObjectKind, UESCAPE_DEFAULT};
use super::session;
use super::statement::{self, Source};
use super::verb::Verb;

type Read = Result<(), Unread>;

/// `word` has been passed over.
pub(crate) fn read(
    source: &Source<'_>,
    word: &str,
    mut rest: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) -> Read {
    if let Some(verb) = transaction(word, rest) {
        found.verb(verb);
        return Ok(());
    }
    match word {
        "set" => session::set(rest, found),
        "reset" => session::setting(Verb::Reset, false, rest, found),
        "show" => session::setting(Verb::Show, false, rest, found),
        "explain" => explain(source, rest, found, depth),
        "prepare" => session::prepare(source, rest, found, depth),
        "execute" => session::execute(source, rest, found),
        "call" => {
            found.verb(Verb::Call);
            statement::read_expressions(source, rest, found)
        }
        "deallocate" => session::deallocate(rest, found),
        "discard" => session::discard(rest, found),
        "close" => one_name(Verb::Close, rest, found),
        "listen" => one_name(Verb::Listen, rest, found),
        "unlisten" => {
            let all = rest
                .peek()
                .is_some_and(|token| token.text(rest.text) == "*");
            if all {
                bare(Verb::Unlisten, found)
            } else {
                one_name(Verb::Unlisten, rest, found)
            }
        }
        "notify" => {
            found.on(Verb::Notify, rest.name(ObjectKind::Other)?);
            Ok(())
        }
        "fetch" => session::fetch(Verb::Fetch, rest, found),
        "move" => session::fetch(Verb::Move, rest, found),
        "declare" => session::declare(source, rest, found, depth),
        "copy" => copy(source, rest, found, depth),
        "truncate" => {
            rest.eat("table");
            relations(Verb::Truncate, rest, found)
        }
        "lock" => {
            rest.eat("table");
            relations(Verb::Lock, rest, found)
        }
        "vacuum" | "analyze" | "analyse" => maintenance(word == "vacuum", rest, found),
        "cluster" => {
            rest.skip_parens();
            rest.eat("verbose");
            // CLUSTER index ON table, the syntax of old
            rest.skip_past("on");
            optional_relations(Verb::Cluster, rest, found)
        }
        "reindex" => reindex(rest, found),
        "refresh" => {
            rest.expect("materialized view")?;
            rest.eat("concurrently");
            relations(Verb::Refresh, rest, found)
        }
        "comment" => {
            rest.expect("on")?;
            commented(Verb::Comment, rest, found)
        }
        "security" => security_label(rest, found),
        "grant" => privileges(Verb::Grant, rest, found),
        "revoke" => privileges(Verb::Revoke, rest, found),
        "do" => code(source, rest, found, depth),
        "checkpoint" => bare(Verb::Checkpoint, found),
        "load" => bare(Verb::Load, found),
        "import" => import(rest, found),
        "reassign" => {
            rest.expect("owned by")?;
            roles(Verb::Reassign, rest, found)
        }
        _ => Err(Unread),
    }
}

fn bare(verb: Verb, found: &mut Collector) -> Read {
    found.verb(verb);
    Ok(())
}

/// BEGIN and its kin; what follows them changes nothing here, but must not be another statement.
fn transaction(word: &str, rest: Cursor<'_>) -> Option<Verb> {
    let verb = match word {
        "begin" | "start" => Verb::Begin,
        "commit" | "end" => Verb::Commit,
        "rollback" | "abort" => Verb::Rollback,
        "savepoint" | "release" => Verb::Savepoint,
        "prepare" if rest.is("transaction") => Verb::Prepare,
        _ => return None,
    };
    let plain = |kind| {
        matches!(
            kind,
            Kind::Word | Kind::QuotedIdent | Kind::UnicodeIdent | Kind::Comma
        ) || kind.is_string()
    };
    rest.tokens
        .iter()
        .all(|token| plain(token.kind))
        .then_some(verb)
}

fn one_name(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if rest.eat("all") {
        found.verb(verb);
    } else {
        found.on(verb, rest.name(ObjectKind::Other)?);
    }
    rest.end()
}

fn relations(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    for name in rest.names(ObjectKind::Relation)? {
        found.on(verb, name);
    }
    Ok(())
}

fn optional_relations(verb: Verb, rest: Cursor<'_>, found: &mut Collector) -> Read {
    found.verb(verb);
    if rest.at_end() {
        Ok(())
    } else {
        relations(verb, rest, found)
    }
}

pub(crate) fn roles(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    for name in rest.names(ObjectKind::Role)? {
        found.on(verb, name);
    }
    Ok(())
}

/// EXPLAIN alone runs nothing: it is `explain` on what the statement names. With ANALYZE the statement runs.
fn explain(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    let analyze;
    if rest.peek().is_some_and(|token| token.kind == Kind::LParen) && !statement::starts_query(rest)
    {
        let options = rest.parens().ok_or(Unread)?;
        found.literal_dependent = true;
        analyze = is_on(options, "analyze");
    } else {
        analyze = rest.eat_one_of(&["analyze", "analyse"]);
        rest.eat("verbose");
    }
    found.verb(Verb::Explain);
    let inner = statement::read_inner(source, rest, depth)?;
    for relation in inner.relations() {
        found.on(Verb::Explain, relation.clone());
    }
    if analyze {
        found.absorb(inner);
    }
    Ok(())
}

/// Is the option set in `(option [value], ...)`? Without a value it is; the last one counts. The name and the value may
/// be quoted.
fn is_on(options: Cursor<'_>, option: &str) -> bool {
    let mut on = false;
    for item in options.tokens.split(|token| token.kind == Kind::Comma) {
        let mut item = Cursor {
            tokens: item,
            ..options
        };
        let name = item.ident().unwrap_or_default();
        if name == option || (option == "analyze" && name == "analyse") {
            on = !is_false(item);
        }
    }
    on
}

/// As the server reads a boolean option; what it refuses counts as true.
fn is_false(mut value: Cursor<'_>) -> bool {
    let Some(token) = value.peek() else {
        return false;
    };
    let word = if token.kind.is_string() {
        literal::value(token, value.text, UESCAPE_DEFAULT)
    } else if token.kind == Kind::Number {
        token.text(value.text).to_owned()
    } else {
        value.ident().unwrap_or_default()
    };
    matches!(word.to_ascii_lowercase().as_str(), "false" | "off" | "0")
}

fn copy(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    let (verb, table, query) = if let Some(query) = rest.parens() {
        rest.expect("to")?;
        (Verb::CopyTo, None, Some(query))
    } else {
        rest.eat("binary");
        let table = rest.name(ObjectKind::Relation)?;
        rest.skip_parens();
        let verb = if rest.eat("from") {
            Verb::CopyFrom
        } else {
            rest.expect("to")?;
            Verb::CopyTo
        };
        (verb, Some(table), None)
    };
    found.push(Effect {
        server_side: !rest.eat_one_of(&["stdin", "stdout"]),
        ..Effect::new(verb, table)
    });
    if let Some(query) = query {
        found.absorb(statement::read_inner(source, query, depth)?);
    }
    // COPY ... FROM ... WHERE condition
    if rest.skip_past("where") {
        statement::read_expressions(source, rest, found)?;
    }
    Ok(())
}

fn maintenance(vacuum: bool, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let mut verbs = vec![if vacuum { Verb::Vacuum } else { Verb::Analyze }];
    if let Some(options) = rest.parens() {
        if vacuum && is_on(options, "analyze") {
            verbs.push(Verb::Analyze);
        }
    } else {
        while rest.eat_one_of(&["full", "freeze", "verbose"]) {}
        if rest.eat_one_of(&["analyze", "analyse"]) {
            verbs.push(Verb::Analyze);
        }
        rest.eat("verbose");
    }
    for verb in verbs {
        optional_relations(verb, rest, found)?;
    }
    Ok(())
}

fn reindex(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    rest.skip_parens();
    let kind = match rest.word_at(0).map(str::to_ascii_lowercase).as_deref() {
        Some("table") => ObjectKind::Relation,
        Some("index") => ObjectKind::Index,
        Some("schema") => ObjectKind::Schema,
        Some("database" | "system") => ObjectKind::Database,
        _ => return Err(Unread),
    };
    rest.next();
    rest.eat("concurrently");
    found.verb(Verb::Reindex);
    if !rest.at_end() {
        found.on(Verb::Reindex, rest.name(kind)?);
    }
    rest.end()
}

/// COMMENT ON and SECURITY LABEL ON: a kind of object and its name.
fn commented(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if rest.eat("column") {
        let mut parts = rest.parts()?;
        parts.pop();
        found.on(
            verb,
            Object::from_parts(ObjectKind::Relation, &parts).ok_or(Unread)?,
        );
        return Ok(());
    }
    // CONSTRAINT name ON [DOMAIN] table
    if rest.eat("constraint") {
        rest.ident()?;
        rest.expect("on")?;
        let kind = if rest.eat("domain") {
            ObjectKind::Type
        } else {
            ObjectKind::Relation
        };
        found.on(verb, rest.name(kind)?);
        return Ok(());
    }
    ddl::object(verb, &mut rest, found)
}

fn security_label(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    rest.expect("label")?;
    if rest.eat("for") {
        rest.next();
    }
    rest.expect("on")?;
    commented(Verb::SecurityLabel, rest, found)
}

/// `privileges ON objects TO roles`, or `roles TO roles`.
pub(crate) fn privileges(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let to = if verb == Verb::Grant { "to" } else { "from" };
    for words in [
        "grant option for",
        "admin option for",
        "inherit option for",
        "set option for",
    ] {
        rest.eat(words);
    }
    let mut objects = rest;
    if !objects.skip_past("on") {
        if !objects.skip_past(to) {
            return Err(Unread);
        }
        let granted = Cursor {
            tokens: &rest.tokens[..rest.tokens.len() - objects.tokens.len() - 1],
            ..rest
        };
        return roles(verb, granted, found);
    }
    if objects.eat("all") {
        // ALL TABLES IN SCHEMA s, ...
        if !objects.skip_past("in") {
            return Err(Unread);
        }
        objects.expect("schema")?;
        for schema in objects.names(ObjectKind::Schema)? {
            found.on(verb, schema);
        }
    } else if objects.eat_one_of(&["large object", "parameter"]) {
        found.verb(verb);
        objects.skip_past(to);
        return objects.peek().map(|_| ()).ok_or(Unread);
    } else {
        let kind = ddl::kind(&mut objects).map_or(ObjectKind::Relation, |kind| kind.object);
        for object in objects.names(kind)? {
            found.on(verb, object);
        }
    }
    objects.expect(to)
}

/// DO: its string is code, in PL/pgSQL unless LANGUAGE says otherwise.
fn code(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector, depth: u8) -> Read {
    let language = body::language(rest).unwrap_or(Language::Plpgsql);
    found.verb(Verb::Do);
    let mut inner = Collector::default();
    while let Some(token) = rest.next() {
        if token.kind.is_string() {
            body::string(source, token, language, &mut inner, depth);
        } else if !token.kind.is_ident() {
            return Err(Unread);
        } else if token.kind == Kind::Word && token.text(rest.text).eq_ignore_ascii_case("language")
        {
            rest.next();
        }
    }
    // It may or may not come to them.
    inner.compute_sets();
    found.absorb(inner);
    Ok(())
}

fn import(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    rest.expect("foreign schema")?;
    if !rest.skip_past("into") {
        return Err(Unread);
    }
    found.on(Verb::Import, rest.name(ObjectKind::Schema)?);
    Ok(())
}
