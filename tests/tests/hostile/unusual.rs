//! What no ordinary client sends, but some do: cancel requests, encryption, another protocol.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers;
use dbgov_tests::postgres::Options;
use dbgov_tests::{journal, wait_for, wire};
use serde_json::Value;

use crate::scene::{PATIENCE, Scene, noise, send, startup};

#[test]
fn a_cancel_request_names_the_backend() {
    let scene = Scene::new();
    let mut client = TcpStream::connect(scene.address()).unwrap();
    client.write_all(&startup()).unwrap();
    let mut client = ManuallyRead(client);
    // BackendKeyData: process and secret key.
    let key = client.until(b'K');
    client.until(b'Z');
    client
        .0
        .write_all(&wire::query("SELECT pg_sleep(30)"))
        .unwrap();
    wait_for("the statement runs", PATIENCE, || {
        let active = scene.server.admin(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'",
        )?;
        Ok((active == "1").then_some(()))
    })
    .unwrap();
    let request = [&16u32.to_be_bytes()[..], &80_877_102u32.to_be_bytes(), &key].concat();
    let canceller = send(&scene, &request);
    client.until(b'Z');
    drop(client);
    let secret = u32::from_be_bytes(key[4..8].try_into().unwrap());
    let pid = u32::from_be_bytes(key[..4].try_into().unwrap());
    let records = scene.end();
    let told = journal::of_client(&records, canceller);
    assert_eq!(journal::kinds(&told), ["cancel", "session_close"]);
    assert_eq!(told[0]["cancel"]["backend_pid"], pid);
    let text = serde_json::to_string(&told).unwrap();
    assert!(!text.contains(&secret.to_string()) && !text.contains(&hex::encode(&key[4..])));
    let slept = journal::of_kind(&records, "statement");
    // query_canceled
    assert_eq!(slept[0]["result"]["error"], "57014");
}

struct ManuallyRead(TcpStream);

impl ManuallyRead {
    /// Reads up to a message of `kind` and gives its body.
    fn until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[1..5].try_into().unwrap());
            let mut body = vec![0; length as usize - 4];
            self.0.read_exact(&mut body).unwrap();
            if head[0] == kind {
                return body;
            }
        }
    }
}

/// Asks for encryption, is refused, goes on in plain text: what libpq does by default.
#[test]
fn encryption_refused_goes_on_in_plain_text() {
    let scene = Scene::new();
    let target = scene.server.target("127.0.0.1").application("prefer");
    let mut shell = drivers::psql(&target).unwrap();
    shell.args(["-c", "SELECT 'plain'"]);
    for (name, value) in target.environment() {
        shell.env(name, value);
    }
    shell
        .env("PGSSLMODE", "prefer")
        .env("PGGSSENCMODE", "disable");
    assert!(
        shell
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let records = scene.end();
    let told = journal::of_application(&records, "prefer");
    assert_eq!(journal::texts(&told), ["SELECT 'plain'"]);
    assert!(told.iter().all(|r| r["session"].get("opaque").is_none()));
}

#[test]
fn encryption_accepted_is_an_opaque_session() {
    let scene = Scene::with(Options {
        quiet: true,
        tls: true,
        ..Options::default()
    });
    let target = scene.server.target("127.0.0.1").application("secret");
    let mut shell = drivers::psql(&target).unwrap();
    shell.args(["-c", "SELECT 'nobody reads this'"]);
    for (name, value) in target.environment() {
        shell.env(name, value);
    }
    shell.env("PGSSLMODE", "require");
    let child = shell
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(child.wait_with_output().unwrap().status.success());
    let mut records = scene.end();
    // psql has it on its command line, which is no secret of the session.
    for record in &mut records {
        record["process"] = Value::Null;
    }
    let told: Vec<&Value> = records
        .iter()
        .filter(|record| record["identity"]["pid"] == pid)
        .collect();
    assert_eq!(journal::kinds(&told), ["session_open", "session_close"]);
    for record in told {
        assert_eq!(record["session"]["opaque"], "tls", "{record}");
        assert_eq!(record["session"]["tls"], true);
        assert_eq!(record["identity"]["comm"], "psql");
    }
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("nobody reads this"));
}

/// A program that is no database on a governed port.
#[test]
fn another_program_on_the_port() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut agent = Agent::start(Config::default().port(port)).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request);
            let body = noise(7, 1 << 20);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n");
            let _ = stream.write_all(&body);
        }
    });
    for request in [&b"GET / HTTP/1.1\r\n\r\n"[..], &startup()] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() > 1 << 20);
    }
    server.join().unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    for session in journal::by_session(&records).values() {
        let kinds = journal::kinds(session);
        assert!(!kinds.contains(&"statement"));
        // Nothing was lost for want of room, and must not be said to have been.
        let ring_full = session.iter().find(|r| r["gap"]["cause"] == "ring_full");
        assert!(ring_full.is_none(), "{ring_full:?}");
        assert!(kinds.contains(&"protocol_error"), "{session:?}");
    }
    assert_eq!(journal::by_session(&records).len(), 2);
}
