//! A server and an agent that watches it, from start to verdict.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Client, Oracle, Report, compare};
use crate::agent::{Agent, Config};
use crate::postgres::{Options, Server};
use crate::wait_for;

/// The journal lags behind a burst of hundreds of thousands of statements.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The status is a picture the agent renews a few times a second: one asked for after this time is none of before.
const STATUS_AGE_MAX: Duration = Duration::from_secs(1);

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
        self.clients_are_gone()?;
        // The collector has written everything only when the server has stopped; then it is asked about spellings.
        self.server.restart()?;
        thread::sleep(STATUS_AGE_MAX);
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
        check_count(&status, &journal, &mut report);
        Ok((report, journal))
    }

    /// A backend that has not read its client's Terminate yet would be ended by the restart, with an error the client
    /// never asked for.
    fn clients_are_gone(&self) -> Result<()> {
        // Over a UNIX socket the port is -1.
        const REMOTE: &str = "SELECT count(*) FROM pg_stat_activity WHERE client_port > 0";
        let clients_left = || Ok((self.server.admin(REMOTE)? == "0").then_some(()));
        wait_for("the clients' backends end", DRAIN_TIMEOUT, clients_left)
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
    Ok(())
}

/// The agent's own count must be that of its journal.
fn check_count(status: &Value, journal: &[Value], report: &mut Report) {
    let is_statement = |record: &&Value| record["kind"] == "statement";
    let recorded = journal.iter().filter(is_statement).count();
    if status["statements"] != recorded {
        report.differences.push(format!(
            "the status counts {} statements, the journal has {recorded}",
            status["statements"]
        ));
    }
}
