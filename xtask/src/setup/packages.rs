//! Packages of the distribution.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// Something the host must have.
pub(super) struct Need {
    /// What it is for, in a reader's words.
    pub(super) what: &'static str,
    /// Debian's packages that bring it.
    pub(super) packages: Vec<String>,
    pub(super) met: bool,
}

impl Need {
    pub(super) fn new(what: &'static str, packages: &[&str], met: bool) -> Self {
        let packages = packages.iter().map(ToString::to_string).collect();
        Need {
            what,
            packages,
            met,
        }
    }
}

/// Installs the packages of the needs that are not met; does nothing at all when all are.
pub(super) fn provide(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.met).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        shell::say(format_args!(
            "missing: {} (Debian: {})",
            need.what,
            need.packages.join(" ")
        ));
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| &need.packages)
        .map(String::as_str)
        .collect();
    let by_hand = format!("apt-get update && apt-get install {}", packages.join(" "));
    if shell::find_program("apt-get").is_none() {
        bail!(
            "this is neither Debian nor Ubuntu: install what is listed above with this system's package manager; \
             on Debian it would be: {by_hand}"
        );
    }
    if !dbgov_tests::process::is_root() {
        bail!("installing packages needs root; run: sudo sh -c '{by_hand}'");
    }
    apt_get(&["update", "--quiet=2"])?;
    apt_get(
        &[
            &["install", "--yes", "--quiet=2", "--no-install-recommends"][..],
            &packages,
        ]
        .concat(),
    )
}

fn apt_get(args: &[&str]) -> Result<()> {
    shell::run(
        Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Whether the package lists know `package`. Lists may be absent on a fresh machine: then they are fetched first.
pub(super) fn offers(package: &str) -> bool {
    let known = || {
        let text =
            shell::capture(Command::new("apt-cache").args(["policy", package])).unwrap_or_default();
        text.lines()
            .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)"))
    };
    if shell::find_program("apt-get").is_none() {
        return false;
    }
    known()
        || (dbgov_tests::process::is_root() && apt_get(&["update", "--quiet=2"]).is_ok() && known())
}
