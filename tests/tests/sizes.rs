//! Statements of 1 byte to 64 MiB, and results of any size and shape.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{self, Client};
use dbgov_tests::{Result, ensure, extended, journal, wait_for};
use serde_json::Value;
use sha2::{Digest, Sha256};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Default of `statement_bytes_max`.
const KEPT_BYTES_MAX: usize = MIB;

/// A ring that holds the longest statement: whether the agent keeps up with a smaller one is a matter of how busy the
/// machine is, and a loss would be a gap (below).
fn started() -> (Server, Agent, SocketAddr) {
    started_with(|config| config.set("capture", "ring_bytes", &(128 * MIB).to_string()))
}

/// A ring far smaller than the longest statement.
fn started_with_small_ring(lossless: bool) -> (Server, Agent, SocketAddr) {
    started_with(|config| {
        config.set("capture", "ring_bytes", &MIB.to_string()).set(
            "audit",
            "lossless",
            &lossless.to_string(),
        )
    })
}

/// A server that logs nothing: its log of a 64 MiB statement is of no use here.
fn started_with(configure: impl Fn(Config) -> Config) -> (Server, Agent, SocketAddr) {
    let server = Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
    .unwrap();
    let agent = Agent::start(configure(Config::watching(&[&server]))).unwrap();
    let address = ([127, 0, 0, 1], server.port()).into();
    (server, agent, address)
}

fn client(address: SocketAddr, application: &str) -> Client {
    Client::connect(address, "postgres", "postgres", application).unwrap()
}

/// A statement of exactly `bytes` bytes whose text says at every place where it is: a piece that is missing, doubled
/// or in another place shows.
fn statement(bytes: usize) -> String {
    const AROUND: &str = "SELECT length('')";
    if bytes < AROUND.len() {
        return ";".repeat(bytes);
    }
    let mut filling = String::with_capacity(bytes + 16);
    while filling.len() < bytes - AROUND.len() {
        filling.push_str(&format!("{:x}.", filling.len()));
    }
    filling.truncate(bytes - AROUND.len());
    format!("SELECT length('{filling}')")
}

/// Whole up to the limit; beyond it the head, the true length and the hash of all of it.
fn check_text(record: &Value, sql: &str) -> Result<()> {
    let statement = &record["statement"];
    let text = statement["text"].as_str().unwrap_or_default();
    let size = sql.len();
    ensure!(statement["bytes"] == size, "{size}: {}", statement["bytes"]);
    if size <= KEPT_BYTES_MAX {
        ensure!(text == sql, "{size}: the text differs");
        ensure!(statement["truncated"] == false, "{size}: truncated");
        ensure!(statement.get("sha256").is_none(), "{size}: has a hash");
    } else {
        ensure!(sql.starts_with(text), "{size}: not the head of the text");
        let kept = text.len();
        // Cut at a character boundary, so up to 3 bytes before the limit.
        ensure!(
            kept <= KEPT_BYTES_MAX && kept > KEPT_BYTES_MAX - 4,
            "{size}: kept {kept}"
        );
        ensure!(statement["truncated"] == true, "{size}: not truncated");
        let hash = hex::encode(Sha256::digest(sql));
        ensure!(statement["sha256"] == hash.as_str(), "{size}: wrong hash");
    }
    ensure!(
        record["result"]["status"] == "ok",
        "{size}: {}",
        record["result"]
    );
    Ok(())
}

/// Everything but statements, for a failure's message.
fn told(agent: &Agent) -> String {
    let records = agent.journal().unwrap();
    let mut lines: Vec<String> = records
        .iter()
        .filter(|record| record["kind"] != "statement")
        .map(Value::to_string)
        .collect();
    lines.push(agent.status().unwrap().to_string());
    lines.join("\n")
}

fn check(agent: &mut Agent, sent: &[String], via: &str) {
    let wanted = sent.len() as u64;
    wait_for("all statements", Duration::from_secs(30), || {
        let status = agent.status()?;
        Ok((status["statements"].as_u64() >= Some(wanted)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", told(agent)));
    journal::ensure_lossless(&agent.status().unwrap()).unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let found = journal::of_kind(&records, "statement");
    assert_eq!(found.len(), sent.len());
    for (record, sql) in found.iter().zip(sent) {
        check_text(record, sql).unwrap();
        assert_eq!(record["statement"]["via"], via);
    }
    assert!(journal::of_kind(&records, "gap").is_empty());
    assert!(journal::of_kind(&records, "protocol_error").is_empty());
}

fn sizes() -> Vec<usize> {
    let mut sizes = vec![1, 2, 3, 16, 17, 18, 255, 256, 257];
    for around in [KIB, 4 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 256 * KIB, MIB] {
        sizes.extend([around - 1, around, around + 1]);
    }
    sizes.extend([8 * MIB, 64 * MIB]);
    sizes
}

#[test]
fn simple_statements_of_every_size() {
    let (_server, mut agent, address) = started();
    let mut client = client(address, "sizes");
    let sent: Vec<String> = sizes().into_iter().map(statement).collect();
    for sql in &sent {
        client.query(sql).unwrap();
    }
    check(&mut agent, &sent, "simple");
}

#[test]
fn extended_statements_of_every_size() {
    let (_server, mut agent, address) = started();
    let mut client = client(address, "sizes");
    let sent: Vec<String> = sizes().into_iter().map(statement).collect();
    for sql in &sent {
        client.stream.write_all(&extended::once(sql, &[])).unwrap();
        client.until_ready().unwrap();
    }
    check(&mut agent, &sent, "execute");
}

/// The cut falls into every place of a character of four bytes.
#[test]
fn a_long_text_is_cut_between_characters() {
    let (_server, mut agent, address) = started();
    let mut client = client(address, "sizes");
    let sent: Vec<String> = (0..4)
        .map(|pad| {
            format!(
                "SELECT length('{}{}')",
                "a".repeat(pad),
                "\u{1F980}".repeat(MIB / 4 + 100)
            )
        })
        .collect();
    for sql in &sent {
        client.query(sql).unwrap();
    }
    check(&mut agent, &sent, "simple");
}

/// A statement that the ring has no room for is a gap with its size, and those around it are right.
#[test]
fn a_statement_too_large_for_the_ring_is_a_gap() {
    let (_server, mut agent, address) = started_with_small_ring(false);
    let mut client = client(address, "loss");
    let texts = ["SELECT 'before'", "SELECT 'after'", "SELECT 'again'"];
    client.query(texts[0]).unwrap();
    let large = statement(64 * MIB);
    // On a machine that is quick enough it would keep up with any statement.
    let stopped = agent.stopped().unwrap();
    client.query(&large).unwrap();
    drop(stopped);
    // What comes while the ring is full is lost as well.
    let drained = wait_for("the ring is empty", Duration::from_secs(10), || {
        let kernel = &agent.status()?["kernel"];
        let lost = kernel["lost_bytes"].as_u64().filter(|bytes| *bytes > 0);
        Ok(lost.filter(|_| kernel["ring_used_bytes"] == 0))
    });
    let counted = drained.unwrap();
    client.query(texts[1]).unwrap();
    client.query(texts[2]).unwrap();
    drop(client);
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let all: Vec<&Value> = records.iter().collect();
    let found = journal::texts(&all);
    assert_eq!(found.first(), Some(&texts[0]));
    // The first one behind the loss may be what the gap ends with.
    assert_eq!(found.last(), Some(&texts[2]));
    assert!(found.iter().all(|text| texts.contains(text)), "{found:?}");
    let gaps = records.iter().filter(|r| r["gap"]["cause"] == "ring_full");
    let told: u64 = gaps.filter_map(|r| r["gap"]["bytes"].as_u64()).sum();
    assert!(told >= counted, "{told} of {counted} bytes are told");
    for record in journal::of_kind(&records, "statement") {
        assert!(record["result"]["rows"] == 1 || record["result"]["status"] == "none");
    }
    let close = records
        .iter()
        .find(|r| r["kind"] == "session_close")
        .unwrap();
    assert!(
        close["close"]["request_lost_bytes"].as_u64() >= Some(counted),
        "{close}"
    );
}

/// The client waits where the ring is full: TCP sends again what the kernel did not let pass.
#[test]
fn a_lossless_agent_loses_nothing_for_want_of_room() {
    let (_server, mut agent, address) = started_with_small_ring(true);
    let mut client = client(address, "lossless");
    let sizes = [1, KIB, 64 * KIB, 8 * MIB, 64 * MIB, 3];
    let sent: Vec<String> = sizes.into_iter().map(statement).collect();
    for sql in &sent {
        client.query(sql).unwrap();
    }
    let dropped = agent.status().unwrap()["kernel"]["lost_segments"].clone();
    assert_eq!(dropped, 0);
    check(&mut agent, &sent, "simple");
}

/// What a result costs and says.
struct ResultCase {
    sql: &'static str,
    rows: u64,
    /// Bytes on the wire, at least.
    bytes_min: u64,
}

const RESULTS: &[ResultCase] = &[
    ResultCase {
        sql: "SELECT repeat('r0w', 333) FROM generate_series(1,200000)",
        rows: 200_000,
        bytes_min: 200_000_000,
    },
    ResultCase {
        sql: "SELECT generate_series(1,1000000)",
        rows: 1_000_000,
        bytes_min: 15_000_000,
    },
    ResultCase {
        sql: "SELECT repeat('x', 100000000)",
        rows: 1,
        bytes_min: 100_000_000,
    },
    ResultCase {
        sql: "SELECT FROM generate_series(1,100000)",
        rows: 100_000,
        bytes_min: 700_000,
    },
    ResultCase {
        sql: "COPY (SELECT repeat('c', 990) FROM generate_series(1,50000)) TO STDOUT",
        rows: 50_000,
        bytes_min: 49_000_000,
    },
];

/// Of the response bytes of a large result, at most one in so many may be copied to userspace ...
const COPIED_PART_MAX: u64 = 200;
/// ... beside what every statement and session needs: row descriptions, tags, status.
const COPIED_BYTES_MAX: u64 = 16 * 1024;

/// Waits until the agent has seen the answer of the newest of `statements`.
fn settled(agent: &Agent, statements: u64) -> (u64, u64) {
    wait_for("the result", Duration::from_secs(30), || {
        let status = agent.status()?;
        let kernel = &status["kernel"];
        let figures = kernel["response_bytes"]
            .as_u64()
            .zip(kernel["response_copied_bytes"].as_u64());
        let done = status["statements"].as_u64() >= Some(statements);
        Ok(figures.filter(|_| done))
    })
    .unwrap()
}

#[test]
fn results_are_counted_and_their_rows_stay_in_the_kernel() {
    let (_server, mut agent, address) = started();
    for via in ["simple", "execute"] {
        for case in RESULTS {
            let statements = agent.status().unwrap()["statements"].as_u64().unwrap();
            let before = settled(&agent, statements);
            let mut client = client(address, "results");
            let messages = match via {
                "simple" => wire::query(case.sql),
                _ => extended::once(case.sql, &[]),
            };
            client.stream.write_all(&messages).unwrap();
            client.until_ready().unwrap();
            drop(client);
            let after = settled(&agent, statements + 1);
            let (crossed, copied) = (after.0 - before.0, after.1 - before.1);
            println!("{via} {}: {copied} of {crossed} bytes copied", case.sql);
            assert!(crossed >= case.bytes_min, "{}: {crossed}", case.sql);
            let copied_max = crossed / COPIED_PART_MAX + COPIED_BYTES_MAX;
            assert!(
                copied <= copied_max,
                "{}: {copied} of {crossed} bytes were copied",
                case.sql
            );
        }
    }
    journal::ensure_lossless(&agent.status().unwrap()).unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let found = journal::of_kind(&records, "statement");
    assert_eq!(found.len(), 2 * RESULTS.len());
    for (record, case) in found.iter().zip(RESULTS.iter().chain(RESULTS)) {
        assert_eq!(record["statement"]["text"], case.sql);
        assert_eq!(record["result"]["status"], "ok", "{record}");
        assert_eq!(record["result"]["rows"], case.rows, "{record}");
    }
    assert!(journal::of_kind(&records, "gap").is_empty());
}

/// A portal read in pieces: each Execute is a record with the rows of its own.
#[test]
fn a_suspended_portal_counts_the_rows_of_each_execute() {
    let (_server, mut agent, address) = started();
    let mut client = client(address, "portal");
    let sql = "SELECT generate_series(1,2500)";
    let mut messages = [extended::parse("", sql), extended::bind("", "", 0, &[])].concat();
    for _ in 0..3 {
        messages.extend(extended::execute("", 1000));
    }
    messages.extend(extended::sync());
    client.stream.write_all(&messages).unwrap();
    client.until_ready().unwrap();
    drop(client);
    agent.stop().unwrap();
    let records = agent.journal().unwrap();
    let found: Vec<(&str, u64)> = journal::of_kind(&records, "statement")
        .iter()
        .map(|record| {
            assert_eq!(record["statement"]["text"], sql);
            let via = record["statement"]["via"].as_str().unwrap();
            (via, record["result"]["rows"].as_u64().unwrap_or(u64::MAX))
        })
        .collect();
    assert_eq!(found, [("execute", 1000), ("fetch", 1000), ("fetch", 500)]);
}
