//! Transactions per second by pgbench, variant against variant.

use anyhow::{Context, Result};
use dbgov_tests::drivers::{self, Target};
use serde_json::{Value, json};

use super::stand::{Stand, Variant};
use super::{Args, median};
use crate::shell;

/// What pgbench plays: name, its option, and how statements are sent.
const CELLS: [(&str, &[&str], &str); 4] = [
    ("select-only", &["--select-only"], "simple"),
    ("select-only", &["--select-only"], "prepared"),
    ("tpcb-like", &[], "simple"),
    ("tpcb-like", &[], "prepared"),
];

/// The first of the variants is the bare server.
pub(super) fn measure(stand: &Stand, args: &Args, variants: &[Variant]) -> Result<Value> {
    let mut report = Vec::new();
    println!(
        "\n{:<24} {:<18} {:>10} {:>8} {:>8} {:>8} {:>11} {:>6}",
        "", "", "tps", "ratio", "lowest", "highest", "x pgbouncer", "lost"
    );
    for (workload, options, mode) in CELLS {
        let cell = format!("{workload} {mode}");
        let mut series: Vec<Series> = variants
            .iter()
            .map(|variant| Series::of(*variant))
            .collect();
        for round in 0..args.rounds as usize {
            // The order turns: no variant always comes after the same other one.
            for place in 0..series.len() {
                let turn = (place + round) % variants.len();
                let slice = stand.enter(variants[turn])?;
                let tps = pgbench(&slice.target, options, mode, args)?;
                series[turn].lost_bytes += slice.leave()?;
                series[turn].tps.push(tps);
            }
            shell::say(format_args!(
                "{cell}: round {} of {}",
                round + 1,
                args.rounds
            ));
        }
        let bare = series[0].tps.clone();
        let proxy = series
            .iter()
            .find(|one| one.variant == Variant::Pgbouncer)
            .map(|one| one.tps.clone());
        for one in &series {
            let row = one.row(&bare);
            let to_proxy = proxy.as_ref().map(|proxy| median(one.ratios(proxy)));
            let shown = to_proxy.map_or("-".to_string(), |ratio| format!("{ratio:.3}"));
            println!(
                "{cell:<24} {:<18} {:>10.0} {:>8.3} {:>8.3} {:>8.3} {shown:>11} {:>6}",
                one.variant.name(),
                row.tps,
                row.ratio,
                row.lowest,
                row.highest,
                one.lost_bytes
            );
            report.push(json!({
                "workload": workload, "mode": mode, "variant": one.variant.name(), "tps": one.tps,
                "median_tps": row.tps, "median_ratio": row.ratio, "median_ratio_to_pgbouncer": to_proxy,
                "lost_bytes": one.lost_bytes,
            }));
        }
    }
    Ok(json!({
        "rounds": args.rounds, "seconds": args.seconds, "clients": args.clients, "scale": args.scale, "cells": report,
    }))
}

/// One variant's rounds.
struct Series {
    variant: Variant,
    tps: Vec<f64>,
    lost_bytes: u64,
}

/// Medians and extremes of a series; ratios are those to the bare server in the same round.
struct Row {
    tps: f64,
    ratio: f64,
    lowest: f64,
    highest: f64,
}

impl Series {
    fn of(variant: Variant) -> Self {
        Series {
            variant,
            tps: Vec::new(),
            lost_bytes: 0,
        }
    }

    /// To the other one's of the same round.
    fn ratios(&self, other: &[f64]) -> Vec<f64> {
        let rounds = self.tps.iter().zip(other);
        rounds.map(|(tps, other)| tps / other).collect()
    }

    fn row(&self, bare: &[f64]) -> Row {
        let ratios = self.ratios(bare);
        Row {
            tps: median(self.tps.clone()),
            lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            highest: ratios.iter().copied().fold(0.0, f64::max),
            ratio: median(ratios),
        }
    }
}

pub(super) fn pgbench(target: &Target, options: &[&str], mode: &str, args: &Args) -> Result<f64> {
    let mut command = drivers::pgbench(target)?;
    command
        .args([
            "--no-vacuum",
            "--protocol",
            mode,
            "--time",
            &args.seconds.to_string(),
        ])
        .args([
            "--client",
            &args.clients.to_string(),
            "--jobs",
            &jobs(args.clients),
        ])
        .args(options);
    let (_, output) = drivers::run(command, target).context("pgbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    tps(&text).with_context(|| format!("no tps in what pgbench says: {text}"))
}

/// Two threads, as far as there are clients for them: the server needs the other processors.
pub(super) fn jobs(clients: u32) -> String {
    clients.min(2).to_string()
}

/// Reads `tps = 12345.678 (without initial connection time)`.
fn tps(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_tells_its_tps() {
        let text = "latency average = 0.1 ms\ntps = 12345.678 (without initial connection time)\n";
        assert_eq!(tps(text), Some(12345.678));
        assert_eq!(tps("pgbench: error"), None);
    }

    #[test]
    fn ratios_are_to_the_same_round() {
        let series = Series {
            tps: vec![90.0, 45.0, 200.0],
            ..Series::of(Variant::Dbgov)
        };
        let row = series.row(&[100.0, 50.0, 100.0]);
        assert_eq!((row.ratio, row.lowest, row.highest), (0.9, 0.9, 2.0));
    }
}
