//! A sink of every kind and in every format, with a secret in each one's configuration, receivers that turn some of them
//! down and repeat what they were given, and every secret of a statement: nothing of it is anywhere.

use std::fs;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::postgres::Server;
use dbgov_tests::{agent, wait_for};
use serde_json::Value;

use crate::hunt::{Told, assert_nowhere, told};
use crate::receiving::{Receivers, Tokens};
use crate::statements::{
    LOGIN, PATIENCE, PIECE, SECRET, log_in, run_all, run_by_clients, server_with_log_ins,
    statements,
};

/// Of sinks that work.
const SPLUNK: &str = "q1Splunk-Sammelmarke";
const ELASTIC: &str = "q2Elastc-Suchmarke";
const SIGNATURE: &str = "q3Siegel-Unterschrift";
const HEADER: &str = "q4Kopfze-Zeilenwert";
const QUERY: &str = "q5Abfrag-Teil";
const OTLP: &str = "q6Fernme-Telemetrie";
const NATS: &str = "q7Gnatze-Passwort";
/// Of sinks that are turned down.
const SPLUNK_WRONG: &str = "r1Falsch-Sammelmarke";
const BASIC_WRONG: &str = "r2Falsch-Grundschutz";
const PATH_WRONG: &str = "r3Falsch-Wegmarke";
const QUERY_WRONG: &str = "r4Falsch-Abfrage";
const OTLP_WRONG: &str = "r5Falsch-Telemetrie";
const NATS_WRONG: &str = "r6Falsch-Nachricht";
const KAFKA_WRONG: &str = "r7Falsch-Makler";
const AWAY: &str = "r8Falsch-Niemand";
const CONFIGURED: &[&str] = &[
    SPLUNK,
    ELASTIC,
    SIGNATURE,
    HEADER,
    QUERY,
    OTLP,
    NATS,
    SPLUNK_WRONG,
    BASIC_WRONG,
    PATH_WRONG,
    QUERY_WRONG,
    OTLP_WRONG,
    NATS_WRONG,
    KAFKA_WRONG,
    AWAY,
];
/// Of each the beginning, by which it would be known where the rest is cut off, characters.
const BEGINNING: usize = 8;

/// No secret: it has to be everywhere, else the hunt is not where it should be.
const BESIDE: &str = "kept-beside";
const FORMATS: [&str; 5] = ["native", "ocsf", "ecs", "cef", "leef"];

/// Name and keys.
type Sinks = Vec<(String, String)>;

fn working(to: &Receivers) -> Result<Sinks> {
    let token_file = to.path("token");
    fs::write(&token_file, format!("{SPLUNK}\n"))?;
    let http = |port: u16| format!("url = \"http://127.0.0.1:{port}\"");
    let kafka = to.kafka.bootstrap_servers();
    let mut sinks = vec![
        (
            "rsyslog",
            format!(
                "type = \"syslog\"\nformat = \"cef\"\ntransport = \"tcp\"\nconfirm = \"sent\"\naddress = \"127.0.0.1:{}\"",
                to.rsyslog.port()
            ),
        ),
        (
            "syslog-ng",
            format!(
                "type = \"syslog\"\nformat = \"leef\"\ntransport = \"tcp\"\nconfirm = \"sent\"\naddress = \"127.0.0.1:{}\"",
                to.syslog_ng.port()
            ),
        ),
        (
            "splunk",
            format!(
                "type = \"splunk\"\ntoken = {{ file = {token_file:?} }}\nheaders = {{ X-Scope = \"{HEADER}\" }}\n{}",
                http(to.splunk.port)
            ),
        ),
        (
            "elastic",
            format!(
                "type = \"elasticsearch\"\nindex = \"dbgov-%Y\"\napi_key_token = {{ env = \"ELASTIC_KEY\" }}\n{}",
                http(to.elastic.port)
            ),
        ),
        (
            "hook",
            format!(
                "type = \"webhook\"\nformat = \"ocsf\"\nsignature_secret = \"{SIGNATURE}\"\nheaders = {{ X-Key = \"{HEADER}\" }}\n\
                 url = \"http://127.0.0.1:{}/hook?key={QUERY}\"",
                to.hook.port
            ),
        ),
        (
            "otlp",
            format!(
                "type = \"otlp\"\nformat = \"ecs\"\nprotocol = \"http\"\nbody = \"structured\"\ntoken = \"{OTLP}\"\n{}",
                http(to.otlp.port)
            ),
        ),
        (
            "grpc",
            format!(
                "type = \"otlp\"\ntoken = \"{OTLP}\"\n{}",
                http(to.grpc.port)
            ),
        ),
        (
            "kafka",
            format!("type = \"kafka\"\nformat = \"ocsf\"\nbrokers = [{kafka:?}]\ntopic = \"audit\""),
        ),
        (
            "nats",
            format!("{}\nuser = \"dbgov\"\npassword = \"{NATS}\"", to.nats.keys()),
        ),
        (
            "stdout",
            "type = \"stdout\"\nformat = \"cef\"".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, keys)| (name.to_owned(), keys))
    .collect::<Sinks>();
    for format in FORMATS {
        let keys = format!(
            "type = \"file\"\nformat = \"{format}\"\npath = {:?}",
            to.path(format)
        );
        sinks.push((format!("file-{format}"), keys));
    }
    Ok(sinks)
}

/// Whoever can repeats the secret in the refusal.
fn turned_down(to: &Receivers) -> Sinks {
    let local = |port: u16, path: &str| format!("url = \"http://127.0.0.1:{port}{path}\"");
    let kafka = to.kafka.bootstrap_servers();
    [
        (
            "splunk-wrong",
            format!(
                "type = \"splunk\"\ntoken = \"{SPLUNK_WRONG}\"\n{}",
                local(to.splunk.port, "")
            ),
        ),
        (
            "elastic-wrong",
            format!(
                "type = \"elasticsearch\"\nindex = \"dbgov-%Y\"\nuser = \"dbgov\"\npassword = \"{BASIC_WRONG}\"\n{}",
                local(to.elastic.port, "")
            ),
        ),
        (
            "hook-wrong",
            format!(
                "type = \"webhook\"\n{}",
                local(to.hook.port, &format!("/services/{PATH_WRONG}?key={QUERY_WRONG}"))
            ),
        ),
        (
            "grpc-wrong",
            format!(
                "type = \"otlp\"\ntoken = \"{OTLP_WRONG}\"\n{}",
                local(to.grpc.port, "")
            ),
        ),
        (
            "nats-wrong",
            format!(
                "type = \"nats\"\nservers = [\"nats://127.0.0.1:{}\"]\ntoken = \"{NATS_WRONG}\"",
                to.nats.port
            ),
        ),
        (
            "kafka-wrong",
            format!(
                "type = \"kafka\"\nbrokers = [{kafka:?}]\ntopic = \"audit\"\nsasl_mechanism = \"PLAIN\"\nuser = \"dbgov\"\n\
                 password = \"{KAFKA_WRONG}\""
            ),
        ),
        (
            "away",
            format!(
                "type = \"webhook\"\ntoken = \"{AWAY}\"\nsignature_secret = \"{AWAY}\"\n{}",
                local(1, &format!("/{AWAY}"))
            ),
        ),
    ]
    .map(|(name, keys)| (name.to_owned(), keys))
    .into()
}

fn section((name, keys): &(String, String)) -> String {
    format!("[[sink]]\nname = \"{name}\"\n{keys}\n")
}

fn start(server: &Server, sinks: &[&(String, String)]) -> Result<Agent> {
    let policy = "[[rule]]\nname = \"never\"\naction = \"reject\"\ndatabases = [\"refusing\"]\n\
         [[rule]]\nname = \"ask\"\naction = \"hold\"\ndatabases = [\"waiting\"]\napproval_timeout = \"1s\"\n";
    let redact = "[[redact]]\ndatabases = [\"hashed\"]\nliterals = \"hash\"\nparams = \"hash\"\n";
    let sinks: String = sinks.iter().map(|sink| section(sink)).collect();
    let config = Config::watching(&[server])
        .env("DBGOV_LOG", "trace,aya=warn")
        .env("ELASTIC_KEY", ELASTIC)
        // Some are complete, compressed and have an index.
        .set("audit", "segment_bytes_max", "65536")
        .policy(policy)
        .more(redact)
        .more(&sinks)
        .quiet();
    Agent::start(config)
}

/// Statements in all the ways in; what is refused and what waits; what a receiver refuses; log-ins.
fn go_through(server: &Server, agent: &Agent) -> Result<()> {
    run_all(server)?;
    run_by_clients(server)?;
    log_in(server, agent)?;
    for database in ["refusing", "waiting", "hashed"] {
        let dsn = server
            .dsn()
            .replace("dbname=postgres", &format!("dbname={database}"));
        let few = if database == "waiting" { 2 } else { usize::MAX };
        let mut client = postgres::Client::connect(&dsn, postgres::NoTls)?;
        for text in statements().take(few) {
            let _ = client.batch_execute(&text);
            if client.is_closed() {
                client = postgres::Client::connect(&dsn, postgres::NoTls)?;
            }
        }
    }
    let odd = format!("SELECT password FROM \"mapping-error\" WHERE password = '{SECRET}'");
    let mut client = postgres::Client::connect(&server.dsn(), postgres::NoTls)?;
    let _ = client.batch_execute(&odd);
    client.batch_execute(&format!("SELECT '{BESIDE}', 'the last one'"))?;
    Ok(())
}

fn sinks(agent: &Agent) -> Result<Vec<Value>> {
    let status = agent.status()?;
    Ok(status["sinks"].as_array().context("sinks")?.clone())
}

/// Those that work have the record, those that are turned down say so.
fn wait_until_all_have(seq: u64, working: &Sinks, agent: &Agent) -> Result<Vec<Value>> {
    let settled = |sink: &Value| {
        let works = working
            .iter()
            .any(|(name, _)| sink["name"] == name.as_str());
        match works {
            true => sink["delivered_seq"].as_u64() >= Some(seq),
            false => sink["last_error"].is_string(),
        }
    };
    let mut last = Vec::new();
    wait_for("all sinks have it, or say why not", PATIENCE, || {
        last = sinks(agent)?;
        Ok(last.iter().all(settled).then_some(()))
    })
    .with_context(|| format!("{last:#?}"))?;
    Ok(last)
}

/// The journal's own key and that of the hashes are secrets too.
fn keys(agent: &Agent) -> Result<Vec<String>> {
    let beside = |end: &str| -> Result<String> {
        let mut path = agent.audit_dir()?.into_os_string();
        path.push(end);
        Ok(fs::read_to_string(path)?)
    };
    let pem = beside(".key")?;
    let pem = pem.lines().nth(1).context("a key in PEM")?.to_owned();
    Ok(vec![beside(".redact.key")?.trim().to_owned(), pem])
}

/// Where the places of a statement's text are, it is.
fn assert_beside_everywhere(told: &[Told]) -> Result<()> {
    let expected = [
        "rsyslog",
        "syslog-ng",
        "splunk",
        "elasticsearch",
        "webhook",
        "otlp",
        "grpc",
        "kafka",
        "nats",
        "the standard output",
        "audit search --json",
        "audit search",
        "audit tail -n 1000000",
    ];
    let files = FORMATS.map(|format| format!("the file {format}"));
    let names = expected.into_iter().chain(files.iter().map(String::as_str));
    for name in names {
        let (_, text) = told
            .iter()
            .find(|(place, _)| place == name)
            .with_context(|| format!("nobody looked at {name}"))?;
        ensure!(
            text.contains(BESIDE),
            "{BESIDE} is not in {name}:\n{text:.2000}"
        );
    }
    for end in [".jsonl", ".jsonl.zst", ".idx", ".cursor", ".refused.jsonl"] {
        let looked_at = told.iter().any(|(place, _)| place.ends_with(end));
        ensure!(looked_at, "nobody looked at a file {end}");
    }
    Ok(())
}

#[test]
fn nowhere_is_a_secret_with_sinks_of_every_kind() -> Result<()> {
    let server = server_with_log_ins()?;
    for database in ["refusing", "waiting", "hashed"] {
        server.admin(&format!("CREATE DATABASE {database}"))?;
    }
    let receivers = Receivers::start(&Tokens {
        splunk: SPLUNK,
        elastic: ELASTIC,
        hook: SIGNATURE,
        otlp: OTLP,
        nats: NATS,
    })?;
    let (working, turned_down) = (working(&receivers)?, turned_down(&receivers));
    let all: Vec<_> = working.iter().chain(&turned_down).collect();
    let mut agent = start(&server, &all)?;
    go_through(&server, &agent)?;
    let last = agent.wait_for_record("the last statement", PATIENCE, |record| {
        let text = record["statement"]["text"].as_str();
        text.is_some_and(|text| text.contains(BESIDE) && text.contains("the last one"))
    })?;
    let seq = last["seq"].as_u64().context("a number")?;
    let shown = wait_until_all_have(seq, &working, &agent)?;
    let elastic = shown.iter().find(|sink| sink["name"] == "elastic");
    assert_eq!(elastic.context("elastic")?["refused"], 1, "{shown:#?}");
    wait_for("a segment is compressed", PATIENCE, || {
        let segments = agent::segments(&agent.audit_dir()?)?;
        let is_packed = |path: &std::path::Path| path.extension().is_some_and(|end| end == "zst");
        Ok(segments
            .iter()
            .any(|(_, path)| is_packed(path))
            .then_some(()))
    })?;

    let mut told = told(&agent)?;
    told.extend(receivers.received()?);
    for format in FORMATS {
        let text = fs::read_to_string(receivers.path(format))?;
        told.push((format!("the file {format}"), text));
    }
    assert_beside_everywhere(&told)?;
    let configured = CONFIGURED.iter().map(|secret| &secret[..BEGINNING]);
    let mut secrets: Vec<&str> = configured.collect();
    let keys = keys(&agent)?;
    secrets.extend(keys.iter().map(String::as_str));
    secrets.extend([SECRET, PIECE, LOGIN]);
    assert_nowhere(&secrets, &told)?;
    let bytes: usize = told.iter().map(|(_, text)| text.len()).sum();
    eprintln!(
        "{} secrets are nowhere in {} places of {bytes} bytes; {seq} records, {} sinks",
        secrets.len(),
        told.len(),
        all.len()
    );
    for sink in &shown {
        eprintln!("{}: {}", sink["name"], sink["last_error"]);
    }
    agent.stop()?;
    // What the end adds.
    assert_nowhere(&secrets, &crate::hunt::left(&agent)?)
}
