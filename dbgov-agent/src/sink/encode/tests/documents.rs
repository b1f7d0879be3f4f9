//! docs/formats.md says what the code does.

use std::collections::BTreeSet;

use super::*;
use crate::sql::Verb;

const DOCUMENT: &str = include_str!("../../../../../docs/formats.md");

/// Rows of the table under a heading, cells without their back quotes.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, below) = DOCUMENT
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells
                .map(|cell| cell.replace('`', "").trim().to_owned())
                .collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{heading}");
    rows
}

#[test]
fn activities_of_verbs() {
    let mut told = BTreeSet::new();
    for row in table("### Activities") {
        for verb in row[2].split(", ") {
            let activity = super::super::ocsf::activity::of_verb(verb);
            assert_eq!(row[0], activity.id().to_string(), "{verb}");
            assert_eq!(row[1], activity.name(), "{verb}");
            assert!(told.insert(verb.to_owned()), "{verb} twice");
        }
    }
    let all: BTreeSet<String> = Verb::ALL
        .iter()
        .map(|verb| verb.name().to_owned())
        .collect();
    assert_eq!(told, all);
}

#[test]
fn actions_and_dispositions() {
    for row in table("### Actions and dispositions") {
        let [what, action, disposition] = &row[..] else {
            panic!("{row:?}");
        };
        let event = encoded_json(Format::Ocsf, &line_of(what));
        let number = |text: &str| text.split(' ').next().unwrap().parse::<u64>().unwrap();
        assert_eq!(event["action_id"], number(action), "{what}");
        assert_eq!(event["disposition_id"], number(disposition), "{what}");
        for (text, name) in [(action, "action"), (disposition, "disposition")] {
            let caption = text.split_once(' ').unwrap().1;
            assert_eq!(event[name], caption, "{what}");
        }
    }
}

/// A record as the first column of the table describes it: `verdict reject, wanted hold`.
fn line_of(what: &str) -> Vec<u8> {
    let mut fields = serde_json::json!({"kind": "statement"});
    for part in what.split(", ") {
        let (key, value) = part.split_once(' ').unwrap_or((part, ""));
        match key {
            "verdict" => {
                fields["verdict"] =
                    serde_json::json!({"action": value, "mode": "enforce", "rule": "r"})
            }
            "wanted" | "mode" => fields["verdict"][key] = value.into(),
            "kind" => fields["kind"] = value.into(),
            "approval" => {
                fields["kind"] = "approval".into();
                fields["approval"] = serde_json::json!({"state": value});
            }
            "no" => {}
            other => panic!("{other}"),
        }
    }
    records::line(fields)
}

/// Every key that an encoder writes has its row.
#[test]
fn keys_of_cef_and_leef() {
    let mut cef = BTreeSet::new();
    let mut leef = BTreeSet::new();
    for line in records::lines() {
        let text = encoded(Format::Cef, line);
        let extension = text.splitn(8, '|').nth(7).unwrap().to_owned();
        // A key stands before a sign that no backslash is before, behind a space.
        for (sign, _) in extension.match_indices('=') {
            let key = extension[..sign].rsplit(' ').next().unwrap();
            if !key.ends_with('\\') && !key.ends_with("Label") {
                cef.insert(key.to_owned());
            }
        }
        let text = encoded(Format::Leef, line);
        let attributes = text.splitn(7, '|').nth(6).unwrap();
        leef.extend(
            attributes
                .split('\t')
                .map(|pair| pair.split_once('=').unwrap().0.to_owned()),
        );
    }
    for (heading, keys) in [("### CEF keys", cef), ("### LEEF attributes", leef)] {
        let told: BTreeSet<String> = table(heading)
            .iter()
            .flat_map(|row| row[0].split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let untold: Vec<&String> = keys.difference(&told).collect();
        assert!(untold.is_empty(), "{heading} leaves out {untold:?}");
        let idle: Vec<&String> = told.difference(&keys).collect();
        assert!(
            idle.is_empty(),
            "{heading} has what is never written: {idle:?}"
        );
    }
}

/// Every path of an OCSF event and every ECS field outside `dbgov` is in the document.
#[test]
fn ocsf_attributes_and_ecs_fields() {
    let mut untold = BTreeSet::new();
    for line in records::lines() {
        for (format, own) in [(Format::Ocsf, "unmapped"), (Format::Ecs, "dbgov")] {
            let document = encoded_json(format, line);
            for (key, value) in document.as_object().unwrap() {
                if key == own {
                    continue;
                }
                for path in paths(key, value) {
                    if !DOCUMENT.contains(&format!("`{path}`")) {
                        untold.insert(path);
                    }
                }
            }
        }
    }
    assert!(untold.is_empty(), "{untold:#?}");
}

fn paths(path: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| paths(&format!("{path}.{key}"), value))
            .collect(),
        Value::Array(items) if items.iter().any(Value::is_object) => vec![format!("{path}[]")],
        _ => vec![path.to_owned()],
    }
}
