//! What enforcing costs: throughput under a gate, the latency of a held statement, verdicts per second, the automaton.

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use dbgov_tests::agent::Agent;
use dbgov_tests::wire::Client;
use serde_json::{Value, json};

use super::stand::{Stand, TRIGGERS, Variant};
use super::{Args, kernel, latency, median, throughput};
use crate::shell;

/// To the bare server, with rules of words that the load does not have.
const GOAL_TRIGGERS: f64 = 0.95;
/// To pgbouncer, when every packet waits for its verdict.
const GOAL_STRICT: f64 = 1.3;
/// On one core.
const GOAL_VERDICTS_PER_S: f64 = 500_000.0;

/// Strings of these lengths in a statement: one packet each on the loopback, which takes 64 KiB.
const SHORT_BYTES: usize = 1_000;
const LONG_BYTES: usize = 31_000;
/// Statements of each length in a round.
const STATEMENTS: u32 = 2_000;

pub(super) fn measure(stand: &Stand, args: &Args) -> Result<Value> {
    let throughput = throughput::measure(stand, args, &args.variants(&Variant::GATES))?;
    println!(
        "goals: triggers at least {GOAL_TRIGGERS} of bare, the strict gate {GOAL_STRICT} x pgbouncer"
    );
    Ok(json!({
        "throughput": throughput,
        "latency": latency::measure(stand, args)?,
        "verdicts": verdicts()?,
        "automaton": automaton(stand, args.rounds)?,
    }))
}

/// `dbgov-agent/benches/policy.rs` measures, and says what in JSON.
fn verdicts() -> Result<Value> {
    let mut bench = shell::cargo();
    bench.args([
        "bench",
        "--quiet",
        "--package",
        "dbgov-agent",
        "--bench",
        "policy",
    ]);
    let text = shell::capture(&mut bench).context("cargo bench --bench policy failed")?;
    let line = text.lines().last().unwrap_or_default();
    let figures: Value = serde_json::from_str(line).context("what the bench says")?;
    println!("\n{:<40} {:>14} {:>12}", "on one core", "a second", "ns");
    for row in figures.as_array().into_iter().flatten() {
        let ns = row["ns"].as_f64().unwrap_or(f64::NAN);
        let what = row["what"].as_str().unwrap_or_default();
        println!("{what:<40} {:>14.0} {ns:>12.1}", 1e9 / ns);
    }
    println!("goal: {GOAL_VERDICTS_PER_S:.0} verdicts a second on one core");
    Ok(json!({ "goal_per_second": GOAL_VERDICTS_PER_S, "figures": figures }))
}

/// What the automaton takes for a byte, by the kernel's statistics of the ingress program: what long statements take
/// more than short ones, less what they take more without a policy (their copy to the agent).
fn automaton(stand: &Stand, rounds: u32) -> Result<Value> {
    let _enabled = enable_stats(Stats::RunTime)?;
    let (mut observing, mut enforcing) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        observing.push(ns_per_byte(stand, stand.agent()?)?);
        enforcing.push(ns_per_byte(stand, stand.enforcing(TRIGGERS)?)?);
    }
    let added = enforcing
        .iter()
        .zip(&observing)
        .map(|(with, without)| with - without);
    let (added, with) = (median(added.collect()), median(enforcing.clone()));
    println!(
        "\n{:<40} {added:>12.3} ns a byte ({with:.3} with the copy)",
        "the automaton in the kernel"
    );
    Ok(
        json!({ "ns_per_byte": added, "observing_ns_per_byte": observing, "enforcing_ns_per_byte": enforcing }),
    )
}

#[expect(clippy::cast_precision_loss, reason = "a figure to print")]
fn ns_per_byte(stand: &Stand, mut agent: Agent) -> Result<f64> {
    let mut client = Client::connect(stand.address()?, "postgres", "postgres", "bench")?;
    let mut ns = |bytes: usize| -> Result<f64> {
        let sql = format!("SELECT length('{}')", "x".repeat(bytes));
        client.query(&sql)?;
        let before = ingress_ns(&agent)?;
        for _ in 0..STATEMENTS {
            client.query(&sql)?;
        }
        Ok((ingress_ns(&agent)? - before) as f64 / f64::from(STATEMENTS))
    };
    let (short, long) = (ns(SHORT_BYTES)?, ns(LONG_BYTES)?);
    drop(client);
    agent.stop()?;
    Ok((long - short) / (LONG_BYTES - SHORT_BYTES) as f64)
}

/// Time spent in the agent's ingress program so far.
fn ingress_ns(agent: &Agent) -> Result<u64> {
    let status = agent.status()?;
    let hooks = status["hooks"].as_array().context("no hooks")?;
    let hook = hooks
        .iter()
        .find(|hook| {
            hook["program"]
                .as_str()
                .is_some_and(|name| name.contains("ingress"))
        })
        .context("no ingress program")?;
    let id = u32::try_from(hook["id"].as_u64().context("no id")?)?;
    let run = kernel::figures()?
        .remove(&id)
        .context("the program is gone")?;
    Ok(run.time_ns)
}
