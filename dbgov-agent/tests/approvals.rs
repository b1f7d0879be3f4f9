//! `dbgov approvals` as root, as a member of the group and as a stranger, against a control socket with a store behind
//! it. Needs root: a thread makes itself a mount namespace in which the group `dbgov` exists, and clients of several
//! users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use dbgov_agent::control::{Control, Decided, Job, Peer, Queue, Queued, Reply, Request, Serving};
use dbgov_agent::gate::approvals::{self, ApprovalError, Approvals, Decision, Outcome, Statement};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::eventfd::{EfdFlags, EventFd};

const GROUP_ID: u32 = 4_200_000;
const MEMBER_ID: u32 = 4_200_001;
const STRANGER_ID: u32 = 4_200_002;
const SECOND: u64 = 1_000_000_000;

/// The calling thread and those it starts see another /etc/group and /etc/passwd.
fn with_a_group_of_our_own(dir: &Path) {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
    let files = [
        ("/etc/group", format!("dbgov:x:{GROUP_ID}:\n")),
        (
            "/etc/passwd",
            format!("alice:x:{MEMBER_ID}:{MEMBER_ID}::/:/bin/false\n"),
        ),
    ];
    for (path, line) in files {
        let name = path.rsplit('/').next().unwrap();
        let own = dir.join(name);
        let mut text = fs::read_to_string(path).unwrap();
        text = text
            .lines()
            .filter(|line| !line.starts_with("dbgov:"))
            .collect::<Vec<_>>()
            .join("\n");
        fs::write(&own, text + "\n" + &line).unwrap();
        mount(
            Some(&own),
            path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
    }
}

/// What the capture thread will do: a store, asked over the queue.
struct Store {
    stop: Arc<AtomicBool>,
    wake: Arc<EventFd>,
    thread: JoinHandle<Vec<Outcome>>,
}

impl Store {
    fn start(mut approvals: Approvals) -> (Store, Queue) {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_SEMAPHORE).unwrap());
        let (queue, requests) = Queue::new(Arc::clone(&wake));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, woken) = (Arc::clone(&stop), Arc::clone(&wake));
        let thread = std::thread::spawn(move || {
            let mut outcomes = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                woken.read().unwrap();
                while let Some(queued) = requests.next() {
                    answer(&mut approvals, queued, &mut outcomes);
                }
            }
            outcomes
        });
        (Store { stop, wake, thread }, queue)
    }

    fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Release);
        self.wake.write(1).unwrap();
        self.thread.join().unwrap()
    }
}

fn answer(approvals: &mut Approvals, queued: Queued, outcomes: &mut Vec<Outcome>) {
    let now = 61 * SECOND;
    let approver = queued.peer.approver();
    let mut decide = |id, decision, reason| -> Result<Reply, ApprovalError> {
        let outcome = approvals.decide(id, decision, approver.clone(), reason, now)?;
        let reply = Reply::of(&Decided::from(&outcome));
        outcomes.push(outcome);
        Ok(reply)
    };
    let Job::Request(request) = &queued.job else {
        return queued.answer(Reply::error("not this"));
    };
    let reply = match request.clone() {
        Request::Approvals => Reply::of(&approvals.list(now)),
        Request::Approve { id, reason } => {
            decide(&id, Decision::Approve, reason).unwrap_or_else(Reply::error)
        }
        Request::Deny { id, reason } => {
            decide(&id, Decision::Deny, reason).unwrap_or_else(Reply::error)
        }
        _ => Reply::error("not this"),
    };
    queued.answer(reply);
}

struct Stand {
    dir: tempfile::TempDir,
    program: PathBuf,
    config: PathBuf,
    serving: Serving,
    store: Store,
}

impl Stand {
    fn new(waiting: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        with_a_group_of_our_own(dir.path());
        // Where every user may run it.
        let program = dir.path().join("dbgov");
        fs::copy(env!("CARGO_BIN_EXE_dbgov"), &program).unwrap();
        let config = dir.path().join("dbgov.toml");
        let socket = dir.path().join("run/control.sock");
        fs::write(&config, format!("[agent]\ncontrol_socket = {socket:?}\n")).unwrap();
        let mut approvals = Approvals::new(0);
        for cookie in 0..waiting {
            approvals.open(request(cookie), 0, 600 * SECOND).unwrap();
        }
        let (store, queue) = Store::start(approvals);
        let control = Control::bind(&socket).unwrap();
        let file = fs::metadata(&socket).unwrap();
        assert_eq!((file.mode() & 0o777, file.uid()), (0o666, 0));
        let serving = control
            .serve(move |peer: &Peer, request| match peer.permitted {
                true => queue.ask(peer, Job::Request(request)),
                false => Reply::Error(peer.refusal()),
            })
            .unwrap();
        Stand {
            dir,
            program,
            config,
            serving,
            store,
        }
    }

    /// `dbgov approvals …` as a user with these groups.
    fn run(&self, uid: u32, groups: &str, arguments: &[&str]) -> Output {
        let id = uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id]);
        match groups {
            "" => command.arg("--clear-groups"),
            groups => command.args(["--groups", groups]),
        };
        command
            .arg("--")
            .arg(&self.program)
            .arg("approvals")
            .args(arguments);
        command.arg("--config").arg(&self.config);
        command.output().unwrap()
    }

    fn said(&self, uid: u32, groups: &str, arguments: &[&str]) -> String {
        let output = self.run(uid, groups, arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }

    fn refused(&self, uid: u32, groups: &str, arguments: &[&str]) -> String {
        let output = self.run(uid, groups, arguments);
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    fn end(self) -> Vec<Outcome> {
        self.serving.stop();
        let outcomes = self.store.stop();
        drop(self.dir);
        outcomes
    }
}

fn request(cookie: u64) -> approvals::Request {
    approvals::Request {
        cookie,
        requester: "agent:sync".to_owned(),
        user: Some("app".to_owned()),
        database: Some("prod".to_owned()),
        rule: "write-needs-where".to_owned(),
        statement: Statement {
            head: format!("UPDATE t{cookie} SET x = 1"),
            ..Statement::default()
        },
        ..approvals::Request::default()
    }
}

/// Mounts are of the thread that makes them: nothing of it is left when it ends.
fn as_root(test: impl FnOnce() + Send + 'static) {
    if nix::unistd::geteuid().is_root() {
        std::thread::spawn(test).join().unwrap();
    }
}

#[test]
fn root_and_members_of_the_group_decide() {
    as_root(|| {
        let stand = Stand::new(2);
        let group = GROUP_ID.to_string();
        let table = stand.said(MEMBER_ID, &group, &["list"]);
        assert!(
            table.contains("0000-1  1m01s  8m59s  agent:sync  app@prod"),
            "{table}"
        );
        assert!(table.contains("UPDATE t1 SET x = 1"), "{table}");
        let json = stand.said(0, "", &["list", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(listed[1]["id"], "0000-2");

        let approve = ["approve", "0000-1", "--reason", "reviewed"];
        let said = stand.said(MEMBER_ID, &group, &approve);
        assert_eq!(said, "0000-1 approved after 1m01s: it runs now\n");
        let again = stand.refused(0, "", &["deny", "0000-1"]);
        assert_eq!(again, "dbgov: 0000-1 was approved by alice already\n");
        // The group may also be the process's own and only one.
        let said = stand.said(GROUP_ID, "", &["deny", "0000-2"]);
        assert_eq!(said, "0000-2 denied after 1m01s: its client is told\n");
        assert_eq!(stand.said(0, "", &["list"]), "nothing waits for approval\n");
        let unknown = stand.refused(0, "", &["approve", "0000-3"]);
        assert!(
            unknown.contains("`dbgov approvals list` shows"),
            "{unknown}"
        );

        let outcomes = stand.end();
        let approver = outcomes[0].approver.as_ref().unwrap();
        assert_eq!(
            (approver.uid, approver.user.as_deref()),
            (MEMBER_ID, Some("alice"))
        );
        assert_eq!(outcomes[0].reason.as_deref(), Some("reviewed"));
        let approver = outcomes[1].approver.as_ref().unwrap();
        assert_eq!((approver.uid, approver.user.as_deref()), (GROUP_ID, None));
    });
}

#[test]
fn nobody_else_does_whatever_the_files_mode_says() {
    as_root(|| {
        let stand = Stand::new(1);
        let words = "`usermod -aG dbgov";
        let refused = stand.refused(STRANGER_ID, "", &["approve", "0000-1"]);
        assert!(
            refused.contains("only root and members of the group dbgov") && refused.contains(words)
        );
        // Somebody has made the file everybody's.
        let socket = stand.dir.path().join("run/control.sock");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        for (uid, groups) in [(STRANGER_ID, ""), (STRANGER_ID, "0"), (MEMBER_ID, "27,100")] {
            let refused = stand.refused(uid, groups, &["approve", "0000-1"]);
            assert!(
                refused.contains("may not ask") && refused.contains(words),
                "{refused}"
            );
        }
        assert!(stand.said(0, "", &["list"]).contains("0000-1"));
        assert!(stand.end().is_empty());
    });
}

#[test]
fn without_an_agent_it_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("dbgov.toml");
    let socket = dir.path().join("control.sock");
    fs::write(&config, format!("[agent]\ncontrol_socket = {socket:?}\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dbgov"))
        .args(["approvals", "list", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("start it with `dbgov run`"), "{said}");
}
