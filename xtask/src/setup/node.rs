//! Packages of the npm registry, in directories of their own below the target directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::packages::Need;
use crate::shell::{self, find_program};

/// One package, with its version, and what it needs, below `dir`.
pub(super) struct NodePackage<'a> {
    pub(super) dir: &'a Path,
    pub(super) package: &'a str,
}

impl NodePackage<'_> {
    pub(super) fn need(&self, what: &'static str) -> Need {
        let is_there = find_program("node").is_some() && find_program("npm").is_some();
        Need::new(what, &["nodejs", "npm"], is_there)
    }

    /// Installs it, unless it is there in this version.
    pub(super) fn provide(&self) -> Result<()> {
        // Written last: without it an attempt was cut short.
        let stamp = self.dir.join("installed");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == self.package) {
            return Ok(());
        }
        fs::create_dir_all(self.dir)?;
        let quiet = [
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            "--prefix",
        ];
        shell::run(
            Command::new("npm")
                .args(quiet)
                .arg(self.dir)
                .arg(self.package),
        )?;
        Ok(fs::write(stamp, self.package)?)
    }
}
