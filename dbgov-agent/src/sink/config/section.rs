//! One table of the configuration whose keys depend on the value of one of them. What is wrong with it is named with
//! its place, as everywhere else in the file; serde's own tagged enumerations would lose it.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use toml::{Spanned, Value};

/// Keys with such a word in them have values that must not be shown, not even as part of the line that is wrong.
const SECRET_WORDS: &[&str] = &[
    "token",
    "password",
    "passphrase",
    "secret",
    "properties",
    "headers",
    // A user and a password before the host, a webhook's path.
    "url",
    "servers",
    "brokers",
    "proxy",
];

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) span: Range<usize>,
    pub(crate) what: String,
    /// There is a secret in the line.
    pub(crate) secret: bool,
}

impl Mistake {
    pub(crate) fn new(span: Range<usize>, what: String) -> Self {
        Mistake {
            span,
            what,
            secret: false,
        }
    }
}

/// The line of the text may show a secret.
pub(crate) fn may_show_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| line.contains(word))
}

/// serde repeats a text where something else is expected: `invalid type: string "…", expected a map`.
fn without_value(what: String) -> String {
    let repeats = ["invalid type: ", "invalid value: ", "invalid length "];
    match what.rsplit_once(", expected ") {
        Some((before, expected)) if repeats.iter().any(|words| before.starts_with(words)) => {
            format!("that is of the wrong type, expected {expected}")
        }
        _ => what,
    }
}

type Entry = (Spanned<String>, Spanned<Value>);

/// A table, or some of its keys.
#[derive(Clone, Default)]
pub(crate) struct Section {
    entries: Vec<Entry>,
    /// The first key of the table: where a mistake is that is about no key in particular.
    whole: Range<usize>,
}

/// Where the keys are.
pub(super) struct Places(Vec<(String, Range<usize>)>);

impl Places {
    pub(super) fn of(&self, key: &str) -> Range<usize> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, span)| span.clone()).unwrap_or_default()
    }
}

/// There may be secrets in it.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Section(..)")
    }
}

impl Section {
    /// Those of these keys, and the others.
    pub(super) fn split(self, keys: &[&str]) -> (Section, Section) {
        let of_these = |(key, _): &Entry| keys.contains(&key.get_ref().as_str());
        let (these, others) = self.entries.into_iter().partition(of_these);
        let part = |entries| Section {
            entries,
            whole: self.whole.clone(),
        };
        (part(these), part(others))
    }

    pub(super) fn places(&self) -> Places {
        let place = |(key, value): &Entry| (key.get_ref().clone(), value.span());
        Places(self.entries.iter().map(place).collect())
    }

    pub(super) fn place_of(&self, key: &str) -> Range<usize> {
        self.places().of(key)
    }

    /// About no key in particular.
    pub(super) fn mistake(&self, what: String) -> Mistake {
        Mistake {
            secret: self.is_secret(),
            ..Mistake::new(self.whole(), what)
        }
    }

    /// Where it begins: the line that a mistake about all of it shows.
    fn whole(&self) -> Range<usize> {
        let first = self.entries.first().map(|(key, _)| key.span());
        first.unwrap_or_else(|| self.whole.clone())
    }

    /// There may be a secret in that line.
    fn is_secret(&self) -> bool {
        let first = self.entries.first();
        first.is_none_or(|(key, _)| may_show_secret(key.get_ref()))
    }

    /// All of it as one value; `also` are keys that it might have had, for the message about an unknown one.
    pub(super) fn read<T: DeserializeOwned>(self, also: &str) -> Result<T, Mistake> {
        let whole = self.mistake(String::new());
        let mut reading = Reading {
            entries: self.entries.into_iter(),
            value: None,
            at: whole.span.clone(),
            secret: whole.secret,
            whole,
        };
        T::deserialize(MapAccessDeserializer::new(&mut reading)).map_err(
            |error: toml::de::Error| {
                let mut what = error.message().to_owned();
                if let Some(unknown) = what.strip_prefix("unknown field `") {
                    let hint = unknown.split('`').next().and_then(elsewhere);
                    what.push_str(also);
                    what.push_str(&hint.unwrap_or_default());
                }
                if reading.secret {
                    what = without_value(what);
                }
                // A misspelt `token` has no word in it that tells.
                let is_misspelt = what.starts_with("unknown field");
                Mistake {
                    span: reading.at,
                    what,
                    secret: reading.secret || is_misspelt,
                }
            },
        )
    }
}

/// Other programs have a second key for a secret that is in a file or in the environment.
fn elsewhere(unknown: &str) -> Option<String> {
    let (key, place) = unknown.rsplit_once('_')?;
    let example = match place {
        "file" => "{ file = \"PATH\" }",
        "env" => "{ env = \"NAME\" }",
        _ => return None,
    };
    Some(format!(
        "; a secret in another place is written as {key} = {example}"
    ))
}

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Section;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Section, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                let first: Option<&Entry> = entries.first();
                let whole = first.map(|(key, _)| key.span()).unwrap_or_default();
                Ok(Section { entries, whole })
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// Reads entries and knows which one it is at.
struct Reading {
    entries: std::vec::IntoIter<Entry>,
    value: Option<Spanned<Value>>,
    /// Where a mistake is that is about none of them.
    whole: Mistake,
    at: Range<usize>,
    secret: bool,
}

impl<'de> MapAccess<'de> for Reading {
    type Error = toml::de::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let Some((key, value)) = self.entries.next() else {
            self.at = self.whole.span.clone();
            self.secret = self.whole.secret;
            return Ok(None);
        };
        self.at = key.span();
        self.secret = may_show_secret(key.get_ref());
        self.value = Some(value);
        seed.deserialize(key.into_inner().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        let Some(value) = self.value.take() else {
            return Err(serde::de::Error::custom("a value without a key"));
        };
        self.at = value.span();
        seed.deserialize(value.into_inner())
    }
}
