//! RFC 8785 written once more from its text, so that the tests do not check the encoder against itself.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical form of any JSON value whose numbers are whole and exact.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => {
            let number = number.as_i64().expect("whole numbers only");
            assert!(number.unsigned_abs() < 1 << 53, "not exact as a double");
            number.to_string()
        }
        Value::String(text) => string(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // Section 3.2.3: by UTF-16 code units.
            members.sort_by_key(|(key, _)| key.encode_utf16().collect::<Vec<u16>>());
            let members: Vec<String> = members
                .into_iter()
                .map(|(key, value)| format!("{}:{}", string(key), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Section 3.2.2.2.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// `chain.hash` as RECORD.md defines it.
pub(super) fn chain_hash(record: &Value) -> String {
    let mut record = record.clone();
    record["chain"]
        .as_object_mut()
        .expect("chain")
        .remove("hash");
    hex::encode(Sha256::digest(canonical(&record)))
}
