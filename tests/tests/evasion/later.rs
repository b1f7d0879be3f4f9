//! What was prepared under one policy, or before somebody had to approve it, and runs later.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use dbgov_tests::extended::{bind, execute, parse, sync};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{Client, query};
use dbgov_tests::{Result, bail, ensure, wait_for};

use crate::POLICY;
use crate::stand::{Stand, application};

const PATIENCE: Duration = Duration::from_secs(10);
/// What has not run by then waits.
const SETTLED: Duration = Duration::from_millis(700);

/// What is sent first and must be answered, and what must not run then.
struct Later {
    name: &'static str,
    first: Vec<u8>,
    then: Vec<u8>,
}

fn later(name: &'static str, first: &[Vec<u8>], then: &[Vec<u8>]) -> Later {
    Later {
        name,
        first: first.concat(),
        then: then.concat(),
    }
}

fn drop_of(number: usize) -> String {
    format!("DELETE FROM v{number}")
}

/// The n-th is about the table of that number.
fn prepared() -> Vec<Later> {
    let run = |portal: &str| [execute(portal, 0), sync()].concat();
    vec![
        later(
            "named",
            &[parse("s", &drop_of(0)), sync()],
            &[bind("", "s", 0, &[]), run("")],
        ),
        later(
            "in SQL",
            &[query(&format!("PREPARE p AS {}", drop_of(1)))],
            &[query("EXECUTE p")],
        ),
        later(
            "in SQL, run by the protocol",
            &[query(&format!("PREPARE p AS {}", drop_of(2)))],
            &[bind("", "p", 0, &[]), run("")],
        ),
        later(
            "by the protocol, run in SQL",
            &[parse("s", &drop_of(3)), sync()],
            &[query("EXECUTE s")],
        ),
        later(
            "a portal",
            &[
                query("BEGIN"),
                parse("", &drop_of(4)),
                bind("p", "", 0, &[]),
                sync(),
            ],
            &[run("p"), query("COMMIT")],
        ),
        later(
            "a portal whose statement is replaced",
            &[
                query("BEGIN"),
                parse("", &drop_of(5)),
                bind("p", "", 0, &[]),
                sync(),
                parse("", "SELECT 1"),
                sync(),
            ],
            &[run("p"), query("COMMIT")],
        ),
        later(
            "a portal of a statement that is closed",
            &[
                query("BEGIN"),
                parse("s", &drop_of(6)),
                bind("p", "s", 0, &[]),
                sync(),
                dbgov_tests::wire::message(b'C', b"Ss\0"),
                sync(),
                query("SELECT 1"),
            ],
            &[run("p"), query("COMMIT")],
        ),
        later(
            "the unnamed one",
            &[parse("", &drop_of(7)), sync()],
            &[bind("", "", 0, &[]), run("")],
        ),
        later(
            "the unnamed one, text in SQL between",
            &[parse("s", &drop_of(8)), sync(), query("SELECT 1")],
            &[query("SELECT 2"), bind("", "s", 0, &[]), run("")],
        ),
    ]
}

fn connect(server: &Server, number: usize) -> Result<Client> {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let client = Client::connect(address, "postgres", "postgres", &application(number))?;
    client.stream.set_read_timeout(Some(SETTLED))?;
    Ok(client)
}

/// Sends and reads all that is answered within the time; true if the connection ended.
fn send(client: &mut Client, bytes: &[u8]) -> Result<bool> {
    use std::io::{ErrorKind, Read, Write};
    if client.stream.write_all(bytes).is_err() {
        return Ok(true);
    }
    let mut buffer = [0; 4096];
    loop {
        match client.stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => bail!("{error}"),
        }
    }
}

fn untouched(stand: &mut Stand, number: usize, name: &str) -> Result<()> {
    let rows = stand
        .server
        .admin(&format!("SELECT count(*) FROM v{number}"))?;
    if rows.trim() != "10" {
        stand.fail(number, name, &format!("IT RAN: {rows} rows are left"));
    }
    Ok(())
}

fn generation(stand: &Stand) -> Result<u64> {
    Ok(stand.agent.status()?["policy"]["generation"]
        .as_u64()
        .unwrap_or(0))
}

fn after_a_reload(permissive: &str) -> Result<()> {
    let tries = prepared();
    let mut stand = Stand::under(permissive, &Options::default(), tries.len())?;
    let mut clients = Vec::new();
    for (number, one) in tries.iter().enumerate() {
        let mut client = connect(&stand.server, number)?;
        ensure!(
            !send(&mut client, &one.first)?,
            "{}: ended too early",
            one.name
        );
        clients.push(client);
    }
    let half = tries.len();
    let mut halved = connect(&stand.server, half)?;
    let message = query(&drop_of(half));
    send(&mut halved, &message[..12])?;
    let before = generation(&stand)?;
    fs::write(stand.agent.policy_path(), POLICY)?;
    wait_for("the policy is in force", PATIENCE, || {
        Ok((generation(&stand)? > before).then_some(()))
    })?;
    for (number, (one, client)) in tries.iter().zip(&mut clients).enumerate() {
        if !send(client, &one.then)? {
            stand.fail(number, one.name, "not ended");
        }
        untouched(&mut stand, number, one.name)?;
    }
    send(&mut halved, &message[12..])?;
    untouched(&mut stand, half, "half of it before")?;
    stand.agent.stop()?;
    stand.conclude(tries.len() + 1)
}

#[test]
fn prepared_before_the_policy() -> Result<()> {
    after_a_reload("default = \"allow\"\n")
}

#[test]
fn prepared_under_another_policy() -> Result<()> {
    after_a_reload("[[rule]]\nname = \"other\"\naction = \"reset\"\nverbs = [\"vacuum\"]\n")
}

/// What needs an approval may be prepared, and does not run without.
#[test]
fn prepared_and_not_approved() -> Result<()> {
    const HOLD: &str = r#"
[[rule]]
name = "ask"
action = "hold"
verbs = ["delete", "drop"]
approval_timeout = "1m"
"#;
    let mut tries = prepared();
    // Those that prepare in SQL wait then.
    tries.retain(|one| !one.name.starts_with("in SQL"));
    let mut stand = Stand::under(HOLD, &Options::default(), 9)?;
    for one in &tries {
        let mut client = connect(&stand.server, 0)?;
        ensure!(
            !send(&mut client, &one.first)?,
            "{}: ended too early",
            one.name
        );
        if send(&mut client, &one.then)? {
            stand.fail(0, one.name, "ended instead of waiting");
        }
    }
    for number in 0..9 {
        untouched(&mut stand, number, "one of them")?;
    }
    stand.agent.stop()?;
    let records = stand.agent.journal()?;
    let unenforced = records
        .iter()
        .filter(|r| r["kind"] == "verdict_unenforced")
        .count();
    if unenforced > 0 {
        stand.fail(0, "all", &format!("{unenforced} verdicts not enforced"));
    }
    stand.conclude(tries.len())
}
