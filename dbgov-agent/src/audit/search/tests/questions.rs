//! What is asked: each filter alone, with several values, and together; and what the answer has to be.

use serde_json::Value;

use super::journal::{START_NS, STEP_NS};
use crate::audit::search::Filters;
use crate::glob::Glob;

/// The same question put to the records as JSON, by other code.
pub(super) fn naive(filters: &Filters, record: &Value) -> bool {
    let text = |pointer: &str| {
        record
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let list = |pointer: &str| -> Vec<String> {
        let items = record.pointer(pointer).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let is =
        |wanted: &[String], pointer: &str| wanted.is_empty() || wanted.contains(&text(pointer));
    let time: jiff::Timestamp = text("/time").parse().unwrap();
    let time = time.as_nanosecond() as u64;
    let tables = list("/statement/tables");
    let mut texts = list("/statement/params");
    texts.push(text("/statement/text"));
    filters.since.is_none_or(|since| time >= since)
        && filters.until.is_none_or(|until| time < until)
        && is(&filters.users, "/session/user")
        && is(&filters.databases, "/session/database")
        && is(&filters.sessions, "/session/id")
        && is(&filters.runs, "/identity/run")
        && is(&filters.verdicts, "/verdict/action")
        && is(&filters.rules, "/verdict/rule")
        && is(&filters.kinds, "/kind")
        && (filters.pids.is_empty()
            || filters
                .pids
                .iter()
                .any(|pid| record["identity"]["pid"] == *pid))
        && (filters.identities.is_empty()
            || filters
                .identities
                .iter()
                .any(|glob| glob.matches(&text("/identity/name"))))
        && (filters.verbs.is_empty()
            || list("/statement/verbs")
                .iter()
                .any(|verb| filters.verbs.contains(verb)))
        && (filters.tables.is_empty()
            || tables.iter().any(|table| {
                filters
                    .tables
                    .iter()
                    .any(|wanted| table == wanted || table.ends_with(&format!(".{wanted}")))
            }))
        && (filters.texts.is_empty()
            || texts.iter().any(|text| {
                filters
                    .texts
                    .iter()
                    .any(|wanted| text.to_lowercase().contains(&wanted.to_lowercase()))
            }))
}

/// Each filter alone, with several values, and together.
pub(super) fn questions() -> Vec<Filters> {
    let all = Filters::default;
    let at = |record: u64| Some(START_NS + record * STEP_NS);
    vec![
        all(),
        Filters {
            since: at(4_000),
            until: at(4_100),
            ..all()
        },
        Filters {
            since: at(9_590),
            ..all()
        },
        Filters {
            until: at(3),
            ..all()
        },
        Filters {
            since: at(1_000_000),
            ..all()
        },
        Filters {
            identities: globs(&["agent:7"]),
            ..all()
        },
        Filters {
            identities: globs(&["agent:1*", "agent:?"]),
            ..all()
        },
        Filters {
            identities: globs(&["nobody*"]),
            ..all()
        },
        Filters {
            users: texts(&["root \"quoted\""]),
            ..all()
        },
        Filters {
            users: texts(&["näme", "app"]),
            ..all()
        },
        Filters {
            databases: texts(&["stock"]),
            ..all()
        },
        Filters {
            tables: texts(&["orders"]),
            ..all()
        },
        Filters {
            tables: texts(&["shop.orders", "log"]),
            ..all()
        },
        Filters {
            tables: texts(&["shop.carts"]),
            ..all()
        },
        Filters {
            verbs: texts(&["delete"]),
            ..all()
        },
        Filters {
            verdicts: texts(&["reset"]),
            ..all()
        },
        Filters {
            rules: texts(&["no-delete"]),
            verbs: texts(&["delete"]),
            ..all()
        },
        Filters {
            kinds: texts(&["segment"]),
            ..all()
        },
        Filters {
            kinds: texts(&["gap", "approval"]),
            ..all()
        },
        Filters {
            sessions: texts(&["s-17"]),
            ..all()
        },
        Filters {
            sessions: texts(&["s-1", "s-2", "no such"]),
            ..all()
        },
        Filters {
            runs: texts(&["run-3"]),
            ..all()
        },
        Filters {
            pids: vec![1003, 1],
            ..all()
        },
        Filters {
            texts: texts(&["GRÖSSE", "größe"]),
            ..all()
        },
        Filters {
            texts: texts(&["param777"]),
            ..all()
        },
        Filters {
            texts: texts(&["\"77"]),
            ..all()
        },
        Filters {
            texts: texts(&["ü"]),
            ..all()
        },
        Filters {
            texts: texts(&["\n* FROM"]),
            ..all()
        },
        Filters {
            texts: texts(&["nowhere to be found"]),
            ..all()
        },
        Filters {
            since: at(2_000),
            until: at(8_000),
            identities: globs(&["agent:*"]),
            databases: texts(&["shop"]),
            tables: texts(&["carts"]),
            verbs: texts(&["select"]),
            texts: texts(&["12"]),
            ..all()
        },
    ]
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

pub(super) fn globs(globs: &[&str]) -> Vec<Glob> {
    globs.iter().map(|glob| Glob::new(glob).unwrap()).collect()
}
