//! A PostgreSQL installed on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::postgres::{copy_tree, give_to_server_user, server_place};
use crate::scratch::Scratch;
use crate::target_dir;

/// Structured logs (`log_destination = jsonlog`) came with 15.
const OLDEST_MAJOR: u32 = 15;
/// An installed PostgreSQL.
#[derive(Debug, Clone)]
pub struct Installation {
    bin: PathBuf,
    /// As `postgres --version` says it: `15.18`.
    version: String,
}

impl Installation {
    /// The newest server on this machine.
    pub fn find() -> Result<Self> {
        let newest = candidates()
            .into_iter()
            .filter_map(|bin| Some((version_of(&bin)?, bin)))
            .max_by_key(|(version, _)| major(version));
        let (version, bin) = newest
            .context("no PostgreSQL server is installed (on Debian: apt-get install postgresql)")?;
        ensure!(
            major(&version) >= OLDEST_MAJOR,
            "PostgreSQL {version} is too old for its log to be compared with: {OLDEST_MAJOR} or newer is needed"
        );
        Ok(Installation { bin, version })
    }

    pub fn tool(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn major(&self) -> u32 {
        major(&self.version)
    }

    /// A fresh data directory, made once: `initdb` takes seconds, a copy does not.
    pub(crate) fn template(&self) -> Result<PathBuf> {
        let template = target_dir().join(format!("pg-template-{}", self.version));
        if template.join("PG_VERSION").exists() {
            return Ok(template);
        }
        let scratch = Scratch::new("initdb")?;
        give_to_server_user(scratch.path())?;
        let data = scratch.path().join("data");
        let output = server_place(None)
            .command(self.tool("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .arg("--pgdata")
            .arg(&data)
            .current_dir("/")
            .output()?;
        ensure!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let hba = data.join("pg_hba.conf");
        let rules = fs::read_to_string(&hba)?
            + "host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\nhost replication all all trust\n";
        fs::write(&hba, rules)?;
        // The copy becomes the template by a rename: a run beside this one sees all of it or nothing.
        let copy = target_dir().join(crate::scratch::unique("pg-template-new-"));
        copy_tree(&data, &copy)?;
        if fs::rename(&copy, &template).is_err() {
            fs::remove_dir_all(&copy)?;
        }
        Ok(template)
    }
}

/// Directories a whole PostgreSQL may be in: Debian's, the PostgreSQL project's RPMs', and the PATH.
fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .chain(fs::read_dir("/usr"))
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    if let Some(path) = std::env::var_os("PATH") {
        found.extend(std::env::split_paths(&path));
    }
    let needed = ["initdb", "postgres", "psql", "pgbench"];
    found.retain(|bin| needed.iter().all(|tool| bin.join(tool).exists()));
    found
}

fn version_of(bin: &Path) -> Option<String> {
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    text.split_whitespace().nth(2).map(str::to_string)
}

fn major(version: &str) -> u32 {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_of_all_spellings() {
        assert_eq!(major("15.18"), 15);
        assert_eq!(major("18beta1"), 18);
    }
}
