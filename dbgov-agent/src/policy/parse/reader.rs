//! Reading TOML values, with a note of everything that is wrong and where.

use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// Entries of one list.
const LIST_MAX: usize = 1000;

/// How like a known word a word must be to be taken for a slip (1 is equal).
const LIKENESS_MIN: f64 = 0.75;

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Collects problems.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) problems: Vec<(Range<usize>, String)>,
}

/// A table being read.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) table: &'a DeTable<'a>,
    /// Of its header or braces.
    pub(super) span: (usize, usize),
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Reader {
            text,
            problems: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push((span, message.into()));
    }

    /// In the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(span, _)| span.start);
        self.problems
            .into_iter()
            .map(|(span, message)| Problem::new(self.text, span, message))
            .collect()
    }

    /// Keys that are not known.
    pub(super) fn known_keys(&mut self, section: Section<'_>, what: &str, known: &[&str]) {
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let slip = did_you_mean(name, known.iter().copied());
                let message = if slip.is_empty() {
                    format!("{what} has no key `{name}`; it has {}", one_of(known))
                } else {
                    format!("{what} has no key `{name}`{slip}")
                };
                self.problem(key.span(), message);
            }
        }
    }

    pub(super) fn string<'s>(
        &mut self,
        section: Section<'s>,
        key: &str,
    ) -> Option<(&'s str, Range<usize>)> {
        let value = section.table.get(key)?;
        self.as_string(key, value)
    }

    pub(super) fn as_string<'s>(
        &mut self,
        key: &str,
        value: &'s Value<'_>,
    ) -> Option<(&'s str, Range<usize>)> {
        match value.get_ref().as_str() {
            Some(text) => Some((text, value.span())),
            None => self.expected(key, "a string", value),
        }
    }

    pub(super) fn boolean(&mut self, section: Section<'_>, key: &str) -> Option<bool> {
        let value = section.table.get(key)?;
        match value.get_ref().as_bool() {
            Some(flag) => Some(flag),
            None => self.expected(key, "true or false", value),
        }
    }

    /// Not negative.
    pub(super) fn integer(&mut self, section: Section<'_>, key: &str) -> Option<u64> {
        let value = section.table.get(key)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|digits| u64::from_str_radix(digits.as_str(), digits.radix()).ok());
        match number {
            Some(number) => Some(number),
            None => self.expected(key, "a whole number of 0 or more", value),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: Section<'_>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let (word, span) = self.string(section, key)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let slip = did_you_mean(word, names.iter().copied());
            self.problem(
                span,
                format!(
                    "`{key}` cannot be {word:?}{slip}; expected {}",
                    one_of(&names)
                ),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// Each string of a list, made into something. A list that is there has to have an entry.
    pub(super) fn list<T, E: Display>(
        &mut self,
        section: Section<'_>,
        key: &str,
        make: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(value) = section.table.get(key) else {
            return Vec::new();
        };
        let Some(entries) = value.get_ref().as_array() else {
            let _: Option<T> = self.expected(key, "a list of strings (`[\"...\"]`)", value);
            return Vec::new();
        };
        if entries.is_empty() {
            self.problem(
                value.span(),
                format!("`{key}` is empty and could match nothing; leave it out to match anything"),
            );
        }
        if entries.len() > LIST_MAX {
            self.problem(
                value.span(),
                format!("`{key}` has more than {LIST_MAX} entries"),
            );
        }
        let mut made = Vec::new();
        for entry in entries.iter().take(LIST_MAX) {
            let Some((text, span)) = self.as_string(key, entry) else {
                continue;
            };
            match make(text) {
                Ok(one) => made.push(one),
                Err(error) => self.problem(span, format!("`{key}`, {text:?}: {error}")),
            }
        }
        made
    }

    pub(super) fn expected<T>(&mut self, key: &str, what: &str, found: &Value<'_>) -> Option<T> {
        let kind = found.get_ref().type_str();
        self.problem(
            found.span(),
            format!("`{key}` must be {what}, not {} {kind}", article(kind)),
        );
        None
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

/// `` `a`, `b` or `c` ``
pub(super) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// `` ; did you mean `x`? `` or nothing.
pub(super) fn did_you_mean<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let word = word.to_lowercase();
    let like = names
        .map(|name| (strsim::jaro_winkler(&word, name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    like.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}
