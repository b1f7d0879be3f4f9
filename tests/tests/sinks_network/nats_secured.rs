//! A nats-server that wants to know who this is: what is right is stored, what is wrong is said, without secrets.

use anyhow::Result;
use base64::prelude::*;
use dbgov_tests::receivers::{Certificates, Identity};
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::nats::Site;
use super::python::free_port;
use super::refusals::{HOST, fails_saying};
use super::stand::Stand;

/// What a server says of who it does not know.
const REFUSED: &str = "authorization violation: the server";

struct Case {
    stand: Stand,
    site: Site,
}

/// A stand, and a server with this in its configuration.
fn case(server: &str) -> Result<Case> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2"])?;
    let site = Site::new(&stand.path("nats"), server)?;
    Ok(Case { stand, site })
}

impl Case {
    fn keys(&self, more: &str) -> String {
        format!("{}\n{more}", self.site.keys())
    }

    /// With these keys nothing is stored, and the status says `words` and no secret.
    fn refuses(&self, more: &str, words: &str) -> Result<()> {
        let status = fails_saying(&self.stand, &self.keys(more), words)?;
        let said = status.last_error.unwrap_or_default();
        for secret in ["wr0ng", "s3cr3t"] {
            assert!(!said.contains(secret), "{said}");
        }
        Ok(())
    }

    fn takes(&self, more: &str) -> Result<()> {
        let status = self.stand.deliver(&self.keys(more), || Ok(()))?;
        assert_eq!(status.refused, 0, "{status:?}");
        assert_eq!(status.retries, 0, "{status:?}");
        self.stand.forget()
    }
}

#[test]
fn a_token() -> Result<()> {
    let case = case("authorization { token: \"s3cr3t\" }\n")?;
    let _server = case.site.start()?;
    case.refuses("", "the server wants to know who this is: give credentials")?;
    let words = format!("{REFUSED} does not take token");
    case.refuses("token = \"wr0ng\"", &words)?;
    let words = format!("{REFUSED} does not take user and password");
    case.refuses("user = \"u\"\npassword = \"s3cr3t\"", &words)?;
    case.takes("token = \"s3cr3t\"")
}

#[test]
fn a_user_and_a_password() -> Result<()> {
    let case = case("authorization { user: dbgov, password: \"s3cr3t\" }\n")?;
    let _server = case.site.start()?;
    let words = format!("{REFUSED} does not take user and password");
    case.refuses("user = \"dbgov\"\npassword = \"wr0ng\"", &words)?;
    case.refuses("user = \"mallory\"\npassword = \"s3cr3t\"", &words)?;
    case.takes("user = \"dbgov\"\npassword = \"s3cr3t\"")
}

#[test]
fn an_nkey() -> Result<()> {
    let (own, other) = (KeyPair::new_user(), KeyPair::new_user());
    let case = case(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}\n",
        own.public_key()
    ))?;
    let _server = case.site.start()?;
    let seed = |pair: &KeyPair| -> Result<String> {
        let path = case.stand.path("seed");
        // As `nk -gen user` writes it.
        std::fs::write(&path, format!("{}\n", pair.seed()?))?;
        Ok(format!("nkey_secret = {{ file = {path:?} }}"))
    };
    let words = format!("{REFUSED} does not take nkey_secret");
    case.refuses(&seed(&other)?, &words)?;
    case.takes(&seed(&own)?)
}

/// Subjects that this user may not publish to: the server tells, but not as an answer.
#[test]
fn a_user_that_may_not_publish() -> Result<()> {
    let case = case(
        "authorization { users: [ { user: dbgov, password: \"s3cr3t\", \
         permissions: { publish: { deny: \"dbgov.>\" } } } ] }\n",
    )?;
    let _server = case.site.start()?;
    let keys = "user = \"dbgov\"\npassword = \"s3cr3t\"";
    case.refuses(keys, "Permissions Violation for Publish to \"dbgov.")
}

/// Signs claims as NATS has them (version 2 of its JSON Web Tokens).
fn token(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: Value) -> Result<String> {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iat": 1_700_000_000, "iss": issuer.public_key(), "jti": name, "name": name, "nats": nats,
        "sub": subject.public_key(),
    });
    let head = part(json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let signed = format!("{head}.{}", part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

/// The file that `nsc generate creds` writes.
fn credentials(account: &KeyPair, user: &KeyPair) -> Result<String> {
    let claims = json!({
        "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
    });
    Ok(format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        token(account, user, "dbgov", claims)?,
        user.seed()?
    ))
}

#[test]
fn a_file_of_credentials() -> Result<()> {
    let operator = KeyPair::new_operator();
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let plain = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let of_account = |pair: &KeyPair, name: &str, limits: &Value| {
        let claims = json!({
            "type": "account", "version": 2, "limits": limits, "default_permissions": {"pub": {}, "sub": {}},
        });
        token(&operator, pair, name, claims)
    };
    let case = case(&format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}: {}\n{}: {}\n}}\n",
        token(
            &operator,
            &operator,
            "operator",
            json!({"type": "operator", "version": 2})
        )?,
        system.public_key(),
        system.public_key(),
        of_account(&system, "system", &plain)?,
        account.public_key(),
        of_account(&account, "audit", &limits)?,
    ))?;
    let _server = case.site.start()?;
    let path = case.stand.path("dbgov.creds");
    let keys = format!("credentials = {path:?}");
    // Of an account that this server does not know.
    std::fs::write(
        &path,
        credentials(&KeyPair::new_account(), &KeyPair::new_user())?,
    )?;
    case.refuses(&keys, &format!("{REFUSED} does not take credentials"))?;
    std::fs::write(&path, credentials(&account, &KeyPair::new_user())?)?;
    case.takes(&keys)
}

/// A server under TLS, where `more` is of its `tls`.
fn under_tls(authority: &Certificates, more: &str) -> Result<Case> {
    let server = authority.issue(HOST)?;
    let mut case = case(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, {more} }}\n",
        server.certificate, server.key
    ))?;
    case.site.host = HOST;
    Ok(case)
}

#[test]
fn a_certificate_of_somebody_else_or_for_another_name() -> Result<()> {
    let (right, other) = (Certificates::new()?, Certificates::new()?);
    let mut case = under_tls(&right, "")?;
    let _server = case.site.start()?;
    let with = |ca: &Certificates| format!("tls = {{ ca = {:?} }}", ca.ca());
    case.refuses(&with(&other), "invalid peer certificate")?;
    // The server wants TLS, and the system's authorities have not signed it.
    case.refuses("", "invalid peer certificate")?;
    case.takes(&with(&right))?;
    case.site.host = "127.0.0.1";
    case.refuses(&with(&right), "not valid for name")
}

#[test]
fn a_server_that_wants_a_certificate_of_ours() -> Result<()> {
    let (right, other) = (Certificates::new()?, Certificates::new()?);
    let case = under_tls(&right, &format!("ca_file: {:?}, verify: true", right.ca()))?;
    let _server = case.site.start()?;
    let without = format!("tls = {{ ca = {:?} }}", right.ca());
    let with = |own: &Identity| {
        format!(
            "tls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}",
            right.ca(),
            own.certificate,
            own.key
        )
    };
    case.refuses(&without, "ertificate")?;
    case.refuses(&with(&other.issue("dbgov")?), "ertificate")?;
    case.takes(&with(&right.issue("dbgov")?))
}

/// Of several servers it is enough that one is there.
#[test]
fn servers_that_are_not_there_are_passed_over() -> Result<()> {
    let case = case("")?;
    let _server = case.site.start()?;
    let mut servers = vec![format!("nats://127.0.0.1:{}", case.site.port)];
    for _ in 0..4 {
        servers.push(format!("nats://127.0.0.1:{}", free_port()?));
    }
    let keys = case.keys("").replace(
        &format!("servers = [{:?}]", servers[0]),
        &format!("servers = {servers:?}"),
    );
    assert!(keys.matches("nats://").count() == 5, "{keys}");
    let status = case.stand.deliver(&keys, || Ok(()))?;
    assert_eq!(status.retries, 0, "{status:?}");
    Ok(())
}
