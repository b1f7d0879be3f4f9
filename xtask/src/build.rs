//! `cargo xtask build`: the kernel programs, then the agent that carries them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use dbgov_tests::{target_dir, workspace};

use crate::setup;
use crate::setup::kernel::{self, Route, Tools};
use crate::shell;

const KERNEL_TARGET: &str = "bpfel-unknown-none";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimise the agent
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let agent = everything(args.release)?;
    shell::say(format_args!("built {}", agent.display()));
    Ok(())
}

/// Builds both halves and returns the agent's path. Quick when nothing changed.
pub(crate) fn everything(release: bool) -> Result<PathBuf> {
    setup::provide(&[setup::Part::Agent])?;
    kernel_object(&kernel::provide()?)?;
    let mut build = shell::cargo();
    build.args(["build", "--package", "dbgov-agent"]);
    if release {
        build.arg("--release");
    }
    shell::run(&mut build)?;
    let profile = if release { "release" } else { "debug" };
    Ok(target_dir().join(profile).join("dbgov"))
}

/// Builds dbgov-ebpf; the agent's build script takes the result from `target/ebpf/dbgov.bpf.o`.
fn kernel_object(tools: &Tools) -> Result<()> {
    shell::run(&mut kernel_cargo(tools, "build"))?;
    let dir = kernel_target_dir();
    let built =
        fs::read(dir.join(KERNEL_TARGET).join("release/dbgov")).context("the kernel programs")?;
    let object = dir.join("dbgov.bpf.o");
    // Left alone when it is the same, so that the agent is not built again.
    if fs::read(&object).ok().as_ref() != Some(&built) {
        fs::write(&object, built)?;
    }
    Ok(())
}

/// `cargo <subcommand>` on dbgov-ebpf with the kernel tools.
pub(crate) fn kernel_cargo(tools: &Tools, subcommand: &str) -> Command {
    let mut command = Command::new(&tools.cargo);
    command
        .current_dir(workspace().join("dbgov-ebpf"))
        .args([
            subcommand,
            "--release",
            "--target",
            KERNEL_TARGET,
            "-Z",
            "build-std=core",
        ])
        .env("RUSTC", &tools.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", kernel_flags().join("\x1f"))
        .env("CARGO_TARGET_DIR", kernel_target_dir())
        .env("PATH", path_with(tools.linker.parent()));
    if tools.route == Route::Debian {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    // What the cargo that runs us, or the user, set for the workspace.
    for name in [
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(name);
    }
    command
}

fn kernel_flags() -> [String; 8] {
    // The programs read the registers of the architecture they will run on.
    let arch = format!("bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    let flags = [
        "-C",
        "linker=bpf-linker",
        "-C",
        "link-arg=--btf",
        "-C",
        "debuginfo=2",
        "--cfg",
        &arch,
    ];
    flags.map(str::to_string)
}

fn kernel_target_dir() -> PathBuf {
    target_dir().join("ebpf")
}

/// The PATH with the linker's directory first.
fn path_with(dir: Option<&Path>) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = dir
        .map(Path::to_path_buf)
        .into_iter()
        .chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).unwrap_or(path)
}
