use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;

/// `Type` and whether the values are an array, by field.
struct Fields(HashMap<String, (String, bool)>);

impl Fields {
    fn load() -> Self {
        let csv = include_str!("../../../../testdata/schemas/ecs-fields.csv");
        let mut fields = HashMap::new();
        for line in csv.lines().skip(1) {
            let columns: Vec<&str> = line.split(',').collect();
            let [field, type_name, normalization] = columns[..] else {
                panic!("{line}");
            };
            let of = (type_name.to_owned(), normalization.contains("array"));
            fields.insert(field.to_owned(), of);
        }
        assert!(fields.len() > 2000);
        Fields(fields)
    }

    fn errors(&self, document: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        for (path, value) in leaves(document, "") {
            if path.starts_with("dbgov.") {
                errors.extend(own_error(&path));
                continue;
            }
            match self.0.get(&path) {
                None => errors.push(format!("{path} is no field")),
                Some((type_name, is_array)) if value.is_array() == *is_array => {
                    let single = std::slice::from_ref(value);
                    let values = value.as_array().map_or(single, Vec::as_slice);
                    if !values.iter().all(|value| fits(type_name, value)) {
                        errors.push(format!("{path} is no {type_name}: {value}"));
                    }
                }
                Some(_) => errors.push(format!("{path}: an array where there is none, or none")),
            }
        }
        errors.extend(category_errors(&document["event"]));
        for needed in ["@timestamp", "ecs", "event", "message"] {
            if document.get(needed).is_none() {
                errors.push(format!("no {needed}"));
            }
        }
        errors
    }
}

/// Dotted names; an array is one value.
fn leaves<'a>(value: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let Some(members) = value.as_object() else {
        return vec![(path.to_owned(), value)];
    };
    let below = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    members
        .iter()
        .flat_map(|(key, value)| leaves(value, &below(key)))
        .collect()
}

/// Names come from dbgov's own format, never from users: Elasticsearch makes a column of each.
fn own_error(path: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    (!path.chars().all(plain)).then(|| format!("{path:?} is made of foreign keys"))
}

fn fits(type_name: &str, value: &Value) -> bool {
    match type_name {
        "keyword" | "wildcard" | "match_only_text" => value.is_string(),
        "ip" => value
            .as_str()
            .is_some_and(|ip| ip.parse::<IpAddr>().is_ok()),
        "date" => value
            .as_str()
            .is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()),
        "long" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("a type that is not known: {other}"),
    }
}

/// The published expected types of the categories used (ECS allowed values: event.category).
const EXPECTED: [(&str, &[&str]); 9] = [
    ("authentication", &["start", "end", "info"]),
    (
        "configuration",
        &["access", "change", "creation", "deletion", "info"],
    ),
    ("database", &["access", "change", "info", "error"]),
    (
        "file",
        &["access", "change", "creation", "deletion", "info"],
    ),
    ("intrusion_detection", &["allowed", "denied", "info"]),
    (
        "network",
        &[
            "access",
            "allowed",
            "connection",
            "denied",
            "end",
            "info",
            "protocol",
            "start",
        ],
    ),
    ("process", &["access", "change", "end", "info", "start"]),
    ("session", &["start", "end", "info"]),
    (
        "iam",
        &[
            "admin", "change", "creation", "deletion", "group", "info", "user",
        ],
    ),
];

fn category_errors(event: &Value) -> Vec<String> {
    let texts = |key: &str| -> Vec<String> {
        let items = event[key].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let expected: Vec<&[&str]> = texts("category")
        .iter()
        .map(|category| {
            EXPECTED
                .iter()
                .find(|(name, _)| name == category)
                .map_or(&[][..], |(_, types)| *types)
        })
        .collect();
    let mut errors = Vec::new();
    if expected.is_empty() || expected.iter().any(|types| types.is_empty()) {
        errors.push(format!("event.category {}", event["category"]));
    }
    let types = texts("type");
    if types.is_empty() {
        errors.push("no event.type".to_owned());
    }
    for one in types {
        if !expected.iter().any(|types| types.contains(&one.as_str())) {
            errors.push(format!("event.type {one} with {}", event["category"]));
        }
    }
    let of = |key: &str, allowed: &[&str]| match event.get(key) {
        Some(value) if !allowed.iter().any(|allowed| value == allowed) => {
            Some(format!("event.{key} {value}"))
        }
        _ => None,
    };
    errors.extend(of("kind", &["alert", "event"]));
    errors.extend(of("outcome", &["success", "failure", "unknown"]));
    errors
}

fn document(line: &[u8]) -> Value {
    encoded_json(Format::Ecs, line)
}

#[test]
fn every_record_has_published_fields_only() {
    let fields = Fields::load();
    for line in records::lines() {
        let document = document(line);
        let errors = fields.errors(&document);
        assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
    }
    for seed in 0..MANGLED {
        let errors = fields.errors(&document(&records::mangled(seed)));
        assert!(errors.is_empty(), "seed {seed}: {errors:#?}");
    }
}

#[test]
fn wrong_documents_are_found() {
    let fields = Fields::load();
    let right = document(&records::statement_line("DELETE FROM carts"));
    assert_eq!(fields.errors(&right), Vec::<String>::new());
    for (pointer, value) in [
        ("/@timestamp", json!("yesterday")),
        ("/client/ip", json!("10.0.0.256")),
        ("/client/port", json!("5432")),
        ("/event/category", json!(["databases"])),
        ("/event/category", json!("database")),
        ("/event/type", json!(["start"])),
        ("/event/kind", json!("alarm")),
        ("/event/outcome", json!("ok")),
        ("/user/name", json!(["a"])),
        ("/related/ip", json!("10.0.0.1")),
        ("/dbgov/kind", json!({"App": 1})),
        ("/host", json!({"nme": "x"})),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(!fields.errors(&wrong).is_empty(), "{pointer}");
    }
}

#[test]
fn a_statement() {
    let document = document(&records::statement_line("DELETE FROM carts"));
    for (pointer, value) in [
        ("/@timestamp", json!("2026-11-22T23:59:59.123456789Z")),
        ("/event/id", json!("ab".repeat(32))),
        ("/event/action", json!("delete")),
        ("/event/type", json!(["change"])),
        ("/event/duration", json!(1_500_000)),
        ("/user/name", json!("app")),
        ("/user/effective/name", json!("auditor")),
        ("/source/user/name", json!("agent:sync")),
        ("/destination/port", json!(5432)),
        ("/related/user", json!(["app", "auditor", "agent:sync"])),
        ("/dbgov/statement/text", json!("DELETE FROM carts")),
        ("/dbgov/session/database", json!("shop")),
    ] {
        assert_eq!(document.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn traces_that_are_claimed() {
    let traced = |parent: &str| {
        let mut statement = records::statement("SELECT 1");
        statement["comment"] = json!({"claimed": {"traceparent": parent}});
        document(&records::line(
            json!({"kind": "statement", "statement": statement}),
        ))
    };
    let document = traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(document["trace"]["id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(document["span"]["id"], "b7ad6b7169203331");
    let zeros = format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16));
    for wrong in ["", "00", zeros.as_str(), "00-XYZ-1-1"] {
        assert!(traced(wrong).get("trace").is_none(), "{wrong}");
    }
}
