//! `cargo xtask bench`: what watching costs, beside the other ways to record statements.
//!
//! Throughput is measured in interleaved rounds, each variant once a round, in an order that turns from round to
//! round; what counts is the median over the rounds of a variant's ratio to the bare server of the same round, so that
//! a machine that is slow for a while is slow for both.

mod figures;
mod gate;
mod kernel;
mod latency;
mod sinks;
mod stand;
mod throughput;

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::ValueEnum;
use dbgov_tests::target_dir;
use serde_json::{Map, Value};

use crate::setup::{self, Part};
use crate::{build, shell};
use stand::{Stand, Variant};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these figures
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Figure>,
    /// Only these variants; bare is always measured
    #[arg(long, value_enum, value_delimiter = ',')]
    variants: Vec<Variant>,
    /// Rounds of throughput
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of each measurement, seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// pgbench clients
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Measure this agent; none is built
    #[arg(long)]
    agent: Option<PathBuf>,
    /// pgbench scale
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    scale: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Transactions per second by pgbench
    Throughput,
    /// Run time of the kernel programs per packet
    Kernel,
    /// Bytes copied to the agent per MB of result
    Copied,
    /// The agent's memory at 1,000 connections
    Memory,
    /// What enforcing costs: transactions per second, latency of a held statement, verdicts per second
    Gate,
    /// What sinks cost whose receivers hang or are not there
    Sinks,
}

impl Args {
    fn wants(&self, figure: Figure) -> bool {
        self.only.is_empty() || self.only.contains(&figure)
    }

    /// Those of `all` that are wanted.
    fn variants(&self, all: &[Variant]) -> Vec<Variant> {
        let chosen = |variant: &&Variant| {
            **variant == Variant::Bare
                || self.variants.is_empty()
                || self.variants.contains(variant)
        };
        all.iter().filter(chosen).copied().collect()
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    shell::need_root("loading kernel programs")?;
    setup::provide(&[Part::Agent, Part::Kernel, Part::Postgres, Part::Bench])?;
    let binary = match &args.agent {
        Some(agent) => agent.clone(),
        None => build::everything(true)?,
    };
    raise_file_limit()?;
    let stand = Stand::build(&binary, args.scale)?;
    println!("dbgov runs with --quiet: what is measured writes the journal, without the live view");
    let mut report = Map::new();
    if args.wants(Figure::Throughput) {
        let variants = args.variants(&Variant::RECORDING);
        let figures = throughput::measure(&stand, args, &variants)?;
        report.insert("throughput".into(), figures);
    }
    if args.wants(Figure::Kernel) {
        report.insert("kernel".into(), kernel::measure(&stand, args.seconds)?);
    }
    if args.wants(Figure::Copied) {
        report.insert("copied".into(), figures::copied(&stand)?);
    }
    if args.wants(Figure::Memory) {
        report.insert("memory".into(), figures::memory(&stand)?);
    }
    if args.wants(Figure::Gate) {
        report.insert("gate".into(), gate::measure(&stand, args)?);
    }
    if args.wants(Figure::Sinks) {
        report.insert("sinks".into(), sinks::measure(&stand, args)?);
    }
    save(report)
}

/// A thousand connections need more than the usual 1024 files.
fn raise_file_limit() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

fn save(report: Map<String, Value>) -> Result<()> {
    let dir = target_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = dir.join(format!("{now}.json"));
    fs::write(&path, serde_json::to_string_pretty(&Value::Object(report))?)?;
    shell::say(format_args!("figures in {}", path.display()));
    Ok(())
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
