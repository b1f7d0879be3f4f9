//! Statements that wait for a person, with psql on the one side and `dbgov approvals` on the other.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config, binary};
use dbgov_tests::asking::Asking;
use dbgov_tests::drivers::psql;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{process, wait_for, wire};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);
const UPDATE: &str =
    "UPDATE t SET n = n + 1 -- every row of it, and enough room to tell the refusal";

fn policy(timeout: &str) -> String {
    format!(
        "[[rule]]\nname = \"write-needs-where\"\naction = \"hold\"\nverbs = [\"update\", \"delete\"]\n\
         missing_where = true\napproval_timeout = \"{timeout}\"\nreason = \"somebody has to look\"\n"
    )
}

fn start(timeout: &str) -> Result<(Server, Agent)> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE t AS SELECT id, 0 AS n FROM generate_series(1, 10) AS id")?;
    let agent = Agent::start(Config::watching(&[&server]).policy(&policy(timeout)))?;
    Ok((server, agent))
}

fn sum(server: &Server) -> Result<String> {
    server.admin("SELECT sum(n) FROM t")
}

/// psql in the background, with the update and a statement behind it.
fn background(server: &Server) -> Result<Child> {
    let target = server.target("127.0.0.1").application("approvals");
    let mut command = psql(&target)?;
    command
        .envs(target.environment())
        .args(["-c", UPDATE, "-c", "SELECT 'alive'"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(process::spawn(command)?)
}

fn listed(agent: &Agent) -> Result<Vec<Value>> {
    let output = agent.command(&["approvals", "list", "--json"])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The id of the only statement that waits.
fn waiting(agent: &Agent) -> Result<String> {
    wait_for("a statement waits", PATIENCE, || {
        let all = listed(agent)?;
        ensure!(all.len() <= 1, "{all:?}");
        Ok(all
            .first()
            .and_then(|one| one["id"].as_str())
            .map(str::to_owned))
    })
}

fn nothing_waits(agent: &Agent) -> Result<()> {
    wait_for("nothing waits", PATIENCE, || {
        Ok(listed(agent)?.is_empty().then_some(()))
    })
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The approval records after the first, which says that the statement waits.
fn approvals(agent: &Agent) -> Result<Vec<Value>> {
    let mut records = agent.journal()?;
    records.retain(|record| record["kind"] == "approval");
    assert_eq!(records[0]["approval"]["state"], "pending", "{records:?}");
    assert_eq!(records[0]["approval"]["rule"], "write-needs-where");
    assert_eq!(records[0]["approval"]["statement"]["head"], UPDATE);
    assert!(records[0]["approval"]["approver"].is_null());
    records.remove(0);
    Ok(records)
}

fn update_record(agent: &Agent) -> Result<Value> {
    let mut records = agent.statements()?;
    records.retain(|record| record["statement"]["text"] == UPDATE);
    ensure!(records.len() == 1, "{records:?}");
    Ok(records.remove(0))
}

fn approved_after(wait: Duration) -> Result<()> {
    let (server, mut agent) = start("5m")?;
    let client = background(&server)?;
    let since = Instant::now();
    let id = waiting(&agent)?;
    let shown = &listed(&agent)?[0];
    assert_eq!(shown["rule"], "write-needs-where", "{shown}");
    assert_eq!(shown["user"], "postgres", "{shown}");
    while since.elapsed() < wait {
        assert_eq!(sum(&server)?, "0");
        std::thread::sleep(Duration::from_millis(500).min(wait));
    }
    let output = agent.command(&["approvals", "approve", &id, "--reason", "looked at it"])?;
    assert!(words(&output).contains("it runs now"), "{output:?}");
    let said = words(&client.wait_with_output()?);
    assert_eq!(said, "alive\n");
    assert_eq!(sum(&server)?, "10");
    assert!(listed(&agent)?.is_empty());
    let again = agent.command(&["approvals", "deny", &id])?;
    assert!(!again.status.success() && words(&again).contains("was approved by root already"));
    agent.stop()?;
    let ended = approvals(&agent)?;
    assert_eq!(ended.len(), 1, "{ended:?}");
    let approval = &ended[0]["approval"];
    assert_eq!(approval["state"], "approved", "{approval}");
    assert_eq!(approval["approver"]["user"], "root", "{approval}");
    assert_eq!(approval["reason"], "looked at it", "{approval}");
    assert!(
        approval["requester"]
            .as_str()
            .is_some_and(|who| !who.is_empty())
    );
    let waited = wait.as_micros() as u64;
    assert!(
        approval["waited_us"]
            .as_u64()
            .is_some_and(|us| us >= waited)
    );
    let record = update_record(&agent)?;
    assert_eq!(record["verdict"]["action"], "hold", "{record}");
    assert_eq!(record["verdict"]["approval"], id, "{record}");
    assert!(
        record["verdict"]["held_us"]
            .as_u64()
            .is_some_and(|us| us >= waited),
        "{record}"
    );
    assert_eq!(record["result"]["rows"], 10, "{record}");
    println!("approved after {wait:?}: {}", record["verdict"]);
    Ok(())
}

#[test]
fn approved_a_statement_runs_once() -> Result<()> {
    approved_after(Duration::ZERO)
}

/// As long as a person needs: the client's TCP has sent it again many times meanwhile.
#[test]
fn approved_after_a_minute_a_statement_runs_once() -> Result<()> {
    approved_after(Duration::from_secs(60))
}

#[test]
fn denied_the_client_reads_why_and_goes_on() -> Result<()> {
    let (server, mut agent) = start("5m")?;
    let client = background(&server)?;
    let id = waiting(&agent)?;
    agent.command(&["approvals", "deny", &id, "--reason", "not today"])?;
    let said = words(&client.wait_with_output()?);
    assert!(
        said.contains("write-needs-where") && said.contains("denied it"),
        "{said}"
    );
    assert!(said.contains("alive"), "{said}");
    assert_eq!(sum(&server)?, "0");
    agent.stop()?;
    let ended = approvals(&agent)?;
    assert_eq!(ended[0]["approval"]["state"], "denied");
    assert_eq!(ended[0]["approval"]["reason"], "not today");
    let record = update_record(&agent)?;
    assert_eq!(record["verdict"]["action"], "reject", "{record}");
    assert_eq!(record["verdict"]["wanted"], "hold", "{record}");
    assert_eq!(record["result"]["status"], "error", "{record}");
    Ok(())
}

#[test]
fn nobody_answers_in_time() -> Result<()> {
    let (server, mut agent) = start("2s")?;
    let client = background(&server)?;
    let said = words(&client.wait_with_output()?);
    assert!(said.contains("nobody approved it in time"), "{said}");
    assert!(said.contains("alive"), "{said}");
    assert_eq!(sum(&server)?, "0");
    assert!(listed(&agent)?.is_empty());
    agent.stop()?;
    assert_eq!(approvals(&agent)?[0]["approval"]["state"], "timed_out");
    Ok(())
}

#[test]
fn a_killed_client_takes_its_statement_along() -> Result<()> {
    let (server, mut agent) = start("5m")?;
    let mut client = background(&server)?;
    let id = waiting(&agent)?;
    client.kill()?;
    client.wait()?;
    nothing_waits(&agent)?;
    let late = agent.command(&["approvals", "approve", &id])?;
    assert!(!late.status.success(), "{late:?}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(sum(&server)?, "0");
    agent.stop()?;
    assert_eq!(approvals(&agent)?[0]["approval"]["state"], "client_gone");
    assert_eq!(update_record(&agent)?["result"]["status"], "none");
    Ok(())
}

/// Ctrl-C in psql sends a CancelRequest by another connection and waits for the statement's end.
#[test]
fn an_interrupted_psql_gets_its_prompt_back() -> Result<()> {
    let (server, mut agent) = start("5m")?;
    let mut client = background(&server)?;
    waiting(&agent)?;
    process::signal(&client, Signal::SIGINT)?;
    let ended = process::wait_timeout(&mut client, PATIENCE)?;
    ensure!(ended.is_some(), "psql still waits");
    let said = words(&client.wait_with_output()?);
    assert!(said.contains("its client cancelled it"), "{said}");
    nothing_waits(&agent)?;
    assert_eq!(sum(&server)?, "0");
    agent.stop()?;
    assert_eq!(approvals(&agent)?[0]["approval"]["state"], "client_gone");
    let journal = agent.journal()?;
    assert!(journal.iter().any(|record| record["kind"] == "cancel"));
    Ok(())
}

#[test]
fn a_half_closed_connection_has_given_up() -> Result<()> {
    let (server, mut agent) = start("5m")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "half")?;
    client.stream.write_all(&wire::query(UPDATE))?;
    waiting(&agent)?;
    client.stream.shutdown(Shutdown::Write)?;
    nothing_waits(&agent)?;
    let answer = client.answer()?;
    assert!(answer.closed && answer.tags.is_empty(), "{answer:?}");
    assert_eq!(sum(&server)?, "0");
    agent.stop()?;
    assert_eq!(approvals(&agent)?[0]["approval"]["state"], "client_gone");
    Ok(())
}

/// With a closed gate a statement goes on waiting when the agent dies, and the next one asks about it anew.
#[test]
fn a_statement_that_waits_outlives_the_agent() -> Result<()> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE t AS SELECT id, 0 AS n FROM generate_series(1, 10) AS id")?;
    let closed = format!("on_agent_down = \"closed\"\n{}", policy("5m"));
    let mut agent = Agent::start(Config::watching(&[&server]).policy(&closed))?;
    let client = background(&server)?;
    let before = waiting(&agent)?;
    agent.kill9()?;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sum(&server)?, "0");
    agent.start_again()?;
    let id = waiting(&agent)?;
    assert_ne!(before, id);
    let late = agent.command(&["approvals", "approve", &before])?;
    assert!(!late.status.success(), "{late:?}");
    agent.command(&["approvals", "approve", &id])?;
    assert_eq!(words(&client.wait_with_output()?), "alive\n");
    assert_eq!(sum(&server)?, "10");
    agent.stop()
}

/// An open gate goes with its agent: what waits comes in, and the record says so.
#[test]
fn a_statement_that_waits_comes_in_when_an_open_gate_goes() -> Result<()> {
    let (server, mut agent) = start("5m")?;
    let client = background(&server)?;
    waiting(&agent)?;
    agent.stop()?;
    assert_eq!(words(&client.wait_with_output()?), "alive\n");
    assert_eq!(sum(&server)?, "10");
    let ended = approvals(&agent)?;
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0]["approval"]["state"], "gate_off");
    let journal = agent.journal()?;
    let close = journal
        .iter()
        .find(|record| record["kind"] == "session_close");
    assert_eq!(close.context("no end")?["close"]["reason"], "agent_stop");
    Ok(())
}

/// What is prepared runs when it is executed: that is what waits, each time.
#[test]
fn a_prepared_statement_waits_when_it_is_executed() -> Result<()> {
    use dbgov_tests::extended::{bind, execute, parse, sync};
    let (server, mut agent) = start("5m")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "prepared")?;
    let prepared = client.ask(&[parse("up", UPDATE), sync()].concat())?;
    assert_eq!(prepared.error, None);
    for turn in 1..=3 {
        let run = [bind("", "up", 0, &[]), execute("", 0), sync()].concat();
        client.stream.write_all(&run)?;
        let id = waiting(&agent)?;
        assert_eq!(sum(&server)?, ((turn - 1) * 10).to_string());
        agent.command(&["approvals", "approve", &id])?;
        assert_eq!(client.answer()?.tags, ["UPDATE 10"]);
        assert_eq!(client.simple("SELECT 1")?.value(), Some("1"));
    }
    assert_eq!(sum(&server)?, "30");
    agent.stop()?;
    Ok(())
}

const GROUP_ID: u32 = 4_200_000;
const MEMBER_ID: u32 = 4_200_001;
const STRANGER_ID: u32 = 4_200_002;

/// A program that runs dbgov where the group `dbgov` exists: in a mount namespace of its own.
fn with_a_group(scratch: &Scratch) -> Result<PathBuf> {
    let dir = scratch.path().display();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
    fs::copy(binary()?, scratch.path().join("dbgov"))?;
    for (name, line) in [
        ("group", format!("dbgov:x:{GROUP_ID}:\n")),
        (
            "passwd",
            format!("alice:x:{MEMBER_ID}:{MEMBER_ID}::/:/bin/false\n"),
        ),
    ] {
        let text = fs::read_to_string(format!("/etc/{name}"))?;
        let others = text.lines().filter(|line| !line.starts_with("dbgov:"));
        let others: Vec<&str> = others.collect();
        fs::write(scratch.path().join(name), others.join("\n") + "\n" + &line)?;
    }
    let script = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -c 'mount --bind {dir}/group /etc/group && \
         mount --bind {dir}/passwd /etc/passwd && exec {dir}/dbgov \"$@\"' sh \"$@\"\n"
    );
    let path = scratch.path().join("with-a-group");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[test]
fn members_of_the_group_decide_without_root_and_strangers_do_not() -> Result<()> {
    let scratch = Scratch::new("group")?;
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE t AS SELECT id, 0 AS n FROM generate_series(1, 10) AS id")?;
    let socket = scratch.path().join("run/control.sock");
    let config = Config::watching(&[&server])
        .policy(&policy("5m"))
        .binary(&with_a_group(&scratch)?)
        .set(
            "agent",
            "control_socket",
            &format!("{:?}", socket.display().to_string()),
        );
    let mut agent = Agent::start(config)?;
    let public = scratch.path().join("public.toml");
    fs::write(&public, format!("[agent]\ncontrol_socket = {socket:?}\n"))?;
    let run = |uid: u32, groups: &str, args: &[&str]| -> Result<Output> {
        let id = uid.to_string();
        Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--groups", groups, "--"])
            .arg(scratch.path().join("dbgov"))
            .arg("approvals")
            .args(args)
            .arg("--config")
            .arg(&public)
            .output()
            .context("setpriv")
    };
    let group = GROUP_ID.to_string();
    let client = background(&server)?;
    let id = waiting(&agent)?;
    let refused = run(STRANGER_ID, "100", &["approve", &id])?;
    assert!(!refused.status.success(), "{refused:?}");
    assert!(
        words(&refused).contains("only root and members of the group dbgov"),
        "{refused:?}"
    );
    assert_eq!(sum(&server)?, "0");
    let shown = words(&run(MEMBER_ID, &group, &["list"])?);
    assert!(
        shown.contains(&id) && shown.contains("write-needs-where"),
        "{shown}"
    );
    let said = words(&run(
        MEMBER_ID,
        &group,
        &["approve", &id, "--reason", "reviewed"],
    )?);
    assert!(said.contains("it runs now"), "{said}");
    assert_eq!(words(&client.wait_with_output()?), "alive\n");
    assert_eq!(sum(&server)?, "10");
    agent.stop()?;
    let ended = approvals(&agent)?;
    assert_eq!(
        ended[0]["approval"]["approver"]["uid"], MEMBER_ID,
        "{ended:?}"
    );
    assert_eq!(ended[0]["approval"]["approver"]["user"], "alice");
    assert_eq!(ended[0]["approval"]["reason"], "reviewed");
    Ok(())
}
