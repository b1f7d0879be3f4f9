//! `cargo xtask lint`: format and clippy, warnings denied.

use std::process::Command;

use anyhow::Result;

use crate::setup;
use crate::setup::kernel::{self, Route, Tools};
use crate::{build, shell};

pub(crate) fn run() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args([
        "fmt",
        "--manifest-path",
        "dbgov-ebpf/Cargo.toml",
        "--check",
    ]))?;
    setup::provide(&[setup::Part::Agent])?;
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    kernel_programs(&kernel::provide()?)
}

fn kernel_programs(tools: &Tools) -> Result<()> {
    let nightly_has_clippy = || {
        let path = tools.cargo.with_file_name("cargo-clippy");
        path.exists().then_some(path)
    };
    match (tools.route, nightly_has_clippy()) {
        (Route::Rustup, Some(clippy)) => {
            let cargo = build::kernel_cargo(tools, "clippy");
            let mut command = Command::new(clippy);
            command
                .args(cargo.get_args())
                .args(["--", "-D", "warnings"]);
            if let Some(dir) = cargo.get_current_dir() {
                command.current_dir(dir);
            }
            for (name, value) in cargo.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            // It runs `cargo check` by this variable.
            command.env("CARGO", &tools.cargo);
            shell::run(&mut command)
        }
        _ => {
            shell::say("clippy of the kernel programs: left out, this compiler comes without it");
            Ok(())
        }
    }
}
