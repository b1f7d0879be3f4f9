use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// Keys of the dictionary (CEF, version 25, "Extension dictionary") that are used, and their lengths; none for numbers.
const DICTIONARY: [(&str, Option<usize>); 43] = [
    ("act", Some(63)),
    ("app", Some(31)),
    ("c6a2", Some(1023)),
    ("c6a2Label", Some(1023)),
    ("c6a3", Some(1023)),
    ("c6a3Label", Some(1023)),
    ("cat", Some(1023)),
    ("cn1", None),
    ("cn1Label", Some(1023)),
    ("cn2", None),
    ("cn2Label", Some(1023)),
    ("cn3", None),
    ("cn3Label", Some(1023)),
    ("cs1", Some(4000)),
    ("cs1Label", Some(1023)),
    ("cs2", Some(4000)),
    ("cs2Label", Some(1023)),
    ("cs3", Some(4000)),
    ("cs3Label", Some(1023)),
    ("cs4", Some(4000)),
    ("cs4Label", Some(1023)),
    ("cs5", Some(4000)),
    ("cs5Label", Some(1023)),
    ("cs6", Some(4000)),
    ("cs6Label", Some(1023)),
    ("dpid", None),
    ("dpt", None),
    ("dst", Some(15)),
    ("duser", Some(1023)),
    ("dvchost", Some(100)),
    ("externalId", Some(40)),
    ("flexString1", Some(1023)),
    ("flexString1Label", Some(128)),
    ("flexString2", Some(1023)),
    ("flexString2Label", Some(128)),
    ("in", None),
    ("msg", Some(1023)),
    ("out", None),
    ("outcome", Some(63)),
    ("proto", Some(31)),
    ("reason", Some(1023)),
    ("rt", None),
    ("spid", None),
];
const MORE: [(&str, Option<usize>); 5] = [
    ("spt", None),
    ("sproc", Some(1023)),
    ("src", Some(15)),
    ("suid", Some(1023)),
    ("suser", Some(1023)),
];

#[derive(Debug)]
struct Event {
    header: Vec<String>,
    extension: BTreeMap<String, String>,
}

/// By the specification: seven bars that are not escaped; then `key=value`, a value reaching to the last space before
/// the next `=` that is not escaped.
fn parse(text: &str) -> Event {
    let mut header = vec![String::new()];
    let mut characters = text.chars();
    while header.len() < 8 {
        match characters.next().expect("seven bars") {
            '\\' => {
                let escaped = characters.next().unwrap();
                assert!("\\|".contains(escaped), "in the header: \\{escaped}");
                header.last_mut().unwrap().push(escaped);
            }
            '|' => header.push(String::new()),
            other => header.last_mut().unwrap().push(other),
        }
    }
    header.pop();
    Event {
        header,
        extension: parse_extension(characters.as_str()),
    }
}

fn parse_extension(text: &str) -> BTreeMap<String, String> {
    // Places of `=` that are not escaped.
    let mut signs = Vec::new();
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' => signs.push(place),
            _ => {}
        }
    }
    let mut pairs = BTreeMap::new();
    for (number, sign) in signs.iter().enumerate() {
        let key_start = text[..*sign].rfind(' ').map_or(0, |space| space + 1);
        let value_end = match signs.get(number + 1) {
            Some(next) => text[..*next].rfind(' ').unwrap(),
            None => text.len(),
        };
        let key = text[key_start..*sign].to_owned();
        let value = unescape(&text[sign + 1..value_end]);
        assert!(
            pairs.insert(key.clone(), value).is_none(),
            "{key} twice in {text}"
        );
    }
    pairs
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push(
                match characters.next().expect("a character behind a backslash") {
                    'n' => '\n',
                    'r' => '\r',
                    same @ ('\\' | '=') => same,
                    other => panic!("\\{other}"),
                },
            ),
            other => out.push(other),
        }
    }
    out
}

fn event(line: &[u8]) -> Event {
    parse(&encoded(Format::Cef, line))
}

fn check(event: &Event) {
    let [version, vendor, product, _, id, name, severity] = &event.header[..] else {
        panic!("{:?}", event.header);
    };
    assert_eq!(
        (version.as_str(), vendor.as_str(), product.as_str()),
        ("CEF:0", "dbgov", "dbgov")
    );
    assert!(!id.is_empty() && !name.is_empty() && name.len() <= 512);
    assert!(severity.parse::<u8>().unwrap() <= 10);
    for (key, value) in &event.extension {
        let of = DICTIONARY
            .iter()
            .chain(&MORE)
            .find(|(known, _)| known == key);
        match of
            .unwrap_or_else(|| panic!("{key} is not in the dictionary"))
            .1
        {
            None => assert!(value.parse::<u64>().is_ok(), "{key}={value}"),
            Some(bytes_max) => assert!(value.len() <= bytes_max, "{key} is too long"),
        }
        if matches!(key.as_str(), "src" | "dst") {
            value.parse::<std::net::Ipv4Addr>().unwrap();
        }
    }
    for needed in ["rt", "externalId", "cat", "act", "cs6"] {
        assert!(event.extension.contains_key(needed), "{needed}");
    }
}

#[test]
fn every_record_is_read_back() {
    for line in records::lines() {
        check(&event(line));
    }
    for seed in 0..MANGLED {
        check(&event(&records::mangled(seed)));
    }
}

/// The same keys with any text as with a harmless one, and the text in its own.
#[test]
fn no_text_makes_a_key_or_an_event() {
    let keys = |event: &Event| event.extension.keys().cloned().collect::<Vec<_>>();
    let harmless = keys(&event(&records::statement_line("x")));
    for text in [
        "x act=allow suser=root",
        "x|9|act=allow",
        "a\nCEF:0|a|b|c|d|e|1|act=x",
        "a\\ act=allow",
        "a\\\\ act=allow",
        "\\",
        "=",
        " = ",
        "a\r\nb",
        "a=b\\=c",
        "act=",
        "x \\=",
        "x cs2=evil cs2Label=database",
    ] {
        let event = event(&records::statement_line(text));
        assert_eq!(keys(&event), harmless, "{text:?}");
        assert_eq!(
            event.extension["cs1"].trim_end(),
            text.trim_end(),
            "{text:?}"
        );
        assert_eq!(event.extension["act"], "statement");
        assert_eq!(event.extension["cs2"], "shop");
    }
    let controls = event(&records::statement_line("a\0b\u{1b}c\u{85}d\u{2028}e"));
    assert_eq!(controls.extension["cs1"], "a␀b␛c\u{fffd}d\u{fffd}e");
}

#[test]
fn long_texts_are_cut_between_characters() {
    let event = event(&records::statement_line(&"é=".repeat(4000)));
    let text = &event.extension["cs1"];
    assert!(text.len() <= 4000 && text.len() > 3990, "{}", text.len());
    assert!("é=".repeat(4000).starts_with(text.as_str()));
}

#[test]
fn a_verdict_and_ipv6() {
    let mut session = records::session();
    session["client_addr"] = "[2001:db8::1]:4000".into();
    let line = records::line(
        json!({"kind": "statement", "session": session, "identity": records::identity(),
        "statement": records::statement("DROP TABLE t"), "result": {"status": "none"},
        "verdict": {"action": "reset", "mode": "enforce", "rule": "no-drop", "reason": "ask first"}}),
    );
    let event = event(&line);
    assert_eq!(event.header[5], "Statement stopped by policy");
    assert_eq!(event.header[6], "8");
    for (key, value) in [
        ("act", "reset"),
        ("outcome", "failure"),
        ("reason", "ask first"),
        ("cs4", "no-drop"),
        ("c6a2", "2001:db8::1"),
        ("spt", "4000"),
        ("dst", "10.9.0.1"),
        ("suser", "agent:sync"),
        ("duser", "app"),
        ("flexString1", "r-1"),
    ] {
        assert_eq!(event.extension[key], value, "{key}");
    }
    assert!(!event.extension.contains_key("src"));
}
