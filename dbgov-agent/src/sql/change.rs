//! What a statement changes for the statements after it in its session.

/// In the order of the text. A message that fails or is rolled back may undo any of them; an effect of dynamic code may
/// make any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// PREPARE: what EXECUTE of the name will run. Names are folded; the text is that of the statement behind AS.
    Prepare {
        name: Box<str>,
        text: Box<str>,
    },
    /// EXECUTE, also in EXPLAIN ANALYZE and CREATE TABLE AS: runs the text remembered under the name.
    Execute {
        name: Box<str>,
    },
    /// DEALLOCATE of one name, or (`None`) of all of them, which DISCARD ALL does too.
    Deallocate {
        name: Option<Box<str>>,
    },
    /// DECLARE CURSOR: what FETCH from the name reads. The text is that of the query.
    Declare {
        name: Box<str>,
        text: Box<str>,
    },
    Fetch {
        name: Box<str>,
    },
    /// SET, RESET, DISCARD ALL, `set_config()`.
    Set {
        setting: Tracked,
        value: NewValue,
        /// SET LOCAL: until the transaction ends.
        local: bool,
    },
}

/// A parameter that decides what later statements mean or may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tracked {
    SearchPath,
    Role,
    SessionAuthorization,
    StandardConformingStrings,
    ClientEncoding,
}

impl Tracked {
    pub const ALL: &[Tracked] = &[
        Tracked::SearchPath,
        Tracked::Role,
        Tracked::SessionAuthorization,
        Tracked::StandardConformingStrings,
        Tracked::ClientEncoding,
    ];

    /// The parameter's name, as `SHOW` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Tracked::SearchPath => "search_path",
            Tracked::Role => "role",
            Tracked::SessionAuthorization => "session_authorization",
            Tracked::StandardConformingStrings => "standard_conforming_strings",
            Tracked::ClientEncoding => "client_encoding",
        }
    }

    /// Parameter names are the same in any case.
    pub(crate) fn from_name(name: &str) -> Option<Tracked> {
        Tracked::ALL
            .iter()
            .copied()
            .find(|setting| setting.name().eq_ignore_ascii_case(name))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewValue {
    /// The items of the list as the server knows them (schemas of a search_path); one item for everything else, where
    /// that of a role may be `none`.
    To(Vec<Box<str>>),
    /// What it was when the session began, or as role and database have it.
    Default,
    /// Not known from the text: an expression, a parameter, code, or text that could not be read.
    Computed,
}
