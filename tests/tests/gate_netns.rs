//! The gate in front of servers of other network namespaces, for clients of others: both IP versions, packets of 1500
//! bytes, statements far longer than those.

use std::net::{IpAddr, SocketAddr};
use std::process::Output;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::Asking;
use dbgov_tests::drivers::{Target, psql};
use dbgov_tests::extended::{bind, execute, parse, sync};
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Options, Server};

const POLICY: &str = r#"
[[rule]]
name = "no-drop"
action = "reset"
verbs = ["drop"]
reason = "agents do not change schemas"

[[rule]]
name = "no-alter"
action = "reject"
verbs = ["alter"]
reason = "ask a DBA"
"#;
/// Of a statement's text, what is parsed ([capture] statement_bytes_max).
const READ_BYTES: usize = 1 << 20;
const ROOM: &str = "-- some more text, so that there is room for what the refusal has to say";

fn start(netns: Option<&Netns>) -> Result<(Server, Agent)> {
    let server = Server::start(&Options {
        netns,
        ..Options::default()
    })?;
    server.admin("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10)")?;
    let agent = Agent::start(Config::watching(&[&server]).policy(POLICY))?;
    Ok((server, agent))
}

/// Statements of this many bytes, in either protocol: the allowed arrive as they were sent, the denied do not arrive.
fn statements_of(bytes: usize, address: SocketAddr, server: &Server) -> Result<()> {
    let filler: String = "abcdefghijklmnopqrstuvwxyz0123456789"
        .chars()
        .cycle()
        .take(bytes)
        .collect();
    let wanted = server.admin(&format!(
        "SELECT md5(substr(repeat('abcdefghijklmnopqrstuvwxyz0123456789', {bytes} / 36 + 1), 1, {bytes}))"
    ))?;
    // With a word of the policy's at the beginning all of it is held, with one at the end its end is.
    for sql in [
        format!("SELECT md5('{filler}')"),
        format!("SELECT /* alter */ md5('{filler}')"),
        format!("SELECT md5('{filler}') /* alter */"),
    ] {
        let head = &sql[..30];
        let mut client = Asking::connect(address, "long")?;
        let (simple, extended) = (client.simple(&sql)?, client.extended(&sql)?);
        for answer in [simple, extended] {
            // In a text that is too long to be parsed, a word may be anything.
            let unread = bytes >= READ_BYTES && sql.contains("alter");
            let refused = unread && answer.value().is_none() && answer.tags.is_empty();
            let right = refused || answer.value() == Some(&wanted);
            ensure!(right, "{bytes} {head}: {answer:?}");
        }
    }
    let mut client = Asking::connect(address, "long")?;
    // As a parameter.
    let messages = [
        parse("", "SELECT md5($1::text) /* alter */"),
        bind("", "", 0, &[Some(filler.as_bytes())]),
        execute("", 0),
        sync(),
    ];
    let answer = client.ask(&messages.concat())?;
    ensure!(
        answer.value() == Some(&wanted),
        "parameter {bytes}: {answer:?}"
    );
    for sql in [
        format!("DROP TABLE t -- {filler}"),
        format!("/* {filler} */ DROP TABLE t"),
        format!("ALTER TABLE t ADD a int /* {filler} */"),
        format!("SELECT 1 /* {filler} */; ALTER TABLE t ADD a int"),
    ] {
        let head = &sql[..30];
        let mut client = Asking::connect(address, "denied")?;
        let answer = client.simple(&sql)?;
        ensure!(answer.tags.is_empty(), "{bytes} {head}: {answer:?}");
        ensure!(
            answer.told().contains("dbgov"),
            "{bytes} {head}: {answer:?}"
        );
    }
    let columns = server.admin("SELECT count(*), max(t::text) FROM t")?;
    ensure!(columns == "10|(9)", "{bytes}: {columns}");
    Ok(())
}

fn long_statements(address: SocketAddr, server: &Server) -> Result<()> {
    for bytes in [1000, 1400, 1460, 3000, 64 << 10, 1 << 20, 8 << 20] {
        statements_of(bytes, address, server)?;
    }
    Ok(())
}

#[test]
fn long_statements_over_loopback_ipv4() -> Result<()> {
    let (server, mut agent) = start(None)?;
    long_statements(([127, 0, 0, 1], server.port()).into(), &server)?;
    agent.stop()
}

#[test]
fn long_statements_over_loopback_ipv6() -> Result<()> {
    let (server, mut agent) = start(None)?;
    long_statements(([0u16, 0, 0, 0, 0, 0, 0, 1], server.port()).into(), &server)?;
    agent.stop()
}

#[test]
fn long_statements_to_a_server_in_another_namespace() -> Result<()> {
    let netns = Netns::joined_to_host()?;
    let (server, mut agent) = start(Some(&netns))?;
    for address in [IpAddr::from(netns.ipv4), IpAddr::from(netns.ipv6)] {
        let done = long_statements((address, server.port()).into(), &server);
        done.with_context(|| format!("{}", agent.status().unwrap_or_default()["gate"]))?;
    }
    agent.stop()
}

fn said(target: &Target, sql: &[&str]) -> Result<String> {
    let mut command = psql(target)?;
    command.envs(target.environment());
    for sql in sql {
        command.args(["-c", sql]);
    }
    let Output { stdout, stderr, .. } = command.output()?;
    Ok(String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// All that the gate does, between this server and this client.
fn governs(server: &Server, address: IpAddr, client: Option<&Netns>) -> Result<()> {
    let mut target = server.target(&address.to_string());
    if let Some(client) = client {
        target = target.from(client.place());
    }
    let told = said(
        &target,
        &["SELECT count(*) FROM t", "SELECT 'DROP TABLE t'"],
    )?;
    ensure!(told == "10\nDROP TABLE t\n", "{address}: {told}");
    let told = said(
        &target,
        &[&format!("ALTER TABLE t ADD a int {ROOM}"), "SELECT 'alive'"],
    )?;
    ensure!(
        told.contains("no-alter") && told.contains("alive"),
        "{address}: {told}"
    );
    let told = said(&target, &["DROP TABLE t", "SELECT 'alive'"])?;
    ensure!(
        told.contains("denied by rule \"no-drop\": agents do not change schemas"),
        "{address}: {told}"
    );
    ensure!(!told.contains("alive"), "{address}: {told}");
    ensure!(server.admin("SELECT count(*) FROM t")? == "10");
    Ok(())
}

#[test]
fn a_server_in_a_namespace_and_a_client_of_the_host() -> Result<()> {
    let netns = Netns::joined_to_host()?;
    let (server, mut agent) = start(Some(&netns))?;
    governs(&server, netns.ipv4.into(), None)?;
    governs(&server, netns.ipv6.into(), None)?;
    agent.stop()
}

#[test]
fn a_client_in_a_namespace_and_a_server_of_the_host() -> Result<()> {
    let netns = Netns::joined_to_host()?;
    let server = Server::start(&Options {
        listen: vec!["*".into()],
        ..Options::default()
    })?;
    server.admin("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10)")?;
    allow_everybody(&server)?;
    let mut agent = Agent::start(Config::watching(&[&server]).policy(POLICY))?;
    governs(&server, netns.peer_ipv4.into(), Some(&netns))?;
    governs(&server, netns.peer_ipv6.into(), Some(&netns))?;
    agent.stop()
}

#[test]
fn a_server_and_a_client_in_namespaces_of_their_own() -> Result<()> {
    let (one, two) = Netns::pair()?;
    let (server, mut agent) = start(Some(&one))?;
    governs(&server, one.ipv4.into(), Some(&two))?;
    governs(&server, one.ipv6.into(), Some(&two))?;
    // By the namespace's own loopback.
    governs(&server, IpAddr::from([127, 0, 0, 1]), Some(&one))?;
    agent.stop()
}

fn allow_everybody(server: &Server) -> Result<()> {
    let path = server.data_dir().join("pg_hba.conf");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text + "\nhost all all all trust\n")?;
    server.admin("SELECT pg_reload_conf()")?;
    Ok(())
}
