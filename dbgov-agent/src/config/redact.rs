//! `[[redact]]` and `[redaction]`: what of statements the records keep.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::Config;
use super::network::Mistake;
use crate::redact::{Key, KeyError, RedactRule, Redactor};

/// Rules of a configuration: each statement is compared with all of them.
const RULES_MAX: usize = 1000;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionConfig {
    /// What values are hashed with. In the file of the configuration, relative to its directory.
    pub key_file: Option<PathBuf>,
}

pub(super) fn check(sections: &[Spanned<RedactRule>]) -> Result<(), Mistake> {
    for (number, section) in sections.iter().enumerate() {
        let what = match section.get_ref().empty_list() {
            _ if number >= RULES_MAX => format!("more than {RULES_MAX} [[redact]]"),
            Some(list) => format!(
                "[[redact]] {list} is empty, so that it is for nothing: give patterns, or leave it out for all"
            ),
            None => continue,
        };
        return Err(Mistake {
            span: section.span(),
            what,
        });
    }
    Ok(())
}

impl Config {
    /// What of statements the records keep. The key that values are hashed with is made where there is none, beside the
    /// directory of the journal, if any rule needs it.
    pub fn redactor(&self) -> Result<Redactor, KeyError> {
        let rules: Vec<RedactRule> = self
            .redact_sections
            .iter()
            .map(|section| section.get_ref().clone())
            .collect();
        let key = match rules.iter().any(RedactRule::hashes) {
            true => Some(Key::read_or_make(&self.redaction_key_file())?),
            false => None,
        };
        Ok(Redactor::new(rules, key))
    }

    fn redaction_key_file(&self) -> PathBuf {
        if let Some(path) = &self.redaction.key_file {
            return path.clone();
        }
        let mut path = self.audit.dir.clone().into_os_string();
        path.push(".redact.key");
        path.into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/dbgov/dbgov.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_key_lies_beside_the_journal_and_is_made_when_needed() {
        let config = parse("[[redact]]\nliterals = \"hash\"").unwrap();
        assert_eq!(
            config.redaction_key_file(),
            Path::new("/var/lib/dbgov/audit.redact.key")
        );
        let given = parse("[redaction]\nkey_file = \"k\"").unwrap();
        assert_eq!(given.redaction_key_file(), Path::new("/etc/dbgov/k"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (literals, made) in [("remove", false), ("hash", true)] {
            let text =
                format!("[redaction]\nkey_file = {path:?}\n[[redact]]\nliterals = \"{literals}\"");
            let redactor = parse(&text).unwrap().redactor().unwrap();
            assert!(!redactor.is_idle());
            assert_eq!(path.exists(), made);
        }
        assert!(parse("").unwrap().redactor().unwrap().is_idle());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expected) in [
            (
                "tables = []",
                "line 1, column 1: [[redact]] tables is empty",
            ),
            ("users = []", "[[redact]] users is empty"),
            ("literals = \"drop\"", "line 2, column 12"),
            (
                "literals = \"drop\"",
                "unknown variant `drop`, expected one of `keep`, `hash`, `remove`",
            ),
            ("tables = [\"a.b.c\"]", "line 2, column 10"),
            ("databases = [\"a[b\"]", "`[` has no meaning in a pattern"),
            ("database = [\"a\"]", "unknown field `database`"),
            ("params = true", "line 2, column 10"),
        ] {
            let error = parse(&format!("[[redact]]\n{text}")).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = parse("[redaction]\nkey = \"k\"").unwrap_err();
        assert!(error.contains("unknown field `key`"), "{error}");
    }
}
