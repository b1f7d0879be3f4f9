//! The policy changes under connections that are there: the new one holds from the moment the status says so.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::Asking;
use dbgov_tests::extended::{bind, execute, parse, sync};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(10);
const LAX: &str = "[[rule]]\nname = \"no-drop\"\naction = \"reject\"\nverbs = [\"drop\"]\n";
const STRICT: &str = "[[rule]]\nname = \"no-drop\"\naction = \"reject\"\nverbs = [\"drop\"]\n\n\
    [[rule]]\nname = \"read-only\"\naction = \"reject\"\nverbs = [\"write\"]\nreason = \"a change of mind\"\n";
/// `acton`, on line 3.
const BAD: &str = "[[rule]]\nname = \"no-drop\"\nacton = \"reject\"\nverbs = [\"drop\"]\n";
const INSERT: &str = "INSERT INTO t VALUES (1) -- with room enough for what the refusal has to say";

fn start() -> Result<(Server, Agent, Asking)> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE t (id int)")?;
    let agent = Agent::start(Config::watching(&[&server]).policy(LAX))?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let client = Asking::connect(address, "reload")?;
    Ok((server, agent, client))
}

fn wait_for_generation(agent: &Agent, generation: u64) -> Result<()> {
    wait_for("the policy is in force", PATIENCE, || {
        let status = agent.status()?;
        Ok((status["policy"]["generation"] == generation).then_some(()))
    })
}

fn hang_up(agent: &Agent) -> Result<()> {
    let pid = agent.pid().context("no agent")?;
    kill(Pid::from_raw(pid.try_into()?), Signal::SIGHUP)?;
    Ok(())
}

#[test]
fn what_was_allowed_is_denied_on_the_same_connection() -> Result<()> {
    let (server, mut agent, mut client) = start()?;
    assert_eq!(agent.status()?["policy"]["generation"], 1);
    // Of both kinds of prepared statements.
    client.ask(&[parse("made before", INSERT), sync()].concat())?;
    client.simple("PREPARE in_sql AS INSERT INTO t VALUES (2)")?;
    let run = [bind("", "made before", 0, &[]), execute("", 0), sync()].concat();
    for _ in 0..3 {
        assert_eq!(client.simple(INSERT)?.tags, ["INSERT 0 1"]);
        assert_eq!(client.ask(&run)?.tags, ["INSERT 0 1"]);
        assert_eq!(client.simple("EXECUTE in_sql")?.tags, ["INSERT 0 1"]);
    }
    fs::write(agent.policy_path(), STRICT)?;
    wait_for_generation(&agent, 2)?;
    for _ in 0..3 {
        let answer = client.simple(INSERT)?;
        assert!(answer.told().contains("read-only"), "{answer:?}");
        assert_eq!(client.simple("SELECT count(*) FROM t")?.value(), Some("9"));
    }
    let answer = client.simple("EXECUTE in_sql -- and text so that there is room for a refusal")?;
    assert!(answer.told().contains("read-only"), "{answer:?}");
    // A Bind has no text that could be replaced: the connection ends.
    let answer = client.ask(&run)?;
    assert!(
        answer.closed && answer.told().contains("read-only"),
        "{answer:?}"
    );
    assert_eq!(server.admin("SELECT count(*) FROM t")?, "9");

    // And back.
    fs::write(agent.policy_path(), LAX)?;
    wait_for_generation(&agent, 3)?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "again")?;
    assert_eq!(client.simple(INSERT)?.tags, ["INSERT 0 1"]);
    agent.stop()?;
    let journal = agent.journal()?;
    let loaded: Vec<_> = journal
        .iter()
        .filter(|record| record["kind"] == "policy")
        .map(|record| (&record["policy"]["event"], &record["policy"]["generation"]))
        .map(|(event, generation)| (event.as_str().unwrap_or_default(), generation.as_u64()))
        .collect();
    assert_eq!(
        loaded,
        [
            ("loaded", Some(1)),
            ("loaded", Some(2)),
            ("loaded", Some(3))
        ]
    );
    Ok(())
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() -> Result<()> {
    let (_server, mut agent, mut client) = start()?;
    fs::write(agent.policy_path(), BAD)?;
    let refused = agent.wait_for_record("the refusal", PATIENCE, |record| {
        record["kind"] == "policy" && record["policy"]["event"] == "refused"
    })?;
    let error = refused["policy"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("policy.toml: line 3, column 1"), "{error}");
    assert!(error.contains("acton"), "{error}");
    let status = agent.status()?;
    assert_eq!(status["policy"]["generation"], 1, "{status}");
    assert!(
        status["policy"]["refused"]
            .as_str()
            .is_some_and(|why| why.contains("line 3, column 1"))
    );
    let log = fs::read_to_string(agent.stderr_path())?;
    assert!(
        log.contains("the policy stays as it was") && log.contains("policy.toml: line 3, column 1"),
        "{log}"
    );
    let answer =
        client.simple("DROP TABLE t -- with room enough for what the refusal has to say")?;
    assert!(answer.told().contains("no-drop"), "{answer:?}");
    assert_eq!(client.simple(INSERT)?.tags, ["INSERT 0 1"]);
    fs::write(agent.policy_path(), STRICT)?;
    wait_for_generation(&agent, 2)?;
    assert!(agent.status()?["policy"]["refused"].is_null());
    agent.stop()
}

#[test]
fn sighup_reads_the_file_again() -> Result<()> {
    let (_server, mut agent, mut client) = start()?;
    for generation in 2..5 {
        hang_up(&agent)?;
        wait_for_generation(&agent, generation)?;
        assert_eq!(client.simple(INSERT)?.tags, ["INSERT 0 1"]);
    }
    fs::write(agent.policy_path(), STRICT)?;
    hang_up(&agent)?;
    wait_for("the new policy", PATIENCE, || {
        Ok((agent.status()?["policy"]["rules"] == 2).then_some(()))
    })?;
    let answer = client.simple(INSERT)?;
    assert!(answer.told().contains("a change of mind"), "{answer:?}");
    agent.stop()
}

/// Many reloads while clients send: nothing is lost, nothing hangs, and never is one policy applied by halves.
#[test]
fn reloads_under_load_disturb_nobody() -> Result<()> {
    let (server, mut agent, mut client) = start()?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let clients: Vec<_> = (0..4)
        .map(|id| {
            std::thread::spawn(move || -> Result<()> {
                let mut client = Asking::connect(address, &format!("load-{id}"))?;
                for turn in 0..1500 {
                    let sql = format!("SELECT {turn} + 1, 'insert into nothing'");
                    let answer = match turn % 2 {
                        0 => client.simple(&sql)?,
                        _ => client.extended(&sql)?,
                    };
                    let wanted = (turn + 1).to_string();
                    ensure!(
                        answer.rows.len() == 1 && answer.rows[0][0] == wanted,
                        "{answer:?}"
                    );
                }
                Ok(())
            })
        })
        .collect();
    for generation in 2..12 {
        let strict = generation % 2 == 0;
        fs::write(agent.policy_path(), if strict { STRICT } else { LAX })?;
        wait_for_generation(&agent, generation)?;
        let answer = client.simple(INSERT)?;
        assert_eq!(
            answer.told().contains("read-only"),
            strict,
            "{generation}: {answer:?}"
        );
    }
    for client in clients {
        client.join().expect("no panic")?;
    }
    agent.stop()
}
