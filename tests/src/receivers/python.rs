//! Receivers written in Python, below `tests/receivers`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::postgres::free_port;
use crate::process::{self, Place};

const PATIENCE: Duration = Duration::from_secs(5);

/// A record, as the receiver knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub id: String,
    pub session: String,
}

#[derive(Debug, Clone)]
pub struct Receiver {
    script: &'static str,
    pub port: u16,
    pub log: PathBuf,
    args: Vec<String>,
}

/// A receiver that runs; dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Receiver {
    pub fn http(kind: &str, dir: &Path) -> Result<Self> {
        let receiver = Receiver::new("http_receiver.py", dir)?;
        Ok(receiver.arg("--kind", kind))
    }

    pub fn grpc(dir: &Path) -> Result<Self> {
        Receiver::new("grpc_receiver.py", dir)
    }

    /// In front of a broker at `upstream`.
    pub fn kafka_front(dir: &Path, upstream: u16) -> Result<Self> {
        let receiver = Receiver::new("kafka_front.py", dir)?;
        Ok(receiver.arg("--upstream", &upstream.to_string()))
    }

    fn new(script: &'static str, dir: &Path) -> Result<Self> {
        let log = dir.join("received.log");
        std::fs::write(&log, "")?;
        Ok(Receiver {
            script,
            port: free_port()?,
            log,
            args: Vec::new(),
        })
    }

    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// What goes wrong, by the number of the request since this start.
    pub fn start(&self, faults: &str) -> Result<Running> {
        let python = crate::receivers::python();
        ensure!(
            python.exists(),
            "{} is not there; run: cargo xtask setup --only receivers",
            python.display()
        );
        let script = crate::workspace().join("tests/receivers").join(self.script);
        let mut command = Place::default().command(python);
        command
            .arg("-B")
            .arg(script)
            .args(["--port", &self.port.to_string()])
            .arg("--log")
            .arg(&self.log)
            .args(["--faults", faults])
            .args(&self.args)
            .stdout(Stdio::piped());
        let mut child = process::spawn(command)?;
        let out = child.stdout.take().context("it has a stdout")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let running = Running { child };
        ensure!(line.trim() == "ready", "the receiver did not start");
        Ok(running)
    }

    pub fn arrived(&self) -> Result<Vec<Entry>> {
        let text = std::fs::read_to_string(&self.log)?;
        let entry = |line: &str| {
            let mut words = line.split(' ');
            Some(Entry {
                seq: words.next()?.parse().ok()?,
                id: words.next()?.to_owned(),
                session: words.next()?.to_owned(),
            })
        };
        text.lines()
            .map(|line| entry(line).with_context(|| format!("{line:?}")))
            .collect()
    }

    /// Waits until about so many records have arrived.
    pub fn wait_for(&self, records: u64) -> Result<()> {
        // A line: up to 6 digits, 64 of a hash, a session, two blanks and a newline.
        const LINE_BYTES_MIN: u64 = 80;
        crate::wait_for("records arrive", Duration::from_secs(120), || {
            let bytes = std::fs::metadata(&self.log)?.len();
            Ok((bytes >= records * LINE_BYTES_MIN).then_some(()))
        })
    }
}

impl Running {
    pub fn stop(mut self) -> Result<()> {
        process::stop(&mut self.child, &[(Signal::SIGTERM, PATIENCE)])?;
        Ok(())
    }

    /// kill -9
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
