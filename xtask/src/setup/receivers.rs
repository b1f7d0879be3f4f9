//! Receivers of records, which the tests of the sinks start: from the distribution's packages, but unpacked below the
//! target directory. Installed, rsyslog and syslog-ng would exclude each other, take the place of this host's own, and
//! be started at once.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dbgov_tests::receivers;

use super::packages::{self, Need};
use super::python::Venv;
use crate::shell::{self, find_program};

/// Packages whose programs are started.
const PACKAGES: &[&str] = &[
    "nats-server",
    "prometheus",
    "rsyslog",
    "rsyslog-gnutls",
    "syslog-ng-core",
    "tinyproxy-bin",
];

/// The official protocol package, and what serves it.
const PYTHON_PACKAGES: &[&str] = &["opentelemetry-proto>=1.30,<2", "grpcio>=1.60,<2"];

pub(super) fn provide() -> Result<()> {
    provide_packages()?;
    let python = Venv {
        dir: &receivers::directory().join("venv"),
        packages: PYTHON_PACKAGES,
    };
    packages::provide(&[
        python.need("Python with venv, for a receiver of OpenTelemetry's protocol"),
        Need::new(
            "openssl, for the receivers' certificates",
            &["openssl"],
            find_program("openssl").is_some(),
        ),
    ])?;
    python.provide()
}

fn provide_packages() -> Result<()> {
    let dir = receivers::directory();
    // Written last: without it an attempt was cut short.
    let stamp = dir.join("unpacked");
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|unpacked| unpacked == wanted) {
        return Ok(());
    }
    ensure!(
        PACKAGES.iter().all(|package| packages::offers(package)),
        "this system's package manager does not offer all of {wanted}, which the tests of the sinks need; Debian 12 does"
    );
    provide_libraries()?;
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    shell::say(format_args!("unpacking {wanted} into {}", dir.display()));
    shell::run_quietly(
        Command::new("apt-get")
            .arg("download")
            .args(PACKAGES)
            .current_dir(&dir),
    )?;
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            unpack(&path, &dir)?;
        }
    }
    Ok(fs::write(stamp, wanted)?)
}

fn unpack(package: &Path, dir: &Path) -> Result<()> {
    shell::run_quietly(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(package)
            .arg(dir),
    )?;
    fs::remove_file(package).with_context(|| package.display().to_string())
}

/// Those are installed: they start nothing.
fn provide_libraries() -> Result<()> {
    let depends = shell::capture(Command::new("apt-cache").arg("depends").args(PACKAGES));
    let depends = depends.context("apt-cache does not run")?;
    let libraries: Vec<&str> = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        // What Prometheus shows in a browser is not started.
        .filter(|package| package.starts_with("lib") && !package.starts_with("libjs-"))
        .collect();
    let installed = find_program("dpkg").is_some()
        && shell::capture(Command::new("dpkg").arg("--status").args(&libraries)).is_some();
    packages::provide(&[Need::new(
        "the libraries of rsyslog and syslog-ng, which the tests of the sinks start",
        &libraries,
        installed,
    )])
}
