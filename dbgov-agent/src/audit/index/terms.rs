//! What a record can be found by: its fields, and every three and every five bytes of its texts. Three are enough to find
//! words by; among a thousand records there is every three digits, so that numbers take five.

use super::bloom::mix;
use crate::audit::view::View;

/// A field that is looked up by its whole value. The numbers stand in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Identity = 1,
    User = 2,
    Database = 3,
    Table = 4,
    Verb = 5,
    Verdict = 6,
    Rule = 7,
    Session = 8,
    Run = 9,
    Pid = 10,
    Kind = 11,
}

/// Of a piece of text.
const PIECE: u8 = 0;
/// Lengths of pieces.
pub(crate) const SHORT_BYTES: usize = 3;
pub(crate) const LONG_BYTES: usize = 5;

pub(crate) fn term(field: Field, value: &str) -> u64 {
    hash(field as u8, value.as_bytes())
}

pub(crate) fn piece(bytes: &[u8]) -> u64 {
    hash(PIECE, bytes)
}

/// FNV-1a, mixed once more since it leaves the upper bits of short texts alike.
fn hash(field: u8, value: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(field);
    let hash = value.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash ^ u64::from(field) << 56)
}

/// Lower case, character by character, so that what is part of a text is part of it in lower case too.
pub(crate) fn fold(text: &str, folded: &mut String) {
    folded.clear();
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.extend(text.chars().flat_map(char::to_lowercase));
    }
}

/// The texts of a record that `--text` looks into.
pub(crate) fn texts<'a>(view: &'a View) -> impl Iterator<Item = &'a str> {
    let statement = view.statement.text.as_deref();
    let params = view.statement.params.iter().flatten().map(|param| &**param);
    let head = view.approval.statement.head.some();
    statement.into_iter().chain(params).chain(head)
}

/// The tables of a record, and each without its schema.
pub(crate) fn tables<'a>(view: &'a View) -> impl Iterator<Item = &'a str> {
    view.statement.tables.iter().flat_map(|table| {
        let unqualified = table.rsplit_once('.').map(|(_, name)| name);
        [Some(&**table), unqualified].into_iter().flatten()
    })
}

/// The fields of a record that are looked up by their whole value; those that are absent too, as an empty text.
pub(crate) fn fields(view: &View, mut give: impl FnMut(u64)) {
    let session = &view.session;
    let rule = view.verdict.rule.some().or(view.approval.rule.some());
    for (field, value) in [
        (Field::Identity, view.identity.name.as_str()),
        (Field::User, session.user.as_str()),
        (Field::Database, session.database.as_str()),
        (Field::Verdict, view.verdict.action.as_str()),
        (Field::Rule, rule.unwrap_or_default()),
        (Field::Session, session.id.as_str()),
        (Field::Run, run(view)),
        (Field::Kind, view.kind.as_str()),
    ] {
        give(term(field, value));
    }
    if let Some(pid) = view.identity.pid {
        give(term(Field::Pid, &pid.to_string()));
    }
    for verb in &view.statement.verbs {
        give(term(Field::Verb, verb));
    }
    for table in tables(view) {
        give(term(Field::Table, table));
    }
}

/// Of a session's records, and of the tag the run was given.
pub(crate) fn run<'a>(view: &'a View) -> &'a str {
    let run = view.identity.run.some().or(view.tag.run.some());
    run.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They stand in files: another value would hide records.
    #[test]
    fn terms_never_change() {
        assert_eq!(term(Field::Session, "s-1"), 5_948_948_566_914_405_260);
        assert_eq!(piece(b"sel"), 18_252_507_674_361_933_384);
    }

    #[test]
    fn folding_keeps_parts_parts() {
        let folded = |text: &str| {
            let mut out = String::new();
            fold(text, &mut out);
            out
        };
        assert_eq!(folded("SELECT É"), "select é");
        // A sigma at the end of a word is another letter where the whole text is put in lower case.
        assert!(folded("ΟΔΟΣΑ").contains(&folded("ΟΔΟΣ")));
    }
}
