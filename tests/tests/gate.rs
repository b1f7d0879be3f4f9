//! The gate, with a real server and real clients: what is denied does not run, what is allowed does.

use std::process::Output;

use anyhow::Result;
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers::psql;
use dbgov_tests::postgres::{Options, Server};

const POLICY: &str = r#"
on_agent_down = "open"

[[rule]]
name = "no-destructive-ddl"
action = "reset"
verbs = ["drop", "truncate"]
reason = "agents do not change schemas"

[[rule]]
name = "no-alter"
action = "reject"
verbs = ["alter"]
reason = "ask a DBA"

[[rule]]
name = "write-needs-where"
action = "hold"
verbs = ["delete", "update"]
missing_where = true
approval_timeout = "1m"
"#;

fn run(server: &Server, sql: &str) -> Result<Output> {
    commands(server, &[sql])
}

/// Each on its own, in one session.
fn commands(server: &Server, list: &[&str]) -> Result<Output> {
    let target = server.target("127.0.0.1");
    let mut command = psql(&target)?;
    command.envs(target.environment()).args(["-X", "-A", "-t"]);
    for sql in list {
        command.args(["-c", sql]);
    }
    Ok(command.output()?)
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn start() -> Result<(Server, Agent)> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10)")?;
    let agent = Agent::start(
        Config::watching(&[&server])
            .policy(POLICY)
            .env("DBGOV_LOG", "info,dbgov_agent=debug"),
    )?;
    Ok((server, agent))
}

#[test]
fn an_allowed_statement_runs() -> Result<()> {
    let (server, mut agent) = start()?;
    let output = run(&server, "SELECT count(*) FROM t")?;
    assert_eq!(text(&output), "10\n");
    agent.stop()?;
    let records = agent.statements()?;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["verdict"]["action"], "allow");
    assert_eq!(records[0]["verdict"]["mode"], "enforce");
    Ok(())
}

#[test]
fn a_denied_statement_ends_the_connection_and_says_why() -> Result<()> {
    let (server, mut agent) = start()?;
    let output = run(&server, "DROP TABLE t")?;
    let said = text(&output);
    assert!(
        said.contains(
            "FATAL:  dbgov: denied by rule \"no-destructive-ddl\": agents do not change schemas"
        ),
        "{said}"
    );
    assert_eq!(server.admin("SELECT count(*) FROM t")?.trim(), "10");
    agent.stop()?;
    let records = agent.statements()?;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["statement"]["text"], "DROP TABLE t");
    assert_eq!(records[0]["verdict"]["action"], "reset");
    assert_eq!(records[0]["verdict"]["rule"], "no-destructive-ddl");
    assert_eq!(records[0]["result"]["status"], "none");
    Ok(())
}

/// A client that reads all there is before it looks at any of it, and tells of the end where it finds both.
#[test]
fn a_client_has_time_to_read_why_before_the_end() -> Result<()> {
    let (server, mut agent) = start()?;
    let address = format!("host=127.0.0.1 port={} user=postgres", server.port());
    for _ in 0..20 {
        let mut client = postgres::Client::connect(&address, postgres::NoTls)?;
        let error = client.batch_execute("DROP TABLE t").expect_err("denied");
        let told = error.as_db_error().map(postgres::error::DbError::message);
        assert!(
            told.is_some_and(|said| said.contains("no-destructive-ddl")),
            "{told:?}"
        );
    }
    agent.stop()
}

#[test]
fn a_rejected_statement_fails_and_the_connection_lives_on() -> Result<()> {
    let (server, mut agent) = start()?;
    let output = commands(
        &server,
        &[
            "ALTER TABLE t ADD COLUMN something_longer_than_the_words_of_the_rule int",
            "SELECT count(*) FROM t",
        ],
    )?;
    let said = text(&output);
    assert!(said.contains("dbgov"), "{said}");
    assert!(said.contains("no-alter"), "{said}");
    assert!(said.contains("ask a DBA"), "{said}");
    assert!(said.contains("10\n"), "{said}");
    agent.stop()?;
    let records = agent.statements()?;
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(records[0]["verdict"]["action"], "reject");
    assert_eq!(records[0]["result"]["status"], "error");
    assert_eq!(records[1]["verdict"]["action"], "allow");
    Ok(())
}

#[test]
fn an_encrypted_session_that_may_go_on_does_not_notice() -> Result<()> {
    let server = Server::start(&Options {
        tls: true,
        ..Options::default()
    })?;
    // Everything is held until it is known that nothing can be read.
    let mut agent = Agent::start(Config::watching(&[&server]).policy(
        "opaque = \"allow\"\nunparsed = \"deny\"\n[[rule]]\nname = \"no-drop\"\naction = \"reset\"\nverbs = [\"drop\"]\n",
    ))?;
    let target = server.target("127.0.0.1");
    for _ in 0..20 {
        let output = psql(&target)?
            .envs(target.environment())
            .env("PGSSLMODE", "require")
            .args(["-X", "-A", "-t", "-c"])
            .arg("SELECT length(repeat('x', 100000))")
            .arg("-c")
            .arg(format!("SELECT length('{}')", "y".repeat(100_000)))
            .output()?;
        assert_eq!(text(&output), "100000\n100000\n");
    }
    agent.stop()
}

#[test]
fn an_encrypted_session_that_is_refused_is_recorded_with_its_verdict() -> Result<()> {
    let server = Server::start(&Options {
        tls: true,
        ..Options::default()
    })?;
    let mut agent = Agent::start(Config::watching(&[&server]).policy("opaque = \"deny\""))?;
    let target = server.target("127.0.0.1");
    let output = psql(&target)?
        .envs(target.environment())
        .env("PGSSLMODE", "require")
        .args(["-X", "-c", "SELECT 1"])
        .output()?;
    assert!(!output.status.success(), "{}", text(&output));
    agent.stop()?;
    let records = agent.journal()?;
    let opened = records.iter().find(|r| r["kind"] == "session_open");
    let verdict = &opened.expect("a session_open")["verdict"];
    assert_eq!(verdict["action"], "reset");
    assert_eq!(verdict["rule"], "(opaque)");
    let closed = records.iter().find(|r| r["kind"] == "session_close");
    assert_eq!(
        closed.expect("a session_close")["close"]["reason"],
        "refused"
    );
    Ok(())
}
