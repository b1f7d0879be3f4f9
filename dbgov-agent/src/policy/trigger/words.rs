//! A rule to the words of which every text that it could stop has one.

use super::needle::Needle;
use crate::policy::matching::{CONTAINING, EVERY_TABLE, WITH_WHERE};
use crate::policy::{Glob, NamePattern, Rule};
use crate::sql::{RUN_TEXT, Verb};

/// Shorter pieces of names are in every other text, bytes.
const PIECE_BYTES_MIN: usize = 3;

/// A name from this length on may stand for longer ones, of which the server drops the tail: 63 bytes, less what would
/// split a character of four bytes.
const WHOLE_NAME_BYTES_MAX: usize = 59;

/// Words of everyday statements: a rule that names objects is better told by these.
const EVERYDAY: &[&str] = &[
    "abort",
    "begin",
    "close",
    "commit",
    "declare",
    "delete",
    "end",
    "fetch",
    "from",
    "insert",
    "into",
    "prepare",
    "release",
    "rollback",
    "savepoint",
    "select",
    "set",
    "show",
    "start",
    "table",
    "update",
    "using",
    "values",
];

/// Functions whose call is an effect on a file or a program of the server.
const SERVER_SIDE: &[&str] = &["lo_import", "lo_export"];

/// Every effect that `sql` can find with this verb, certain or not, is in a text with one of these words, or with one of
/// [`that_hide`]. `None`: in any text.
pub(super) fn of_verb(verb: Verb) -> Option<&'static [&'static str]> {
    Some(match verb {
        // UPDATE ... FROM, DELETE ... USING and MERGE ... USING read as well.
        Verb::Select => &[
            "select", "table", "values", "perform", "from", "join", "using",
        ],
        Verb::Insert => &["insert"],
        Verb::Update => &["update"],
        Verb::Delete => &["delete"],
        Verb::Merge => &["merge"],
        Verb::Truncate => &["truncate"],
        Verb::CopyFrom | Verb::CopyTo => &["copy"],
        // SELECT ... INTO
        Verb::Create => &["create", "into"],
        Verb::Alter => &["alter"],
        Verb::Drop => &["drop"],
        Verb::Grant => &["grant"],
        Verb::Revoke => &["revoke"],
        Verb::Comment => &["comment"],
        Verb::Lock => &["lock"],
        Verb::Vacuum => &["vacuum"],
        Verb::Analyze => &["analyze", "analyse"],
        Verb::Cluster => &["cluster"],
        Verb::Reindex => &["reindex"],
        Verb::Refresh => &["refresh"],
        Verb::Import => &["import"],
        Verb::Reassign => &["reassign"],
        Verb::SecurityLabel => &["security"],
        Verb::Load => &["load"],
        Verb::Do => &["do"],
        Verb::Prepare => &["prepare"],
        Verb::Execute => &["execute"],
        Verb::Deallocate => &["deallocate"],
        Verb::Declare => &["declare"],
        Verb::Fetch => &["fetch"],
        Verb::Move => &["move"],
        Verb::Close => &["close"],
        Verb::Explain => &["explain"],
        Verb::Set => &["set", "set_config"],
        Verb::Reset => &["reset"],
        Verb::Show => &["show"],
        Verb::Discard => &["discard"],
        Verb::Begin => &["begin", "start"],
        Verb::Commit => &["commit", "end"],
        Verb::Rollback => &["rollback", "abort"],
        Verb::Savepoint => &["savepoint", "release"],
        Verb::Listen => &["listen"],
        Verb::Unlisten => &["unlisten"],
        Verb::Notify => &["notify"],
        Verb::Checkpoint => &["checkpoint"],
        // Any function; any text that cannot be read.
        Verb::Call | Verb::Unknown => return None,
    })
}

/// What can do anything, or what names can hide in, whatever the rules are.
pub(super) fn that_hide() -> Vec<Needle> {
    // What a prepared statement does was in another text; code that is run, now or (the body of a function, which a
    // string with escapes or one in several pieces can hide) later.
    let mut needles = words(["execute", "function", "procedure"].iter().chain(RUN_TEXT));
    // ON CONFLICT DO NOTHING and ON CONFLICT DO UPDATE run no code: DO does with a string or LANGUAGE behind it.
    needles.push(Needle::word_not_before("do", &["nothing", "update"]));
    needles.push(Needle::substring("u&\""));
    needles
}

/// `Err`: every text has to be looked at.
pub(super) fn of_rule(rule: &Rule) -> Result<Vec<Needle>, &'static str> {
    let mut needles = reduce(rule).ok_or_else(|| why_not(rule))?;
    if takes_fast_calls(rule) {
        needles.push(Needle::function_call());
    }
    Ok(needles)
}

/// Any one of what a rule asks for is enough to look for: the rarest is best.
fn reduce(rule: &Rule) -> Option<Vec<Needle>> {
    let by_verbs = by_verbs(rule);
    let rare = |words: &Vec<&str>| !words.iter().any(|word| EVERYDAY.contains(word));
    if !by_verbs.as_ref().is_some_and(rare) {
        if let Some(needles) = by_name(rule) {
            return Some(needles);
        }
        if rule.server_side == Some(true) {
            return Some(words(SERVER_SIDE.iter().chain(&["copy"])));
        }
        if rule.multi_statement == Some(true) {
            return Some(vec![Needle::semicolon()]);
        }
    }
    by_verbs.map(|found| words(&found))
}

fn words<'a>(list: impl IntoIterator<Item = &'a &'a str>) -> Vec<Needle> {
    let needle = |word: &&str| match *word {
        "into" => Needle::into(),
        word => Needle::word(word),
    };
    list.into_iter().map(needle).collect()
}

/// `None`: the verbs say nothing.
fn by_verbs(rule: &Rule) -> Option<Vec<&'static str>> {
    let asked = |verb: &Verb| rule.missing_where.is_none() || WITH_WHERE.contains(*verb);
    let words: Option<Vec<_>> = match rule.verbs {
        Some(verbs) => verbs.iter().filter(asked).map(of_verb).collect(),
        None if rule.missing_where.is_some() => WITH_WHERE.iter().map(of_verb).collect(),
        None => None,
    };
    words.map(|words| words.concat())
}

/// A call by the protocol's fast path has no text, and names the function by a number that may be any function's.
fn takes_fast_calls(rule: &Rule) -> bool {
    rule.verbs.is_none_or(|verbs| verbs.contains(Verb::Call))
        && rule.missing_where.is_none()
        && rule.multi_statement != Some(true)
        && rule.statement_bytes.is_none()
}

fn why_not(rule: &Rule) -> &'static str {
    match rule.verbs {
        Some(verbs) if verbs.contains(Verb::Unknown) => "is about statements that cannot be read",
        Some(_) => "is about calls of functions whose names have no fixed part of three letters",
        None if rule.statement_bytes.is_some() => "is about the size of messages",
        None if rule.takes_every_effect() => "is about every statement",
        None => "names no verbs, and objects by less than three letters",
    }
}

/// `None`: not every name that the rule is about has a piece to look for.
fn by_name(rule: &Rule) -> Option<Vec<Needle>> {
    let patterns = rule.tables.iter().chain(&rule.functions);
    let mut needles: Vec<Needle> = patterns
        .map(|NamePattern { name, .. }| piece(name))
        .collect::<Option<_>>()?;
    if needles.is_empty() {
        return None;
    }
    // DROP SCHEMA, REASSIGN OWNED, a bare VACUUM: on tables that the text does not name.
    let unnamed = CONTAINING.iter().chain(EVERY_TABLE.iter());
    for verb in unnamed.filter(|verb| rule.verbs.is_none_or(|verbs| verbs.may_contain(*verb))) {
        needles.extend(words(of_verb(verb)?));
    }
    Some(needles)
}

/// What every name that the pattern matches has in it.
fn piece(pattern: &Glob) -> Option<Needle> {
    // A quote is doubled in a text, a backslash may be the second byte of a character, and what is not ASCII has other
    // bytes in every encoding.
    let plain = |character: char| character.is_ascii() && !matches!(character, '"' | '\\' | '\0');
    if let Some(name) = pattern.exact()
        && name.chars().all(plain)
        && (PIECE_BYTES_MIN..=WHOLE_NAME_BYTES_MAX).contains(&name.len())
    {
        return Some(Needle::word(name));
    }
    let pieces = pattern
        .literals()
        .flat_map(|text| text.split(|character| !plain(character)));
    let longest = pieces.max_by_key(|piece| piece.len())?;
    let piece = longest.get(..WHOLE_NAME_BYTES_MAX).unwrap_or(longest);
    (piece.len() >= PIECE_BYTES_MIN).then(|| Needle::substring(piece))
}
