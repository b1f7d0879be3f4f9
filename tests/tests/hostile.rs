//! Whatever is sent to the port: the agent lives, says what it saw, and takes no more memory than its limits allow.

#[path = "hostile/scene.rs"]
mod scene;
#[path = "hostile/unusual.rs"]
mod unusual;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use dbgov_tests::wire::{self, Client};
use dbgov_tests::{extended, journal, wait_for};
use serde_json::Value;

use scene::{PATIENCE, Scene, noise, send, startup};

/// A message whose length word is a lie.
fn lying(kind: u8, length: u32) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes(), b"SELECT 1\0"].concat()
}

#[test]
fn strangers_are_recorded_and_named() {
    let scene = Scene::new();
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend(noise(1, 508));
    let strangers: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: db\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        (
            "MySQL",
            [&[0x25, 0, 0, 1, 0x85, 0xa6, 0x3f, 0x20][..], &noise(2, 33)].concat(),
        ),
        ("Redis", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        ("length 0", 0u32.to_be_bytes().repeat(4)),
        ("length 3", 3u32.to_be_bytes().repeat(4)),
        ("length 2^31", (1u32 << 31).to_be_bytes().repeat(4)),
        ("length 2^32-1", u32::MAX.to_be_bytes().repeat(4)),
        (
            "length 10005",
            [&10_005u32.to_be_bytes()[..], &[0, 3, 0, 0], &[b'a'; 9997]].concat(),
        ),
        (
            "protocol 2.0",
            [&8u32.to_be_bytes()[..], &(2u32 << 16).to_be_bytes()].concat(),
        ),
    ];
    let sent: Vec<(&str, SocketAddr)> = strangers
        .iter()
        .map(|(name, bytes)| (*name, send(&scene, bytes)))
        .collect();
    let tls = send(&scene, &hello);
    // Longer than what the server reads before it gives up.
    let long = send(&scene, &b"GET /".repeat(200_000));
    let records = scene.end();
    for (name, client) in sent {
        let told = journal::of_client(&records, client);
        let kinds = journal::kinds(&told);
        assert!(kinds.contains(&"protocol_error"), "{name}: {told:?}");
        assert_eq!(kinds.last(), Some(&"session_close"), "{name}");
        assert!(!kinds.contains(&"statement"), "{name}");
        for error in told.iter().filter(|r| r["kind"] == "protocol_error") {
            assert_eq!(error["error"]["direction"], "request");
            assert!(error["error"]["reason"].is_string());
            assert_eq!(error["identity"]["pid"], std::process::id());
        }
    }
    let told = journal::of_client(&records, tls);
    assert_eq!(told[0]["session"]["opaque"], "tls", "{told:?}");
    let told = journal::of_client(&records, long);
    assert!(journal::kinds(&told).contains(&"protocol_error"));
}

#[test]
fn scanners_that_say_nothing_are_recorded() {
    let scene = Scene::new();
    let scanners: Vec<SocketAddr> = (0..200)
        .map(|n| {
            let stream = scene.raw();
            if n % 2 == 0 {
                // RST in place of FIN.
                let linger = libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)
                    .unwrap();
            }
            stream.local_addr().unwrap()
        })
        .collect();
    let records = scene.end();
    for (n, client) in scanners.into_iter().enumerate() {
        let told = journal::of_client(&records, client);
        assert_eq!(journal::kinds(&told), ["session_close"], "{client}");
        let expected = if n % 2 == 0 { "reset" } else { "client_closed" };
        assert_eq!(told[0]["close"]["reason"], expected);
        assert_eq!(told[0]["identity"]["pid"], std::process::id());
    }
}

#[test]
fn noise_before_and_behind_the_login() {
    let scene = Scene::new();
    let mut clients = Vec::new();
    for seed in 0..300 {
        let noise = noise(seed, 1 + (seed as usize * 37) % 3000);
        clients.push(send(&scene, &noise));
        clients.push(send(&scene, &[startup(), noise].concat()));
    }
    let records = scene.end();
    for client in clients {
        let told = journal::of_client(&records, client);
        assert!(!told.is_empty(), "{client}");
        assert_eq!(told.last().unwrap()["kind"], "session_close");
        // What looks like a Query by chance was one to the server, too; but no text can come of nothing.
        assert!(told.len() < 20, "{told:?}");
    }
}

#[test]
fn lengths_that_lie() {
    let scene = Scene::new();
    let mut refused = Vec::new();
    for kind in *b"QPBEDCHFSXdcfp" {
        for length in [0, 1, 2, 3, 1 << 31, u32::MAX, u32::MAX - 3, i32::MAX as u32] {
            // At once with the start-up, and behind the log-in.
            let early = send(&scene, &[startup(), lying(kind, length)].concat());
            let mut client = scene.client("liar");
            let late = client.stream.local_addr().unwrap();
            client.stream.write_all(&lying(kind, length)).unwrap();
            let _ = client.stream.shutdown(Shutdown::Write);
            let _ = client.stream.read_to_end(&mut Vec::new());
            refused.push((kind, length, early, late));
        }
    }
    let records = scene.end();
    for (kind, length, early, late) in refused {
        let place = format!("{} {length}", char::from(kind));
        let early = journal::of_client(&records, early);
        assert_eq!(
            journal::kinds(&early),
            ["protocol_error", "session_close"],
            "{place}"
        );
        assert_eq!(early[0]["session"]["user"], "postgres");
        let late = journal::of_client(&records, late);
        assert_eq!(
            journal::kinds(&late),
            ["session_open", "protocol_error", "session_close"],
            "{place}"
        );
    }
}

/// A Query of 1 GiB is announced and never comes: nothing is kept for what is not there.
#[test]
fn a_promise_costs_nothing() {
    let scene = Scene::new();
    let mut promising: Vec<Client> = (0..200).map(|_| scene.client("promise")).collect();
    for client in &mut promising {
        // The largest the server takes, and some of it.
        let head = [&b"Q"[..], &0x3fff_fffe_u32.to_be_bytes(), b"SELECT 'x"].concat();
        client.stream.write_all(&head).unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    scene.check_memory();
    drop(promising);
    let records = scene.end();
    let promises = journal::of_application(&records, "promise");
    assert!(journal::texts(&promises).is_empty());
}

/// 100,000 prepared statements and as many portals in one session, each run once more behind all.
#[test]
fn a_hundred_thousand_prepared_statements_and_portals() {
    const NAMES: usize = 100_000;
    const BATCH: usize = 1_000;
    let scene = Scene::new();
    let mut client = scene.client("names");
    client.query("BEGIN").unwrap();
    for batch in (0..NAMES).step_by(BATCH) {
        let mut messages = Vec::new();
        for n in batch..batch + BATCH {
            messages.extend(extended::parse(&format!("s{n}"), &format!("SELECT {n}")));
            messages.extend(extended::bind(&format!("p{n}"), &format!("s{n}"), 0, &[]));
        }
        messages.extend(extended::sync());
        client.stream.write_all(&messages).unwrap();
        client.until_ready().unwrap();
    }
    scene.check_memory();
    let last = 1000;
    for n in [0, NAMES - 1] {
        let messages = [extended::execute(&format!("p{n}"), 0), extended::sync()].concat();
        client.stream.write_all(&messages).unwrap();
        client.until_ready().unwrap();
    }
    for n in NAMES - last..NAMES {
        let messages = [
            extended::bind("", &format!("s{n}"), 0, &[]),
            extended::execute("", 0),
            extended::sync(),
        ];
        client.stream.write_all(&messages.concat()).unwrap();
        client.until_ready().unwrap();
    }
    drop(client);
    let records = scene.end();
    let names = journal::of_application(&records, "names");
    let told: Vec<&Value> = names
        .iter()
        .filter(|record| record["kind"] == "statement")
        .copied()
        .collect();
    assert_eq!(told.len(), 1 + 2 + last, "each Execute is a record");
    // Each text is the right one, or said to be unseen: names beyond the limit are forgotten, never mixed up.
    let expected = [0, NAMES - 1].into_iter().chain(NAMES - last..NAMES);
    for (record, n) in told[1..].iter().zip(expected) {
        let statement = &record["statement"];
        match statement["text"].as_str() {
            Some(text) => assert_eq!(text, format!("SELECT {n}")),
            None => assert_eq!(statement["parse"], "unseen", "{record}"),
        }
        assert_eq!(record["result"]["rows"], 1, "{record}");
    }
    let recent = journal::texts(&told[3..]);
    assert!(
        recent.iter().all(|text| !text.is_empty()),
        "the newest 1000 are kept"
    );
}

/// The client sends on and on without reading an answer, until the server stops reading, too.
#[test]
fn a_client_that_does_not_read() {
    const QUERIES: usize = 60_000;
    let scene = Scene::new();
    let mut client = scene.client("deaf");
    let mut reader = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for n in 0..QUERIES {
            let sql = format!("SELECT repeat('x', 300), {n}");
            if client.stream.write_all(&wire::query(&sql)).is_err() {
                break;
            }
        }
        client
    });
    // Both sides are stuck by now.
    std::thread::sleep(Duration::from_secs(3));
    scene.check_memory();
    // Reading gets all of it going again.
    let drain = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while reader.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    let mut client = sender.join().unwrap();
    // Once all is answered the agent follows again, whatever it had to let go.
    wait_for("the server is done", PATIENCE, || {
        let idle = scene.server.admin(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'deaf' AND state = 'idle'",
        )?;
        Ok((idle == "1").then_some(()))
    })
    .unwrap();
    // Longer than the silence after which a client that pipelines is taken to be idle.
    let silence = Duration::from_millis(1500);
    std::thread::sleep(silence);
    for _ in 0..2 {
        client
            .stream
            .write_all(&wire::query("SELECT 'done'"))
            .unwrap();
        std::thread::sleep(silence);
    }
    client.stream.write_all(&extended::terminate()).unwrap();
    drain.join().unwrap();
    drop(client);
    let records = scene.end();
    let told = journal::of_application(&records, "deaf");
    let mut expected: Vec<String> = (0..QUERIES)
        .map(|n| format!("SELECT repeat('x', 300), {n}"))
        .collect();
    expected.extend(["SELECT 'done'".to_string(), "SELECT 'done'".to_string()]);
    assert!(journal::texts(&told) == expected, "statements differ");
    // More are outstanding than the agent keeps: those are recorded with no result rather than with another's.
    for record in journal::of_kind(&records, "statement") {
        let result = &record["result"];
        let told = result["status"] == "none" || result["rows"] == 1;
        assert!(told, "{record}");
    }
    let last = told.iter().rfind(|r| r["kind"] == "statement").unwrap();
    assert_eq!(last["result"]["rows"], 1, "{last}");
}
