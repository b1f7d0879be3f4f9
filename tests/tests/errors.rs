//! What is wrong on a host is told in words that name the way out, at once and with a failing exit code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dbgov_tests::agent::{self, Agent, Config};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::process::{self, Place};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{journal, wait_for};

/// Longer than any of these needs; an agent that runs on is the failure these tests are about.
const PATIENCE: Duration = Duration::from_secs(15);

/// A directory with a configuration, to run the binary by hand in.
struct Bench {
    scratch: Scratch,
}

impl Bench {
    fn new(extra: &str) -> Self {
        let scratch = Scratch::new("errors").unwrap();
        let dir = scratch.path().display().to_string();
        let text = format!(
            "[agent]\ncontrol_socket = \"{dir}/control.sock\"\nbpffs = \"/sys/fs/bpf/{}\"\nlisten = \"127.0.0.1:1\"\n{extra}",
            scratch.path().file_name().unwrap().to_string_lossy(),
        );
        fs::write(scratch.path().join("dbgov.toml"), text).unwrap();
        Bench { scratch }
    }

    /// With the audit directory in the bench, and no server but one nobody runs.
    fn usual() -> Self {
        let bench = Bench::new("");
        let audit = bench.path("audit");
        bench.append(&format!(
            "[audit]\ndir = \"{}\"\n[[server]]\nport = 1\n",
            audit.display()
        ));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn append(&self, text: &str) {
        let path = self.path("dbgov.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
    }

    fn run(&self) -> Command {
        let mut command = Place::default().command(agent::binary().unwrap());
        self.arguments(&mut command);
        command
    }

    fn arguments(&self, command: &mut Command) {
        command
            .args(["run", "--config"])
            .arg(self.path("dbgov.toml"));
    }
}

/// Runs to the end, which must come soon and be a failure; gives what it said.
fn fails(mut command: Command) -> String {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = process::spawn(command).unwrap();
    let ended = process::wait_timeout(&mut child, PATIENCE).unwrap();
    if ended.is_none() {
        process::stop(&mut child, &[]).unwrap();
    }
    let said = said(child);
    let status = ended.unwrap_or_else(|| panic!("still running, and says:\n{said}"));
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

/// The binary where anybody may run it, whatever the rights on the build directory are.
fn public_binary(bench: &Bench) -> PathBuf {
    let path = bench.path("dbgov");
    fs::copy(agent::binary().unwrap(), &path).unwrap();
    path
}

/// As a user without any right.
fn nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    command
        .args(["--pdeathsig", "TERM"])
        .args(user)
        .arg(program);
    command
}

#[test]
fn not_root() {
    let bench = Bench::usual();
    let mut command = nobody(&public_binary(&bench));
    bench.arguments(&mut command);
    let said = fails(command);
    assert_says(&said, &["needs root", "sudo"]);
    assert!(!bench.path("audit").exists() && !bench.path("control.sock").exists());
}

#[test]
fn no_cgroup_v2() {
    let bench = Bench::usual();
    let mut command = Place::default().command("unshare");
    // Only this program's view of the mounts changes.
    let script = r#"
        while mount=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo) && [ -n "$mount" ]; do
            umount -l "$mount" || exit 77
        done
        exec "$@""#;
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(agent::binary().unwrap());
    bench.arguments(&mut command);
    let said = fails(command);
    assert_says(&said, &["no cgroup v2", "mount -t cgroup2"]);
    assert!(!bench.path("control.sock").exists());
}

#[test]
fn a_second_agent_on_the_same_socket_or_journal() {
    let server = Server::start(&Options::default()).unwrap();
    let mut first = Agent::start(Config::watching(&[&server])).unwrap();
    let mut same = Place::default().command(agent::binary().unwrap());
    same.args(["run", "--config"]).arg(first.config_path());
    let said = fails(same);
    assert_says(&said, &["another dbgov", "stop it", "control_socket"]);

    let bench = Bench::new("");
    bench.append(&format!(
        "[audit]\ndir = {:?}\n",
        first.audit_dir().unwrap().display().to_string()
    ));
    let said = fails(bench.run());
    assert_says(&said, &["another dbgov", "stop it", "[audit] dir"]);
    assert!(!bench.path("control.sock").exists());

    // The first one is none the worse for it.
    assert_eq!(first.status().unwrap()["ready"], true);
    first.stop().unwrap();
    journal::verify(&first.audit_dir().unwrap()).unwrap();
}

#[test]
fn the_audit_directory_cannot_be_written() {
    let bench = Bench::usual();
    fs::write(bench.path("audit"), "a file").unwrap();
    let said = fails(bench.run());
    let path = bench.path("audit").display().to_string();
    assert_says(&said, &[&path, "[audit] dir"]);
    assert!(!bench.path("control.sock").exists());

    fs::remove_file(bench.path("audit")).unwrap();
    fs::create_dir(bench.path("audit")).unwrap();
    // Root may write into any directory but one of a file system that is mounted read-only.
    let mut command = Place::default().command("unshare");
    let script = r#"mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@""#;
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(bench.path("audit"))
        .arg(agent::binary().unwrap());
    bench.arguments(&mut command);
    let said = fails(command);
    assert_says(&said, &[&path, "Read-only file system", "[audit] dir"]);
    assert!(!bench.path("control.sock").exists());
}

#[test]
fn the_control_socket_cannot_be_made() {
    let bench = Bench::usual();
    fs::write(bench.path("control.sock"), "no socket").unwrap();
    let said = fails(bench.run());
    assert_says(&said, &["control socket", "control_socket"]);
    // What is not ours stays.
    assert_eq!(
        fs::read_to_string(bench.path("control.sock")).unwrap(),
        "no socket"
    );
}

#[test]
fn a_bad_configuration_line_is_named() {
    let bad: &[(&str, &[&str])] = &[
        (
            "[audit]\ndri = \"/x\"\n",
            &["line 6", "dri", "expected", "dir"],
        ),
        ("[[server]]\nport = \"5432\"\n", &["line 6", "5432", "u16"]),
        ("[[server]]\nport = 70000\n", &["line 6", "70000"]),
        (
            "[[server]]\nprotocol = \"oracle\"\nport = 1\n",
            &["line 6", "oracle", "postgresql"],
        ),
        ("[audit\n", &["line 5"]),
        (
            "[policy]\nfile = \"x\"\n",
            &["cannot read the policy", "[policy] file"],
        ),
        (
            "[policy]\nfil = \"x\"\n",
            &["line 6", "fil", "expected", "file"],
        ),
        (
            "[[sink]]\nname = \"siem\"\n",
            &["line 6", "missing field `type`", "syslog"],
        ),
        (
            "[capture]\nring_bytes = 1000\n",
            &["ring_bytes", "power of two"],
        ),
    ];
    for (text, words) in bad {
        let bench = Bench::new(text);
        let said = fails(bench.run());
        let path = bench.path("dbgov.toml").display().to_string();
        assert_says(&said, &[&[path.as_str()], *words].concat());
        assert!(!said.contains("ready"), "{said}");
        assert!(!bench.path("control.sock").exists());
    }
}

#[test]
fn a_configuration_that_is_not_there() {
    let mut command = Place::default().command(agent::binary().unwrap());
    command.args(["run", "--config", "/nonexistent/dbgov.toml"]);
    assert_says(&fails(command), &["/nonexistent/dbgov.toml", "--config"]);
}

#[test]
fn status_where_no_agent_runs_and_for_others_than_root() {
    let server = Server::start(&Options::default()).unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let bench = Bench::new("");
    let status = |mut command: Command, config: &Path| {
        command.args(["status", "--config"]).arg(config);
        fails(command)
    };
    let binary = agent::binary().unwrap();
    let said = status(Place::default().command(&binary), &bench.path("dbgov.toml"));
    assert_says(&said, &["no dbgov answers", "dbgov run", "--config"]);
    let said = status(nobody(&public_binary(&bench)), &agent.config_path());
    assert_says(&said, &["root", "sudo"]);
    agent.stop().unwrap();
    let said = status(Place::default().command(&binary), &agent.config_path());
    assert_says(&said, &["no dbgov answers"]);
}

/// One that was stopped while it was starting leaves nothing, too.
#[test]
fn a_signal_while_starting() {
    for delay_ms in [5, 40, 80, 120, 200, 400] {
        let bench = Bench::usual();
        let mut command = bench.run();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = process::spawn(command).unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        process::signal(&child, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = wait_for("the end", PATIENCE, || Ok(child.try_wait()?)).unwrap();
        let said = said(child);
        // Before the agent catches signals SIGTERM itself ends it; nothing was made by then.
        let ended_by_itself = status.code() == Some(0);
        let began = bench.path("audit").exists();
        assert!(
            ended_by_itself || !began,
            "after {delay_ms} ms: {status}\n{said}"
        );
        assert!(!bench.path("control.sock").exists(), "after {delay_ms} ms");
        if began {
            let records = journal::verify(&bench.path("audit")).unwrap();
            assert_eq!(
                records.last().unwrap()["kind"],
                "agent_stop",
                "after {delay_ms} ms"
            );
        }
    }
}
