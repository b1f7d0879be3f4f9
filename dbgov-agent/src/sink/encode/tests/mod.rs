//! Every format over records of every kind, read back by other code than the encoders'.

mod cef;
mod documents;
mod ecs;
mod leef;
mod ocsf;
mod ocsf_schema;
mod records;

use serde_json::Value;

use super::*;
use crate::sink::deliver::Severity;

/// Records with anything in them that each format is tried with.
const MANGLED: u64 = 2000;

/// What the format makes of a line.
fn encoded(format: Format, line: &[u8]) -> String {
    let view = View::parse(line).unwrap();
    let mut out = Vec::new();
    encode(format, line, &view, &mut out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)));
    let text = String::from_utf8(out).expect("UTF-8");
    // Some readers take each of these for the end of a line.
    let ends = text.matches(['\n', '\r', '\0', '\u{b}', '\u{c}']).count();
    assert_eq!(ends, 0, "one line: {text:?}");
    text
}

fn encoded_json(format: Format, line: &[u8]) -> Value {
    let text = encoded(format, line);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn native_is_the_line_itself() {
    for line in records::lines() {
        assert_eq!(encoded(Format::Native, line).as_bytes(), line);
    }
}

#[test]
fn an_item_names_its_record() {
    for line in records::lines() {
        let view = View::parse(line).unwrap();
        let json: Value = serde_json::from_slice(line).unwrap();
        for format in Format::ALL {
            let item = item(format, line, &view).unwrap();
            assert_eq!(json["seq"], item.seq);
            assert_eq!(json["chain"]["hash"], *item.id);
            assert_eq!(json["kind"], *item.kind);
            assert_eq!(json["session"]["id"].as_str(), item.session.as_deref());
            assert!(!item.body.is_empty());
        }
    }
}

#[test]
fn what_is_no_record_is_refused_and_leaves_nothing() {
    let line = br#"{"chain":{"hash":"a"},"kind":"gap","seq":1,"time":"yesterday"}"#;
    let view = View::parse(line).unwrap();
    for format in [Format::Ocsf, Format::Ecs, Format::Cef, Format::Leef] {
        let mut out = b"before".to_vec();
        let error = encode(format, line, &view, &mut out).unwrap_err();
        assert!(error.to_string().contains("yesterday"), "{error}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn severities() {
    let of = |fields: Value| {
        let line = records::line(fields);
        severity(&View::parse(&line).unwrap())
    };
    let verdict = |action: &str, mode: &str| {
        of(
            serde_json::json!({"kind": "statement", "result": {"status": "ok"},
            "verdict": {"action": action, "mode": mode, "rule": "r"}}),
        )
    };
    assert_eq!(verdict("allow", "enforce"), Severity::Informational);
    assert_eq!(verdict("alert", "enforce"), Severity::Medium);
    assert_eq!(verdict("hold", "enforce"), Severity::Medium);
    assert_eq!(verdict("reset", "enforce"), Severity::High);
    assert_eq!(verdict("reset", "observe"), Severity::Medium);
    let kind = |kind: &str| of(serde_json::json!({"kind": kind}));
    assert_eq!(kind("gap"), Severity::High);
    assert_eq!(kind("verdict_unenforced"), Severity::Critical);
    assert_eq!(kind("session_open"), Severity::Informational);
    assert_eq!(kind("checkpoint"), Severity::Informational);
    let error = serde_json::json!({"kind": "statement", "result": {"status": "error"}});
    assert_eq!(of(error), Severity::Low);
    let gate_off = serde_json::json!({"kind": "policy", "policy": {"event": "gate_off"}});
    assert_eq!(of(gate_off), Severity::Critical);
}
