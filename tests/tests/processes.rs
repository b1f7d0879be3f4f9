//! Who connected, by what the kernel knew of the process at that moment: it may be gone, or be another program, before
//! anybody can look.

#[path = "processes/cases.rs"]
mod cases;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dbgov_tests::agent::{self, Agent, Config};
use dbgov_tests::drivers;
use dbgov_tests::journal;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::wire::Client;
use serde_json::Value;

use cases::{CLIENT, Case};

/// Processes of the long run.
const PROCESSES: usize = 10_000;
/// Of them at a time.
const SPAWNERS: usize = 4;
/// Programs that only compute, so that processors are busy.
const BUSY: usize = 2;
/// Of USER_HZ, and one for the boot time that it counts from.
const CLOCK_TICKS: Duration = Duration::from_millis(20);

/// A server that takes everything and answers nothing: it is as fast as its clients.
fn silent_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().read_to_end(&mut Vec::new());
        }
    });
    address
}

/// Keeps the processors busy until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..BUSY {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
        Busy(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs so many clients, the cases in turn; which number was which.
fn run(cases: &[Case], address: SocketAddr, how_many: usize) -> HashMap<u64, usize> {
    let ran = Mutex::new(HashMap::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SPAWNERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= how_many {
                        return;
                    }
                    let case = number % cases.len();
                    let mut child = cases[case].command(address).spawn().unwrap();
                    ran.lock().unwrap().insert(u64::from(child.id()), case);
                    assert!(child.wait().unwrap().success(), "{:?}", cases[case]);
                }
            });
        }
    });
    ran.into_inner().unwrap()
}

/// The number in the text of a `SELECT 'pid N'`.
fn said(statement: &Value) -> u64 {
    let text = statement["statement"]["text"].as_str().unwrap();
    let number = text
        .strip_prefix("SELECT 'pid ")
        .and_then(|rest| rest.strip_suffix('\''));
    number.unwrap().parse().unwrap()
}

#[test]
fn who_ends_at_once_is_named() {
    let scratch = Scratch::new("processes").unwrap();
    let cases = cases::all(scratch.path());
    let address = silent_server();
    let mut agent = Agent::start(Config::default().port(address.port()).quiet()).unwrap();
    // A process says when it started in ticks of the clock: the first must not seem older than the agent.
    thread::sleep(CLOCK_TICKS);
    let busy = Busy::start();
    let ran = run(&cases, address, PROCESSES);
    drop(busy);
    agent.stop().unwrap();

    assert_eq!(ran.len(), PROCESSES, "no number was used twice");
    let records = agent.journal().unwrap();
    let since = records[0]["time"].as_str().unwrap();
    let sessions = journal::by_session(&records);
    let (mut named, mut wrong) = (0, Vec::new());
    for session in sessions.values() {
        let Some(statement) = session.iter().find(|record| record["kind"] == "statement") else {
            wrong.push(format!("no statement: {session:?}"));
            continue;
        };
        let pid = said(statement);
        assert_eq!(statement["identity"]["pid"], session[0]["identity"]["pid"]);
        match cases[ran[&pid]].mistake(pid, session[0], since) {
            None => named += 1,
            Some(mistake) => wrong.push(mistake),
        }
    }
    let shown = &wrong[..wrong.len().min(5)];
    println!("{named} of {PROCESSES} processes are named");
    assert!(wrong.is_empty(), "{} wrong: {shown:#?}", wrong.len());
    assert_eq!(named, PROCESSES);
}

#[test]
fn an_exec_after_connect_changes_nothing() {
    let scratch = Scratch::new("processes").unwrap();
    let [first, second] = ["first", "second"].map(|name| scratch.path().join(name));
    for copy in [&first, &second] {
        fs::copy(CLIENT, copy).unwrap();
    }
    let address = silent_server();
    let mut agent = Agent::start(Config::default().port(address.port())).unwrap();
    let mut child = Command::new(&first)
        .arg("before exec")
        .env("BRIEF_ADDRESS", address.to_string())
        .env("BRIEF_HOW", "exec")
        .env("BRIEF_NEXT", &second)
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    agent.stop().unwrap();

    let records = agent.journal().unwrap();
    let open = journal::of_kind(&records, "session_open")[0];
    assert_eq!(
        said(journal::of_kind(&records, "statement")[0]),
        u64::from(child.id())
    );
    assert_eq!(open["identity"]["pid"], child.id());
    assert_eq!(open["identity"]["exe"], first.to_str().unwrap());
    assert_eq!(open["identity"]["comm"], "first");
    assert_eq!(open["process"]["command"][1], "before exec");
}

/// A connection of this process, in use until what is returned is dropped.
fn connect_and_stay(server: &Server) -> std::sync::mpsc::Sender<()> {
    let address = format!("127.0.0.1:{}", server.port()).parse().unwrap();
    let (stay, dropped) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut client = Client::connect(address, "postgres", "postgres", "alive").unwrap();
        while dropped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            client.query("SELECT 1").unwrap();
            thread::sleep(Duration::from_millis(100));
        }
    });
    stay
}

#[test]
fn a_connection_that_outlives_its_process_says_so() {
    let server = Server::start(&Options::default()).unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let mut parent = Command::new(CLIENT)
        .env("BRIEF_ADDRESS", format!("127.0.0.1:{}", server.port()))
        .env("BRIEF_HOW", "fork")
        .spawn()
        .unwrap();
    assert!(parent.wait().unwrap().success());
    let alive = connect_and_stay(&server);
    let told = agent
        .wait_for_record(
            "the end of the process is noticed",
            Duration::from_secs(15),
            |record| record["kind"] == "statement" && record["identity"]["process_ended"] == true,
        )
        .unwrap();
    drop(alive);
    agent.stop().unwrap();
    drop(server);

    let identity = &told["identity"];
    assert_eq!(identity["pid"], parent.id(), "the one that connected");
    assert_eq!(
        identity["used_by"]["pid"],
        said(&told),
        "the one that speaks"
    );
    assert_eq!(identity["used_by"]["exe"], CLIENT);
    assert_eq!(identity["used_by"]["comm"], "brief-client");
    let records = agent.journal().unwrap();
    let first = journal::of_kind(&records, "statement")[0];
    assert!(first["identity"]["process_ended"].is_null());
    let alive = journal::of_application(&records, "alive");
    assert!(alive.len() > 3, "it was looked at, too");
    assert!(
        alive
            .iter()
            .all(|record| record["identity"]["process_ended"].is_null())
    );
}

/// An agent for which the kernel describes no types.
fn without_types(scratch: &Scratch) -> std::path::PathBuf {
    let script = scratch.path().join("dbgov-without-types");
    let dbgov = agent::binary().unwrap();
    let text = format!(
        "#!/bin/sh\nexport DBGOV=\"{}\"\nexec unshare --mount sh -c \
         'mount -t tmpfs none /sys/kernel/btf && exec \"$DBGOV\" \"$@\"' sh \"$@\"\n",
        dbgov.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn without_the_kernels_types_proc_is_asked() {
    let scratch = Scratch::new("processes").unwrap();
    let server = Server::start(&Options::default()).unwrap();
    let config = Config::watching(&[&server]).binary(&without_types(&scratch));
    let mut agent = Agent::start(config).unwrap();
    let target = server.target("127.0.0.1").application("plain");
    let mut psql = drivers::psql(&target).unwrap();
    psql.args(["-c", "SELECT 'as ever'"]);
    let (pid, _) = drivers::run(psql, &target).unwrap();
    let status = agent.status().unwrap();
    agent.stop().unwrap();

    let problems = status["problems"].as_array().unwrap();
    let is_it = |problem: &&Value| {
        problem
            .as_str()
            .unwrap()
            .contains("/sys/kernel/btf/vmlinux")
    };
    assert_eq!(problems.iter().filter(is_it).count(), 1, "{problems:?}");
    let records = agent.journal().unwrap();
    let records = journal::of_application(&records, "plain");
    assert_eq!(records[0]["identity"]["pid"], pid);
    let command = records[0]["process"]["command"].as_array().unwrap();
    assert_eq!(command[command.len() - 1], "SELECT 'as ever'");
}
