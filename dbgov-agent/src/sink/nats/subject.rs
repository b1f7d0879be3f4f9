//! The subject a record goes to (docs.nats.io: "Subject-Based Messaging").

use serde::Deserialize;

/// Longer ones are refused by servers that keep their defaults, bytes.
const SUBJECT_BYTES_MAX: usize = 255;

/// Tokens between dots; `{node}` and `{kind}` in them stand for the record's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template(Box<str>);

impl Default for Template {
    fn default() -> Self {
        Template("dbgov.{node}.{kind}".into())
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = text.replace("{node}", "n").replace("{kind}", "k");
        let is_token = |token: &str| {
            !token.is_empty()
                && token
                    .chars()
                    .all(|c| c.is_ascii_graphic() && !matches!(c, '*' | '>' | '{' | '}'))
        };
        if plain.starts_with('$') || text.len() > SUBJECT_BYTES_MAX {
            return Err(format!(
                "{text:?}: a subject begins with no $ and has at most {SUBJECT_BYTES_MAX} bytes"
            ));
        }
        match plain.split('.').all(is_token) {
            true => Ok(Template(text.into())),
            false => Err(format!(
                "{text:?} is no subject: give words between dots, such as \"dbgov.{{node}}.{{kind}}\""
            )),
        }
    }
}

impl Template {
    pub(super) fn of(&self, node: &str, kind: &str) -> String {
        self.0
            .replace("{node}", &token(node))
            .replace("{kind}", &token(kind))
    }

    /// What every record's subject matches: what a stream has to listen to.
    pub(super) fn pattern(&self, node: &str) -> String {
        let node = token(node);
        let part = |part: &str| match part.contains("{kind}") {
            true => "*".to_owned(),
            false => part.replace("{node}", &node),
        };
        self.0.split('.').map(part).collect::<Vec<_>>().join(".")
    }
}

/// A name as one token: a host's name has dots, which would make several.
fn token(name: &str) -> String {
    let keep = |c: char| match c.is_ascii_alphanumeric() || c == '-' || c == '_' {
        true => c,
        false => '_',
    };
    match name.is_empty() {
        true => "_".to_owned(),
        false => name.chars().map(keep).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_token_each() {
        let template = Template::default();
        assert_eq!(template.of("db1", "statement"), "dbgov.db1.statement");
        assert_eq!(
            template.of("db1.example.com > *", "gap"),
            "dbgov.db1_example_com____.gap"
        );
        assert_eq!(template.of("", "gap"), "dbgov._.gap");
        assert_eq!(template.pattern("a.b"), "dbgov.a_b.*");
        let fixed = Template::try_from("audit.db-{kind}.x".to_owned()).unwrap();
        assert_eq!(fixed.pattern("n"), "audit.*.x");
    }

    #[test]
    fn what_is_no_subject() {
        for text in [
            "", "a..b", "a.*", "a.>", "a b", "{user}", "$JS.API", "a.\n", ".a",
        ] {
            assert!(Template::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
