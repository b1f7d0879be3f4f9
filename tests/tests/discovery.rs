//! With no server configured the agent finds what listens on the host, in whatever network namespace, and nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{self, Client};
use dbgov_tests::{journal, wait_for};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// Found within seconds: a listen(2) is seen at once, all else at the next look, every 10 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(3);
const GONE_WITHIN: Duration = Duration::from_secs(15);

fn quiet() -> Options<'static> {
    Options {
        quiet: true,
        ..Options::default()
    }
}

fn shown(agent: &Agent, pid: u32) -> bool {
    let status = agent.status().unwrap();
    let servers = status["servers"].as_array().unwrap();
    servers.iter().any(|server| server["pid"] == pid)
}

fn wait_until_shown(agent: &Agent, server: &Server) {
    let pid = server.pid().unwrap();
    wait_for("the server is found", FOUND_WITHIN, || {
        Ok(shown(agent, pid).then_some(()))
    })
    .unwrap();
}

fn run(address: SocketAddr, application: &str) {
    let mut client = Client::connect(address, "postgres", "postgres", application).unwrap();
    client.query(&format!("SELECT '{application}'")).unwrap();
}

/// The session under this name was seen from its start to its end.
fn check_session(records: &[Value], application: &str) {
    let session = journal::of_application(records, application);
    assert_eq!(
        journal::kinds(&session),
        ["session_open", "statement", "session_close"],
        "{application}"
    );
    assert_eq!(
        journal::texts(&session),
        [format!("SELECT '{application}'")]
    );
    assert_eq!(session[0]["session"]["joined"], "start");
    assert_eq!(session[0]["identity"]["pid"], std::process::id());
}

#[test]
fn servers_are_found_wherever_they_listen() {
    let before = Server::start(&quiet()).unwrap();
    let mut agent = Agent::start(Config::default()).unwrap();
    wait_until_shown(&agent, &before);
    run(([127, 0, 0, 1], before.port()).into(), "before");

    let mut after = Server::start(&quiet()).unwrap();
    wait_until_shown(&agent, &after);
    run(([127, 0, 0, 1], after.port()).into(), "after");

    let netns = Netns::joined_to_host().unwrap();
    let inside = Server::start(&Options {
        netns: Some(&netns),
        ..quiet()
    })
    .unwrap();
    wait_until_shown(&agent, &inside);
    run((netns.ipv4, inside.port()).into(), "inside");
    run((netns.ipv6, inside.port()).into(), "inside6");

    let old_pid = after.pid().unwrap();
    after.stop().unwrap();
    wait_for("the server is gone", GONE_WITHIN, || {
        Ok((!shown(&agent, old_pid)).then_some(()))
    })
    .unwrap();
    after.restart().unwrap();
    wait_until_shown(&agent, &after);
    run(([127, 0, 0, 1], after.port()).into(), "again");

    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    for application in ["before", "after", "inside", "inside6", "again"] {
        check_session(&records, application);
    }
}

/// Answers one connection with what it got, from inside a namespace.
fn echo_in(netns: &Netns, port: u16) -> std::thread::JoinHandle<()> {
    let file = std::fs::File::open(format!("/run/netns/{}", netns.name())).unwrap();
    // A socket stays in the namespace it was made in; only this thread enters.
    let listener = std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        TcpListener::bind(("0.0.0.0", port)).unwrap()
    });
    let listener = listener.join().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..bytes]).unwrap();
        }
    })
}

/// Another program on the same port number in another namespace is none of ours, whatever is said to it.
#[test]
fn the_same_port_elsewhere_is_not_recorded() {
    let server = Server::start(&quiet()).unwrap();
    let mut agent = Agent::start(Config::default()).unwrap();
    wait_until_shown(&agent, &server);
    let netns = Netns::joined_to_host().unwrap();
    let echo = echo_in(&netns, server.port());
    let mut stream = TcpStream::connect((netns.ipv4, server.port())).unwrap();
    let local = stream.local_addr().unwrap();
    let said = [
        wire::startup(&[("user", "postgres"), ("application_name", "stranger")]),
        wire::query("SELECT 'not a database'"),
    ]
    .concat();
    stream.write_all(&said).unwrap();
    stream.read_exact(&mut vec![0; said.len()]).unwrap();
    drop(stream);
    echo.join().unwrap();
    run(([127, 0, 0, 1], server.port()).into(), "ours");
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    check_session(&records, "ours");
    let strange = journal::of_client(&records, local);
    assert!(strange.is_empty(), "{strange:?}");
}
