//! Child processes that never outlive us.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where and as whom a program runs.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Name of a network namespace (`ip netns`).
    pub netns: Option<String>,
    /// Name of a system user; only root can change it.
    pub user: Option<String>,
    /// Directory of a cgroup.
    pub cgroup: Option<PathBuf>,
    /// Capabilities it may have at most, as setpriv(1) names them (`net_admin`); all that we have where there is none.
    pub capabilities: Option<Vec<String>>,
}

impl Place {
    /// A command that runs `program` there. Every step execs the next, so the pid of the child is that of `program`.
    /// The child gets SIGTERM when the thread that spawned it ends: use [`spawn`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words: Vec<&OsStr> = Vec::new();
        // First of all: `ip netns exec` mounts another /sys.
        if let Some(cgroup) = &self.cgroup {
            let enter = r#"echo 0 >"$0/cgroup.procs" && exec "$@""#;
            words.extend(["sh", "-c", enter].map(OsStr::new));
            words.push(cgroup.as_os_str());
        }
        if let Some(netns) = &self.netns {
            words.extend(["ip", "netns", "exec", netns].map(OsStr::new));
        }
        words.extend(["setpriv", "--pdeathsig", "TERM"].map(OsStr::new));
        if let Some(user) = &self.user {
            words.extend(["--reuid", user, "--regid", user, "--init-groups"].map(OsStr::new));
        }
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        if let Some(capabilities) = &self.capabilities {
            // A program of root gets what is in the bounding set (capabilities(7)).
            let kept: String = capabilities.iter().map(|c| format!(",+{c}")).collect();
            command.arg("--bounding-set").arg(format!("-all{kept}"));
        }
        command.arg("--").arg(program);
        command
    }
}

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a child from a thread that lives as long as the process: the kernel sends the parent-death signal when the
/// *thread* that forked ends, and tests run in threads of their own (prctl(2), PR_SET_PDEATHSIG). The child is in a
/// process group of its own: Ctrl-C reaches us alone, and we end the child in order.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox): (Sender<Order>, Receiver<Order>) = channel();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.process_group(0).spawn());
            }
        });
        Mutex::new(orders)
    });
    let gone = || io::Error::other("the spawning thread ended");
    let (reply, answer) = channel();
    SPAWNER
        .lock()
        .map_err(|_| gone())?
        .send((command, reply))
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

pub fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    kill(Pid::from_raw(pid), signal).map_err(io::Error::from)
}

/// Waits for the end of `child`; `None` if it still runs after `timeout`.
pub fn wait_timeout(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    const POLL_INTERVAL_MS: u64 = 5;
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(POLL_INTERVAL_MS));
    }
}

/// Ends `child` by the first of `signals` it obeys within its time, by SIGKILL if none.
pub fn stop(child: &mut Child, signals: &[(Signal, Duration)]) -> io::Result<ExitStatus> {
    for (sig, patience) in signals {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        signal(child, *sig)?;
        if let Some(status) = wait_timeout(child, *patience)? {
            return Ok(status);
        }
    }
    child.kill()?;
    child.wait()
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_survives_the_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| {
            let mut command = Place::default().command("sleep");
            command.arg("30");
            spawn(command).unwrap()
        })
        .join()
        .unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none(), "ended with its asker");
        let status = stop(&mut child, &[(Signal::SIGTERM, Duration::from_secs(5))]).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn a_deaf_child_is_killed() {
        let mut command = Place::default().command("sh");
        command.args(["-c", "trap '' TERM; while :; do sleep 0.05; done"]);
        let mut child = spawn(command).unwrap();
        thread::sleep(Duration::from_millis(200));
        let status = stop(&mut child, &[(Signal::SIGTERM, Duration::from_millis(200))]).unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
    }
}
