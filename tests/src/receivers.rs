//! Real receivers of records, from the packages that `cargo xtask setup --only receivers` unpacks.

mod certificates;
mod nats;
mod python;
mod rsyslog;
mod syslog_ng;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

pub use certificates::{Certificates, Identity};
pub use nats::{NATS_STREAM, NatsSite};
pub use python::{Entry, Receiver, Running};
pub use rsyslog::{Input, Rsyslog};
pub use syslog_ng::{SyslogNg, Transport};

use crate::process::{self, Place};
use crate::target_dir;

/// Writing out what they hold is part of it.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the packages are unpacked.
pub fn directory() -> PathBuf {
    target_dir().join("receivers")
}

/// A program of theirs, named by its file.
pub fn program(name: &str) -> Result<PathBuf> {
    let places = ["usr/sbin", "usr/bin"].map(|dir| directory().join(dir).join(name));
    let found = places.into_iter().find(|path| path.exists());
    found.with_context(|| format!("{name} is missing: cargo xtask setup --only receivers"))
}

/// Python with the protocol package of OpenTelemetry, which the receivers in `tests/receivers` need.
pub fn python() -> PathBuf {
    directory().join("venv/bin/python")
}

/// A daemon in the foreground, its output in a file; ended with its owner.
#[derive(Debug)]
pub struct Daemon {
    child: Option<Child>,
    log: PathBuf,
}

impl Daemon {
    pub fn new(log: PathBuf) -> Self {
        Daemon { child: None, log }
    }

    /// `prepare` gives it arguments and environment.
    pub fn start(&mut self, program: &Path, prepare: impl FnOnce(&mut Command)) -> Result<()> {
        ensure!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Place::default().command(program);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        prepare(&mut command);
        self.child = Some(process::spawn(command)?);
        Ok(())
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// In order.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            process::stop(&mut child, &[(Signal::SIGTERM, STOP_TIMEOUT)])?;
        }
        Ok(())
    }

    pub fn kill9(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            process::stop(&mut child, &[])?;
        }
        Ok(())
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
