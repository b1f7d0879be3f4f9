//! Patterns of tables and functions, and the search path that says where an unqualified name is looked for
//! (PostgreSQL documentation 5.10.3).

use std::fmt;

use crate::glob::{Glob, GlobError};
use crate::sql::{Object, ObjectKind};

/// Searched before everything else, wherever the path does not name it.
const CATALOG: &str = "pg_catalog";

/// Where the server looks for names without a schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SearchPath {
    /// Nobody told, or it was computed.
    #[default]
    Unknown,
    /// In this order, `"$user"` resolved, without the implicit `pg_catalog` and `pg_temp`.
    Known(Vec<Box<str>>),
}

/// `name` or `schema.name`, with wildcards in either. Without a schema: that name in any schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamePattern {
    pub schema: Option<Glob>,
    pub name: Glob,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("expected `name` or `schema.name`; a dot that belongs to a name is written `\\.`")]
    Dots,
    #[error(transparent)]
    Glob(#[from] GlobError),
}

impl NamePattern {
    pub fn new(text: &str) -> Result<NamePattern, NameError> {
        let mut dots = unescaped_dots(text);
        let (schema, name) = match (dots.next(), dots.next()) {
            (None, _) => (None, text),
            (Some(dot), None) => (Some(Glob::new(&text[..dot])?), &text[dot + 1..]),
            (Some(_), Some(_)) => return Err(NameError::Dots),
        };
        Ok(NamePattern {
            schema,
            name: Glob::new(name)?,
        })
    }

    /// `restrictive`: what the name may stand for is enough; else it must be certain.
    pub fn matches(&self, object: &Object, path: &SearchPath, restrictive: bool) -> bool {
        self.name.matches(&object.name)
            && self
                .schema
                .as_ref()
                .is_none_or(|schema| in_schema(schema, object, path, restrictive))
    }

    /// Whatever matches the other matches this one.
    pub fn includes(&self, other: &NamePattern) -> bool {
        let schema = match (&self.schema, &other.schema) {
            (None, _) => true,
            (Some(own), Some(other)) => own.includes(other),
            (Some(own), None) => own.is_any(),
        };
        schema && self.name.includes(&other.name)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

/// Whether the object is in a schema of this pattern, or (`restrictive`) may be.
pub(super) fn in_schema(
    pattern: &Glob,
    object: &Object,
    path: &SearchPath,
    restrictive: bool,
) -> bool {
    if object.kind == ObjectKind::Schema {
        return pattern.matches(&object.name);
    }
    match (&object.schema, path) {
        (Some(schema), _) => pattern.matches(schema),
        (None, _) if !has_schema(object.kind) => false,
        (None, SearchPath::Unknown) => restrictive,
        (None, SearchPath::Known(path)) => {
            let mut path = path.iter().map(|schema| pattern.matches(schema));
            if restrictive {
                path.any(|matches| matches) || pattern.matches(CATALOG)
            } else {
                path.len() > 0
                    && path.all(|matches| matches)
                    && (!may_be_in_catalog(object) || pattern.matches(CATALOG))
            }
        }
    }
}

/// Things whose name, unqualified, is looked for on the search path. (Of `Other` some are, but most are not.)
fn has_schema(kind: ObjectKind) -> bool {
    matches!(
        kind,
        ObjectKind::Relation
            | ObjectKind::Index
            | ObjectKind::Sequence
            | ObjectKind::Function
            | ObjectKind::Type
    )
}

/// All relations of the catalog, and no others, have a name that begins so (5.10.5). Functions and types have any.
fn may_be_in_catalog(object: &Object) -> bool {
    match object.kind {
        ObjectKind::Relation | ObjectKind::Index | ObjectKind::Sequence => {
            object.name.starts_with("pg_")
        }
        _ => true,
    }
}

fn unescaped_dots(text: &str) -> impl Iterator<Item = usize> {
    let mut escaped = false;
    text.bytes()
        .enumerate()
        .filter_map(move |(at, byte)| match byte {
            _ if escaped => {
                escaped = false;
                None
            }
            b'\\' => {
                escaped = true;
                None
            }
            b'.' => Some(at),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: ObjectKind, schema: Option<&str>, name: &str) -> Object {
        Object {
            kind,
            schema: schema.map(Into::into),
            name: name.into(),
        }
    }

    fn check(pattern: &str, object: &Object, path: &SearchPath, expected: (bool, bool)) {
        let pattern = NamePattern::new(pattern).unwrap();
        let found = [true, false].map(|restrictive| pattern.matches(object, path, restrictive));
        assert_eq!(
            (found[0], found[1]),
            expected,
            "{pattern} on {object}, {path:?}"
        );
    }

    /// (restricts, permits)
    #[test]
    fn unqualified_names_go_by_the_search_path() {
        let table = object(ObjectKind::Relation, None, "t");
        let known =
            |names: &[&str]| SearchPath::Known(names.iter().map(|name| (*name).into()).collect());
        check("t", &table, &SearchPath::Unknown, (true, true));
        check("s.t", &table, &SearchPath::Unknown, (true, false));
        check("*.t", &table, &SearchPath::Unknown, (true, false));
        check("s.x", &table, &SearchPath::Unknown, (false, false));
        check("s.t", &table, &known(&["s"]), (true, true));
        check("s.t", &table, &known(&["x", "s"]), (true, false));
        check("s.t", &table, &known(&["x"]), (false, false));
        check("s.t", &table, &known(&[]), (false, false));
        check("*.t", &table, &known(&["x", "s"]), (true, true));

        let qualified = object(ObjectKind::Relation, Some("s"), "t");
        check("s.t", &qualified, &SearchPath::Unknown, (true, true));
        check("x.t", &qualified, &SearchPath::Unknown, (false, false));
        check("t", &qualified, &SearchPath::Unknown, (true, true));
    }

    #[test]
    fn the_catalog_is_searched_without_being_named() {
        let public = SearchPath::Known(vec!["public".into()]);
        let authid = object(ObjectKind::Relation, None, "pg_authid");
        check("pg_catalog.*", &authid, &public, (true, false));
        check("public.*", &authid, &public, (true, false));
        let function = object(ObjectKind::Function, None, "lo_import");
        check("public.*", &function, &public, (true, false));
        check("pg_catalog.lo_*", &function, &public, (true, false));
    }

    #[test]
    fn what_has_no_schema_is_in_none() {
        let role = object(ObjectKind::Role, None, "t");
        check("s.t", &role, &SearchPath::Unknown, (false, false));
        check("t", &role, &SearchPath::Unknown, (true, true));
    }

    #[test]
    fn dots() {
        assert_eq!(NamePattern::new("a.b.c"), Err(NameError::Dots));
        assert_eq!(
            NamePattern::new("a."),
            Err(NameError::Glob(GlobError::Empty))
        );
        let dotted = NamePattern::new(r"s.a\.b").unwrap();
        assert_eq!(dotted.name.exact(), Some("a.b"));
        assert_eq!(dotted.to_string(), r"s.a\.b");
    }
}
