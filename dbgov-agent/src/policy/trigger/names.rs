//! Names of objects to what every text that names them has in it.

use super::needle::Needle;
use super::words::{of_verb, words};
use crate::policy::matching::{CONTAINING, EVERY_TABLE};
use crate::policy::{Glob, Rule};
use crate::sql::Verb;

/// Shorter pieces of names are in every other text, bytes.
const PIECE_BYTES_MIN: usize = 3;

/// Of longer names only the beginning is looked for, bytes: few others have the same, and every byte takes states. Names
/// that are this short are also far from the 63 bytes from which on the server drops their tail.
const PIECE_BYTES_MAX: usize = 16;

/// Parameters that have a syntax of their own, and its word (`SET SCHEMA` is `SET search_path`).
const SPELLED: &[(&str, &str)] = &[
    ("session_authorization", "authorization"),
    ("timezone", "zone"),
    ("transaction_isolation", "isolation"),
    ("client_encoding", "names"),
    ("search_path", "schema"),
];

/// `None`: the rule names nothing, or not every name has a piece to look for.
pub(super) fn of_rule(rule: &Rule) -> Option<Vec<Needle>> {
    let relations = rule.tables.iter().chain(&rule.functions);
    let patterns = relations.map(|pattern| &pattern.name).chain(&rule.settings);
    let mut needles: Vec<Needle> = patterns.map(piece).collect::<Option<_>>()?;
    if needles.is_empty() {
        return None;
    }
    // DROP SCHEMA, REASSIGN OWNED, a bare VACUUM: on tables that the text does not name.
    let unnamed = CONTAINING.iter().chain(EVERY_TABLE.iter());
    for verb in unnamed.filter(|verb| may_be(rule, *verb)) {
        needles.extend(words(of_verb(verb)?));
    }
    if !rule.settings.is_empty() {
        needles.extend(other_spellings(rule));
    }
    Some(needles)
}

pub(super) fn may_be(rule: &Rule, verb: Verb) -> bool {
    rule.verbs.is_none_or(|verbs| verbs.may_contain(verb))
}

/// How a setting is named but by its name: by a string, by a syntax of its own, by RESET ALL.
fn other_spellings(rule: &Rule) -> Vec<Needle> {
    let spelled = SPELLED
        .iter()
        .filter(|(name, _)| rule.settings.iter().any(|pattern| pattern.matches(name)))
        .map(|(_, word)| word);
    let reset = may_be(rule, Verb::Reset).then_some(&"reset");
    words(spelled.chain(&["set_config"]).chain(reset))
}

/// What every name that the pattern matches has in it.
fn piece(pattern: &Glob) -> Option<Needle> {
    if let Some(name) = pattern.exact()
        && name.chars().all(is_plain)
        && name.len() >= PIECE_BYTES_MIN
    {
        return Some(whole(name));
    }
    let anchored = !pattern.text().starts_with(['*', '?']);
    let pieces = pattern
        .literals()
        .flat_map(|text| text.split(|c| !is_plain(c)));
    // Of pieces of the same length the first.
    let (at, longest) = pieces
        .enumerate()
        .min_by_key(|(at, piece)| (usize::MAX - piece.len(), *at))?;
    if longest.len() < PIECE_BYTES_MIN {
        return None;
    }
    let piece = longest.get(..PIECE_BYTES_MAX).unwrap_or(longest);
    Some(if anchored && at == 0 {
        Needle::beginning(piece)
    } else {
        Needle::substring(piece)
    })
}

/// A name of plain characters.
pub(super) fn whole(name: &str) -> Needle {
    match name.get(..PIECE_BYTES_MAX) {
        Some(beginning) if name.len() > PIECE_BYTES_MAX => Needle::beginning(beginning),
        _ => Needle::word(name),
    }
}

/// A quote is doubled in a text, a backslash may be the second byte of a character, and what is not ASCII has other bytes
/// in every encoding.
fn is_plain(character: char) -> bool {
    character.is_ascii() && !matches!(character, '"' | '\\' | '\0')
}
