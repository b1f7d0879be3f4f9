//! `[[redact]]` of the configuration.

use serde::Deserialize;

use super::Subject;
use crate::glob::Glob;
use crate::policy::{NamePattern, SearchPath};
use crate::sql::{Facts, ObjectKind, Parse};

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Treat {
    #[default]
    Keep,
    /// Equal values stay equal, and cannot be guessed without the key.
    Hash,
    Remove,
}

/// What becomes of a statement's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Treatment {
    pub literals: Treat,
    pub params: Treat,
}

/// For whom and what it is (absent: for all), and what is done there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactRule {
    databases: Option<Vec<Pattern>>,
    tables: Option<Vec<TablePattern>>,
    identities: Option<Vec<Pattern>>,
    users: Option<Vec<Pattern>>,
    #[serde(default)]
    literals: Treat,
    #[serde(default)]
    params: Treat,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Pattern(Glob);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let glob = Glob::new(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Pattern(glob))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct TablePattern(NamePattern);

impl TryFrom<String> for TablePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pattern = NamePattern::new(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(TablePattern(pattern))
    }
}

impl RedactRule {
    pub fn treatment(&self) -> Treatment {
        Treatment {
            literals: self.literals,
            params: self.params,
        }
    }

    /// Whether values are hashed, for which a key is needed.
    pub fn hashes(&self) -> bool {
        self.literals == Treat::Hash || self.params == Treat::Hash
    }

    /// A list with nothing in it is for nobody: a slip.
    pub fn empty_list(&self) -> Option<&'static str> {
        let is_empty = |list: &Option<Vec<Pattern>>| list.as_ref().is_some_and(Vec::is_empty);
        match self {
            rule if is_empty(&rule.databases) => Some("databases"),
            rule if is_empty(&rule.identities) => Some("identities"),
            rule if is_empty(&rule.users) => Some("users"),
            rule if rule.tables.as_ref().is_some_and(Vec::is_empty) => Some("tables"),
            _ => None,
        }
    }

    /// It takes something away: then it is also for what it may be for.
    fn restricts(&self) -> bool {
        self.literals != Treat::Keep || self.params != Treat::Keep
    }

    pub(super) fn is_for(&self, subject: &Subject<'_>, facts: Option<&Facts>) -> bool {
        self.names(self.databases.as_deref(), subject.database)
            && self.names(self.users.as_deref(), subject.user)
            && self.names(self.identities.as_deref(), subject.identity)
            && self.has_tables(facts)
    }

    fn names(&self, patterns: Option<&[Pattern]>, name: Option<&str>) -> bool {
        match (patterns, name) {
            (None, _) => true,
            (Some(_), None) => self.restricts(),
            (Some(patterns), Some(name)) => patterns.iter().any(|pattern| pattern.0.matches(name)),
        }
    }

    /// One that takes away: any table of the statement. One that keeps: all of them, for certain.
    fn has_tables(&self, facts: Option<&Facts>) -> bool {
        let Some(patterns) = &self.tables else {
            return true;
        };
        let restricts = self.restricts();
        let Some(facts) = facts else {
            return restricts;
        };
        let unsure = facts.parse != Parse::Ok || facts.effects.iter().any(|effect| effect.dynamic);
        let mut tables = facts
            .effects
            .iter()
            .filter_map(|effect| effect.object.as_ref())
            .filter(|object| object.kind == ObjectKind::Relation)
            .peekable();
        let matches = |table| {
            patterns
                .iter()
                .any(|pattern| pattern.0.matches(table, &SearchPath::Unknown, restricts))
        };
        match restricts {
            true => unsure || tables.any(matches),
            false => !unsure && tables.peek().is_some() && tables.all(matches),
        }
    }
}
