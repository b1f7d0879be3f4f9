//! What a tag may be called, and what a run may say of itself: short, printable, one line.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a tag's name.
const NAME_CHARS_MAX: usize = 128;
/// Characters of a purpose: a sentence or two, in every record of the run.
const PURPOSE_CHARS_MAX: usize = 512;
/// Labels of one run; they are in every record of it.
const LABELS_MAX: usize = 16;
/// Characters of a label's key ...
const KEY_CHARS_MAX: usize = 63;
/// ... and of its value.
const VALUE_CHARS_MAX: usize = 253;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a tag's name is empty; give one such as agent:sync")]
    Empty,
    #[error("a tag's name has at most {NAME_CHARS_MAX} characters")]
    Long,
    #[error("a tag's name is made of letters, digits and any of `:._/@+-`, not of {0:?}")]
    Character(char),
    #[error("a purpose has at most {PURPOSE_CHARS_MAX} characters")]
    LongPurpose,
    #[error("a {0} is one line without control characters")]
    Control(&'static str),
    #[error("at most {LABELS_MAX} labels")]
    ManyLabels,
    #[error(
        "{0:?} is no label: write KEY=VALUE, the key of letters, digits and `._/-`, at most {KEY_CHARS_MAX} characters"
    )]
    Label(String),
    #[error("the value of the label {0} has more than {VALUE_CHARS_MAX} characters")]
    LongValue(String),
}

/// The name of a tag: what a record calls its cgroup's processes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TagName(String);

impl TagName {
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(NameError::Long);
        }
        let strange = |c: &char| !(c.is_alphanumeric() || ":._/@+-".contains(*c));
        match name.chars().find(strange) {
            Some(character) => Err(NameError::Character(character)),
            None => Ok(TagName(name.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for TagName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        TagName::new(name)
    }
}

impl TryFrom<String> for TagName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        TagName::new(&name)
    }
}

impl From<TagName> for String {
    fn from(name: TagName) -> String {
        name.0
    }
}

/// Labels by their keys.
pub type Labels = BTreeMap<String, String>;

/// `KEY=VALUE` as it is given on the command line.
pub fn label(text: &str) -> Result<(String, String), NameError> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| NameError::Label(text.to_owned()))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Whether a run may say this of itself.
pub fn check_run(purpose: Option<&str>, labels: &Labels) -> Result<(), NameError> {
    if let Some(purpose) = purpose {
        if purpose.chars().count() > PURPOSE_CHARS_MAX {
            return Err(NameError::LongPurpose);
        }
        if purpose.chars().any(char::is_control) {
            return Err(NameError::Control("purpose"));
        }
    }
    if labels.len() > LABELS_MAX {
        return Err(NameError::ManyLabels);
    }
    for (key, value) in labels {
        let strange = |c: char| !(c.is_ascii_alphanumeric() || "._/-".contains(c));
        if key.is_empty() || key.len() > KEY_CHARS_MAX || key.contains(strange) {
            return Err(NameError::Label(key.clone()));
        }
        if value.chars().count() > VALUE_CHARS_MAX {
            return Err(NameError::LongValue(key.clone()));
        }
        if value.chars().any(char::is_control) {
            return Err(NameError::Control("label"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["agent:sync", "a", "dépôt", "team/etl@prod+1_2.3-x"] {
            assert_eq!(TagName::new(good).unwrap().as_str(), good);
        }
        for (bad, told) in [
            ("", "empty"),
            (" a", "not of ' '"),
            ("a\nb", "not of '\\n'"),
            ("a*", "not of '*'"),
            ("\u{202e}x", "not of"),
            (&"x".repeat(129), "128 characters"),
        ] {
            let error = TagName::new(bad).unwrap_err().to_string();
            assert!(error.contains(told), "{bad:?}: {error}");
        }
    }

    #[test]
    fn runs() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let good = labels(&[("ticket", "OPS-17"), ("app.kubernetes.io/name", "")]);
        assert_eq!(check_run(Some("nightly clean-up"), &good), Ok(()));
        assert_eq!(check_run(None, &Labels::new()), Ok(()));
        for (purpose, labels) in [
            (Some("x".repeat(513)), labels(&[])),
            (Some("two\nlines".to_owned()), labels(&[])),
            (None, labels(&[("", "v")])),
            (None, labels(&[("a b", "v")])),
            (None, labels(&[("a", "v\u{7}")])),
            (None, labels(&[("a", &"v".repeat(254))])),
            (
                None,
                (0..17).map(|n| (n.to_string(), String::new())).collect(),
            ),
        ] {
            assert!(check_run(purpose.as_deref(), &labels).is_err());
        }
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(label("a").is_err());
    }
}
