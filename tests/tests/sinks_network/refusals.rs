//! Receivers that are not who they should be, and receivers that refuse this sink: nothing is delivered, the status says
//! why, and no secret is in what it says.

use anyhow::Result;
use dbgov_agent::sink::SinkStatus;
use dbgov_tests::receivers::{Certificates, Identity};

use super::python::Receiver;
use super::stand::Stand;

/// What certificates are for.
pub(crate) const HOST: &str = "localhost";

/// A kind of receiver under TLS: its own start, and the sink's keys but for `tls`.
struct Kind {
    name: &'static str,
    receiver: Receiver,
    keys: String,
}

fn kinds(stand: &Stand, server: &Identity) -> Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for (name, keys) in [
        ("splunk", "type = \"splunk\"\ntoken = \"s3cr3t\""),
        (
            "elasticsearch",
            "type = \"elasticsearch\"\napi_key_token = \"s3cr3t\"\nindex = \"dbgov-%Y\"\nformat = \"native\"",
        ),
        ("otlp", "type = \"otlp\"\nprotocol = \"http\""),
        ("grpc", "type = \"otlp\"\ntoken = \"s3cr3t\""),
    ] {
        let dir = stand.path(name);
        std::fs::create_dir(&dir)?;
        let receiver = match name {
            "grpc" => Receiver::grpc(&dir)?,
            _ => Receiver::http(name, &dir)?,
        };
        let receiver = receiver
            .arg("--token", "s3cr3t")
            .arg("--certificate", &server.certificate.display().to_string())
            .arg("--key", &server.key.display().to_string());
        let keys = format!("{keys}\nurl = \"https://{HOST}:{}\"", receiver.port);
        kinds.push(Kind {
            name,
            receiver,
            keys,
        });
    }
    Ok(kinds)
}

pub(crate) fn fails_saying(stand: &Stand, keys: &str, words: &str) -> Result<SinkStatus> {
    let status = stand.until(keys, &format!("{words:?} in the status"), |status| {
        let said = status.last_error.as_deref();
        said.is_some_and(|said| said.contains(words))
    })?;
    assert_eq!(status.delivered, 0, "{keys}");
    assert_eq!(status.refused, 0, "{keys}");
    Ok(status)
}

#[test]
fn a_certificate_of_somebody_else_or_for_another_name() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let (right, other) = (Certificates::new()?, Certificates::new()?);
    for kind in kinds(&stand, &right.issue(HOST)?)? {
        let _running = kind.receiver.start("{}")?;
        let with = |ca: &Certificates| format!("{}\ntls = {{ ca = {:?} }}", kind.keys, ca.ca());
        fails_saying(&stand, &with(&other), "invalid peer certificate")?;
        // The system's authorities have not signed it either.
        fails_saying(&stand, &kind.keys, "UnknownIssuer")?;
        let renamed = with(&right).replace(HOST, "127.0.0.1");
        fails_saying(&stand, &renamed, "not valid for name")?;
        assert!(kind.receiver.arrived()?.is_empty(), "{}", kind.name);
        stand.deliver(&with(&right), || Ok(()))?;
        assert_eq!(kind.receiver.arrived()?.len(), 1, "{}", kind.name);
        stand.forget()?;
    }
    Ok(())
}

#[test]
fn a_certificate_that_has_expired() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let authority = Certificates::new()?;
    for kind in kinds(&stand, &authority.issue_expired(HOST)?)? {
        let _running = kind.receiver.start("{}")?;
        let keys = format!("{}\ntls = {{ ca = {:?} }}", kind.keys, authority.ca());
        fails_saying(&stand, &keys, "xpired")?;
        assert!(kind.receiver.arrived()?.is_empty(), "{}", kind.name);
    }
    Ok(())
}

#[test]
fn a_receiver_that_wants_a_certificate_of_ours() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let (authority, other) = (Certificates::new()?, Certificates::new()?);
    let (own, foreign) = (authority.issue("dbgov")?, other.issue("dbgov")?);
    for mut kind in kinds(&stand, &authority.issue(HOST)?)? {
        kind.receiver = kind
            .receiver
            .arg("--client-ca", &authority.ca().display().to_string());
        let _running = kind.receiver.start("{}")?;
        let with = |client: &Identity| {
            format!(
                "{}\ntls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}",
                kind.keys,
                authority.ca(),
                client.certificate,
                client.key
            )
        };
        let without = format!("{}\ntls = {{ ca = {:?} }}", kind.keys, authority.ca());
        fails_saying(&stand, &without, "")?;
        fails_saying(&stand, &with(&foreign), "")?;
        assert!(kind.receiver.arrived()?.is_empty(), "{}", kind.name);
        stand.deliver(&with(&own), || Ok(()))?;
        assert_eq!(kind.receiver.arrived()?.len(), 1, "{}", kind.name);
        stand.forget()?;
    }
    Ok(())
}

#[test]
fn a_wrong_token_is_said_without_it() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    for (kind, keys, words) in [
        ("splunk", "type = \"splunk\"\ntoken = \"wr0ng\"", "403"),
        (
            "elasticsearch",
            "type = \"elasticsearch\"\napi_key_token = \"wr0ng\"\nindex = \"a\"\nformat = \"native\"",
            "403",
        ),
        (
            "webhook",
            "type = \"webhook\"\nsignature_secret = \"wr0ng\"",
            "the signature is wrong",
        ),
        (
            "grpc",
            "type = \"otlp\"\ntoken = \"wr0ng\"",
            "Unauthenticated",
        ),
    ] {
        let receiver = match kind {
            "grpc" => Receiver::grpc(&stand.path(""))?,
            _ => Receiver::http(kind, &stand.path(""))?,
        };
        let receiver = receiver.arg("--token", "right");
        let _running = receiver.start("{}")?;
        let path = if kind == "webhook" { "/hook" } else { "" };
        let keys = format!("{keys}\nurl = \"http://127.0.0.1:{}{path}\"", receiver.port);
        let status = fails_saying(&stand, &keys, words)?;
        let said = status.last_error.unwrap_or_default();
        assert!(!said.contains("wr0ng"), "{kind}: {said}");
        assert!(receiver.arrived()?.is_empty());
    }
    Ok(())
}

/// Whoever answers with a redirection does not get the token sent elsewhere.
#[test]
fn redirections_are_not_followed() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let elsewhere = stand.path("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let other = Receiver::http("webhook", &elsewhere)?.arg("--token", "s3cr3t");
    let _other = other.start("{}")?;
    let receiver = Receiver::http("webhook", &stand.path(""))?.arg("--token", "s3cr3t");
    let fault = format!(
        r#"{{"1": {{"status": 307, "headers": {{"Location": "http://127.0.0.1:{}/hook"}}}}}}"#,
        other.port
    );
    let _running = receiver.start(&fault)?;
    let keys = format!(
        "type = \"webhook\"\nsignature_secret = \"s3cr3t\"\nurl = \"http://127.0.0.1:{}/hook\"",
        receiver.port
    );
    fails_saying(&stand, &keys, "redirections are not followed")?;
    assert!(other.arrived()?.is_empty());
    Ok(())
}

/// The collector takes events but would not acknowledge them: nothing is sent before that is known.
#[test]
fn a_collector_without_acknowledgement_is_said() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let receiver = Receiver::http("splunk", &stand.path(""))?
        .arg("--token", "s3cr3t")
        .arg("--no-acknowledgement", "yes");
    let _running = receiver.start("{}")?;
    let keys = format!(
        "type = \"splunk\"\ntoken = \"s3cr3t\"\nurl = \"http://127.0.0.1:{}\"",
        receiver.port
    );
    fails_saying(&stand, &keys, "acknowledge = false")?;
    assert!(receiver.arrived()?.is_empty());
    stand.deliver(&format!("{keys}\nacknowledge = false"), || Ok(()))?;
    assert_eq!(receiver.arrived()?.len(), 1);
    Ok(())
}
