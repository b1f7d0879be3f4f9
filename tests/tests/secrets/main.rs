//! No secret leaves the agent: statements with one over every way in, and then nothing of it in whatever can be read:
//! the journal, the live view, the log at its most talkative, what the commands and the agent's port answer, and what
//! sinks of every kind hand over. Nor one of the configuration.

mod broken;
mod everywhere;
mod hunt;
mod receiving;
mod statements;

use std::fs;
use std::thread;

use anyhow::{Context, Result};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::Asking;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wait_for;
use serde_json::Value;

use hunt::{assert_nothing_told, told};
use statements::{
    PATIENCE, PIECE, SECRET, STATEMENTS, log_in, run_all, run_by_clients, server_with_log_ins,
    statements,
};

fn config(server: &Server) -> Config {
    Config::watching(&[server]).env("DBGOV_LOG", "debug,aya=warn")
}

#[test]
fn nowhere_is_a_secret_of_a_statement() -> Result<()> {
    let server = Server::start(&Options::default())?;
    let agent = Agent::start(config(&server))?;
    run_all(&server)?;
    run_by_clients(&server)?;
    let mut client = postgres::Client::connect(&server.dsn(), postgres::NoTls)?;
    client.batch_execute("SELECT 'the last one'")?;
    agent.wait_for_record("the last statement", PATIENCE, |record| {
        record["statement"]["text"] == "SELECT 'the last one'"
    })?;
    assert_nothing_told(&agent)?;

    // It was seen, and what is no secret is there.
    let records = agent.statements()?;
    let redacted = |record: &&Value| record["statement"]["redacted"][0] == "password";
    let count = records.iter().filter(redacted).count();
    assert!(count > STATEMENTS.len(), "only {count} redacted");
    for text in [
        "CREATE ROLE s_plain LOGIN PASSWORD '***'",
        "SELECT 1; ALTER ROLE s_plain PASSWORD '***'; SELECT 'kept-beside'",
        "SELECT set_config('app.jwt_secret', '***', false)",
        "SELECT 'postgres://u:***@h/d'",
    ] {
        assert!(
            records
                .iter()
                .any(|record| record["statement"]["text"] == text),
            "{text}"
        );
    }
    let unknown = records
        .iter()
        .find(|record| record["statement"]["text"] == "ALTER ROLE nobody_there PASSWORD '***'")
        .context("a role that is not there")?;
    assert_eq!(
        unknown["result"]["message"],
        "role \"nobody_there\" does not exist"
    );
    eprintln!("{count} of {} statements redacted", records.len());
    let commands: Vec<Value> = agent
        .journal()?
        .into_iter()
        .map(|record| record["process"]["command"].clone())
        .filter(|command| !command.is_null())
        .collect();
    let shown = serde_json::to_string(&commands)?;
    for argument in [
        "ALTER ROLE s_plain PASSWORD '***'",
        "postgres://postgres:***@",
    ] {
        assert!(shown.contains(argument), "{argument} is not in {shown}");
    }
    Ok(())
}

#[test]
fn nowhere_is_a_secret_of_what_was_refused_or_waited() -> Result<()> {
    let policy = "[[rule]]\nname = \"no-roles\"\naction = \"reject\"\nverbs = [\"create\"]\n\
         [[rule]]\nname = \"ask\"\naction = \"hold\"\nverbs = [\"alter\", \"update\"]\napproval_timeout = \"2s\"\n\
         [[rule]]\nname = \"no-code\"\naction = \"reset\"\nverbs = [\"do\", \"copy_from\"]\n";
    let server = Server::start(&Options::default())?;
    server.admin("CREATE ROLE s_plain; CREATE TABLE s_users (name text, password text, n int)")?;
    let agent = Agent::start(config(&server).policy(policy))?;
    let address = format!("127.0.0.1:{}", server.port()).parse()?;
    let mut client = Asking::connect(address, "refused")?;
    for text in statements().filter(|text| !text.starts_with("ALTER") && !text.contains("; ALTER"))
    {
        if text.starts_with("UPDATE") {
            continue;
        }
        if client.simple(&text)?.closed {
            client = Asking::connect(address, "refused")?;
        }
    }
    for text in [
        format!("ALTER ROLE s_plain PASSWORD '{SECRET}'"),
        format!("UPDATE s_users SET password = '{SECRET}' WHERE name = 'bob'"),
    ] {
        let waiter = thread::spawn(move || -> Result<String> {
            let mut client = Asking::connect(address, "waits")?;
            Ok(client.simple(&text)?.told().to_owned())
        });
        let waiting = wait_for("it waits", PATIENCE, || {
            let output = agent.command(&["approvals", "list", "--json"])?;
            let listed: Vec<Value> = serde_json::from_slice(&output.stdout)?;
            Ok(listed.into_iter().next())
        })?;
        assert_nothing_told(&agent)?;
        let head = waiting["statement"]["head"].as_str().context("a head")?;
        assert!(head.contains("'***'"), "{head}");
        assert!(waiting["statement"]["sha256"].is_null(), "{waiting}");
        let refused = waiter.join().expect("the client panicked")?;
        assert!(!refused.contains(PIECE), "{refused}");
    }
    agent.wait_for_record("the approval's end", PATIENCE, |record| {
        record["approval"]["state"] == "timed_out"
    })?;
    assert_nothing_told(&agent)
}

#[test]
fn nowhere_is_the_password_of_a_log_in() -> Result<()> {
    let server = server_with_log_ins()?;
    let agent = Agent::start(config(&server))?;
    log_in(&server, &agent)?;
    assert_nothing_told(&agent)
}

/// `[[redact]]`, with a real server: kept here, hashed there, removed elsewhere.
#[test]
fn literals_and_parameters_go_by_the_configuration() -> Result<()> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE people (name text, n int)")?;
    server.admin("CREATE DATABASE hashed")?;
    server.admin("CREATE ROLE quiet LOGIN SUPERUSER")?;
    let rules = "[[redact]]\nusers = [\"quiet\"]\nliterals = \"remove\"\nparams = \"remove\"\n\
         [[redact]]\ndatabases = [\"hashed\"]\nliterals = \"hash\"\nparams = \"hash\"\n\
         [[redact]]\ntables = [\"people\"]\nliterals = \"remove\"\nparams = \"hash\"\n\
         [[redact]]\nidentities = [\"nobody-goes-by-this\"]\nliterals = \"remove\"";
    let mut agent = Agent::start(config(&server).more(rules))?;
    let dsn = |user: &str, database: &str| {
        format!(
            "host=127.0.0.1 port={} user={user} dbname={database}",
            server.port()
        )
    };
    let mut client = postgres::Client::connect(&dsn("postgres", "postgres"), postgres::NoTls)?;
    client.batch_execute("SELECT 'kept', 1")?;
    client.batch_execute("SELECT name FROM people WHERE name = 'Ada' AND n = 36 -- why")?;
    client.query("SELECT name FROM people WHERE name = $1", &[&"Ada"])?;
    assert!(
        client
            .batch_execute("SELECT 'Ada'::int FROM people")
            .is_err()
    );
    let mut quiet = postgres::Client::connect(&dsn("quiet", "postgres"), postgres::NoTls)?;
    quiet.batch_execute("SELECT 'gone', 2")?;
    quiet.query("SELECT $1::text", &[&"gone too"])?;
    let mut hashed = postgres::Client::connect(&dsn("postgres", "hashed"), postgres::NoTls)?;
    hashed.batch_execute("SELECT 'Ada', 'Bob', 'Ada'")?;
    hashed.query("SELECT $1::text", &[&"Ada"])?;
    hashed.batch_execute("SELECT 'end'")?;
    let mut records = Vec::new();
    wait_for("all records", PATIENCE, || {
        records = agent.statements()?;
        Ok((records.len() >= 9).then_some(()))
    })
    .with_context(|| format!("{records:#?}"))?;
    let of = |user: &str, database: &str| -> Vec<&Value> {
        let is = |record: &&Value| {
            record["session"]["user"] == user && record["session"]["database"] == database
        };
        records
            .iter()
            .filter(is)
            .map(|record| &record["statement"])
            .collect()
    };
    let kept = of("postgres", "postgres");
    assert_eq!(kept[0]["text"], "SELECT 'kept', 1");
    assert!(kept[0]["redacted"].is_null());
    assert_eq!(
        kept[1]["text"],
        "SELECT name FROM people WHERE name = '***' AND n = '***' --***"
    );
    assert_eq!(kept[1]["redacted"][0], "literals");
    let by_name = &kept[2]["params"][0];
    assert!(
        by_name
            .as_str()
            .is_some_and(|hash| hash.starts_with('#') && hash.len() == 17),
        "{by_name}"
    );
    assert_eq!(kept[2]["redacted"][0], "params");
    let failed = records
        .iter()
        .find(|record| record["result"]["error"] == "22P02")
        .context("the error")?;
    assert_eq!(
        failed["result"]["message"],
        "invalid input syntax for type integer: \"***\""
    );
    let gone = of("quiet", "postgres");
    assert_eq!(gone[0]["text"], "SELECT '***', '***'");
    assert_eq!(gone[1]["params"][0], "***");
    let hashes = of("postgres", "hashed");
    let text = hashes[0]["text"].as_str().context("a text")?;
    let values: Vec<&str> = text.split('\'').skip(1).step_by(2).collect();
    assert_eq!(values[0], values[2]);
    assert_ne!(values[0], values[1]);
    assert_eq!(
        hashes[1]["params"][0], values[0],
        "the same value, the same hash"
    );
    assert_eq!(by_name, values[0], "also in another rule");
    // The key is there, and is not told.
    let mut key = agent.audit_dir()?.into_os_string();
    key.push(".redact.key");
    let digits = fs::read_to_string(&key)?;
    for (place, text) in told(&agent)? {
        assert!(!text.contains(digits.trim()), "the key is in {place}");
    }
    // And stays what it is.
    agent.stop()?;
    agent.start_again()?;
    let mut again = postgres::Client::connect(&dsn("postgres", "hashed"), postgres::NoTls)?;
    again.batch_execute("SELECT 'Ada'")?;
    agent.wait_for_record("the same hash", PATIENCE, |record| {
        record["statement"]["text"] == format!("SELECT '{}'", values[0]).as_str()
    })?;
    Ok(())
}
