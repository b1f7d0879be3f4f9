//! The agent's own figures: bytes copied out of the kernel, and memory.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use dbgov_tests::agent::Agent;
use dbgov_tests::wire::Client;
use dbgov_tests::{drivers, wait_for};
use serde_json::{Value, json};

use super::stand::Stand;
use super::throughput::jobs;

const CONNECTIONS: u32 = 1000;
const BUSY_SECONDS: u32 = 10;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
/// The agent writes its figures down four times a second.
pub(super) const SETTLE: Duration = Duration::from_millis(600);
const SEEN_TIMEOUT: Duration = Duration::from_secs(10);
/// About 100 MB in rows of 1 KB, and the same in rows of 30 bytes.
const RESULTS: [(&str, &str); 2] = [
    (
        "rows of 1 KB",
        "SELECT repeat('x', 1000) FROM generate_series(1, 100000)",
    ),
    (
        "rows of 30 bytes",
        "SELECT n, repeat('x', 8) FROM generate_series(1, 3000000) AS n",
    ),
];

/// How much of large results crosses to the agent.
pub(super) fn copied(stand: &Stand) -> Result<Value> {
    let agent = stand.agent()?;
    let address = stand.address()?;
    let mut client = Client::connect(address, "postgres", "postgres", "bench")?;
    println!(
        "\n{:<20} {:>14} {:>14} {:>16}",
        "result", "bytes", "copied", "copied per MB"
    );
    let mut rows = Vec::new();
    for (what, sql) in RESULTS {
        let before = Copied::of(&agent)?;
        client.query(sql)?;
        let after = Copied::of(&agent)?;
        let (bytes, copied) = (after.bytes - before.bytes, after.copied - before.copied);
        let per_mb = copied * 1_000_000 / bytes.max(1);
        println!("{what:<20} {bytes:>14} {copied:>14} {per_mb:>16}");
        rows.push(json!({ "result": what, "bytes": bytes, "copied_bytes": copied, "copied_bytes_per_mb": per_mb }));
    }
    Ok(Value::Array(rows))
}

struct Copied {
    bytes: u64,
    copied: u64,
}

impl Copied {
    fn of(agent: &Agent) -> Result<Self> {
        thread::sleep(SETTLE);
        let status = agent.status()?;
        Ok(Copied {
            bytes: kernel_count(&status, "response_bytes")?,
            copied: kernel_count(&status, "response_record_bytes")?,
        })
    }
}

/// A count of the kernel programs, of what `dbgov status --json` says.
pub(super) fn kernel_count(status: &Value, name: &str) -> Result<u64> {
    let value = status["kernel"][name].as_u64();
    value.with_context(|| format!("dbgov status has no kernel.{name}"))
}

/// The agent's memory with many connections, doing nothing and doing their best.
pub(super) fn memory(stand: &Stand) -> Result<Value> {
    println!(
        "\n{:<22} {:>12} {:>12}",
        "agent's memory, KiB", "VmRSS", "RssAnon"
    );
    let agent = stand.agent()?;
    let fresh = Memory::of(&agent)?.tell("fresh");
    let address = stand.address()?;
    let clients = (0..CONNECTIONS)
        .map(|_| Client::connect(address, "postgres", "postgres", "bench"))
        .collect::<Result<Vec<Client>>>()?;
    wait_for("the agent knows all connections", SEEN_TIMEOUT, || {
        let sessions = agent.status()?["sessions"].as_u64().unwrap_or_default();
        Ok((sessions >= u64::from(CONNECTIONS)).then_some(()))
    })?;
    let idle = Memory::of(&agent)?.tell("1,000 idle");
    drop(clients);
    let busy = busy_peak(stand, &agent)?.tell("1,000 busy, peak");
    Ok(json!({ "connections": CONNECTIONS, "fresh": fresh, "idle": idle, "busy": busy }))
}

fn busy_peak(stand: &Stand, agent: &Agent) -> Result<Memory> {
    // The idle clients' backends need a moment to leave.
    wait_for("the idle connections are gone", SEEN_TIMEOUT, || {
        let left = stand
            .plain
            .admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bench'")?;
        Ok((left == "0").then_some(()))
    })?;
    let target = stand.target();
    let mut command = drivers::pgbench(&target)?;
    command
        .args([
            "--no-vacuum",
            "--select-only",
            "--time",
            &BUSY_SECONDS.to_string(),
        ])
        .args([
            "--client",
            &CONNECTIONS.to_string(),
            "--jobs",
            &jobs(CONNECTIONS),
        ]);
    let load = thread::spawn(move || drivers::run(command, &target));
    let mut peak = Memory::of(agent)?;
    while !load.is_finished() {
        thread::sleep(SAMPLE_INTERVAL);
        peak = peak.max(Memory::of(agent)?);
    }
    load.join()
        .map_err(|_| anyhow::anyhow!("the load panicked"))?
        .context("pgbench")?;
    Ok(peak)
}

/// From proc_pid_status(5), KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    rss_kib: u64,
    anon_kib: u64,
}

impl Memory {
    fn of(agent: &Agent) -> Result<Self> {
        let pid = agent.pid().context("the agent does not run")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let both = field("VmRSS:").zip(field("RssAnon:"));
        let (rss_kib, anon_kib) = both.context("no memory figures in /proc")?;
        Ok(Memory { rss_kib, anon_kib })
    }

    fn max(self, other: Self) -> Self {
        Memory {
            rss_kib: self.rss_kib.max(other.rss_kib),
            anon_kib: self.anon_kib.max(other.anon_kib),
        }
    }

    fn tell(self, when: &str) -> Value {
        println!("{when:<22} {:>12} {:>12}", self.rss_kib, self.anon_kib);
        json!({ "rss_kib": self.rss_kib, "anon_kib": self.anon_kib })
    }
}
