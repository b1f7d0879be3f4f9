//! Truth with PostgreSQL's own programs.

use std::path::Path;

use dbgov_tests::drivers::{self, Target};
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Installation, Options};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::truth::{Client, Report, Witness};
use dbgov_tests::{Result, ensure};

/// Runs psql with `args` as an application of its own.
fn psql(target: &Target, application: &str, args: &[&str]) -> Result<Client> {
    let mut command = drivers::psql(target)?;
    command.args(args);
    let (pid, _) = drivers::run(command, &target.clone().application(application))?;
    Client::new(application, pid, &Installation::find()?.tool("psql"))
}

fn pgbench(target: &Target, application: &str, args: &[&str]) -> Result<Client> {
    let mut command = drivers::pgbench(target)?;
    command.args(args);
    let (pid, _) = drivers::run(command, &target.clone().application(application))?;
    Client::new(application, pid, &Installation::find()?.tool("pgbench"))
}

fn initialize(target: &Target) -> Result<Client> {
    pgbench(target, "init", &["--initialize", "--quiet", "--scale=1"])
}

/// Reports what was compared, so that a run shows its figures (`--nocapture`).
fn told(report: &Report, at_least: usize) -> Result<()> {
    println!("{}", report.figures());
    report.ensure(at_least)
}

const MODES: [&str; 3] = ["simple", "extended", "prepared"];

#[test]
fn pgbench_at_full_rate() -> Result<()> {
    let witness = Witness::start(&Options::default())?;
    let target = witness.server.target("127.0.0.1");
    let mut clients = vec![initialize(&target)?];
    for mode in MODES {
        let select = format!("select-{mode}");
        let args = ["-n", "-M", mode, "-c", "8", "-j", "2"];
        clients.push(pgbench(
            &target,
            &select,
            &[&args[..], &["-S", "-t", "4500"]].concat(),
        )?);
        let tpcb = format!("tpcb-{mode}");
        clients.push(pgbench(
            &target,
            &tpcb,
            &[&args[..], &["-t", "100"]].concat(),
        )?);
    }
    let (report, _) = witness.finish(&clients)?;
    told(&report, 3 * 8 * (4500 + 7 * 100))
}
