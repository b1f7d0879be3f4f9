//! Configurations with a mistake beside a secret: what is said of the mistake does not show it.

use std::process::Command;

use anyhow::{Result, ensure};
use dbgov_tests::agent::binary;
use dbgov_tests::scratch::Scratch;

use crate::hunt::assert_nowhere;

const SECRET: &str = "q0Wrong8-Schreibfehler";
/// Its beginning alone is as bad.
const PIECE: &str = "q0Wrong8";

/// `{}` is the secret.
const MISTAKES: &[&str] = &[
    "type = \"splunk\"\nurl = \"https://user:{}@splunk.example:8088\"\ntoken = \"x\"",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntoken = {}",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntoken = [\"{}\"]",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntoken = { text = \"{}\" }",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntoken = \"{}\" and more",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntoken = \"{}",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntokn = \"{}\"",
    "type = \"splunk\"\nurl = \"https://splunk.example:8088\"\ntoken = \"x\"\ntoken = \"{}\"",
    "type = \"splunk\"\nurl = \"nonsense://{}\"\ntoken = \"x\"",
    "type = \"splunk\"\nurl = \"{}\"\ntoken = \"x\"",
    "type = \"webhook\"\nurl = \"https://h.example/\"\nproxy = \"http://user:{}@proxy.example:3128\"",
    "type = \"webhook\"\nurl = \"https://h.example/\"\nheaders = { X-Key = \"{}\\n\" }",
    "type = \"webhook\"\nurl = \"https://h.example/\"\nheaders = { \"X Key\" = \"{}\" }",
    "type = \"webhook\"\nurl = \"https://h.example/\"\nheaders = \"X-Key: {}\"",
    "type = \"elasticsearch\"\nurl = \"https://h.example/\"\nindex = \"a\"\npassword = \"{}\"",
    "type = \"elasticsearch\"\nurl = \"https://h.example/\"\nindex = \"a\"\nuser = \"u\"\npassword = \"{}\"\napi_key_token = \"{}\"",
    "type = \"nats\"\nservers = [\"nats://user:{}@nats.example:4222\"]",
    "type = \"nats\"\nservers = [\"nats://nats.example:4222\"]\ntoken = \"{}\"\nuser = \"u\"",
    "type = \"nats\"\nservers = [\"nats://nats.example:4222\"]\nnkey_secret = 7 # {}",
    "type = \"kafka\"\nbrokers = [\"k.example:9093\"]\ntopic = \"t\"\npassword = \"{}\"",
    "type = \"kafka\"\nbrokers = [\"k.example:9093\"]\ntopic = \"t\"\nproperties = { \"sasl.password\" = \"{}\" }",
    "type = \"kafka\"\nbrokers = [\"user:{}@k.example:9093 \"]\ntopic = \"t\"",
    "type = \"otlp\"\nurl = \"http://user:{}@h.example:4317\"",
    "type = \"nats\"\nservers = \"nats://user:{}@nats.example:4222\"",
    "type = \"kafka\"\nbrokers = [\"k.example:9093\"]\ntopic = \"t\"\nproperties = \"sasl.password={}\"",
    "type = \"otlp\"\nurl = [\"http://user:{}@h.example:4317\"]",
    "type = \"no-such-kind\"\ntoken = \"{}\"",
    "token = \"{}\"",
];

#[test]
fn a_mistake_in_the_configuration_is_told_without_the_secret_beside_it() -> Result<()> {
    let scratch = Scratch::new("broken")?;
    let path = scratch.path().join("dbgov.toml");
    let mut told = Vec::new();
    for mistake in MISTAKES {
        let text = format!(
            "[audit]\ndir = {:?}\n[[sink]]\nname = \"a\"\n{}\n",
            scratch.path().join("audit"),
            mistake.replace("{}", SECRET)
        );
        std::fs::write(&path, &text)?;
        for args in [&["doctor"][..], &["doctor", "--json"], &["audit", "key"]] {
            let mut command = Command::new(binary()?);
            command.env("DBGOV_LOG", "trace").args(args);
            let output = command.arg("--config").arg(&path).output()?;
            ensure!(
                !output.status.success(),
                "{args:?} finds nothing wrong in\n{text}"
            );
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            told.push((format!("{args:?} of\n{text}"), said));
        }
    }
    assert_nowhere(&[SECRET, PIECE], &told)
}
