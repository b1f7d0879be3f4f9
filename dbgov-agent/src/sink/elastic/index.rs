//! The index or data stream a record goes to.

use std::borrow::Cow;

/// What Elasticsearch allows (elastic.co/docs: "Create an index", index name limitations).
const NAME_BYTES_MAX: usize = 255;

/// A name, in which `%Y`, `%m`, `%d`, `%H` stand for the record's time (UTC). A data stream's name has none of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pattern: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IndexError {
    #[error("{0:?} is no name of an index: {1}")]
    Name(String, &'static str),
    #[error("%{0} stands for nothing here: use %Y, %m, %d or %H")]
    Conversion(char),
}

impl Index {
    pub(super) fn new(pattern: &str) -> Result<Self, IndexError> {
        let wrong = |why| Err(IndexError::Name(pattern.to_owned(), why));
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => match chars.next() {
                    Some('Y' | 'm' | 'd' | 'H') => {}
                    other => return Err(IndexError::Conversion(other.unwrap_or(' '))),
                },
                '\\' | '/' | '*' | '?' | '"' | '<' | '>' | '|' | ' ' | ',' | '#' | ':' => {
                    return wrong("it has one of \\ / * ? \" < > | , # : or a space");
                }
                c if c.is_uppercase() => return wrong("it has capital letters"),
                c if c.is_control() => return wrong("it has control characters"),
                _ => {}
            }
        }
        if pattern.is_empty() || pattern.starts_with(['-', '_', '+', '.']) {
            return wrong("it is empty or begins with - _ + or .");
        }
        if pattern.len() > NAME_BYTES_MAX {
            return wrong("it is longer than 255 bytes");
        }
        Ok(Index {
            pattern: pattern.to_owned(),
        })
    }

    pub(super) fn of(&self, time_unix_ns: u64) -> Cow<'_, str> {
        if !self.pattern.contains('%') {
            return Cow::Borrowed(&self.pattern);
        }
        let time = jiff::Timestamp::from_nanosecond(i128::from(time_unix_ns));
        let time = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Cow::Owned(time.strftime(&self.pattern).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_the_records_and_in_utc() {
        let index = Index::new("audit-%Y.%m.%d-%H").unwrap();
        assert_eq!(index.of(1_795_391_999_999_999_999), "audit-2026.11.22-23");
        assert_eq!(index.of(1_795_392_000_000_000_000), "audit-2026.11.23-00");
        let stream = Index::new("logs-dbgov-default").unwrap();
        assert_eq!(stream.of(0), "logs-dbgov-default");
    }

    #[test]
    fn names_that_no_index_can_have_are_refused_at_the_start() {
        for (name, words) in [
            ("", "empty"),
            ("_all", "begins with"),
            ("Audit", "capital"),
            ("a/b", "one of"),
            ("a b", "space"),
            ("a-%S", "%S stands for nothing"),
            ("a-%", "stands for nothing"),
            ("a\n", "control"),
        ] {
            let error = Index::new(name).unwrap_err().to_string();
            assert!(error.contains(words), "{name:?}: {error}");
        }
        assert!(Index::new(&"a".repeat(256)).is_err());
    }
}
