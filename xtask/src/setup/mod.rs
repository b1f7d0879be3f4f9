//! `cargo xtask setup`: finds what is needed, installs what is missing, and says what it does and why.

mod agent;
mod deploy;
mod drivers;
mod emulator;
pub(crate) mod kernel;
mod node;
mod packages;
mod postgres;
mod python;
mod receivers;

use anyhow::Result;
use clap::ValueEnum;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// What can be set up on its own.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// C compiler and libraries the agent is built with
    Agent,
    /// Compiler and linker for the kernel programs
    Kernel,
    /// PostgreSQL and network tools: the end-to-end tests and the demo
    Postgres,
    /// rsyslog, syslog-ng and a NATS server: the end-to-end tests of the sinks
    Receivers,
    /// Python, Node and Java clients: the test group `drivers`
    Drivers,
    /// What makes and checks the Debian package, the manifests and the image's Dockerfile
    Deploy,
    /// pgaudit, pgbouncer and bpftool: the bench
    Bench,
    /// qemu and what makes its images: `cargo xtask kernels`
    Emulator,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.only.is_empty() {
        provide(&[
            Part::Agent,
            Part::Kernel,
            Part::Postgres,
            Part::Receivers,
            Part::Deploy,
            Part::Drivers,
        ])
    } else {
        provide(&args.only)
    }
}

pub(crate) fn provide(parts: &[Part]) -> Result<()> {
    for part in parts {
        match part {
            Part::Kernel => {
                let tools = kernel::provide()?;
                crate::shell::say(format_args!("kernel build tools: {tools}"));
            }
            Part::Agent => agent::provide()?,
            Part::Postgres => postgres::provide()?,
            Part::Receivers => receivers::provide()?,
            Part::Drivers => drivers::provide()?,
            Part::Deploy => deploy::provide()?,
            Part::Emulator => emulator::provide()?,
            Part::Bench => postgres::provide_bench()?,
        }
    }
    Ok(())
}
