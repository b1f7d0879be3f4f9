//! Many connections: at once, and one after the other.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::wire::{self, Client};
use dbgov_tests::{journal, process, wait_for};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Every session has its beginning, its statements and its end, in this order and nothing else.
fn check_sessions(records: &[Value], pids: &HashMap<String, u32>, statements: usize) {
    for (id, session) in journal::by_session(records) {
        let mut expected = vec!["session_open"];
        expected.extend(vec!["statement"; statements]);
        expected.push("session_close");
        assert_eq!(journal::kinds(&session), expected, "{id}");
        for record in &session {
            let told = &record["session"];
            let application = told["application"].as_str().unwrap_or_default();
            let group = application.split('-').next().unwrap_or_default();
            assert_eq!(record["identity"]["pid"], pids[group], "{record}");
            assert_eq!(told["user"], "postgres");
            assert_eq!(told["database"], "postgres");
            assert_eq!(told["joined"], "start");
            assert_eq!(told["server_pid"], session[0]["session"]["server_pid"]);
        }
        let close = &session[session.len() - 1]["close"];
        assert_eq!(close["reason"], "terminate", "{id}");
        assert_eq!(close["statements"], statements);
    }
}

#[test]
fn five_hundred_connections_at_once() {
    const CONNECTIONS: usize = 500;
    const ROUNDS: usize = 5;
    let server = Server::start(&Options::default()).unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|n| Client::connect(address, "postgres", "postgres", &format!("crowd-{n}")).unwrap())
        .collect();
    let text = |n: usize, round: usize| match round {
        // Long enough that all run at the same time.
        0 => format!("SELECT pg_sleep(3), {n}"),
        _ => format!("SELECT {n}, {round}"),
    };
    for round in 0..ROUNDS {
        for (n, client) in clients.iter_mut().enumerate() {
            let query = wire::query(&text(n, round));
            client.stream.write_all(&query).unwrap();
        }
        if round == 0 {
            wait_for("all are active at once", PATIENCE, || {
                let active = server.admin(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'crowd-%' AND state = 'active'",
                )?;
                Ok((active == CONNECTIONS.to_string()).then_some(()))
            })
            .unwrap();
            wait_for("the agent counts them", PATIENCE, || {
                Ok((agent.status()?["sessions"] == CONNECTIONS).then_some(()))
            })
            .unwrap();
        }
        for client in &mut clients {
            client.until_ready().unwrap();
        }
    }
    drop(clients);
    journal::ensure_lossless(&agent.status().unwrap()).unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let ours = HashMap::from([("crowd".to_string(), std::process::id())]);
    assert_eq!(journal::by_session(&records).len(), CONNECTIONS);
    check_sessions(&records, &ours, ROUNDS);
    for n in 0..CONNECTIONS {
        let session = journal::of_application(&records, &format!("crowd-{n}"));
        let expected: Vec<String> = (0..ROUNDS).map(|round| text(n, round)).collect();
        assert_eq!(journal::texts(&session), expected);
    }
}

/// Connections of this process, from several threads.
const OWN_CONNECTIONS: u32 = 16_000;
const THREADS: u32 = 4;
/// Connections of other processes, a pgbench each.
const PROCESSES: u32 = 4;
const CONNECTIONS_PER_PROCESS: u32 = 1_000;

/// Each thread's server address: a closed connection keeps its client port for a minute, per server address.
fn address(thread: u32, port: u16) -> SocketAddr {
    let last = u8::try_from(thread + 1).unwrap();
    (Ipv4Addr::new(127, 0, 0, last), port).into()
}

fn connect_and_close(port: u16) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for n in (thread..OWN_CONNECTIONS).step_by(THREADS as usize) {
                    let name = format!("own-{n}");
                    let address = address(thread, port);
                    let mut client =
                        Client::connect(address, "postgres", "postgres", &name).unwrap();
                    client.query(&format!("SELECT {n}")).unwrap();
                }
            });
        }
    });
}

#[test]
fn twenty_thousand_short_connections_in_a_row() {
    let server = Server::start(&Options {
        listen: (0..THREADS)
            .map(|t| address(t, 0).ip().to_string())
            .collect(),
        quiet: true,
        ..Options::default()
    })
    .unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    connect_and_close(server.port());

    let scratch = Scratch::new("script").unwrap();
    let script = scratch.path().join("script.sql");
    std::fs::write(&script, "SELECT :client_id;\n").unwrap();
    let mut pids = HashMap::from([("own".to_string(), std::process::id())]);
    let mut children = Vec::new();
    for n in 0..PROCESSES {
        let target = server.target("127.0.0.1").application(&format!("bench{n}"));
        let mut command = drivers::pgbench(&target).unwrap();
        command
            .args(["--no-vacuum", "--connect", "--client=1"])
            .arg(format!("--transactions={CONNECTIONS_PER_PROCESS}"))
            .arg("--file")
            .arg(&script)
            .envs(target.environment())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let child = process::spawn(command).unwrap();
        pids.insert(format!("bench{n}"), child.id());
        children.push(child);
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    journal::ensure_lossless(&agent.status().unwrap()).unwrap();
    agent.stop().unwrap();

    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    // pgbench itself connects once to look at its tables, and says nothing where it has a script of its own.
    let (own, bench): (Vec<Value>, Vec<Value>) = records
        .into_iter()
        .filter(|record| record.get("session").is_some())
        .partition(|record| {
            let application = record["session"]["application"].as_str();
            application.is_some_and(|name| name.starts_with("own-"))
        });
    assert_eq!(
        journal::by_session(&own).len(),
        OWN_CONNECTIONS as usize,
        "own sessions"
    );
    check_sessions(&own, &pids, 1);
    let texts: BTreeMap<&str, &str> = journal::of_kind(&own, "statement")
        .into_iter()
        .map(|record| {
            let application = record["session"]["application"].as_str().unwrap();
            (application, record["statement"]["text"].as_str().unwrap())
        })
        .collect();
    for n in 0..OWN_CONNECTIONS {
        assert_eq!(texts[format!("own-{n}").as_str()], format!("SELECT {n}"));
    }

    let sessions = journal::by_session(&bench);
    let with_statement = sessions.values().filter(|s| !journal::texts(s).is_empty());
    assert_eq!(
        with_statement.count(),
        (PROCESSES * CONNECTIONS_PER_PROCESS) as usize
    );
    for session in sessions.values() {
        let application = session[0]["session"]["application"].as_str().unwrap();
        for record in session {
            assert_eq!(record["identity"]["pid"], pids[application], "{record}");
            assert_eq!(record["identity"]["comm"], "pgbench");
        }
    }
}
