//! `dbgov audit report` with the release binary: each number is counted anew from the records.

mod searching;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use dbgov_tests::agent::{binary, segments};
use dbgov_tests::journal;
use serde_json::Value;

use searching::{Made, out};

/// The rows of a table: cells -> count, and the arguments that find them.
fn rows(report: &Value, title: &str) -> BTreeMap<Vec<String>, (u64, String)> {
    let sections = report["sections"].as_array().unwrap();
    let mut tables = sections
        .iter()
        .flat_map(|s| s["tables"].as_array().unwrap());
    let table = tables.find(|table| table["title"] == title).unwrap();
    assert_eq!(table["left_out"]["count"], 0);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = table["rows"].as_array().unwrap().iter().map(|row| {
        let cells = row["cells"].as_array().unwrap().iter().map(text).collect();
        (
            cells,
            (row["count"].as_u64().unwrap(), text(&row["search"])),
        )
    });
    rows.collect()
}

fn count(made: &Made, cells: impl Fn(&Value) -> Option<Vec<Value>>) -> BTreeMap<Vec<String>, u64> {
    let mut counts = BTreeMap::new();
    for cells in made.records.iter().filter_map(cells) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        *counts.entry(cells.iter().map(text).collect()).or_default() += 1;
    }
    counts
}

fn who(record: &Value) -> [Value; 3] {
    let session = &record["session"];
    let name = &record["identity"]["name"];
    [name, &session["user"], &session["database"]].map(Value::clone)
}

fn is_stopped(record: &Value) -> bool {
    let verdict = &record["verdict"];
    verdict["mode"] == "enforce" && (verdict["action"] == "reset" || verdict["action"] == "reject")
}

/// The tables of the report, each counted anew from the records.
fn expected_tables(made: &Made) -> Vec<(&'static str, BTreeMap<Vec<String>, u64>)> {
    let access = |record: &Value| {
        let statement = &record["statement"];
        let how = match statement["verbs"][0].as_str()? {
            "select" => "read",
            "update" | "delete" => "write",
            _ => "other",
        };
        let rest = [statement["tables"][0].clone(), how.into()];
        (!is_stopped(record)).then(|| [&who(record)[..], &rest].concat())
    };
    let privileged = |record: &Value| {
        let verb = &record["statement"]["verbs"][0];
        let result = if is_stopped(record) { "stopped" } else { "ok" };
        let wanted = verb == "drop" || verb == "grant";
        wanted.then(|| [&who(record)[..], &[verb.clone(), result.into()]].concat())
    };
    let denied = |record: &Value| {
        let verdict = &record["verdict"];
        let wanted = verdict["action"] == "reset" || verdict["action"] == "reject";
        let rest = ["rule", "action", "mode"].map(|key| verdict[key].clone());
        wanted.then(|| [&who(record)[..2], &rest].concat())
    };
    let alerts = |record: &Value| {
        let verdict = &record["verdict"];
        let rest = [verdict["rule"].clone()];
        (verdict["action"] == "alert").then(|| [&who(record)[..2], &rest].concat())
    };
    let approvals = |record: &Value| {
        let approval = record.get("approval")?;
        let cells = ["requester", "rule", "state"].map(|key| approval[key].clone());
        let rest = [approval["approver"]["user"].clone(), "1 min".into()];
        Some([&cells[..], &rest].concat())
    };
    let gaps = |record: &Value| {
        Some(vec![
            record.get("gap")?["cause"].clone(),
            "".into(),
            "no".into(),
        ])
    };
    vec![
        ("Who reached which data", count(made, access)),
        ("Privileged statements", count(made, privileged)),
        ("Stopped by policy", count(made, denied)),
        ("Alerts of the policy", count(made, alerts)),
        ("Approvals", count(made, approvals)),
        ("Gaps in coverage", count(made, gaps)),
    ]
}

#[test]
fn reports_have_the_numbers_that_the_records_have() {
    let made = Made::new();
    let tables = expected_tables(&made);
    for control in ["soc2", "hipaa", "fedramp"] {
        let args = ["--control", control];
        let (report, code) = made.report(&args);
        assert_eq!(
            (code, &report["integrity"]["intact"]),
            (Some(0), &true.into())
        );
        assert_eq!(report["records"], made.records.len());
        assert_eq!(report["last_seq"], made.records.len());
        for (title, expected) in &tables {
            let found = rows(&report, title);
            let counts = found
                .iter()
                .map(|(cells, (count, _))| (cells.clone(), *count));
            assert!(
                !expected.is_empty() && counts.collect::<BTreeMap<_, _>>() == *expected,
                "{title} {found:#?}"
            );
        }
        assert_eq!(made.report(&args).0, report, "the same each time");
        both_forms(&made, control, &report);
    }
    // What a row gives as a search finds what the row has, typed into a shell as it stands.
    let (report, _) = made.report(&["--control", "soc2"]);
    for (title, args) in [
        ("Stopped by policy", "--verdict"),
        ("Alerts of the policy", "--rule"),
        ("Gaps in coverage", "--kind"),
    ] {
        for (cells, (count, search)) in rows(&report, title) {
            assert!(search.contains(args), "{search}");
            let command = format!(
                "'{}' audit search --dir '{}' {search}",
                binary().unwrap().display(),
                made.dir().display()
            );
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            let mode = cells.last().filter(|_| title == "Stopped by policy");
            let found = out(&output).lines().filter(|line| {
                mode.is_none_or(|mode| line.contains(&format!("\"mode\":\"{mode}\"")))
            });
            assert_eq!(found.count() as u64, count, "{command}");
        }
    }
}

/// `--out` writes what is written without it.
fn both_forms(made: &Made, control: &str, report: &Value) {
    let out_dir = made.scratch.path().join("report/of");
    let key = made.scratch.path().join("key.pub");
    let args = [
        "--control",
        control,
        "--since",
        "2026-11-01",
        "--until",
        "2100-01-01T00:00:00Z",
    ];
    let args = [&args[..], &["--key", key.to_str().unwrap()]].concat();
    let with_out = [&args[..], &["--out", out_dir.to_str().unwrap()]].concat();
    let output = made.run("report", &with_out);
    assert!(output.status.success(), "{output:?}");
    let file =
        |end: &str| fs::read_to_string(out_dir.join(format!("report-{control}.{end}"))).unwrap();
    let json: Value = serde_json::from_str(&file("json")).unwrap();
    assert_eq!(json, *report);
    let markdown = file("md");
    assert_eq!(markdown, out(&made.run("report", &args)));
    for section in ["Access to data", "Coverage", "Integrity of the journal"] {
        assert!(markdown.contains(&format!("## {section}")), "{section}");
    }
    for control in report["controls"].as_array().unwrap() {
        assert!(markdown.contains(control["id"].as_str().unwrap()));
    }
}

#[test]
fn a_report_says_that_a_record_was_changed() {
    let made = Made::new();
    let (_, newest) = segments(&made.dir()).unwrap().pop().unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    // The same length: only the chain can tell.
    assert!(text.contains("\"name\":\"alice\""));
    fs::write(
        &newest,
        text.replacen("\"name\":\"alice\"", "\"name\":\"alicf\"", 1),
    )
    .unwrap();
    assert!(journal::verify(&made.dir()).is_err());
    for control in ["soc2", "hipaa", "fedramp"] {
        let (report, code) = made.report(&["--control", control]);
        assert_eq!(code, Some(1));
        assert_eq!(report["integrity"]["intact"], false);
        assert_eq!(
            report["integrity"]["details"]["breaks"][0]["kind"],
            "changed"
        );
        let markdown = made.run("report", &["--control", control, "--since", "2026-11-01"]);
        assert_eq!(markdown.status.code(), Some(1));
        assert!(out(&markdown).contains("NOT INTACT"));
    }
}
