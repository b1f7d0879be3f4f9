use super::super::line::LineEncoder;
use super::super::record::Record;
use super::super::samples;
use super::*;

fn line(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    LineEncoder::new("n").encode(record, &mut line).unwrap();
    line
}

/// What the record has, and what was read: whatever is not in the view would be missing from every SIEM.
#[test]
fn all_of_every_block_is_read_back() {
    let nasty = samples::nasty_text();
    let lines: Vec<Vec<u8>> = samples::everything().iter().map(line).collect();
    for line in &lines {
        let view = View::parse(line).unwrap();
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        // `Debug` shows each text of the view; each text of the record must be among them.
        let shown = format!("{view:?}");
        assert_eq!(view.seq, json["seq"].as_u64().unwrap());
        for (path, text) in texts(&json, String::new()) {
            if path.starts_with("/agent/servers") {
                continue;
            }
            assert!(
                shown.contains(&format!("{text:?}")),
                "{path} of {}",
                view.kind
            );
        }
    }
    let full = View::parse(&lines[0]).unwrap();
    assert_eq!(full.statement.text.as_deref(), Some(nasty.as_str()));
    assert_eq!(full.statement.params.len(), 2);
    assert!(full.statement.params[1].is_none());
    assert_eq!(full.result.rows, Some((1 << 53) - 1));
    assert_eq!(full.identity.uid, Some(0));
    assert_eq!(full.time_unix_ns(), Some(samples::TIME_UNIX_NS));
}

/// Every string of a JSON value and where it is.
fn texts(value: &serde_json::Value, path: String) -> Vec<(String, String)> {
    use serde_json::Value;
    match value {
        Value::String(text) => vec![(path, text.clone())],
        Value::Array(items) => items
            .iter()
            .flat_map(|item| texts(item, format!("{path}/[]")))
            .collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| texts(value, format!("{path}/{key}")))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn texts_are_borrowed_from_the_line() {
    let line = line(&samples::statement("SELECT 1"));
    let view = View::parse(&line).unwrap();
    let text = view
        .statement
        .text
        .as_ref()
        .unwrap()
        .as_bytes()
        .as_ptr_range();
    assert!(line.as_ptr_range().contains(&text.start));
    let table = view.statement.tables[0].as_bytes().as_ptr_range();
    assert!(line.as_ptr_range().contains(&table.start));
}

#[test]
fn lines_of_other_versions_and_of_others() {
    let of = |fields: &str| format!("{{{fields}}}");
    let needed =
        r#""chain":{"hash":"ab","prev":"00"},"kind":"x","seq":1,"time":"2026-11-22T23:59:59Z""#;
    let newer = of(&format!(
        r#"{needed},"new":{{"a":[1]}},"session":{{"new":1}}"#
    ));
    assert_eq!(View::parse(newer.as_bytes()).unwrap().kind, "x");
    for (wrong, said) in [
        ("", "EOF"),
        ("[1]", "expected"),
        (r#"{"kind":7}"#, "expected a string"),
        (&of(&needed.replace("\"seq\":1", "\"seq\":-1")), "seq"),
        (&of(&needed.replace("\"seq\":1,", "")), "`seq`"),
        (&of(&needed.replace("\"x\"", "\"\"")), "`kind`"),
        (r#"{"kind":"statement","seq":1"#, "EOF"),
    ] {
        let error = View::parse(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("no record"), "{error}");
        assert!(error.contains(said) || said == "seq", "{wrong}: {error}");
    }
}
