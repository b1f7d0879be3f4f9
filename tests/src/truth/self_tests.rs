//! The comparison itself must be able to fail: an equal journal passes, and each way to be unequal is reported.

use serde_json::{Value, json};

use super::*;

const TEXTS: [&str; 8] = [
    "BEGIN",
    "SELECT 1",
    "SELECT $1::text",
    "UPDATE t SET n = 2",
    "DELETE FROM t WHERE n = 3",
    "INSERT INTO t VALUES (4)",
    "SELECT 'five'",
    "COMMIT",
];

fn client() -> Client {
    Client {
        application: "app".into(),
        pid: 77,
        comm: "psql".into(),
        exe: "/usr/bin/psql".into(),
        params: Params::AsLogged,
    }
}

fn log() -> Vec<LogStatement> {
    let statement = |(line, text): (usize, &&str)| LogStatement {
        pid: 4711,
        session: "6b03.1267".into(),
        line: line as u64 + 3,
        user: "alice".into(),
        database: "sales".into(),
        application: "app".into(),
        remote: "127.0.0.1:40000".into(),
        kind: if text.contains('$') {
            Kind::Execute
        } else {
            Kind::Simple
        },
        name: None,
        text: text.to_string(),
        params: if text.contains('$') {
            vec![Some("it's".into())]
        } else {
            vec![]
        },
        duration_ms: Some(0.1),
        error: None,
    };
    TEXTS.iter().enumerate().map(statement).collect()
}

fn record(kind: &str) -> Value {
    json!({
        "v": 1, "kind": kind, "node": "n",
        "session": {"id": "s-1", "client_addr": "127.0.0.1:40000", "server_pid": 4711, "user": "alice",
            "database": "sales", "application": "app", "joined": "start"},
        "identity": {"pid": 77, "comm": "psql", "exe": "/usr/bin/psql"},
    })
}

fn statement(text: &str) -> Value {
    let mut record = record("statement");
    let via = if text.contains('$') {
        "execute"
    } else {
        "simple"
    };
    record["statement"] =
        json!({"text": text, "bytes": text.len(), "count": 1, "via": via, "truncated": false});
    if text.contains('$') {
        record["statement"]["params"] = json!(["it's"]);
    }
    record["result"] = json!({"status": "ok", "rows": 1});
    record
}

/// A journal that tells the truth; index 0 is the session_open, statement `n` of [`TEXTS`] has index `n + 1`.
fn journal() -> Vec<Value> {
    let mut records = vec![record("session_open")];
    records.extend(TEXTS.iter().map(|text| statement(text)));
    records.push(record("session_close"));
    records
}

/// The differences found after `change`, the records numbered and timed as they then stand.
fn after(change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
    let mut records = journal();
    change(&mut records);
    for (n, record) in records.iter_mut().enumerate() {
        record["seq"] = json!(n + 1);
        record["time"] = json!(format!("2026-01-01T00:00:00.{n:09}Z"));
    }
    let report = compare(&log(), &records, &[client()], &mut Oracle::none()).unwrap();
    assert_eq!(report.ensure(0).is_err(), !report.differences.is_empty());
    report.differences
}

/// There is exactly one difference, and it says `what`.
fn is_one(differences: &[String], what: &str) {
    assert_eq!(differences.len(), 1, "{differences:#?}");
    assert!(differences[0].contains(what), "{differences:#?}");
}

#[test]
fn the_truth_passes_and_a_comparison_of_too_little_does_not() {
    assert!(after(|_| ()).is_empty());
    let mut records = journal();
    records
        .iter_mut()
        .enumerate()
        .for_each(|(n, record)| record["seq"] = json!(n + 1));
    let report = compare(&log(), &records, &[client()], &mut Oracle::none()).unwrap();
    assert_eq!((report.compared, report.params, report.sessions), (8, 1, 1));
    report.ensure(8).unwrap();
    assert!(report.ensure(9).is_err());
}

#[test]
fn a_line_removed_altered_doubled_or_swapped_is_reported() {
    for n in 0..TEXTS.len() {
        is_one(&after(|records| drop(records.remove(n + 1))), "missing: ");
        let altered = after(|records| {
            // The same length: the text alone tells.
            let head = &TEXTS[n][..TEXTS[n].len() - 1];
            records[n + 1]["statement"]["text"] = json!(format!("{head}_"));
        });
        is_one(&altered, "altered:");
        let doubled = after(|records| {
            let again = records[n + 1].clone();
            records.insert(n + 1, again);
        });
        is_one(&doubled, "doubled, or too many: ");
    }
    for n in 0..TEXTS.len() - 1 {
        let swapped = after(|records| records.swap(n + 1, n + 2));
        assert!(!swapped.is_empty() && swapped.len() <= 2, "{swapped:#?}");
        assert!(swapped[0].contains(TEXTS[n]) || swapped[0].contains(TEXTS[n + 1]));
    }
}

#[test]
fn what_the_server_did_not_get_is_reported() {
    let invented = after(|records| records.insert(4, statement("SELECT 'invented'")));
    is_one(&invented, "not in the log: ");
    let other_session = after(|records| {
        let mut stray = statement("SELECT 1");
        stray["session"]["id"] = json!("s-2");
        stray["session"]["client_addr"] = json!("127.0.0.1:40001");
        records.push(stray);
    });
    is_one(&other_session, "the server logged nothing of it");
    let skipped = after(|records| {
        let mut record = statement("SELECT 'skipped'");
        record["result"] = json!({"status": "none"});
        records.insert(4, record);
    });
    is_one(&skipped, "skipped with no error before");
}

#[test]
fn every_field_counts() {
    let fields: [(&str, Value, &str); 13] = [
        ("/session/user", json!("bob"), "user is"),
        ("/session/database", json!("postgres"), "database is"),
        ("/session/application", json!("other"), "application is"),
        ("/session/joined", json!("midstream"), "joined is"),
        ("/identity/pid", json!(78), "pid is"),
        ("/identity/comm", json!("bash"), "comm is"),
        ("/identity/exe", json!("/bin/sh"), "exe is"),
        ("/statement/bytes", json!(1), "altered:"),
        ("/statement/via", json!("fetch"), "altered:"),
        ("/statement/params/0", json!("its"), "altered:"),
        ("/statement/params/0", Value::Null, "altered:"),
        ("/statement/params", json!(["it's", "two"]), "altered:"),
        ("/result/status", json!("error"), "result: "),
    ];
    for (field, value, what) in fields {
        let differences = after(|records| *records[3].pointer_mut(field).unwrap() = value);
        is_one(&differences, what);
    }
}

#[test]
fn losses_holes_and_lost_ends_are_reported() {
    is_one(
        &after(|records| records.push(json!({"kind": "gap", "gap": {"cause": "ring_full"}}))),
        "a loss",
    );
    is_one(
        &after(|records| drop(records.pop())),
        "0 records of kind session_close",
    );
    let mut records = journal();
    records
        .iter_mut()
        .enumerate()
        .for_each(|(n, record)| record["seq"] = json!(n - n / 4));
    let report = compare(&log(), &records, &[client()], &mut Oracle::none()).unwrap();
    assert!(report.differences.iter().all(|d| d.contains("follows")));
    assert_eq!(report.differences.len(), 2);
    let gone = compare(&log(), &[], &[client()], &mut Oracle::none()).unwrap();
    is_one(&gone.differences, "none of its 8 log entries");
}
