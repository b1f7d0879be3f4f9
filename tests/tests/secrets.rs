//! No secret leaves the agent: statements with one over every way in, and then nothing of it in whatever can be read:
//! the journal, the live view, the log at its most talkative, what the control socket answers.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::Asking;
use dbgov_tests::drivers::{Target, psql};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::{extended, target_dir, wait_for, workspace};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// The secret itself, so odd that nothing else has it, nor a piece of it.
const SECRET: &str = "Zq7Geheim7qZ";
/// A piece of it is as bad.
const PIECE: &str = "Geheim7";
/// What log-ins use.
const LOGIN: &str = "Kx9Anmeldung9xK";

/// `{}` is the secret. Some fail on this server, which is part of it: errors quote.
const STATEMENTS: &[&str] = &[
    "CREATE ROLE s_plain LOGIN PASSWORD '{}'",
    "ALTER ROLE s_plain WITH ENCRYPTED PASSWORD '{}' VALID UNTIL 'infinity'",
    "ALTER USER s_plain PASSWORD E'{}\\'s'",
    "ALTER ROLE s_plain PASSWORD U&'{}'",
    "ALTER ROLE s_plain PASSWORD $pw${}$pw$",
    "ALTER ROLE s_plain PASSWORD 'Zq7'\n'{}'",
    "ALTER ROLE s_plain /* so */ PASSWORD -- here\n'{}'",
    "ALTER ROLE nobody_there PASSWORD '{}'",
    "ALTER ROLE s_plain PASWORD '{}'; ALTER ROLE s_plain PASSWORD '{}'",
    "ALTER ROLE s_plain PASSWORD '{}' '{}'",
    "ALTER ROLE s_plain PASSWORD '{}",
    "ALTER ROLE s_plain PASSWORD {}",
    "SELECT 1; ALTER ROLE s_plain PASSWORD '{}'; SELECT 'kept-beside'",
    "SET app.password = '{}'",
    "SET LOCAL app.api_key TO '{}'",
    "SELECT set_config('app.jwt_secret', '{}', false)",
    "SELECT set_config('app.' || 'token', '{}', false)",
    "ALTER ROLE s_plain SET app.client_secret = '{}'",
    "CREATE SERVER s_srv FOREIGN DATA WRAPPER nothing_there OPTIONS (host 'h', password '{}')",
    "CREATE USER MAPPING FOR postgres SERVER nothing_there OPTIONS (user 'u', password '{}')",
    "CREATE SUBSCRIPTION s_sub CONNECTION 'host=127.0.0.1 port=1 user=u password={}' PUBLICATION p",
    "CREATE SUBSCRIPTION s_sub CONNECTION 'postgres://u:{}@127.0.0.1:1/d' PUBLICATION p",
    "SELECT dblink_connect('host=h password={}')",
    "SELECT dblink_connect('host=h password=' || '{}')",
    "ALTER SYSTEM SET primary_conninfo = 'host=h password={}'",
    "SELECT 'postgres://u:{}@h/d'",
    "SELECT crypt('{}', 'x')",
    "SELECT pgp_sym_encrypt('text', '{}')",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', 's_plain', '{}'); END $$",
    "DO $$ DECLARE x text := '{}'; BEGIN EXECUTE 'ALTER ROLE s_plain PASSWORD ' || quote_literal(x); END $$",
    "DO 'BEGIN ALTER ROLE s_plain PASSWORD ''{}''; END'",
    "DO $$ BEGIN RAISE EXCEPTION 'connecting to %', 'postgres://u:{}@h/d'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION 'password is %', '{}'; END $$",
    "CREATE FUNCTION s_fun() RETURNS void LANGUAGE sql AS $$ ALTER ROLE s_plain PASSWORD '{}' $$",
    "CREATE TABLE s_users (name text, password text, n int)",
    "INSERT INTO s_users (name, password) VALUES ('bob', '{}')",
    "UPDATE s_users SET password = '{}' WHERE name = 'bob'",
    "UPDATE s_users SET n = '{}' WHERE password = '{}'",
    "SELECT name FROM s_users WHERE password = '{}'",
    "SELECT '{\"password\": \"{}\"}'::json",
    "COPY s_users FROM PROGRAM 'false --password={}'",
    "PREPARE s_prep(text) AS SELECT set_config('app.secret', $1, false)",
    "EXECUTE s_prep('{}')",
    "SELECT 1 /* ALTER ROLE s_plain PASSWORD '{}' */",
    "SELECT 1 -- password={}",
    "CREATE USER bob IDENTIFIED BY '{}'",
    "CREATE USER bob IDENTIFIED BY \"{}\"",
    "SET PASSWORD FOR bob = PASSWORD(\"{}\")",
    "BEGIN",
    "ALTER ROLE s_plain PASSWORD '{}'",
    "SELECT ('{}' || password)::int FROM s_users",
    "ALTER ROLE s_plain PASSWORD '{}'",
    "ROLLBACK",
];

fn statements() -> impl Iterator<Item = String> {
    STATEMENTS.iter().map(|text| text.replace("{}", SECRET))
}

/// In the forms in which bytes are written.
fn encodings(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
    ];
    // Base64 cuts in threes: what is inside a longer text is found at each of the three places.
    for skipped in 0..3 {
        let whole = &secret.as_bytes()[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.push(base64(whole));
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in (0..4).rev() {
            text.push(char::from(DIGITS[(bits >> (6 * place)) as usize & 63]));
        }
    }
    text
}

/// Everything of the agent that anybody can read.
fn told(agent: &Agent) -> Result<Vec<(String, String)>> {
    let mut told = vec![
        (
            "the log".to_owned(),
            fs::read_to_string(agent.stderr_path())?,
        ),
        (
            "the live view".to_owned(),
            fs::read_to_string(agent.stdout_path())?,
        ),
    ];
    for entry in fs::read_dir(agent.audit_dir()?)? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        told.push((
            path.display().to_string(),
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
    }
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["approvals", "list"],
        &["approvals", "list", "--json"],
        &["gate", "status"],
        &["tag", "list"],
    ] {
        let output = agent.command(args)?;
        let text = [output.stdout, output.stderr].concat();
        told.push((args.join(" "), String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(told)
}

fn assert_nothing_told(agent: &Agent) -> Result<()> {
    let told = told(agent)?;
    let mut found = Vec::new();
    for secret in [SECRET, PIECE, LOGIN] {
        for form in encodings(secret) {
            for (place, text) in &told {
                for (at, _) in text.match_indices(&form) {
                    let line = text[..at].rfind('\n').map_or(0, |line| line + 1);
                    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
                    found.push(format!("{form} is in {place}:\n{}", &text[line..end]));
                }
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

fn config(server: &Server) -> Config {
    Config::watching(&[server]).env("DBGOV_LOG", "debug,aya=warn")
}

/// Each over the simple and the extended protocol; psql and psycopg besides, which send them in their own ways.
fn run_all(server: &Server) -> Result<()> {
    let address = format!("127.0.0.1:{}", server.port()).parse()?;
    for over_extended in [false, true] {
        let mut client = Asking::connect(address, "secrets")?;
        for text in statements() {
            let answer = match over_extended {
                false => client.simple(&text)?,
                true => client.extended(&text)?,
            };
            if answer.closed {
                client = Asking::connect(address, "secrets")?;
            }
        }
        // Parameters, of texts that say what they are and of texts that do not.
        for (text, params) in [
            (
                "UPDATE s_users SET password = $1 WHERE name = $2",
                [SECRET, "bob"],
            ),
            ("SELECT set_config($1, $2, false)", ["app.secret", SECRET]),
            (
                "SELECT $1::text, $2::text",
                ["x", "host=h password=Zq7Geheim7qZ"],
            ),
            (
                "SELECT $1::text, $2::text",
                ["x", "postgres://u:Zq7Geheim7qZ@h/d"],
            ),
            (
                "UPDATE s_users SET n = $1::int WHERE password = $2",
                [SECRET, SECRET],
            ),
        ] {
            let params = params.map(|param| Some(param.as_bytes()));
            client.ask(&extended::once(text, &params))?;
        }
    }
    Ok(())
}

fn target(server: &Server) -> Target {
    server.target("127.0.0.1")
}

fn run_psql(server: &Server, password: Option<&str>, user: &str, args: &[&str]) -> Result<bool> {
    let target = target(server).user(user);
    let mut command = psql(&target)?;
    command.envs(target.environment()).args(args);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    let output = command.stdin(Stdio::null()).output()?;
    Ok(output.status.success())
}

#[test]
fn nowhere_is_a_secret_of_a_statement() -> Result<()> {
    let server = Server::start(&Options::default())?;
    let agent = Agent::start(config(&server))?;
    run_all(&server)?;
    // On the command line it is in the record of the process too.
    let alter = format!("ALTER ROLE s_plain PASSWORD '{SECRET}'");
    run_psql(&server, None, "postgres", &["-c", &alter])?;
    let uri = format!(
        "postgres://postgres:{SECRET}@127.0.0.1:{}/postgres",
        server.port()
    );
    let mut by_uri = Command::new(server.installation().tool("psql"));
    by_uri
        .args(["-X", "-c", "SELECT 'by uri'", &uri])
        .stdin(Stdio::null())
        .output()?;
    let python = target_dir().join("drivers/venv/bin/python");
    if python.exists() {
        let target = target(&server);
        let script = workspace().join("tests/drivers/psycopg_statement.py");
        let mut psycopg = Command::new(python);
        psycopg
            .arg(script)
            .arg(&alter)
            .envs(target.environment())
            .stdin(Stdio::null())
            .output()?;
    }
    let mut rust = postgres::Client::connect(&server.dsn(), postgres::NoTls)?;
    rust.batch_execute(&alter)?;
    let _ = rust.query(
        "UPDATE s_users SET password = $1 WHERE name = $2",
        &[&SECRET, &"bob"],
    );
    let mut transaction = rust.transaction()?;
    transaction.batch_execute(&alter)?;
    transaction.commit()?;
    rust.batch_execute("SELECT 'the last one'")?;
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
    let mut server = Server::start(&Options::default())?;
    for (role, method) in [("l_scram", "scram-sha-256"), ("l_md5", "md5")] {
        server.admin(&format!(
            "SET password_encryption = '{method}'; CREATE ROLE {role} LOGIN PASSWORD '{LOGIN}'"
        ))?;
    }
    server.admin(&format!("CREATE ROLE l_clear LOGIN PASSWORD '{LOGIN}'"))?;
    let hba = server.data_dir().join("pg_hba.conf");
    let rules = "host all l_scram all scram-sha-256\nhost all l_md5 all md5\nhost all l_clear all password\n";
    fs::write(&hba, rules.to_owned() + &fs::read_to_string(&hba)?)?;
    server.restart()?;
    let agent = Agent::start(config(&server))?;
    for role in ["l_scram", "l_md5", "l_clear"] {
        let query = format!("SELECT 'as {role}'");
        ensure!(
            run_psql(&server, Some(LOGIN), role, &["-c", &query])?,
            "{role} cannot log in"
        );
        ensure!(
            !run_psql(&server, Some(SECRET), role, &["-c", &query])?,
            "{role} with a wrong password"
        );
        agent.wait_for_record("the log-in", PATIENCE, |record| {
            record["statement"]["text"] == query.as_str()
        })?;
        agent.wait_for_record("the failure", PATIENCE, |record| {
            record["kind"] == "session_error" && record["error"]["code"] == "28P01"
        })?;
    }
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
