//! Denied statements by the hundred thousand, among allowed ones: none runs, and nobody else notices.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::{Answer, Asking};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::{extended, journal};
use serde_json::Value;

const POLICY: &str = r#"
[[rule]]
name = "keep-victim"
action = "reject"
verbs = ["insert", "update", "delete", "merge", "copy_from"]
tables = ["victim"]
reason = "nobody writes here"

[[rule]]
name = "no-ddl"
action = "reset"
verbs = ["drop", "truncate", "alter"]
reason = "ask a DBA"
"#;

const CONNECTIONS: usize = 8;
/// Denied statements of all connections.
const DENIED: usize = 100_000;
/// Every so many denied statements one ends the connection.
const RESET_EVERY: usize = 50;
const TIME_MAX: Duration = Duration::from_secs(180);

/// What one connection did.
#[derive(Default)]
struct Done {
    /// The mark in each denied text, with the rule that forbids it.
    denied: Vec<(String, &'static str)>,
    allowed: usize,
    inserted: usize,
}

/// A denied statement; its mark is found again in the journal, and must not be in the server's log.
fn forbidden(mark: &str, number: usize) -> (String, &'static str) {
    if number.is_multiple_of(RESET_EVERY) {
        let texts = [
            "DROP TABLE victim",
            "TRUNCATE victim",
            "alter table victim add b int",
        ];
        let text = texts[(number / RESET_EVERY) % texts.len()];
        return (format!("{text} /* {mark} */"), "no-ddl");
    }
    let text = match number % 7 {
        0 => "DELETE FROM victim WHERE id = 1",
        1 => "update Victim set id = id + 1000",
        2 => "INSERT INTO public.victim VALUES (1)",
        3 => "WITH gone AS (DELETE FROM victim RETURNING id) SELECT count(*) FROM gone",
        4 => "SELECT 1; DELETE FROM \"victim\"",
        5 => "EXPLAIN ANALYZE DELETE FROM victim",
        _ => "delete/* */from\n\tvictim where id in (select 2)",
    };
    let room = "so that the refusal can be told in full";
    (format!("{text} /* {mark} {room} */"), "keep-victim")
}

fn run(address: SocketAddr, name: usize) -> Result<Done> {
    let application = format!("load-{name}");
    let mut done = Done::default();
    let mut client = Asking::connect(address, &application)?;
    prepare(&mut client)?;
    for number in 0..DENIED / CONNECTIONS {
        let mark = format!("mark-{name}-{number}");
        let (sql, rule) = forbidden(&mark, number);
        // A string of several statements is for the simple protocol.
        let answer = match number % 2 == 0 || sql.contains(';') {
            true => client.simple(&sql)?,
            false => client.extended(&sql)?,
        };
        check_refusal(&answer, rule).with_context(|| format!("{sql}: {answer:?}"))?;
        done.denied.push((mark, rule));
        if answer.closed {
            client = Asking::connect(address, &application)?;
            prepare(&mut client)?;
        }
        allowed(&mut client, name, number, &mut done)?;
    }
    Ok(done)
}

fn prepare(client: &mut Asking) -> Result<()> {
    let messages = [
        extended::parse("twice", "SELECT $1::int * 2"),
        extended::sync(),
    ];
    let answer = client.ask(&messages.concat())?;
    ensure!(answer.error.is_none(), "{answer:?}");
    Ok(())
}

fn check_refusal(answer: &Answer, rule: &str) -> Result<()> {
    let error = answer.error.as_ref().context("no error")?;
    ensure!(answer.tags.iter().all(|tag| tag == "SELECT 1"), "it ran");
    ensure!(error.message.contains("dbgov: denied by rule"), "by whom");
    ensure!(error.message.contains(rule), "not the rule");
    let resets = rule == "no-ddl";
    ensure!(answer.closed == resets, "closed: {}", answer.closed);
    let severity = if resets { "FATAL" } else { "ERROR" };
    ensure!(error.severity == severity, "severity {}", error.severity);
    Ok(())
}

/// Some allowed statements, each with an answer of its own.
fn allowed(client: &mut Asking, name: usize, number: usize, done: &mut Done) -> Result<()> {
    let key = name * DENIED + number;
    let (sql, wanted) = match number % 4 {
        0 => {
            done.inserted += 1;
            let sql = format!("INSERT INTO ledger VALUES ({key}) RETURNING key");
            (sql, key.to_string())
        }
        1 => (format!("SELECT {key} + 1"), (key + 1).to_string()),
        2 => {
            let sql = format!("SELECT 'DELETE FROM victim {key}'");
            (sql, format!("DELETE FROM victim {key}"))
        }
        _ => {
            let value = number.to_string();
            let messages = [
                extended::bind("", "twice", 0, &[Some(value.as_bytes())]),
                extended::execute("", 0),
                extended::sync(),
            ];
            let answer = client.ask(&messages.concat())?;
            let wanted = (number * 2).to_string();
            ensure!(answer.value() == Some(&wanted), "twice: {answer:?}");
            done.allowed += 1;
            return Ok(());
        }
    };
    let answer = match number % 3 {
        0 => client.extended(&sql)?,
        _ => client.simple(&sql)?,
    };
    ensure!(answer.value() == Some(&wanted), "{sql}: {answer:?}");
    done.allowed += 1;
    Ok(())
}

/// The journal's statements by the mark in their text.
fn attempts(records: &[Value]) -> HashMap<&str, Vec<&Value>> {
    let mut found: HashMap<&str, Vec<&Value>> = HashMap::new();
    for record in journal::of_kind(records, "statement") {
        let text = record["statement"]["text"].as_str().unwrap_or_default();
        let Some(at) = text.find("mark-") else {
            continue;
        };
        let mark = text[at..].split(' ').next().unwrap_or_default();
        found.entry(mark).or_default().push(record);
    }
    found
}

#[test]
fn none_of_100_000_denied_statements_runs_and_every_allowed_one_does() -> Result<()> {
    let mut server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE victim AS SELECT generate_series(1, 1000) AS id")?;
    server.admin("CREATE TABLE ledger (key int PRIMARY KEY)")?;
    let before = server.admin("SELECT count(*), sum(id), max(xmin::text::bigint) FROM victim")?;
    let mut agent = Agent::start(Config::watching(&[&server]).policy(POLICY))?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let started = Instant::now();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|name| std::thread::spawn(move || run(address, name)))
        .collect();
    let mut done = Vec::new();
    for thread in threads {
        done.push(thread.join().expect("no panic")?);
    }
    let took = started.elapsed();
    let after = server.admin("SELECT count(*), sum(id), max(xmin::text::bigint) FROM victim")?;
    assert_eq!(before, after);
    let inserted: usize = done.iter().map(|done| done.inserted).sum();
    assert_eq!(
        server.admin("SELECT count(*) FROM ledger")?,
        inserted.to_string()
    );
    journal::ensure_lossless(&agent.status()?)?;
    let status = agent.status()?;
    agent.stop()?;
    server.stop()?;

    let log = std::fs::read_to_string(server.log_path())?;
    assert!(!log.contains("mark-"), "a denied text reached the server");
    let records = journal::verify(&agent.audit_dir()?)?;
    assert!(journal::of_kind(&records, "gap").is_empty());
    let attempts = attempts(&records);
    let denied: Vec<_> = done.iter().flat_map(|done| &done.denied).collect();
    assert_eq!(denied.len(), DENIED);
    assert_eq!(attempts.len(), DENIED);
    for (mark, rule) in denied {
        let action = if *rule == "no-ddl" { "reset" } else { "reject" };
        // In the extended protocol the Parse that failed, and the Execute that the server skipped.
        let records = &attempts[mark.as_str()];
        assert!((1..=2).contains(&records.len()), "{mark}: {records:?}");
        for record in records {
            assert_eq!(record["verdict"]["action"], action, "{record}");
            assert_eq!(record["verdict"]["rule"], *rule, "{record}");
            assert_ne!(record["result"]["status"], "ok", "{record}");
        }
    }
    let allowed: usize = done.iter().map(|done| done.allowed).sum();
    println!(
        "{DENIED} denied statements and {allowed} allowed ones in {took:.1?}, {:.0}/s; gate: {}",
        (DENIED + allowed) as f64 / took.as_secs_f64(),
        status["gate"]
    );
    assert!(took < TIME_MAX, "{took:?}");
    Ok(())
}
