//! `cargo xtask run`: builds the agent and becomes it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, demo, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Play the night the tables were dropped, on a throw-away PostgreSQL
    #[arg(long)]
    demo: bool,
    /// Leave the demo's server and agent running until Ctrl-C
    #[arg(long, requires = "demo")]
    keep: bool,
    /// Arguments of `dbgov run`
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    shell::need_root("loading kernel programs")?;
    if args.demo {
        return demo::run(args.keep);
    }
    let agent = build::everything(true)?;
    let error = Command::new(&agent).arg("run").args(&args.args).exec();
    Err(error).with_context(|| format!("cannot run {}", agent.display()))
}
