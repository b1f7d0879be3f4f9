//! `filter`: which records a sink is for.

use serde::Deserialize;

use crate::audit::record::Kind;
use crate::config::NameGlob;
use crate::policy::Action;

/// What is given has to hold, all of it; an empty list holds for every record.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    kinds: Vec<KindName>,
    verdicts: Vec<VerdictName>,
    /// Of `identity.name`.
    identities: Vec<NameGlob>,
    /// Of `session.database`.
    databases: Vec<NameGlob>,
}

/// What the filter looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits<'a> {
    pub kind: &'a str,
    /// `verdict.action`
    pub verdict: Option<&'a str>,
    pub identity: Option<&'a str>,
    pub database: Option<&'a str>,
}

impl Filter {
    pub fn passes(&self, record: &Traits<'_>) -> bool {
        let named = |globs: &[NameGlob], name: Option<&str>| {
            globs.is_empty()
                || name.is_some_and(|name| globs.iter().any(|glob| glob.0.matches(name)))
        };
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.0.name() == record.kind))
            && (self.verdicts.is_empty()
                || self
                    .verdicts
                    .iter()
                    .any(|verdict| Some(verdict.0.name()) == record.verdict))
            && named(&self.identities, record.identity)
            && named(&self.databases, record.database)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct KindName(Kind);

impl TryFrom<String> for KindName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        one_of("kind", &text, Kind::ALL, Kind::name).map(KindName)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct VerdictName(Action);

impl TryFrom<String> for VerdictName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        one_of("verdict", &text, Action::ALL, Action::name).map(VerdictName)
    }
}

fn one_of<T: Copy>(
    what: &str,
    text: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.iter().find(|one| name(**one) == text);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        format!(
            "there is no {what} {text:?}; there are {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: Traits<'_> = Traits {
        kind: "statement",
        verdict: Some("reject"),
        identity: Some("agent:claude"),
        database: Some("shop"),
    };

    fn filter(text: &str) -> Filter {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn all_that_is_given_has_to_hold() {
        for (text, passes) in [
            ("", true),
            ("kinds = [\"gap\", \"statement\"]", true),
            ("kinds = [\"gap\"]", false),
            ("verdicts = [\"reject\", \"reset\"]", true),
            ("verdicts = [\"allow\"]", false),
            ("identities = [\"agent:*\"]", true),
            ("identities = [\"svc:*\"]", false),
            ("databases = [\"shop\"]", true),
            ("databases = [\"hr\", \"pay*\"]", false),
            ("kinds = [\"statement\"]\nverdicts = [\"allow\"]", false),
            ("kinds = [\"statement\"]\nidentities = [\"*:claude\"]", true),
        ] {
            assert_eq!(filter(text).passes(&DENIED), passes, "{text}");
        }
    }

    #[test]
    fn what_a_record_does_not_have_matches_nothing() {
        let start = Traits {
            kind: "agent_start",
            ..Traits::default()
        };
        assert!(filter("").passes(&start));
        for text in [
            "verdicts = [\"allow\"]",
            "identities = [\"*\"]",
            "databases = [\"*\"]",
        ] {
            assert!(!filter(text).passes(&start), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            (
                "kinds = [\"statment\"]",
                "no kind \"statment\"; there are statement",
            ),
            (
                "verdicts = [\"deny\"]",
                "no verdict \"deny\"; there are allow",
            ),
            ("identities = [\"\"]", "empty"),
            ("users = []", "unknown field"),
        ] {
            let error = toml::from_str::<Filter>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
