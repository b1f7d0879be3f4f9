//! The agent under test: the real binary with a configuration of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::postgres::{Server, free_port};
use crate::process::{self, Place};
use crate::scratch::{Scratch, unique};
use crate::{target_dir, wait_for};

/// On an emulated processor the verifier alone takes 20 s.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Draining includes writing out a journal that lags under load.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of the agent's last words a failure shows.
const LAST_WORDS_LINES: usize = 40;

/// The agent's configuration, in TOML's own spelling of values.
#[derive(Debug, Clone, Default)]
pub struct Config {
    ports: Vec<u16>,
    sections: BTreeMap<String, BTreeMap<String, String>>,
    environment: Vec<(String, String)>,
    policy: Option<String>,
    /// As they stand: arrays of tables.
    more: String,
    binary: Option<PathBuf>,
    place: Place,
    live: bool,
    quiet: bool,
}

impl Config {
    /// Watches the ports of these servers.
    pub fn watching(servers: &[&Server]) -> Self {
        Config {
            ports: servers.iter().map(|server| server.port()).collect(),
            ..Config::default()
        }
    }

    /// Watches one more port, whoever listens there.
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// Sets `[section] key = value`; `value` as it stands in TOML (strings with their quotes).
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        let entries = self.sections.entry(section.to_string()).or_default();
        entries.insert(key.to_string(), value.to_string());
        self
    }

    /// A policy file beside the configuration, in force.
    pub fn policy(mut self, text: &str) -> Self {
        self.policy = Some(text.to_string());
        self.set("policy", "file", "\"policy.toml\"")
    }

    /// More sections, as they stand in the file.
    pub fn more(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self.more.push('\n');
        self
    }

    /// Sets an environment variable of the agent, for instance `DBGOV_LOG`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// Runs this binary instead of [`binary`]'s.
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_path_buf());
        self
    }

    /// Where and with which rights the agent runs.
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Leaves the agent our own standard output, for people to watch.
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Without the live view: nothing on standard output, only the journal.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Fills in what was not set: everything the agent would share with the host lies in `dir`.
    fn with_defaults(mut self, dir: &Path) -> Result<Self> {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let bpffs = Path::new("/sys/fs/bpf").join(unique("dbgov-test-"));
        let defaults = [
            ("agent", "control_socket", quoted(&dir.join("control.sock"))),
            ("agent", "bpffs", quoted(&bpffs)),
            ("agent", "listen", format!("\"127.0.0.1:{}\"", free_port()?)),
            ("audit", "dir", quoted(&dir.join("audit"))),
        ];
        for (section, key, value) in defaults {
            let entries = self.sections.entry(section.to_string()).or_default();
            entries.entry(key.to_string()).or_insert(value);
        }
        Ok(self)
    }

    fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, entries) in &self.sections {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in entries {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text.push_str(&self.more);
        for port in &self.ports {
            text.push_str(&format!(
                "[[server]]\nprotocol = \"postgresql\"\nport = {port}\n"
            ));
        }
        text
    }

    /// The path set as `[section] key = "path"`.
    fn path(&self, section: &str, key: &str) -> Result<PathBuf> {
        let value = self
            .sections
            .get(section)
            .and_then(|entries| entries.get(key));
        let value = value.with_context(|| format!("[{section}] {key} is not set"))?;
        Ok(PathBuf::from(value.trim_matches('"')))
    }
}

/// An agent and its directory; killed and removed on drop.
#[derive(Debug)]
pub struct Agent {
    scratch: Scratch,
    config: Config,
    child: Option<Child>,
}

impl Agent {
    /// Starts the agent and returns once it captures.
    pub fn start(config: Config) -> Result<Self> {
        let mut agent = Agent::prepare(config)?;
        agent.start_again()?;
        Ok(agent)
    }

    /// An agent that was not started yet, its configuration written.
    pub fn prepare(config: Config) -> Result<Self> {
        remove_stale_pins();
        let scratch = Scratch::new("agent")?;
        let config = config.with_defaults(scratch.path())?;
        fs::write(scratch.path().join("dbgov.toml"), config.to_toml())?;
        if let Some(policy) = &config.policy {
            fs::write(scratch.path().join("policy.toml"), policy)?;
        }
        Ok(Agent {
            scratch,
            config,
            child: None,
        })
    }

    /// Starts the agent with the configuration, the journal and the pinned state it had.
    pub fn start_again(&mut self) -> Result<()> {
        self.launch()?;
        let waited = wait_for("the agent captures", READY_TIMEOUT, || {
            if let Some(status) = self.exited()? {
                bail!("the agent ended while starting ({status})");
            }
            Ok(self.is_ready().then_some(()))
        });
        waited.with_context(|| self.last_words())
    }

    /// Starts the process and returns at once.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the agent runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.stderr_path())?;
        let stdout = if self.config.live {
            Stdio::inherit()
        } else {
            File::options()
                .create(true)
                .append(true)
                .open(self.stdout_path())?
                .into()
        };
        let mut command = self.config.place.command(self.binary()?);
        command
            .args(["run", "--config"])
            .arg(self.config_path())
            .args(self.config.quiet.then_some("--quiet"))
            .envs(
                self.config
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log);
        self.child = Some(process::spawn(command)?);
        Ok(())
    }

    /// From the next start on.
    pub fn run_binary(&mut self, path: PathBuf) {
        self.config.binary = Some(path);
    }

    fn binary(&self) -> Result<PathBuf> {
        match &self.config.binary {
            Some(path) => Ok(path.clone()),
            None => binary(),
        }
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn config_path(&self) -> PathBuf {
        self.scratch.path().join("dbgov.toml")
    }

    pub fn policy_path(&self) -> PathBuf {
        self.scratch.path().join("policy.toml")
    }

    pub fn audit_dir(&self) -> Result<PathBuf> {
        self.config.path("audit", "dir")
    }

    /// Where `/metrics` and `/healthz` are.
    pub fn listen_address(&self) -> Result<String> {
        Ok(self.config.path("agent", "listen")?.display().to_string())
    }

    pub fn stdout_path(&self) -> PathBuf {
        self.scratch.path().join("stdout.log")
    }

    pub fn stderr_path(&self) -> PathBuf {
        self.scratch.path().join("stderr.log")
    }

    /// Runs `dbgov ARGS --config …` against this agent.
    pub fn command(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(self.binary()?)
            .args(args)
            .arg("--config")
            .arg(self.config_path())
            .stdin(Stdio::null())
            .output()?;
        Ok(output)
    }

    fn is_ready(&self) -> bool {
        self.command(&["status", "--json"])
            .is_ok_and(|output| output.status.success())
    }

    /// `dbgov status --json`, whatever its exit code.
    pub fn status(&self) -> Result<Value> {
        let output = self.command(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("dbgov status: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// All records of the journal, in order. A line that is still being written is left out.
    pub fn journal(&self) -> Result<Vec<Value>> {
        read_journal(&self.audit_dir()?)
    }

    /// Records of kind `statement`.
    pub fn statements(&self) -> Result<Vec<Value>> {
        let mut records = self.journal()?;
        records.retain(|record| record["kind"] == "statement");
        Ok(records)
    }

    /// Waits until the journal holds a record `wanted` likes.
    pub fn wait_for_record(
        &self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait_for(what, timeout, || {
            Ok(self.journal()?.into_iter().find(|record| wanted(record)))
        })
        .with_context(|| self.last_words())
    }

    /// Ends the agent as a service manager would; it must drain and end well.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let status = process::stop(&mut child, &[(Signal::SIGTERM, STOP_TIMEOUT)])?;
        ensure!(
            status.success(),
            "the agent ended with {status}\n{}",
            self.last_words()
        );
        Ok(())
    }

    /// The agent gets no processor, as on a host that is too busy, until this is dropped.
    pub fn stopped(&self) -> Result<Stopped> {
        let child = self.child.as_ref().context("the agent is not running")?;
        let pid = Pid::from_raw(child.id().try_into()?);
        signal::kill(pid, Signal::SIGSTOP)?;
        Ok(Stopped(pid))
    }

    /// Ends the agent as the OOM killer would.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            process::stop(&mut child, &[])?;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.stderr_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LAST_WORDS_LINES)..];
        format!("the agent's last words:\n{}", tail.join("\n"))
    }
}

/// An agent that is stopped by a signal.
pub struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It fails only where the agent has ended.
        let _ = signal::kill(self.0, Signal::SIGCONT);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        if let Some(mut child) = self.child.take() {
            let _ = process::stop(&mut child, &[(Signal::SIGTERM, Duration::from_secs(5))]);
        }
        if let Ok(bpffs) = self.config.path("agent", "bpffs") {
            let _ = fs::remove_dir_all(bpffs);
        }
    }
}

/// The binary under test: `DBGOV_BIN` (`cargo xtask test` sets it), or the release build.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("DBGOV_BIN") {
        Some(path) => PathBuf::from(path),
        None => target_dir().join("release/dbgov"),
    };
    ensure!(
        path.exists(),
        "{} is missing: cargo xtask build --release makes it",
        path.display()
    );
    Ok(path)
}

/// The segments of a journal with their first sequence numbers, in order, compressed or not.
pub fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    let entries = fs::read_dir(dir)
        .with_context(|| format!("cannot read the journal in {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if let Some(first) = first_sequence(&path) {
            segments.push((first, path));
        }
    }
    segments.sort();
    // One whose compression is not over is there twice; that it is not compressed counts.
    segments.dedup_by(|(_, later), (_, before)| *later == with_zst(before));
    Ok(segments)
}

/// What a segment holds.
pub fn segment_text(path: &Path) -> std::io::Result<String> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fs::read(with_zst(path))?,
        bytes => bytes?,
    };
    let bytes = match bytes.starts_with(&ZSTD_MAGIC) {
        true => zstd::decode_all(&bytes[..])?,
        false => bytes,
    };
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

/// RFC 8878 section 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn with_zst(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".zst");
    path.into()
}

/// The journal's own book-keeping, which says nothing of what anybody did.
pub fn is_bookkeeping(record: &Value) -> bool {
    record["kind"] == "segment" || record["kind"] == "checkpoint"
}

/// The records of all segments of a journal but its book-keeping, by the sequence number in the segments' names.
pub fn read_journal(dir: &Path) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for (_, path) in segments(dir)? {
        let text = segment_text(&path)?;
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            let record: Value = serde_json::from_str(line)
                .with_context(|| format!("{}: {line}", path.display()))?;
            if !is_bookkeeping(&record) {
                records.push(record);
            }
        }
    }
    Ok(records)
}

/// The number in `audit-<UTC start>-<first seq>.jsonl`, or `.jsonl.zst`.
fn first_sequence(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".zst").unwrap_or(name);
    let stem = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    stem.rsplit_once('-')?.1.parse().ok()
}

fn remove_stale_pins() {
    let root = Path::new("/sys/fs/bpf");
    for name in crate::scratch::names_in(root) {
        if crate::scratch::is_stale(&name, "dbgov-test-") {
            let _ = fs::remove_dir_all(root.join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_lists_sections_then_servers() {
        let config = Config::default()
            .port(5433)
            .set("audit", "lossless", "true")
            .with_defaults(Path::new("/tmp/x"))
            .unwrap();
        let text = config.to_toml();
        assert!(
            text.contains("[audit]\ndir = \"/tmp/x/audit\"\nlossless = true\n"),
            "{text}"
        );
        assert!(
            text.ends_with("[[server]]\nprotocol = \"postgresql\"\nport = 5433\n"),
            "{text}"
        );
        assert_eq!(
            config.path("audit", "dir").unwrap(),
            Path::new("/tmp/x/audit")
        );
    }

    /// A program in the place of the agent.
    fn stand_in(script: &str) -> (Scratch, Config) {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new("stand-in").unwrap();
        let path = scratch.path().join("dbgov");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (scratch, Config::default().binary(&path))
    }

    #[test]
    fn an_agent_is_ready_when_its_status_says_so_and_must_end_well() {
        let script = "case $1 in
            run) trap \"exit $CODE\" TERM; sleep 0.3; touch \"$3.ready\"; while :; do sleep 0.05; done;;
            status) test -e \"$4.ready\" && echo '{\"ready\":true}';;
            esac";
        let (_scratch, config) = stand_in(script);
        let mut agent = Agent::start(config.clone().env("CODE", "0")).unwrap();
        assert_eq!(agent.status().unwrap()["ready"], true);
        agent.stop().unwrap();
        agent.start_again().unwrap();
        agent.kill9().unwrap();
        let mut agent = Agent::start(config.env("CODE", "3")).unwrap();
        assert!(agent.stop().is_err());
    }

    #[test]
    fn an_agent_that_ends_at_once_is_told_in_its_words() {
        let (_scratch, config) = stand_in("echo no cgroup v2 here >&2; exit 1");
        let error = format!("{:#}", Agent::start(config).unwrap_err());
        assert!(error.contains("no cgroup v2 here"), "{error}");
    }

    #[test]
    fn segments_are_read_in_order_without_a_torn_line() {
        let scratch = Scratch::new("journal-test").unwrap();
        let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).unwrap();
        write(
            "audit-20261122T000100Z-10.jsonl",
            "{\"seq\":10}\n{\"seq\":1",
        );
        write("audit-20261122T000000Z-9.jsonl", "{\"seq\":9}\n");
        write("audit-20261122T000000Z-9.torn", "{");
        let numbers: Vec<u64> = read_journal(scratch.path())
            .unwrap()
            .iter()
            .filter_map(|record| record["seq"].as_u64())
            .collect();
        assert_eq!(numbers, [9, 10]);
    }
}
