//! Kafka under TLS and with SASL: librdkafka's mock cluster behind a front that demands them.

use std::path::Path;

use anyhow::{Context, Result};
use dbgov_agent::config::Config;
use dbgov_agent::sink::config::SinkKind;
use dbgov_agent::sink::deliver::Severity;
use dbgov_agent::sink::kafka::Kafka;
use dbgov_agent::sink::{Deliver, Item};
use dbgov_tests::receivers::{Certificates, Identity};

use super::kafka::{Cluster, Reading, TOPIC, cluster_of};
use super::ledger::account;
use super::nats::block_on;
use super::python::Receiver;
use super::refusals::{HOST, fails_saying};
use super::stand::Stand;

fn front(dir: &Path, cluster: &Cluster) -> Result<Receiver> {
    let address = cluster.bootstrap_servers();
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    Receiver::kafka_front(dir, port.parse()?)
}

fn under_tls(front: Receiver, server: &Identity) -> Receiver {
    front
        .arg("--certificate", &server.certificate.display().to_string())
        .arg("--key", &server.key.display().to_string())
}

fn keys(front: &Receiver) -> String {
    format!(
        "type = \"kafka\"\nbrokers = [\"{HOST}:{}\"]\ntopic = \"{TOPIC}\"",
        front.port
    )
}

fn sasl(mechanism: &str, user: &str, password: &str) -> String {
    format!("sasl_mechanism = {mechanism:?}\nuser = {user:?}\npassword = {password:?}")
}

/// All arrives, each record once.
fn arrives(stand: &Stand, cluster: &Cluster, keys: &str) -> Result<()> {
    let reading = Reading::start(cluster)?;
    stand.deliver(keys, || Ok(()))?;
    reading.wait_for(stand.expected().len() as u64)?;
    account(stand.expected(), &reading.end()?).settle("kafka");
    stand.forget()
}

#[test]
fn brokers_whose_certificate_is_not_theirs() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2"])?;
    let (right, other) = (Certificates::new()?, Certificates::new()?);
    let cluster = cluster_of(1)?;
    let front = under_tls(front(&stand.path(""), &cluster)?, &right.issue(HOST)?);
    let _running = front.start("{}")?;
    let with = |ca: &Certificates| format!("{}\ntls = {{ ca = {:?} }}", keys(&front), ca.ca());
    fails_saying(&stand, &with(&other), "certificate verify failed")?;
    // The system's authorities have not signed it either.
    let system = format!("{}\ntls = {{}}", keys(&front));
    fails_saying(&stand, &system, "certificate verify failed")?;
    let renamed = with(&right).replace(HOST, "127.0.0.1");
    fails_saying(&stand, &renamed, "certificate verify failed")?;
    arrives(&stand, &cluster, &with(&right))
}

#[test]
fn brokers_that_want_a_certificate_of_ours() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2"])?;
    let (right, other) = (Certificates::new()?, Certificates::new()?);
    let cluster = cluster_of(1)?;
    let front = under_tls(front(&stand.path(""), &cluster)?, &right.issue(HOST)?)
        .arg("--client-ca", &right.ca().display().to_string());
    let _running = front.start("{}")?;
    let with = |own: &Identity| {
        format!(
            "{}\ntls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}",
            keys(&front),
            right.ca(),
            own.certificate,
            own.key
        )
    };
    let without = format!("{}\ntls = {{ ca = {:?} }}", keys(&front), right.ca());
    fails_saying(&stand, &without, "SSL")?;
    fails_saying(&stand, &with(&other.issue("dbgov")?), "SSL")?;
    arrives(&stand, &cluster, &with(&right.issue("dbgov")?))
}

#[test]
fn user_and_password_by_every_mechanism() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2"])?;
    let authority = Certificates::new()?;
    let server = authority.issue(HOST)?;
    for (mechanism, is_tls, wrong) in [
        ("PLAIN", false, ("mallory", "s3cr3t")),
        ("PLAIN", true, ("dbgov", "wr0ng")),
        ("SCRAM-SHA-256", true, ("dbgov", "wr0ng")),
        ("SCRAM-SHA-512", true, ("mallory", "s3cr3t")),
    ] {
        let cluster = cluster_of(1)?;
        let mut front = front(&stand.path(""), &cluster)?
            .arg("--user", "dbgov")
            .arg("--token", "s3cr3t")
            .arg("--kind", mechanism);
        let mut keys = keys(&front);
        if is_tls {
            front = under_tls(front, &server);
            keys = format!("{keys}\ntls = {{ ca = {:?} }}", authority.ca());
        }
        let _running = front.start("{}")?;
        let with = |user, password| format!("{keys}\n{}", sasl(mechanism, user, password));
        let status = fails_saying(&stand, &with(wrong.0, wrong.1), "wrong credentials")?;
        let said = status.last_error.unwrap_or_default();
        assert!(!said.contains(wrong.1), "{said}");
        arrives(&stand, &cluster, &with("dbgov", "s3cr3t"))?;
    }
    Ok(())
}

#[test]
fn a_mechanism_that_the_brokers_do_not_have_is_said_with_those_they_have() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let cluster = cluster_of(1)?;
    let front = front(&stand.path(""), &cluster)?
        .arg("--user", "dbgov")
        .arg("--kind", "SCRAM-SHA-512");
    let _running = front.start("{}")?;
    let keys = format!("{}\n{}", keys(&front), sasl("PLAIN", "dbgov", "s3cr3t"));
    fails_saying(&stand, &keys, "supported mechanisms: SCRAM-SHA-512")?;
    Ok(())
}

/// The second attempt reads the password anew.
#[test]
fn a_password_that_was_changed() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let cluster = cluster_of(1)?;
    let front = front(&stand.path(""), &cluster)?
        .arg("--user", "dbgov")
        .arg("--token", "new");
    let _running = front.start("{}")?;
    let password = stand.path("password");
    std::fs::write(&password, "old")?;
    let text = format!(
        "[[sink]]\nname = \"siem\"\n{}\nsasl_mechanism = \"SCRAM-SHA-256\"\nuser = \"dbgov\"\n\
         password = {{ file = {password:?} }}",
        keys(&front)
    );
    let config = Config::parse(&text, &stand.path("dbgov.toml"))?;
    let SinkKind::Kafka(kafka) = &config.sinks[0].kind else {
        anyhow::bail!("not a Kafka sink");
    };
    let mut sink = Kafka::new(kafka, "db1");
    let batch = [Item {
        seq: 1,
        id: "id".into(),
        session: Some("s".into()),
        kind: "statement".into(),
        time_unix_ns: 1_795_391_999_000_000_000,
        severity: Severity::Informational,
        body: b"{}".to_vec(),
    }];
    block_on(async {
        let error = sink.deliver(&batch).await.err().context("it was taken")?;
        assert!(error.to_string().contains("wrong credentials"), "{error}");
        std::fs::write(&password, "new")?;
        Ok(sink.deliver(&batch).await?)
    })?
}
