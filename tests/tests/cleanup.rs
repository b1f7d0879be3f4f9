//! An agent that has ended leaves nothing of it on the host, however it ended.

use std::collections::BTreeSet;
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::Client;
use dbgov_tests::{journal, wait_for};

/// The kernel frees programs in the background.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ids of all programs the kernel holds.
fn loaded_programs() -> BTreeSet<u64> {
    aya::programs::loaded_programs()
        .filter_map(|program| Some(u64::from(program.ok()?.id())))
        .collect()
}

/// Ids of the programs this agent attached.
fn hooks(agent: &Agent) -> BTreeSet<u64> {
    let status = agent.status().unwrap();
    let hooks = status["hooks"].as_array().unwrap();
    hooks
        .iter()
        .map(|hook| hook["id"].as_u64().unwrap())
        .collect()
}

fn started() -> (Server, Agent, BTreeSet<u64>) {
    let server = Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
    .unwrap();
    let agent = Agent::start(Config::watching(&[&server])).unwrap();
    let hooks = hooks(&agent);
    assert!(hooks.len() >= 5, "connect4/6, sock_ops, ingress, egress");
    assert!(hooks.is_subset(&loaded_programs()));
    let address = ([127, 0, 0, 1], server.port()).into();
    let mut client = Client::connect(address, "postgres", "postgres", "cleanup").unwrap();
    client.query("SELECT 1").unwrap();
    (server, agent, hooks)
}

fn wait_until_gone(hooks: &BTreeSet<u64>) {
    wait_for("the kernel has let go of the programs", PATIENCE, || {
        Ok(hooks.is_disjoint(&loaded_programs()).then_some(()))
    })
    .unwrap();
}

#[test]
fn sigterm_ends_well_and_leaves_nothing() {
    let (_server, mut agent, hooks) = started();
    let socket = agent.audit_dir().unwrap().with_file_name("control.sock");
    assert!(socket.exists());
    agent.stop().unwrap();
    wait_until_gone(&hooks);
    assert!(!socket.exists(), "the control socket is still there");
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let last = records.last().unwrap();
    assert_eq!(last["kind"], "agent_stop");
    assert_eq!(last["agent"]["statements"], 1);
    assert_eq!(records[0]["kind"], "agent_start");
    // The open session was ended in the journal, too.
    let opens = journal::of_kind(&records, "session_open").len();
    let closes = journal::of_kind(&records, "session_close").len();
    assert_eq!((opens, closes), (1, 1));
}

#[test]
fn a_killed_agent_leaves_no_program_and_the_next_one_starts() {
    let (_server, mut agent, hooks) = started();
    agent
        .wait_for_record("the statement", PATIENCE, |r| r["kind"] == "statement")
        .unwrap();
    agent.kill9().unwrap();
    wait_until_gone(&hooks);
    // Its socket and its lock are of no hindrance.
    agent.start_again().unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let crashes = records.iter().filter(|r| r["gap"]["cause"] == "crash");
    assert_eq!(crashes.count(), 1);
    assert_eq!(records.last().unwrap()["kind"], "agent_stop");
}

/// Statements that ran just before the signal are in the journal: the end drains what the kernel holds.
#[test]
fn the_end_drains() {
    const STATEMENTS: usize = 3000;
    let (server, mut agent, _) = started();
    let address = ([127, 0, 0, 1], server.port()).into();
    let mut client = Client::connect(address, "postgres", "postgres", "drain").unwrap();
    for n in 0..STATEMENTS {
        client.query(&format!("SELECT {n}")).unwrap();
    }
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let session = journal::of_application(&records, "drain");
    let expected: Vec<String> = (0..STATEMENTS).map(|n| format!("SELECT {n}")).collect();
    assert_eq!(journal::texts(&session), expected);
    let close = session.last().unwrap();
    assert_eq!(close["close"]["reason"], "agent_stop");
}
