//! SET, RESET, DISCARD, PREPARE, EXECUTE, DECLARE, FETCH: statements that are about the session itself.

use super::change::{Change, NewValue, Tracked};
use super::collector::{Collector, Effect};
use super::cursor::{Cursor, Unread};
use super::lexer::{Kind, Lexer, Token};
use super::literal;
use super::name::{Object, ObjectKind, UESCAPE_DEFAULT};
use super::statement::{self, Source};
use super::verb::Verb;

type Read = Result<(), Unread>;

pub(crate) fn set(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if rest.eat("session characteristics") || rest.eat("constraints") {
        found.verb(Verb::Set);
        return Ok(());
    }
    let local = rest.is("local");
    if local || (rest.is("session") && !rest.is_at(1, "authorization")) {
        rest.next();
    }
    setting(Verb::Set, local, rest, found)
}

/// SET, RESET and SHOW: the parameter's name (those with a syntax of their own under the name the server gives them) and
/// its new value.
pub(crate) fn setting(
    verb: Verb,
    local: bool,
    mut rest: Cursor<'_>,
    found: &mut Collector,
) -> Read {
    let special = [
        ("session authorization", "session_authorization"),
        ("role", "role"),
        ("time zone", "timezone"),
        ("transaction isolation level", "transaction_isolation"),
        ("transaction", "transaction"),
        ("names", "client_encoding"),
        ("schema", "search_path"),
        ("all", "all"),
    ];
    let name = match special.iter().find(|(words, _)| rest.eat(words)) {
        Some((_, name)) => (*name).to_owned(),
        None => rest.parts()?.join(".").to_ascii_lowercase(),
    };
    found.on(verb, Object::bare(ObjectKind::Setting, &name));
    if !rest.eat("to") {
        rest.eat_operator("=");
    }
    match (verb, Tracked::from_name(&name)) {
        (Verb::Set, Some(setting)) => {
            let value = value(rest);
            found.literal_dependent = true;
            found.set(setting, value, local);
        }
        (Verb::Reset, Some(setting)) => found.set(setting, NewValue::Default, false),
        (Verb::Reset, None) if name == "all" => reset_all(found),
        _ => {}
    }
    Ok(())
}

/// RESET ALL leaves the two parameters that say who one is.
fn reset_all(found: &mut Collector) {
    for setting in [
        Tracked::SearchPath,
        Tracked::StandardConformingStrings,
        Tracked::ClientEncoding,
    ] {
        found.set(setting, NewValue::Default, false);
    }
}

/// What stands behind `SET parameter TO`.
fn value(mut rest: Cursor<'_>) -> NewValue {
    if rest.is("default") && rest.tokens.len() == 1 {
        return NewValue::Default;
    }
    let mut items = Vec::new();
    loop {
        let Some(item) = item(&mut rest) else {
            return NewValue::Computed;
        };
        items.push(item.into());
        if !rest.eat_kind(Kind::Comma) {
            break;
        }
    }
    if rest.at_end() {
        NewValue::To(items)
    } else {
        NewValue::Computed
    }
}

fn item(rest: &mut Cursor<'_>) -> Option<String> {
    let token = rest.peek()?;
    if token.kind.is_ident() {
        return rest.ident().ok();
    }
    rest.next();
    if token.kind == Kind::Number {
        return Some(token.text(rest.text).to_owned());
    }
    token
        .kind
        .is_string()
        .then(|| literal::value(token, rest.text, UESCAPE_DEFAULT))
}

/// `set_config(name, value, is_local)`, whose value is the text of a list.
pub(crate) fn set_config(
    name: Option<&str>,
    value: Option<&str>,
    local: bool,
    found: &mut Collector,
) {
    let Some(name) = name else {
        found.push(Effect::uncertain(Verb::Set, None));
        return found.set_all_computed();
    };
    found.on(
        Verb::Set,
        Object::bare(ObjectKind::Setting, &name.to_ascii_lowercase()),
    );
    if let Some(setting) = Tracked::from_name(name) {
        let value = match (value, setting) {
            (None, _) => NewValue::Computed,
            (Some(value), Tracked::SearchPath) => list(value),
            (Some(value), _) => NewValue::To(vec![value.into()]),
        };
        found.set(setting, value, local);
    }
}

/// A list of identifiers in a string.
fn list(text: &str) -> NewValue {
    let tokens: Vec<Token> = Lexer::with(text, true).collect();
    if tokens.is_empty() {
        return NewValue::To(Vec::new());
    }
    let idents = tokens
        .iter()
        .all(|token| token.kind.is_ident() || token.kind == Kind::Comma);
    if !idents {
        return NewValue::Computed;
    }
    value(Cursor {
        text,
        tokens: &tokens,
    })
}

pub(crate) fn discard(rest: Cursor<'_>, found: &mut Collector) -> Read {
    found.verb(Verb::Discard);
    if rest.is("all") {
        found.change(Change::Deallocate { name: None });
        found.set(Tracked::SessionAuthorization, NewValue::Default, false);
        found.set(Tracked::Role, NewValue::Default, false);
        reset_all(found);
    }
    Ok(())
}

pub(crate) fn prepare(
    source: &Source<'_>,
    mut rest: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) -> Read {
    let name = rest.ident()?;
    rest.skip_parens();
    rest.expect("as")?;
    found.on(Verb::Prepare, Object::bare(ObjectKind::Other, &name));
    found.change(Change::Prepare {
        name: name.into(),
        text: rest.written().into(),
    });
    let mut inner = statement::read_inner(source, rest, depth)?;
    inner.changes.clear();
    found.absorb(inner);
    Ok(())
}

pub(crate) fn execute(source: &Source<'_>, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    let name = rest.ident()?;
    found.on(Verb::Execute, Object::bare(ObjectKind::Other, &name));
    found.change(Change::Execute { name: name.into() });
    if let Some(inside) = rest.parens() {
        statement::read_expressions(source, inside, found)?;
    }
    // CREATE TABLE ... AS EXECUTE name WITH NO DATA
    rest.eat_one_of(&["with no data", "with data"]);
    rest.end()
}

pub(crate) fn deallocate(mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    rest.eat("prepare");
    let name = if rest.eat("all") {
        found.verb(Verb::Deallocate);
        None
    } else {
        let name = rest.ident()?;
        found.on(Verb::Deallocate, Object::bare(ObjectKind::Other, &name));
        Some(name.into())
    };
    found.change(Change::Deallocate { name });
    rest.end()
}

pub(crate) fn declare(
    source: &Source<'_>,
    mut rest: Cursor<'_>,
    found: &mut Collector,
    depth: u8,
) -> Read {
    let name = rest.ident()?;
    if !rest.skip_past("cursor") || !rest.skip_past("for") {
        return Err(Unread);
    }
    found.on(Verb::Declare, Object::bare(ObjectKind::Other, &name));
    found.change(Change::Declare {
        name: name.into(),
        text: rest.written().into(),
    });
    found.absorb(statement::read_inner(source, rest, depth)?);
    Ok(())
}

/// FETCH and MOVE: the cursor's name is the last thing in it.
pub(crate) fn fetch(verb: Verb, mut rest: Cursor<'_>, found: &mut Collector) -> Read {
    if !rest.skip_past("from") && !rest.skip_past("in") {
        // `FETCH c`, `FETCH 10 c`, `FETCH FORWARD ALL c`, where the name can have a UESCAPE behind it.
        let last = rest.tokens.len().saturating_sub(1);
        let uescape = last >= 2 && rest.is_at(last - 1, "uescape");
        let last = if uescape { last - 2 } else { last };
        rest.tokens = &rest.tokens[last..];
    }
    let name = rest.ident()?;
    rest.end()?;
    found.on(verb, Object::bare(ObjectKind::Other, &name));
    if verb == Verb::Fetch {
        found.change(Change::Fetch { name: name.into() });
    }
    Ok(())
}
