use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::audit::segment;

const START_S: u64 = 1_795_000_000;

struct Journal {
    dir: TempDir,
    content: String,
    seq: u64,
}

impl Journal {
    fn new() -> Self {
        Journal {
            dir: tempfile::tempdir().unwrap(),
            content: String::new(),
            seq: 0,
        }
    }

    /// A second apart.
    fn add(&mut self, mut record: Value) -> u64 {
        self.seq += 1;
        let time = jiff::Timestamp::from_second((START_S + self.seq) as i64).unwrap();
        record["chain"] = json!({"hash": "ab", "prev": "00"});
        record["node"] = "db-1".into();
        record["seq"] = self.seq.into();
        record["time"] = time.to_string().into();
        self.content.push_str(&format!("{record}\n"));
        self.seq
    }

    fn report(&self, catalogue: Catalogue) -> Report {
        fs::write(self.dir.path().join(segment::name(0, 1)), &self.content).unwrap();
        let at = |second: u64| {
            jiff::Timestamp::from_second(second as i64)
                .unwrap()
                .to_string()
        };
        let scope = Scope {
            catalogue,
            since: START_S * 1_000_000_000,
            until: (START_S + 1_000_000) * 1_000_000_000,
            since_text: at(START_S),
            until_text: at(START_S + 1_000_000),
        };
        report(self.dir.path(), &scope, verify::Options::default()).unwrap()
    }
}

fn statement(who: &str, verb: &str, table: &str) -> Value {
    json!({"kind": "statement", "identity": {"name": who, "source": "tag"},
        "session": {"database": "shop", "id": "s", "user": "app"}, "result": {"status": "ok"},
        "statement": {"tables": [table], "text": "…", "verbs": [verb], "via": "simple"}})
}

fn stopped(who: &str) -> Value {
    let mut record = statement(who, "drop", "orders");
    record["verdict"] = json!({"action": "reset", "mode": "enforce", "rule": "no-drop"});
    record
}

fn table<'a>(report: &'a Report, title: &str) -> &'a Table {
    let mut tables = report.sections.iter().flat_map(|section| &section.tables);
    tables
        .find(|table| table.title == title)
        .unwrap_or_else(|| panic!("no {title}"))
}

fn full() -> Journal {
    let mut journal = Journal::new();
    journal.add(json!({"kind": "agent_start", "agent": {"version": "0.1.0"}}));
    for _ in 0..3 {
        journal.add(statement("agent:sync", "select", "carts"));
    }
    journal.add(statement("agent:sync", "update", "carts"));
    journal.add(statement("agent:sync", "select", "carts"));
    journal.add(statement("alice", "grant", "carts"));
    journal.add(stopped("agent:sync"));
    for (state, approver) in [
        ("pending", None),
        ("approved", Some("root")),
        ("timed_out", None),
    ] {
        let mut approval = json!({"requester": "agent:sync", "rule": "r", "state": state, "waited_us": 12_000_000});
        if let Some(user) = approver {
            approval["approver"] = json!({"uid": 0, "user": user});
        }
        journal.add(
            json!({"kind": "approval", "approval": approval, "identity": {"name": "agent:sync"}}),
        );
    }
    journal.add(
        json!({"kind": "policy", "policy": {"event": "loaded", "file": "/p.toml", "sha256": "77"}}),
    );
    journal.add(json!({"kind": "tag", "tag": {"event": "set", "name": "agent:x", "cgroup": "/a|b", "origin": "command"}}));
    journal.add(json!({"kind": "gap", "gap": {"cause": "ring_full"}}));
    journal.add(json!({"kind": "verdict_unenforced", "identity": {"name": "bob"}, "verdict": {"action": "reset", "mode": "enforce", "rule": "r"}}));
    journal.add(
        json!({"kind": "session_open", "identity": {"name": "bob", "source": "os_user"},
        "session": {"id": "t", "opaque": "tls", "user": "postgres", "database": "shop"}}),
    );
    journal.add(json!({"kind": "session_error", "session": {"id": "u", "client_addr": "10.0.0.1:4", "user": "eve"}, "error": {"code": "28P01"}}));
    journal.add(json!({"kind": "agent_stop", "agent": {"version": "0.1.0"}}));
    journal.add(json!({"kind": "agent_start", "agent": {"version": "0.2.0"}}));
    journal
}

#[test]
fn what_an_auditor_asks() {
    let report = full().report(Catalogue::Soc2);
    assert_eq!(
        (report.records, report.first_seq, report.last_seq),
        (19, Some(1), Some(19))
    );
    let access = table(&report, "Who reached which data");
    let row = |cells: &[&str]| {
        let found = access.rows.iter().find(|row| row.cells == cells);
        found.unwrap_or_else(|| panic!("{cells:?} of {:#?}", access.rows))
    };
    let read = row(&["agent:sync", "app", "shop", "carts", "read"]);
    assert_eq!(
        (read.records.count, &read.records.seqs[..]),
        (4, &[(2, 4), (6, 6)][..])
    );
    assert!(
        read.search
            .starts_with("--identity=agent:sync --user=app --database=shop --table=carts --since=")
    );
    assert_eq!(
        row(&["agent:sync", "app", "shop", "carts", "write"])
            .records
            .count,
        1
    );
    // What was stopped reached nothing.
    assert!(access.rows.iter().all(|row| row.cells[3] != "orders"));
    for (title, cells) in [
        (
            "Privileged statements",
            &["alice", "app", "shop", "grant", "ok"][..],
        ),
        (
            "Privileged statements",
            &["agent:sync", "app", "shop", "drop", "stopped"],
        ),
        (
            "Sessions under a superuser's name or another role",
            &["bob", "postgres", "", "shop"],
        ),
        (
            "Stopped by policy",
            &["agent:sync", "app", "no-drop", "reset", "enforce"],
        ),
        (
            "Errors of sessions, failed log-ins among them",
            &["10.0.0.1", "eve", "28P01"],
        ),
        (
            "Approvals",
            &["agent:sync", "r", "approved", "root", "1 min"],
        ),
        ("Approvals", &["agent:sync", "r", "pending", "", ""]),
        ("Changes of the policy", &["loaded", "/p.toml", "77", ""]),
        (
            "Changes of identity tags",
            &["set", "agent:x", "/a|b", "command", ""],
        ),
        ("Gaps in coverage", &["ring_full", "", "no"]),
        (
            "Verdicts that could not be enforced",
            &["bob", "r", "reset"],
        ),
        (
            "Sessions whose statements could not be read",
            &["tls", "bob", "postgres"],
        ),
    ] {
        let table = table(&report, title);
        let row = table.rows.iter().find(|row| row.cells == cells);
        assert_eq!(
            row.map(|row| row.records.count),
            Some(1),
            "{title} {:#?}",
            table.rows
        );
    }
    let agent = &table(&report, "Starts and stops of the agent").rows;
    assert!(
        agent
            .iter()
            .any(|row| row.cells[1] == "0.2.0" && row.cells[2].starts_with("2026-"))
    );
    // Made by hand, so neither chained nor signed.
    assert!(!report.integrity.intact);
    assert!(
        report.integrity.summary.contains("NOT INTACT"),
        "{}",
        report.integrity.summary
    );
}

#[test]
fn every_control_has_its_sections_and_the_report_is_the_same_each_time() {
    let journal = full();
    for catalogue in [Catalogue::Soc2, Catalogue::Hipaa, Catalogue::Fedramp] {
        let report = journal.report(catalogue);
        let markdown = report.markdown();
        for control in report.controls {
            assert!(markdown.contains(&format!("| {} | {} |", control.id, control.name)));
            for part in control.parts {
                let is_there = *part == Part::Integrity
                    || report.sections.iter().any(|section| section.part == *part);
                assert!(is_there, "{} {part:?}", control.id);
            }
        }
        let again = journal.report(catalogue);
        assert_eq!(markdown, again.markdown());
        let json = |report: &Report| serde_json::to_string(report).unwrap();
        assert_eq!(json(&report), json(&again));
    }
}

/// Tables of Markdown stay tables whatever a client calls itself.
#[test]
fn names_from_the_wire_stay_in_their_cells() {
    let mut journal = Journal::new();
    for name in [
        "a|b",
        "a\n| x | y |",
        "`x`",
        "<script>alert(1)</script>",
        "\u{1b}[2J",
        "[x](http://y)",
        "it's",
    ] {
        journal.add(statement(name, "select", name));
    }
    let report = journal.report(Catalogue::Hipaa);
    let markdown = report.markdown();
    assert!(!markdown.contains(['\u{1b}', '\r']));
    assert!(!markdown.contains("<script>") || !markdown.contains("| <script>"));
    let (_, below) = markdown.split_once("### Who reached which data\n").unwrap();
    let rows: Vec<&str> = below
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len(), 2 + 7);
    for row in rows {
        let bars = row.matches('|').count() - row.matches("\\|").count();
        assert_eq!(bars, 11, "{row}");
    }
}
