//! What the automaton looks for.

/// One byte of a needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Unit {
    /// This ASCII byte (a small letter, if it is a letter), or the same in the other case.
    Folded(u8),
    Exact(u8),
    /// Any byte below this one.
    Below(u8),
}

impl Unit {
    pub(super) fn takes(self, byte: u8) -> bool {
        match self {
            Unit::Folded(folded) => byte.to_ascii_lowercase() == folded,
            Unit::Exact(exact) => byte == exact,
            Unit::Below(bound) => byte < bound,
        }
    }
}

/// What has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Right {
    /// Nothing.
    Open,
    /// The word ends: a byte that cannot continue an identifier.
    End,
    /// The word ends, and the next one is none of these (in small letters, no two with the same first letter).
    EndNotBefore(&'static [&'static str]),
    /// Anything but white space and the NUL that ends a statement's text.
    More,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Needle {
    /// As it is told to people.
    pub(super) name: Box<str>,
    pub(super) units: Box<[Unit]>,
    /// It counts only where a word can begin.
    pub(super) at_start: bool,
    pub(super) right: Right,
    /// It does not count behind [`OPENING`].
    pub(super) not_after_opening: bool,
}

/// The word with which a text begins that may have an `into` as its next one without making a table. Elsewhere it may be
/// the alias of a column (`SELECT 1 insert INTO t`), but nothing that selects fits into the three bytes by which the
/// beginning of a text may be missed.
pub(super) const OPENING: &[u8] = b"insert";

impl Needle {
    /// A keyword or an unquoted identifier of ASCII bytes.
    pub(super) fn word(word: &str) -> Needle {
        Needle {
            at_start: true,
            right: Right::End,
            ..Needle::substring(word)
        }
    }

    /// How a word begins.
    pub(super) fn beginning(text: &str) -> Needle {
        Needle {
            at_start: true,
            ..Needle::substring(text)
        }
    }

    /// A word that is harmless in front of others.
    pub(super) fn word_not_before(word: &str, followers: &'static [&'static str]) -> Needle {
        Needle {
            right: Right::EndNotBefore(followers),
            ..Needle::word(word)
        }
    }

    /// `into`, but not of a message that begins with INSERT INTO.
    pub(super) fn into() -> Needle {
        Needle {
            not_after_opening: true,
            ..Needle::word("into")
        }
    }

    pub(super) fn unguarded(self) -> Needle {
        Needle {
            not_after_opening: false,
            ..self
        }
    }

    /// Where the other, longer one is, this one is too.
    pub(super) fn includes(&self, other: &Needle) -> bool {
        self.right == Right::Open
            && (!self.at_start || other.at_start)
            && other.units.len() > self.units.len()
            && other.units.starts_with(&self.units)
    }

    /// ASCII bytes wherever they stand.
    pub(super) fn substring(text: &str) -> Needle {
        Needle {
            name: text.into(),
            units: text
                .bytes()
                .map(|byte| Unit::Folded(byte.to_ascii_lowercase()))
                .collect(),
            at_start: false,
            right: Right::Open,
            not_after_opening: false,
        }
    }

    /// The end of a statement behind which another may come.
    pub(super) fn semicolon() -> Needle {
        Needle {
            right: Right::More,
            ..Needle::substring(";")
        }
    }

    /// The head of a FunctionCall message (documentation 55.7): its type and the first byte of its length.
    pub(super) fn function_call() -> Needle {
        Needle {
            name: "FunctionCall".into(),
            units: [Unit::Exact(b'F'), Unit::Below(LENGTH_BYTE_BOUND)].into(),
            at_start: false,
            right: Right::Open,
            not_after_opening: false,
        }
    }
}

/// The first byte of a message's length is below this: no message is longer than a gigabyte
/// (`PQ_LARGE_MESSAGE_LIMIT`, `src/include/libpq/libpq.h`).
pub(super) const LENGTH_BYTE_BOUND: u8 = 0x40;

/// The type of a Query, whose text follows the four bytes of its length with nothing between.
pub(super) const QUERY: u8 = b'Q';

/// Glues a keyword to what is behind it: no keyword starts directly after such a byte, since the server's scanner
/// (`identifier` in `src/backend/parser/scan.l`) would have taken both for one identifier. Digits and `$` are left out:
/// `1drop` was two tokens before PostgreSQL 15, `$1drop` and `$$x$$drop` likewise.
pub(super) fn glues(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// `ident_cont` in `scan.l`. A byte from 0x80 on begins or continues a character that is not ASCII in every encoding of
/// server or client, and all of these are letters to the scanner.
pub(super) fn continues(byte: u8) -> bool {
    glues(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// `space` in `scan.l`, of all versions.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
