//! Python packages, in environments of their own below the target directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::packages::Need;
use crate::shell;

/// Debian's own Python: its venv module is a package of its own.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// An environment at `dir` with these packages.
pub(super) struct Venv<'a> {
    pub(super) dir: &'a Path,
    pub(super) packages: &'a [&'a str],
}

impl Venv<'_> {
    pub(super) fn need(&self, what: &'static str) -> Need {
        let works = || {
            shell::capture(Command::new(SYSTEM_PYTHON).args(["-c", "import venv, ensurepip"]))
                .is_some()
        };
        Need::new(
            what,
            &["python3", "python3-venv"],
            self.is_current() || works(),
        )
    }

    /// Makes it, unless it is there with exactly these packages.
    pub(super) fn provide(&self) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        shell::run(
            Command::new(SYSTEM_PYTHON)
                .args(["-m", "venv", "--clear"])
                .arg(self.dir),
        )?;
        shell::run(
            Command::new(self.dir.join("bin/pip"))
                .args(["install", "--quiet"])
                .args(self.packages),
        )?;
        Ok(fs::write(self.stamp(), self.packages.join("\n"))?)
    }

    fn is_current(&self) -> bool {
        self.dir.join("bin/python").exists()
            && fs::read_to_string(self.stamp())
                .is_ok_and(|stamped| stamped == self.packages.join("\n"))
    }

    /// A file that remembers what it was made of.
    fn stamp(&self) -> std::path::PathBuf {
        self.dir.join("packages.stamp")
    }
}
