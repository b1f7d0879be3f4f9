//! What a client waits for one statement, asked one after the other on one connection.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dbgov_tests::agent::Agent;
use dbgov_tests::wire::Client;
use serde_json::{Value, json};

use super::stand::{Stand, TRIGGERS};
use super::{Args, median};
use crate::shell;

/// The kernel finds a word it looks for, the agent a string: it is let go.
const HELD: &str = "SELECT 'drop'";
/// As long, and nothing is found in it.
const PASSED: &str = "SELECT 'dorp'";
/// Statements before the first that counts: caches, and the connection's classification by the agent.
const WARM_UP: Duration = Duration::from_millis(300);
/// What a held statement may take longer than on the bare server, microseconds.
pub(super) const GOAL_US: f64 = 100.0;

/// Microseconds of one round.
#[derive(Debug, Clone, Copy)]
struct Latency {
    median: f64,
    p99: f64,
}

/// A variant's name and its rounds.
struct Series {
    name: &'static str,
    rounds: Vec<Latency>,
}

/// Bare, gated and passed, gated and held, in every round.
pub(super) fn measure(stand: &Stand, args: &Args) -> Result<Value> {
    let mut series = ["bare", "gated, passes", "held and released"].map(|name| Series {
        name,
        rounds: Vec::new(),
    });
    for round in 0..args.rounds {
        let time = Duration::from_secs(args.seconds.into());
        series[0].rounds.push(play(stand, HELD, time)?);
        let mut agent = stand.enforcing(TRIGGERS)?;
        // The order turns, as it does with the variants of the throughput.
        for turn in 0..2 {
            let held = (turn + round) % 2 == 0;
            let (place, sql) = if held { (2, HELD) } else { (1, PASSED) };
            series[place].rounds.push(play(stand, sql, time)?);
        }
        ensure_held(&agent)?;
        agent.stop()?;
        shell::say(format_args!(
            "latency: round {} of {}",
            round + 1,
            args.rounds
        ));
    }
    Ok(tell(&series))
}

/// Figures of statements that nobody held would be good, and wrong.
fn ensure_held(agent: &Agent) -> Result<()> {
    std::thread::sleep(super::figures::SETTLE);
    let status = agent.status()?;
    let count = |name: &str| status["gate"][name].as_u64().unwrap_or_default();
    let (held, released) = (count("held_packets"), count("released_packets"));
    ensure!(
        held > 0 && released >= held,
        "{held} packets were held and {released} released"
    );
    Ok(())
}

fn play(stand: &Stand, sql: &str, time: Duration) -> Result<Latency> {
    let mut client = Client::connect(stand.address()?, "postgres", "postgres", "bench")?;
    ask(&mut client, sql, WARM_UP)?;
    let mut micros = ask(&mut client, sql, time)?;
    micros.sort_by(f64::total_cmp);
    let rank = micros.len() * 99 / 100;
    Ok(Latency {
        p99: micros.get(rank).copied().unwrap_or(f64::NAN),
        median: median(micros),
    })
}

fn ask(client: &mut Client, sql: &str, time: Duration) -> Result<Vec<f64>> {
    let mut micros = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let asked = Instant::now();
        client.query(sql)?;
        micros.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    Ok(micros)
}

fn tell(series: &[Series; 3]) -> Value {
    println!(
        "\n{:<24} {:>12} {:>12} {:>16} {:>16} {:>16}",
        "one statement, us", "median", "p99", "median - bare", "p99 - bare", "median - passed"
    );
    let of =
        |one: &Series, what: fn(&Latency) -> f64| median(one.rounds.iter().map(what).collect());
    let mut report = Vec::new();
    for one in series {
        let [to_bare, p99_to_bare] = [
            added(one, &series[0], |l| l.median),
            added(one, &series[0], |l| l.p99),
        ];
        let to_passed = added(one, &series[1], |l| l.median);
        let (median, p99) = (of(one, |l| l.median), of(one, |l| l.p99));
        println!(
            "{:<24} {median:>12.1} {p99:>12.1} {to_bare:>16.1} {p99_to_bare:>16.1} {to_passed:>16.1}",
            one.name
        );
        report.push(json!({
            "variant": one.name, "median_us": median, "p99_us": p99, "added_median_us": to_bare,
            "added_p99_us": p99_to_bare, "added_to_passed_median_us": to_passed,
        }));
    }
    println!("goal: held and released at most {GOAL_US} us more than bare");
    json!({ "statement": HELD, "goal_added_us": GOAL_US, "variants": report })
}

/// What `one` takes longer than `other` of the same round.
fn added(one: &Series, other: &Series, what: fn(&Latency) -> f64) -> f64 {
    let rounds = one.rounds.iter().zip(&other.rounds);
    median(rounds.map(|(one, other)| what(one) - what(other)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_to_the_same_round() {
        let series = |medians: [f64; 3]| Series {
            name: "",
            rounds: medians.map(|median| Latency { median, p99: 0.0 }).to_vec(),
        };
        let (held, bare) = (series([150.0, 90.0, 300.0]), series([100.0, 50.0, 100.0]));
        assert_eq!(added(&held, &bare, |l| l.median), 50.0);
    }
}
