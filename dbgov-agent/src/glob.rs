//! Patterns of names.

use std::fmt;

/// `*` stands for any characters, `?` for one; a backslash takes the meaning from the next character.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    /// As written.
    text: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Literal(Box<str>),
    /// `?`
    One,
    /// `*`
    Any,
}

/// Longest pattern, bytes: eight names of the longest kind (63 bytes) and room for identities.
pub const GLOB_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("the pattern is empty; leave the key out to match anything")]
    Empty,
    #[error("the pattern is longer than {GLOB_BYTES_MAX} bytes")]
    TooLong,
    #[error("a backslash ends the pattern; it belongs before the character that is meant as it is")]
    LoneBackslash,
    #[error(
        "`{0}` has no meaning in a pattern (only `*` and `?` have); write `\\{0}` for the character itself, or several patterns"
    )]
    Reserved(char),
}

impl Glob {
    pub fn new(text: &str) -> Result<Glob, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > GLOB_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let part = match character {
                '\\' => {
                    literal.push(characters.next().ok_or(GlobError::LoneBackslash)?);
                    continue;
                }
                '[' | ']' | '{' | '}' => return Err(GlobError::Reserved(character)),
                '*' => Part::Any,
                '?' => Part::One,
                other => {
                    literal.push(other);
                    continue;
                }
            };
            flush(&mut literal, &mut parts);
            if part != Part::Any || parts.last() != Some(&Part::Any) {
                parts.push(part);
            }
        }
        flush(&mut literal, &mut parts);
        Ok(Glob {
            text: text.into(),
            parts: parts.into(),
        })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands between the wildcards. Whatever matches has all of it, in this order.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(&**text),
            _ => None,
        })
    }

    /// The one name it stands for, where it has no wildcard.
    pub fn exact(&self) -> Option<&str> {
        match &*self.parts {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// It stands for every name.
    pub fn is_any(&self) -> bool {
        matches!(&*self.parts, [Part::Any])
    }

    /// No allocation; time at most the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        match &*self.parts {
            [Part::Literal(text)] => **text == *name,
            [Part::Any] => true,
            [Part::Literal(prefix), Part::Any] => name.starts_with(&**prefix),
            [Part::Any, Part::Literal(suffix)] => name.ends_with(&**suffix),
            parts => matches_parts(parts, name),
        }
    }

    /// Whatever matches the other matches this one. `false` where that is not easily seen.
    pub fn includes(&self, other: &Glob) -> bool {
        match other.exact() {
            Some(name) => self.matches(name),
            None => self.is_any() || self == other || self.includes_prefix(other),
        }
    }

    /// `a*` and `ab*c`.
    fn includes_prefix(&self, other: &Glob) -> bool {
        match (&*self.parts, &*other.parts) {
            ([Part::Literal(prefix), Part::Any], [Part::Literal(longer), ..]) => {
                longer.starts_with(&**prefix)
            }
            _ => false,
        }
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal).into()));
    }
}

/// The last `*` takes one character more whenever what follows it does not match.
fn matches_parts(parts: &[Part], name: &str) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut star: Option<(usize, &str)> = None;
    loop {
        let next = match parts.get(at) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Part::Any) => {
                star = Some((at + 1, rest));
                Some(rest)
            }
            Some(Part::One) => {
                let mut characters = rest.chars();
                characters.next().map(|_| characters.as_str())
            }
            Some(Part::Literal(text)) => rest.strip_prefix(&**text),
        };
        if let Some(next) = next {
            (at, rest) = (at + 1, next);
            continue;
        }
        let Some((behind, from)) = star else {
            return false;
        };
        let mut characters = from.chars();
        if characters.next().is_none() {
            return false;
        }
        star = Some((behind, characters.as_str()));
        (at, rest) = (behind, characters.as_str());
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("agent:*", "agent:sync", true),
            ("agent:*", "agent:", true),
            ("agent:*", "agents:sync", false),
            ("*_tmp", "x_tmp", true),
            ("*_tmp", "x_tmpx", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*a*", "bab", true),
            ("**", "anything", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            ("Orders", "orders", false),
            ("?*", "", false),
        ] {
            let glob = Glob::new(pattern).unwrap();
            assert_eq!(glob.matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn bad_patterns() {
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        assert_eq!(Glob::new("a\\"), Err(GlobError::LoneBackslash));
        assert_eq!(Glob::new("a[bc]"), Err(GlobError::Reserved('[')));
        assert_eq!(Glob::new(&"x".repeat(2000)), Err(GlobError::TooLong));
    }

    #[test]
    fn inclusion() {
        let glob = |text| Glob::new(text).unwrap();
        assert!(glob("*").includes(&glob("a?")));
        assert!(glob("a*").includes(&glob("ab*c")));
        assert!(glob("a*").includes(&glob("a")));
        assert!(!glob("ab*").includes(&glob("a*")));
        assert!(!glob("*b").includes(&glob("*")));
    }

    proptest::proptest! {
        /// Against the definition: by recursion, exponential.
        #[test]
        fn as_by_definition(pattern in "[ab?*]{1,7}", name in "[ab]{0,8}") {
            fn matches(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern, name) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => {
                        matches(rest, name) || (!name.is_empty() && matches(pattern, &name[1..]))
                    }
                    ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
                    ([one, rest @ ..], [other, name @ ..]) => one == other && matches(rest, name),
                    _ => false,
                }
            }
            proptest::prop_assert_eq!(
                Glob::new(&pattern).unwrap().matches(&name),
                matches(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
