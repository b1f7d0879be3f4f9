//! What the users of the foreign drivers read when the gate, in front of a real server, refuses a statement.

use std::process::Output;

use anyhow::{Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers::{Driver, Target, psql};
use dbgov_tests::postgres::{Options, Server};

const POLICY: &str = r#"
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
"#;
const RESET: &str = "dbgov: denied by rule \"no-destructive-ddl\": agents do not change schemas";
const REJECT: &str = "dbgov: denied by rule \"no-alter\": ask a DBA";
const ALTER: &str =
    "ALTER TABLE t ADD other int -- some more text, so that there is room for the refusal";

fn start() -> Result<(Server, Agent)> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE t (id int)")?;
    let agent = Agent::start(Config::watching(&[&server]).policy(POLICY))?;
    Ok((server, agent))
}

fn check(server: &Server, agent: &mut Agent, denied: usize) -> Result<()> {
    assert_eq!(server.admin("SELECT count(*) FROM t")?, "0");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 't'";
    assert_eq!(server.admin(columns)?, "1");
    agent.stop()?;
    let statements = agent.statements()?;
    let refused = statements.iter().filter(|record| {
        let action = record["verdict"]["action"].as_str();
        matches!(action, Some("reset" | "reject"))
    });
    // One that was prepared first may be there twice: the Parse, and the Execute that came with it.
    let refused = refused.count();
    assert!((denied..=2 * denied).contains(&refused), "{statements:?}");
    Ok(())
}

#[test]
#[ignore = "group drivers"]
fn every_driver_shows_rule_and_reason_of_a_reset() -> Result<()> {
    let (server, mut agent) = start()?;
    for driver in Driver::ALL {
        let said = driver.statement(&server.target("127.0.0.1"), "DROP TABLE t")?;
        ensure!(said.contains(RESET), "{driver:?}: {said}");
        ensure!(said.contains("then: closed"), "{driver:?}: {said}");
        println!("{driver:?}: {}", said.replace('\n', " | "));
    }
    check(&server, &mut agent, Driver::ALL.len())
}

#[test]
#[ignore = "group drivers"]
fn every_driver_shows_rule_and_reason_of_a_rejection_and_goes_on() -> Result<()> {
    let (server, mut agent) = start()?;
    for driver in Driver::ALL {
        let said = driver.statement(&server.target("127.0.0.1"), ALTER)?;
        ensure!(said.contains(REJECT), "{driver:?}: {said}");
        ensure!(said.contains("then: alive"), "{driver:?}: {said}");
        println!("{driver:?}: {}", said.replace('\n', " | "));
    }
    check(&server, &mut agent, Driver::ALL.len())
}

fn psql_says(target: &Target, sql: &str) -> Result<String> {
    let mut command = psql(target)?;
    command
        .envs(target.environment())
        .args(["-c", sql, "-c", "SELECT 'alive'"]);
    let Output { stdout, stderr, .. } = command.output()?;
    Ok(String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn psql_shows_rule_and_reason() -> Result<()> {
    let (server, mut agent) = start()?;
    let target = server.target("127.0.0.1");
    let said = psql_says(&target, "DROP TABLE t")?;
    ensure!(said.contains(&format!("FATAL:  {RESET}")), "{said}");
    ensure!(!said.contains("alive"), "{said}");
    let said = psql_says(&target, ALTER)?;
    ensure!(said.contains(REJECT) && said.contains("alive"), "{said}");
    check(&server, &mut agent, 2)
}

#[test]
fn the_rust_driver_shows_rule_and_reason() -> Result<()> {
    let (server, mut agent) = start()?;
    for (sql, wanted, lives) in [("DROP TABLE t", RESET, false), (ALTER, REJECT, true)] {
        let mut client = postgres::Client::connect(&server.dsn(), postgres::NoTls)?;
        let error = client.execute(sql, &[]).unwrap_err();
        let told = error.as_db_error().map_or("", |error| error.message());
        // A message that comes together with the connection's end this driver may keep to itself.
        let kept = !lives && error.is_closed();
        ensure!(kept || told.contains(wanted), "{sql}: {error:?}");
        println!("{sql}: {error}");
        let then = client.query_one("SELECT 'alive'", &[]);
        ensure!(then.is_ok() == lives, "{sql}: {then:?}");
    }
    check(&server, &mut agent, 2)
}

/// What drivers ask at their start, and a word in a string.
#[test]
fn drivers_go_undisturbed() -> Result<()> {
    let (server, mut agent) = start()?;
    let target = server.target("127.0.0.1");
    for driver in Driver::ALL {
        let said = driver.statement(&target, "SELECT 'DROP TABLE x'")?;
        ensure!(!said.contains("dbgov"), "{driver:?}: {said}");
    }
    agent.stop()?;
    for record in agent.statements()? {
        ensure!(record["verdict"]["action"] == "allow", "{record}");
    }
    Ok(())
}
