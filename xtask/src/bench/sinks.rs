//! What a sink costs whose receiver hangs, against no sink at all: it must cost nothing.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use dbgov_tests::agent::Agent;
use serde_json::{Value, json};

use super::stand::{Stand, TRIGGERS};
use super::throughput::pgbench;
use super::{Args, median};
use crate::shell;

/// Of the throughput without a sink: what the rounds of one variant differ by from each other anyway.
const GOAL: f64 = 0.97;

/// Takes connections and never reads from them.
struct Hanging {
    port: u16,
    taken: Arc<Mutex<Vec<TcpStream>>>,
}

impl Hanging {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let taken: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let keep = Arc::clone(&taken);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                keep.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(stream);
            }
        });
        Ok(Hanging { port, taken })
    }

    fn connections(&self) -> usize {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Configurations of sinks, and what they are called.
fn variants(hanging: &Hanging) -> [(&'static str, String); 4] {
    let hangs = format!(
        "[[sink]]\nname = \"hangs\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{}\"\ntransport = \"tcp\"\ntimeout_ms = 1000\n",
        hanging.port
    );
    // No TLS is ever answered either.
    let hangs_tls = hangs
        .replace("\"hangs\"", "\"hangs-tls\"")
        .replace("\"tcp\"", "\"tls\"");
    let refuses = "[[sink]]\nname = \"refuses\"\ntype = \"syslog\"\naddress = \"127.0.0.1:1\"\ntransport = \"tcp\"\n";
    [
        ("no sink", String::new()),
        ("a sink that hangs", hangs.clone()),
        (
            "three that hang or are refused",
            format!("{hangs}{hangs_tls}{refuses}"),
        ),
        (
            "a sink that works (file)",
            "[[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"records.jsonl\"\n".to_owned(),
        ),
    ]
}

pub(super) fn measure(stand: &Stand, args: &Args) -> Result<Value> {
    let hanging = Hanging::start()?;
    let variants = variants(&hanging);
    let mut report = Vec::new();
    println!(
        "\n{:<12} {:<34} {:>10} {:>8} {:>8} {:>8} {:>6}",
        "", "", "tps", "ratio", "lowest", "highest", "lost"
    );
    for (mode, enforces) in [("observe", false), ("gate", true)] {
        let mut tps: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
        let mut lost = vec![0; variants.len()];
        for round in 0..args.rounds as usize {
            for place in 0..variants.len() {
                let turn = (place + round) % variants.len();
                let mut agent =
                    stand.agent_with(&variants[turn].1, enforces.then_some(TRIGGERS))?;
                tps[turn].push(pgbench(
                    &stand.target(),
                    &["--select-only"],
                    "simple",
                    args,
                )?);
                lost[turn] += lost_bytes(&agent)?;
                agent.stop()?;
            }
            shell::say(format_args!(
                "{mode}: round {} of {}",
                round + 1,
                args.rounds
            ));
        }
        for (turn, (name, _)) in variants.iter().enumerate() {
            let ratios = tps[turn]
                .iter()
                .zip(&tps[0])
                .map(|(with, without)| with / without);
            let ratios: Vec<f64> = ratios.collect();
            let (lowest, highest) = (
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(0.0, f64::max),
            );
            let (ratio, middle) = (median(ratios), median(tps[turn].clone()));
            println!(
                "{mode:<12} {name:<34} {middle:>10.0} {ratio:>8.3} {lowest:>8.3} {highest:>8.3} {:>6}",
                lost[turn]
            );
            report.push(json!({
                "mode": mode, "sinks": name, "tps": tps[turn], "median_tps": middle, "median_ratio": ratio,
                "lost_bytes": lost[turn],
            }));
        }
    }
    println!(
        "goal: a sink that hangs leaves at least {GOAL} of the throughput without; {} connections were hung",
        hanging.connections()
    );
    Ok(json!({ "rounds": args.rounds, "seconds": args.seconds, "goal": GOAL, "figures": report }))
}

fn lost_bytes(agent: &Agent) -> Result<u64> {
    let status = agent.status()?;
    Ok(status["kernel"]["lost_bytes"].as_u64().unwrap_or_default())
}
