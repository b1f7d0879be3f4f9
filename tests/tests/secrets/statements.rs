//! Secrets, and every way in for them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use dbgov_tests::agent::Agent;
use dbgov_tests::asking::Asking;
use dbgov_tests::drivers::{Target, psql};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::{extended, target_dir, workspace};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The secret itself, so odd that nothing else has it, nor a piece of it.
pub(crate) const SECRET: &str = "Zq7Geheim7qZ";
/// A piece of it is as bad.
pub(crate) const PIECE: &str = "Geheim7";
/// What log-ins use.
pub(crate) const LOGIN: &str = "Kx9Anmeldung9xK";

/// `{}` is the secret. Some fail on this server, which is part of it: errors quote.
pub(crate) const STATEMENTS: &[&str] = &[
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

pub(crate) fn statements() -> impl Iterator<Item = String> {
    STATEMENTS.iter().map(|text| text.replace("{}", SECRET))
}

/// Each over the simple and the extended protocol; psql and psycopg besides, which send them in their own ways.
pub(crate) fn run_all(server: &Server) -> Result<()> {
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

pub(crate) fn run_psql(
    server: &Server,
    password: Option<&str>,
    user: &str,
    args: &[&str],
) -> Result<bool> {
    let target = target(server).user(user);
    let mut command = psql(&target)?;
    command.envs(target.environment()).args(args);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    let output = command.stdin(Stdio::null()).output()?;
    Ok(output.status.success())
}

/// By psql with the secret on the command line, where the record of the process has it too; by libpq's URI, psycopg and
/// tokio-postgres.
pub(crate) fn run_by_clients(server: &Server) -> Result<()> {
    let alter = format!("ALTER ROLE s_plain PASSWORD '{SECRET}'");
    run_psql(server, None, "postgres", &["-c", &alter])?;
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
        let target = target(server);
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
    Ok(())
}

/// A server with a role for each kind of log-in.
pub(crate) fn server_with_log_ins() -> Result<Server> {
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
    Ok(server)
}

/// With the right password and with a wrong one, each kind.
pub(crate) fn log_in(server: &Server, agent: &Agent) -> Result<()> {
    for role in ["l_scram", "l_md5", "l_clear"] {
        let query = format!("SELECT 'as {role}'");
        ensure!(
            run_psql(server, Some(LOGIN), role, &["-c", &query])?,
            "{role} cannot log in"
        );
        ensure!(
            !run_psql(server, Some(SECRET), role, &["-c", &query])?,
            "{role} with a wrong password"
        );
        agent.wait_for_record("the log-in", PATIENCE, |record| {
            record["statement"]["text"] == query.as_str()
        })?;
        agent.wait_for_record("the failure", PATIENCE, |record| {
            record["kind"] == "session_error" && record["error"]["code"] == "28P01"
        })?;
    }
    Ok(())
}
