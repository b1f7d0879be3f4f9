//! `cargo xtask`: everything one does with this repository, in one place.

mod bench;
mod build;
mod demo;
mod kernels;
mod lint;
mod package;
mod run;
mod setup;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, runs and checks dbgov")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what building and testing need; quick when everything is there
    Setup(setup::Args),
    /// Build the kernel programs and the agent that carries them
    Build(build::Args),
    /// Build the Debian package
    Package,
    /// Build and run the agent (as root)
    Run(run::Args),
    /// Run the tests; as root, since they load kernel programs
    Test(test::Args),
    /// Check the format and run clippy with warnings denied
    Lint,
    /// Measure what watching costs (as root)
    Bench(bench::Args),
    /// Try the agent on other kernels, from Linux 5.4 on, each in an emulator (as root; downloads kernels)
    Kernels(kernels::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Setup(args) => setup::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Package => package::run(),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Lint => lint::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Kernels(args) => kernels::run(&args),
    }
}
