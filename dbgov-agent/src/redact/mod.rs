//! What of a statement the records keep: secrets never, literals and parameters as the configuration says.
//!
//! ```text
//! rule       `[[redact]]`: for whom and for what
//! key        what values are hashed with
//! shown      a text as it may leave the agent
//! ```
#![forbid(unsafe_code)]

pub mod key;
mod rule;
mod shown;

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::Sha256;

pub use key::{Key, KeyError};
pub use rule::{RedactRule, Treat, Treatment};
pub use shown::Shown;

use crate::sql::Facts;
use crate::sql::secret::MARK;

/// `statement.redacted`: secrets were removed.
pub const PASSWORD: &str = "password";
/// `statement.redacted`: literals were hashed or removed as the configuration says.
pub const LITERALS: &str = "literals";
/// `statement.redacted`: likewise parameters.
pub const PARAMS: &str = "params";

/// Hexadecimal digits that are kept of the hash of a value: 64 bits tell the values of one database apart.
const HASH_DIGITS: usize = 16;

/// Whose statement it is; what is not known is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    pub database: Option<&'a str>,
    pub user: Option<&'a str>,
    /// `identity.name` of the record.
    pub identity: Option<&'a str>,
}

/// `[[redact]]` in force.
#[derive(Debug, Default)]
pub struct Redactor {
    rules: Vec<RedactRule>,
    key: Option<Key>,
}

impl Redactor {
    /// `key`: needed where one of the rules hashes.
    pub fn new(rules: Vec<RedactRule>, key: Option<Key>) -> Self {
        Redactor { rules, key }
    }

    /// Nothing is configured: all is kept but secrets.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first rule that is for it decides. `facts`: of the statement; `None` where there is none, or it was not seen.
    pub fn treatment(&self, subject: &Subject<'_>, facts: Option<&Facts>) -> Treatment {
        let rule = self.rules.iter().find(|rule| rule.is_for(subject, facts));
        rule.map(RedactRule::treatment).unwrap_or_default()
    }

    /// A value as it is to be recorded.
    pub fn value<'a>(&self, value: &'a str, treat: Treat) -> Cow<'a, str> {
        match treat {
            Treat::Keep => value.into(),
            Treat::Remove => MARK.into(),
            Treat::Hash => match self.key.as_ref().and_then(|key| hash(key, value)) {
                Some(hash) => hash.into(),
                // No configuration has this: without its key nothing can be hashed.
                None => MARK.into(),
            },
        }
    }
}

/// `#` and the first digits of HMAC-SHA-256 (RFC 2104).
fn hash(key: &Key, value: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).ok()?;
    mac.update(value.as_bytes());
    let mut digits = hex::encode(mac.finalize().into_bytes());
    digits.truncate(HASH_DIGITS);
    Some(format!("#{digits}"))
}

#[cfg(test)]
mod tests;
