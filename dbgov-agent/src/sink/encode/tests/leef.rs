use std::collections::BTreeMap;

use super::*;

/// Header, and attributes by name.
fn parse(text: &str) -> (Vec<&str>, BTreeMap<&str, String>) {
    let parts: Vec<&str> = text.splitn(7, '|').collect();
    assert_eq!(parts[5], "x09");
    let mut attributes = BTreeMap::new();
    for pair in parts[6].split('\t') {
        let (key, value) = pair
            .split_once('=')
            .unwrap_or_else(|| panic!("{pair:?} of {text}"));
        assert!(key.bytes().all(|b| b.is_ascii_alphanumeric()), "{key:?}");
        assert!(
            attributes.insert(key, unescape(value)).is_none(),
            "{key} twice in {text}"
        );
    }
    (parts[..5].to_vec(), attributes)
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next().expect("a character behind a backslash") {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '\\' => '\\',
                other => panic!("\\{other}"),
            },
            other => other,
        });
    }
    out
}

fn check(text: &str) {
    let (header, attributes) = parse(text);
    assert_eq!(header[..3], ["LEEF:2.0", "dbgov", "dbgov"]);
    assert!(!header[4].is_empty());
    let severity: u8 = attributes["sev"].parse().unwrap();
    assert!((1..=10).contains(&severity));
    assert_eq!(attributes["devTimeFormat"], "yyyy-MM-dd'T'HH:mm:ss.SSSZ");
    let time = attributes["devTime"].replace("+0000", "+00:00");
    time.parse::<jiff::Timestamp>().unwrap();
    for key in ["src", "dst"] {
        if let Some(ip) = attributes.get(key) {
            ip.parse::<std::net::IpAddr>().unwrap();
        }
    }
    for needed in ["cat", "recordId", "seq", "action"] {
        assert!(attributes.contains_key(needed), "{needed}");
    }
}

#[test]
fn every_record_is_read_back() {
    for line in records::lines() {
        check(&encoded(Format::Leef, line));
    }
    for seed in 0..MANGLED {
        check(&encoded(Format::Leef, &records::mangled(seed)));
    }
}

#[test]
fn no_text_makes_an_attribute_or_an_event() {
    let harmless = encoded(Format::Leef, &records::statement_line("x"));
    let (_, harmless) = parse(&harmless);
    for text in [
        "x\tusrName=root",
        "x\nLEEF:2.0|a|b|c|d|",
        "a\\tb",
        "\\",
        "a=b|c",
        "\t",
        "a\r\nb",
        "x\\\tsev=1",
    ] {
        let line = encoded(Format::Leef, &records::statement_line(text));
        let (header, attributes) = parse(&line);
        assert_eq!(header[4], "statement");
        assert!(attributes.keys().eq(harmless.keys()), "{text:?}");
        assert_eq!(attributes["statement"], text);
        assert_eq!(attributes["usrName"], "agent:sync");
    }
}

/// QRadar cuts what is longer, unless it is told otherwise.
#[test]
fn a_long_statement_stays_below_what_the_receiver_takes() {
    let line = encoded(
        Format::Leef,
        &records::statement_line(&"SELECT 1; ".repeat(10_000)),
    );
    assert!(line.len() < 4096, "{}", line.len());
    let (_, attributes) = parse(&line);
    assert_eq!(attributes["statement"].len(), 1536);
    assert_eq!(attributes["rows"], "3");
    assert_eq!(attributes["devTime"], "2026-11-22T23:59:59.123+0000");
}
