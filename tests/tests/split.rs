//! What TCP does to messages must not show in the records: every split, one byte at a time, all in one packet.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::{extended, journal, wait_for, wire};
use serde_json::Value;

/// Between two writes, so that the second does not join the first one's packet.
const PAUSE: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(30);

fn started() -> (Server, Agent, SocketAddr) {
    let server = Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
    .unwrap();
    let agent = Agent::start(Config::watching(&[&server])).unwrap();
    let address = ([127, 0, 0, 1], server.port()).into();
    (server, agent, address)
}

/// A whole session: start-up, both query protocols, errors, a pipeline with two Syncs, COPY in, Terminate.
fn session(application: &str) -> Vec<u8> {
    [
        wire::startup(&[
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", application),
        ]),
        wire::query("SELECT 1; SELECT 'zwei'"),
        wire::query("SELECT 1/0"),
        extended::parse("s1", "SELECT $1::text || $2"),
        extended::bind("p1", "s1", 0, &[Some(b"a\xc3\xa4"), None]),
        extended::describe_portal("p1"),
        extended::execute("p1", 0),
        extended::sync(),
        extended::bind("", "s1", 0, &[Some(b"x"), Some(b"y")]),
        extended::execute("", 0),
        extended::sync(),
        wire::query("CREATE TEMP TABLE t (n int)"),
        wire::query("COPY t FROM STDIN"),
        wire::message(b'd', b"1\n2\n"),
        wire::message(b'c', b""),
        wire::query("SET extra_float_digits = 2"),
        wire::query(""),
        extended::terminate(),
    ]
    .concat()
}

/// Sends the pieces as packets of their own and reads until the server closes.
fn play(address: SocketAddr, pieces: &[&[u8]]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for piece in pieces {
        stream.write_all(piece).unwrap();
        std::thread::sleep(PAUSE);
    }
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// What stays of a session's records when everything is left out that differs from one session to the next.
fn essence(records: &[&Value], application: &str) -> Vec<Value> {
    records
        .iter()
        .map(|record| {
            let mut record = (*record).clone();
            for (object, names) in [
                ("", &["seq", "time", "chain"][..]),
                ("session", &["id", "client_addr", "server_pid"]),
                ("result", &["duration_us"]),
                ("close", &["duration_us"]),
            ] {
                let target = match object {
                    "" => Some(&mut record),
                    _ => record.get_mut(object),
                };
                if let Some(fields) = target.and_then(Value::as_object_mut) {
                    names.iter().for_each(|name| drop(fields.remove(*name)));
                }
            }
            if record["session"]["application"] == application {
                record["session"]["application"] = "it".into();
            }
            record
        })
        .collect()
}

fn closed_sessions(agent: &Agent) -> usize {
    let records = agent.journal().unwrap();
    journal::of_kind(&records, "session_close").len()
}

/// The figures [`essence`] is compared with must be right themselves.
fn check_whole(essence: &[Value]) {
    let kinds: Vec<&str> = essence
        .iter()
        .map(|r| r["kind"].as_str().unwrap())
        .collect();
    let mut expected = vec!["session_open"];
    expected.extend(["statement"; 8]);
    expected.push("session_close");
    assert_eq!(kinds, expected, "{essence:#?}");
    let told: Vec<(&str, &Value, &Value)> = essence[1..9]
        .iter()
        .map(|record| {
            (
                record["statement"]["text"].as_str().unwrap(),
                &record["result"]["status"],
                &record["result"]["rows"],
            )
        })
        .collect();
    let expected: [(&str, &str, Option<u64>); 8] = [
        ("SELECT 1; SELECT 'zwei'", "ok", Some(2)),
        ("SELECT 1/0", "error", None),
        ("SELECT $1::text || $2", "ok", Some(1)),
        ("SELECT $1::text || $2", "ok", Some(1)),
        ("CREATE TEMP TABLE t (n int)", "ok", None),
        ("COPY t FROM STDIN", "ok", Some(2)),
        ("SET extra_float_digits = 2", "ok", None),
        ("", "ok", None),
    ];
    for (found, wanted) in told.iter().zip(expected) {
        assert_eq!(found.0, wanted.0);
        assert_eq!(found.1, wanted.1, "{found:?}");
        assert_eq!(found.2.as_u64(), wanted.2, "{found:?}");
    }
    assert_eq!(
        essence[3]["statement"]["params"],
        serde_json::json!(["aä", null])
    );
    assert_eq!(
        essence[4]["statement"]["params"],
        serde_json::json!(["x", "y"])
    );
    assert_eq!(essence[9]["close"]["reason"], "terminate");
}

#[test]
fn a_session_split_anywhere_gives_the_same_records() {
    let (_server, mut agent, address) = started();
    let name = |at: usize| format!("split-{at:06}");
    let bytes = session(&name(0)).len();
    play(address, &[&session(&name(0))]);
    for at in 1..bytes {
        let session = session(&name(at));
        let (head, tail) = session.split_at(at);
        play(address, &[head, tail]);
    }
    let one_by_one = session(&name(bytes));
    play(address, &one_by_one.chunks(1).collect::<Vec<_>>());
    agent.stop().unwrap();

    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let whole = essence(&journal::of_application(&records, &name(0)), &name(0));
    check_whole(&whole);
    for at in 1..=bytes {
        let name = name(at);
        let found = essence(&journal::of_application(&records, &name), &name);
        assert_eq!(found, whole, "split at {at}");
    }
    assert_eq!(journal::by_session(&records).len(), bytes + 1);
}

/// The pieces really were packets of their own: without this the test above could pass for nothing.
#[test]
fn pieces_are_packets() {
    let (_server, agent, address) = started();
    let session = session("pieces");
    play(address, &session.chunks(1).collect::<Vec<_>>());
    let packets = wait_for("the end of the session", PATIENCE, || {
        let status = agent.status()?;
        let over = status["sessions"] == 0 && status["connections"] == 1;
        Ok(over.then(|| status["kernel"]["request_packets"].as_u64()))
    });
    let packets = packets.unwrap().unwrap();
    assert!(
        packets * 10 >= session.len() as u64 * 9,
        "{packets} packets of {} bytes",
        session.len()
    );
}

/// 2,000 statements in one write, which loopback carries in packets of up to 64 KiB.
#[test]
fn many_messages_in_one_packet_are_many_records() {
    let (_server, mut agent, address) = started();
    let start = wire::startup(&[("user", "postgres"), ("database", "postgres")]);
    let texts: Vec<String> = (0..2000).map(|n| format!("SELECT {n}")).collect();
    let queries: Vec<u8> = texts.iter().flat_map(|text| wire::query(text)).collect();
    play(address, &[&start, &queries, &extended::terminate()]);
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let all: Vec<&Value> = records.iter().collect();
    assert_eq!(journal::texts(&all), texts);
}

/// The client says nothing more after its last query, but reads to the end.
#[test]
fn a_half_close_loses_nothing() {
    let (_server, mut agent, address) = started();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let messages = [
        wire::startup(&[("user", "postgres"), ("database", "postgres")]),
        wire::query("SELECT pg_sleep(0.3)"),
        wire::query("SELECT generate_series(1,1000)"),
    ]
    .concat();
    stream.write_all(&messages).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.windows(11).any(|bytes| bytes == b"SELECT 1000"));
    drop(stream);
    wait_for("the end of the session", PATIENCE, || {
        Ok((closed_sessions(&agent) == 1).then_some(()))
    })
    .unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let session: Vec<&Value> = records
        .iter()
        .filter(|record| record.get("session").is_some())
        .collect();
    assert_eq!(
        journal::kinds(&session),
        ["session_open", "statement", "statement", "session_close"]
    );
    assert_eq!(session[2]["result"]["rows"], 1000, "{session:#?}");
    assert_eq!(session[3]["close"]["reason"], "client_closed");
}
