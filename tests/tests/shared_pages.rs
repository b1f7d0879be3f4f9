//! sendfile(2) and splice(2) put the pages of a file into the packet, not a copy: a client on the server's host can change
//! its statement after the kernel programs have looked at it and before the server reads it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::journal;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{self, Client};
use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::sendfile::sendfile;
use serde_json::Value;

/// As long as the other one, on the wire.
const LOOKED_AT: &str = "SELECT 1 /* padding */";
const READ: &str = "DROP TABLE t /* pad */";

/// How the pages get to the socket.
type Send = fn(&Client, &File, usize);

fn by_sendfile(client: &Client, file: &File, bytes: usize) {
    assert_eq!(
        sendfile(&client.stream, file, Some(&mut 0), bytes).unwrap(),
        bytes
    );
}

fn by_splice(client: &Client, file: &File, bytes: usize) {
    let (out, into) = nix::unistd::pipe().unwrap();
    let flags = SpliceFFlags::empty();
    assert_eq!(
        splice(file, Some(&mut 0), &into, None, bytes, flags).unwrap(),
        bytes
    );
    assert_eq!(
        splice(&out, None, &client.stream, None, bytes, flags).unwrap(),
        bytes
    );
}

/// Sends one statement behind one that takes its time, and makes another of it meanwhile. What was answered to it.
fn changed_on_the_way(server: &Server, application: &str, send: Send) -> Vec<String> {
    let address = ([127, 0, 0, 1], server.port()).into();
    let mut client = Client::connect(address, "postgres", "postgres", application).unwrap();
    client
        .stream
        .write_all(&wire::query("SELECT pg_sleep(1)"))
        .unwrap();
    // A packet of its own.
    sleep(Duration::from_millis(200));
    let (looked_at, read) = (wire::query(LOOKED_AT), wire::query(READ));
    assert_eq!(looked_at.len(), read.len());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&looked_at).unwrap();
    send(&client, &file, looked_at.len());
    sleep(Duration::from_millis(300));
    file.write_all_at(&read, 0).unwrap();
    assert_eq!(client.until_ready().unwrap(), ["SELECT 1"]);
    client.until_ready().unwrap()
}

fn statements(records: &[Value], application: &str) -> Vec<String> {
    let records = journal::of_application(records, application);
    let texts = journal::texts(&records);
    texts.into_iter().map(str::to_owned).collect()
}

fn start() -> Server {
    let server = Server::start(&Options::default()).unwrap();
    server.admin("CREATE TABLE t (id int)").unwrap();
    server
}

#[test]
fn the_server_reads_what_the_gate_has_looked_at() {
    let server = start();
    let policy = "[[rule]]\nname = \"no-drop\"\naction = \"reset\"\nverbs = [\"drop\"]\n";
    let mut agent = Agent::start(Config::watching(&[&server]).policy(policy)).unwrap();
    for (application, send) in [("sendfile", by_sendfile as Send), ("splice", by_splice)] {
        assert_eq!(changed_on_the_way(&server, application, send), ["SELECT 1"]);
    }
    assert_eq!(agent.status().unwrap()["kernel"]["shared_packets"], 2);
    agent.stop().unwrap();
    assert_eq!(server.admin("SELECT to_regclass('t')").unwrap(), "t");
    let records = agent.journal().unwrap();
    for application in ["sendfile", "splice"] {
        assert_eq!(
            statements(&records, application),
            ["SELECT pg_sleep(1)", LOOKED_AT]
        );
    }
    assert!(journal::of_kind(&records, "gap").is_empty());
}

/// Without a gate nobody keeps the client from it. The journal says that its text may be wrong.
#[test]
fn where_nothing_is_held_the_journal_says_so() {
    let server = start();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    // This is what the gate is up against: if it fails, the test above shows nothing.
    let answers = changed_on_the_way(&server, "sendfile", by_sendfile);
    assert_eq!(answers, ["DROP TABLE"]);
    agent.stop().unwrap();
    let records = agent.journal().unwrap();
    assert_eq!(
        statements(&records, "sendfile"),
        ["SELECT pg_sleep(1)", LOOKED_AT]
    );
    let gaps = journal::of_kind(&records, "gap");
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0]["gap"]["cause"], "shared_pages");
    assert_eq!(gaps[0]["gap"]["bytes"], wire::query(LOOKED_AT).len());
    assert_eq!(gaps[0]["session"]["application"], "sendfile");
}
