//! A rule to the words of which every text that it could stop has one.

use super::names;
use super::needle::Needle;
use crate::policy::Rule;
use crate::policy::matching::WITH_WHERE;
use crate::sql::{FILES, RUN_TEXT, Verb};

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

/// Every effect that `sql` can find with this verb, certain or not, is in a text with one of these words, or with one of
/// [`that_hide`]. `None`: in any text.
pub(super) fn of_verb(verb: Verb) -> Option<&'static [&'static str]> {
    Some(match verb {
        // UPDATE ... FROM, DELETE ... USING and MERGE ... USING read as well.
        Verb::Select => &["select", "table", "values", "from", "using"],
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
    // What a prepared statement does was in another text. Bodies of functions are strings, which escapes and pieces can
    // make unreadable.
    let mut needles = words(&["execute", "create"]);
    needles.extend(functions(RUN_TEXT));
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
        if let Some(needles) = names::of_rule(rule) {
            return Some(needles);
        }
        if rule.server_side == Some(true) {
            return Some([functions(FILES), words(&["copy"])].concat());
        }
        if rule.multi_statement == Some(true) {
            return Some(vec![Needle::semicolon()]);
        }
    }
    by_verbs.map(|found| words(&found))
}

pub(super) fn words<'a>(list: impl IntoIterator<Item = &'a &'a str>) -> Vec<Needle> {
    let needle = |word: &&str| match *word {
        "into" => Needle::into(),
        word => Needle::word(word),
    };
    list.into_iter().map(needle).collect()
}

/// Functions by name; of those that begin with the name of another that beginning is enough.
fn functions(list: &[&str]) -> Vec<Needle> {
    let longer = |name: &str, other: &str| name.len() > other.len() && name.starts_with(other);
    list.iter()
        .filter(|name| !list.iter().any(|other| longer(name, other)))
        .map(|name| match list.iter().any(|other| longer(other, name)) {
            true => Needle::beginning(name),
            false => names::whole(name),
        })
        .collect()
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
    names::may_be(rule, Verb::Call)
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
