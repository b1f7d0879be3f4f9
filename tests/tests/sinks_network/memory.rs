//! What a sink costs once it is configured.

use anyhow::{Context, Result};

use super::nats::Site;
use super::python::Receiver;
use super::stand::Stand;

/// For one sink with its clients, threads and a small batch: far below what the agent may use at all. Debug builds
/// take more than what is shipped.
const KIB_MAX: i64 = 16 * 1024;

fn resident_kib() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("VmRSS")?.parse()?)
}

#[test]
fn each_kind_costs_little() -> Result<()> {
    let texts: Vec<String> = (0..2_000).map(|n| format!("SELECT {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let stand = Stand::with_statements(&texts)?;
    // Code and buffers that all of them share.
    stand.deliver("type = \"file\"\npath = \"records\"", || Ok(()))?;
    stand.forget()?;
    for kind in ["webhook", "splunk", "elasticsearch", "otlp", "grpc"] {
        let dir = stand.path(kind);
        std::fs::create_dir(&dir)?;
        let receiver = match kind {
            "grpc" => Receiver::grpc(&dir)?,
            _ => Receiver::http(kind, &dir)?,
        };
        let receiver = receiver.arg("--token", "s3cr3t");
        let _running = receiver.start("{}")?;
        let url = format!("url = \"http://127.0.0.1:{}", receiver.port);
        costs_little(
            &stand,
            kind,
            &match kind {
                "webhook" => {
                    format!("type = \"webhook\"\nsignature_secret = \"s3cr3t\"\n{url}/hook\"")
                }
                "splunk" => format!("type = \"splunk\"\ntoken = \"s3cr3t\"\n{url}\""),
                "elasticsearch" => format!(
                    "type = \"elasticsearch\"\nformat = \"native\"\napi_key_token = \"s3cr3t\"\n\
                     index = \"dbgov-%Y\"\n{url}\""
                ),
                "otlp" => format!("type = \"otlp\"\nprotocol = \"http\"\n{url}\""),
                _ => format!("type = \"otlp\"\ntoken = \"s3cr3t\"\n{url}\""),
            },
        )?;
    }
    let site = Site::new(&stand.path(""), "")?;
    let _server = site.start()?;
    costs_little(&stand, "nats", &site.keys())
}

fn costs_little(stand: &Stand, kind: &str, keys: &str) -> Result<()> {
    let before = resident_kib()?;
    let mut most = before;
    stand.until(keys, "all is delivered", |status| {
        most = resident_kib().unwrap_or(before).max(most);
        status.delivered >= 2_000
    })?;
    let cost = most - before;
    eprintln!("{kind}: {cost} KiB more while it runs");
    assert!(cost < KIB_MAX, "{kind} takes {cost} KiB");
    stand.forget()
}
