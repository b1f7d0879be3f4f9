//! A server and an agent that watches it, from start to verdict.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Client, Oracle, Report, compare};
use crate::agent::{Agent, Config};
use crate::postgres::{Options, Server};
use crate::wait_for;

/// The journal lags behind a burst of hundreds of thousands of statements.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The server is the truth, the agent its witness.
#[derive(Debug)]
pub struct Witness {
    pub server: Server,
    pub agent: Agent,
}

/// Counters of `dbgov status` that must be 0 when nothing was lost.
const LOSSES: &[&str] = &[
    "/kernel/lost_segments",
    "/kernel/lost_bytes",
    "/kernel/control_lost",
    "/kernel/connections_refused",
    "/kernel/unframed",
    "/kernel/malformed_events",
    "/journal/dropped",
    "/journal/write_errors",
];

impl Witness {
    pub fn start(options: &Options) -> Result<Self> {
        let server = Server::start(options)?;
        let agent = Agent::start(Config::watching(&[&server]))?;
        Ok(Witness { server, agent })
    }

    /// Ends everything once the clients are done, and compares. Returns the journal for what a test wants to see more.
    pub fn finish(mut self, clients: &[Client]) -> Result<(Report, Vec<Value>)> {
        // The collector has written everything only when the server has stopped; then it is asked about spellings.
        self.server.restart()?;
        let status = wait_for("the agent has written everything", DRAIN_TIMEOUT, || {
            let status = self.agent.status()?;
            let done = status["sessions"] == 0 && status["journal"]["unflushed"] == 0;
            Ok(done.then_some(status))
        })?;
        let mut oracle = Oracle::of(&self.server)?;
        let log = self.server.log()?;
        self.agent.stop()?;
        let journal = self.agent.journal()?;
        let mut report = compare(&log, &journal, clients, &mut oracle)?;
        check_losses(&status, &mut report)?;
        Ok((report, journal))
    }
}

fn check_losses(status: &Value, report: &mut Report) -> Result<()> {
    for counter in LOSSES {
        let lost = status
            .pointer(counter)
            .and_then(Value::as_u64)
            .with_context(|| format!("the status has no {counter}: {status}"))?;
        if lost != 0 {
            report.differences.push(format!("{counter} is {lost}"));
        }
    }
    let seen = status["statements"].as_u64().unwrap_or(0);
    let recorded = report.compared + report.skipped + report.empty;
    ensure!(
        seen > 0 || recorded == 0,
        "the status counts no statements: {status}"
    );
    Ok(())
}
