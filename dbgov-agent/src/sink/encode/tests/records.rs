//! Lines of every kind, and of every state that matters to a format.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::audit::line::LineEncoder;
use crate::audit::samples;

/// A line with these fields, and what every record has.
pub(super) fn line(fields: Value) -> Vec<u8> {
    let mut record = json!({
        "chain": {"hash": "ab".repeat(32), "prev": "00".repeat(32)},
        "node": "db-1", "seq": 7, "time": "2026-11-22T23:59:59.123456789Z", "v": 1,
    });
    for (key, value) in fields.as_object().unwrap() {
        record[key] = value.clone();
    }
    record.to_string().into_bytes()
}

pub(super) fn session() -> Value {
    json!({"application": "psql", "client_addr": "10.9.0.2:41884", "database": "shop", "id": "s-1",
        "joined": "start", "protocol": "postgresql", "role": "auditor", "server_addr": "10.9.0.1:5432",
        "server_pid": 4242, "tls": false, "user": "app"})
}

pub(super) fn identity() -> Value {
    json!({"comm": "python3", "exe": "/usr/bin/python3", "name": "agent:sync", "pid": 123, "run": "r-1",
        "source": "tag", "uid": 1000})
}

pub(super) fn statement(text: &str) -> Value {
    json!({"bytes": text.len(), "count": 1, "fingerprint": "9f86d081884c7d65", "parse": "ok",
        "tables": ["carts", "shop.orders"], "text": text, "truncated": false, "verbs": ["delete"],
        "via": "simple"})
}

/// A statement's record.
pub(super) fn statement_line(text: &str) -> Vec<u8> {
    line(
        json!({"kind": "statement", "session": session(), "identity": identity(),
        "statement": statement(text), "result": {"duration_us": 1500, "rows": 3, "status": "ok"}}),
    )
}

fn blocks_by_hand() -> Vec<(&'static str, Value)> {
    let key = "0123456789abcdef0123456789abcdef";
    let mut blocks = vec![
        (
            "session_open",
            json!({"session": session(), "identity": identity()}),
        ),
        (
            "session_close",
            json!({"session": session(), "identity": identity(), "close": {"duration_us": 662346, "errors": 1,
                "reason": "terminate", "request_bytes": 91, "request_lost_bytes": 0, "response_bytes": 556,
                "response_lost_bytes": 0, "statements": 1}}),
        ),
        (
            "agent_stop",
            json!({"agent": {"connections": 1, "pid": 1, "sessions": 0, "statements": 1, "version": "0.1.0"}}),
        ),
        (
            "protocol_error",
            json!({"session": session(), "error": {"direction": "request", "reason": "start-up packet of invalid length"},
            "verdict": {"action": "reset", "mode": "enforce", "rule": "(malformed)"}}),
        ),
        (
            "verdict_unenforced",
            json!({"session": session(), "identity": identity(), "statement": statement("DROP TABLE t"),
            "verdict": {"action": "reset", "mode": "enforce", "rule": "r", "matched": "drop t"}}),
        ),
        (
            "segment",
            json!({"segment": {"agent_version": "0.1.0", "checkpoint_records": 1000, "format": 1, "key": key, "public_key": "00"}}),
        ),
        (
            "checkpoint",
            json!({"checkpoint": {"key": key, "reason": "rotation", "records": 9, "signature": "00"}}),
        ),
        (
            "retention",
            json!({"retention": {"bytes": 1, "first_seq": 1, "last_hash": "00", "last_seq": 9, "reason": "age", "segments": 1}}),
        ),
        (
            "of_a_newer_dbgov",
            json!({"new": {"block": [1, {"x": null}]}}),
        ),
    ];
    for state in [
        "pending",
        "approved",
        "denied",
        "timed_out",
        "client_gone",
        "gate_off",
    ] {
        let approver = json!({"uid": 0, "user": "root"});
        blocks.push(("approval", json!({"session": session(), "identity": identity(), "approval": {
            "approver": approver, "id": "77j4-1", "reason": "nightly", "requester": "agent:sync", "rule": "r", "state": state,
            "statement": {"bytes": 17, "head": "DELETE FROM carts", "sha256": "00"}, "waited_us": 1209583}})));
    }
    for event in ["loaded", "refused", "gate_off"] {
        blocks.push((
            "policy",
            json!({"policy": {"error": "line 3", "event": event, "file": "/etc/dbgov/policy.toml",
            "generation": 2, "mode": "enforce", "rules": 3, "sha256": "00", "by": "root"}}),
        ));
    }
    for code in ["28P01", "3D000", "57P01", ""] {
        blocks.push(("session_error", json!({"session": session(), "error": {"code": code, "message": "no", "severity": "FATAL"}})));
    }
    blocks
}

/// Each action in each mode, and what it was instead of.
fn verdicts() -> Vec<Value> {
    let mut verdicts = Vec::new();
    for action in ["allow", "alert", "hold", "reject", "reset", "unheard_of"] {
        for mode in ["enforce", "observe"] {
            for wanted in ["", "hold", "reject"] {
                let mut verdict = json!({"action": action, "mode": mode, "rule": "r", "held_us": 7, "reason": "ask first"});
                if !wanted.is_empty() {
                    verdict["wanted"] = wanted.into();
                }
                verdicts.push(verdict);
            }
        }
    }
    verdicts
}

/// Sessions as they can be: known by halves, of other address families, in pods.
fn sessions() -> Vec<Value> {
    let ends = [
        ("[2001:db8::1]:41884", "[::1]:5432"),
        ("[fe80::1%3]:41884", "unix:/run/postgresql/.s.PGSQL.5432"),
        ("unix:", "nonsense"),
        ("", ""),
    ];
    let mut lines = Vec::new();
    for (client, server) in ends {
        lines.push(json!({"kind": "session_open", "session": {"client_addr": client, "id": "s", "server_addr": server,
            "protocol": "postgresql", "joined": "midstream", "tls": true, "opaque": "tls"},
            "verdict": {"action": "reset", "mode": "enforce", "rule": "(opaque)"}}));
    }
    lines.push(json!({"kind": "session_open", "session": {"id": "s"}}));
    for pod_uid in [
        "0d8f1c2a-5b6e-4f70-8a91-b2c3d4e5f601",
        "9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d",
        "",
        "static",
    ] {
        let identity = json!({"container": "7e1d", "exe": "/", "name": "system:serviceaccount:shop:web", "pid": 1,
            "pod": "shop/web-1", "pod_uid": pod_uid, "runtime": "containerd", "source": "service_account", "login_uid": 1000});
        lines.push(
            json!({"kind": "session_open", "session": session(), "identity": identity,
            "process": {"command": ["psql", ""], "parents": [{"comm": "sh"}], "started": "no time"},
            "pods": {"client": {"name": "web-1", "namespace": "shop", "uid": "u",
                "labels": {"app": "x", "app.kubernetes.io/name": "y"}}}}),
        );
    }
    lines
}

/// Made once.
pub(super) fn lines() -> &'static [Vec<u8>] {
    static LINES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(make_lines);
    &LINES
}

fn make_lines() -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut encoder = LineEncoder::new("db-1");
    for record in samples::everything() {
        let mut line = Vec::new();
        let hash = encoder.encode(&record, &mut line).unwrap();
        encoder.accept(hash);
        line.pop();
        lines.push(line);
    }
    for (kind, mut fields) in blocks_by_hand() {
        fields["kind"] = kind.into();
        lines.push(line(fields));
        lines.push(line(json!({"kind": kind})));
    }
    for verdict in verdicts() {
        for kind in ["statement", "protocol_error", "session_open"] {
            lines.push(line(json!({"kind": kind, "session": session(), "identity": identity(),
                "statement": statement("DELETE FROM carts"), "result": {"status": "error", "error": "42601", "message": "no"},
                "verdict": verdict.clone()})));
        }
    }
    for verb in crate::sql::Verb::ALL {
        let mut statement = statement("?");
        statement["verbs"] = json!([verb.name()]);
        lines.push(line(
            json!({"kind": "statement", "session": session(), "statement": statement}),
        ));
    }
    lines.extend(sessions().into_iter().map(line));
    lines.extend(documented());
    lines
}

/// The records dbgov wrote for docs/records.md; after the first they leave out what every record has.
fn documented() -> Vec<Vec<u8>> {
    let document = include_str!("../../../../../docs/records.md");
    let lines: Vec<Vec<u8>> = document
        .lines()
        .filter(|text| text.starts_with('{'))
        .map(|text| line(serde_json::from_str(text).unwrap()))
        .collect();
    assert!(lines.len() > 15, "{}", lines.len());
    lines
}

#[test]
fn every_kind_is_here() {
    let lines = lines();
    for kind in crate::audit::view::KINDS {
        let member = format!("\"kind\":\"{kind}\"");
        let with_block =
            |line: &Vec<u8>| line.len() > 250 && String::from_utf8_lossy(line).contains(&member);
        assert!(lines.iter().any(with_block), "{kind}");
    }
}

/// One of the lines with texts replaced, and members left out that need not be there.
pub(super) fn mangled(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let lines = lines();
    let place = random.usize(..lines.len());
    let mut record: Value = serde_json::from_slice(&lines[place]).unwrap();
    for (key, value) in record.as_object_mut().unwrap() {
        match key.as_str() {
            "chain" | "kind" | "seq" | "time" | "v" => {}
            _ => mangle(value, &mut random),
        }
    }
    record.to_string().into_bytes()
}

fn mangle(value: &mut Value, random: &mut fastrand::Rng) {
    match value {
        Value::String(text) if random.u8(..) < 100 => *text = hostile_text(random),
        Value::Number(number) if random.u8(..) < 100 => {
            *number = random.u32(..).into();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mangle(item, random)),
        Value::Object(members) => {
            members.retain(|_, _| random.u8(..) < 220);
            members.values_mut().for_each(|value| mangle(value, random));
        }
        _ => {}
    }
}

fn hostile_text(random: &mut fastrand::Rng) -> String {
    const PIECES: [&str; 22] = [
        "a",
        " ",
        "=",
        "|",
        "\\",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{1b}[2J",
        "\u{85}",
        "\u{2028}",
        "é",
        "漢",
        "😀",
        " act=allow",
        "\tusrName=root",
        "|9|act=x",
        "\nCEF:0|a|b|c|d|e|1|",
        "\"",
        "{}",
        "/",
    ];
    let pieces = random.usize(..12);
    (0..pieces)
        .map(|_| PIECES[random.usize(..PIECES.len())])
        .collect()
}
