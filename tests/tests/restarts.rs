//! Servers and agents come and go; what is recorded stays true, and what was missed is said.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers;
use dbgov_tests::log::{Kind, LogStatement};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::wire::Client;
use dbgov_tests::{extended, journal, process, wait_for, wire};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn connect(server: &Server, application: &str) -> Client {
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    Client::connect(address, "postgres", "postgres", application).unwrap()
}

fn server_pids(status: &Value, port: u16) -> Vec<u64> {
    let wanted = format!(":{port}");
    let servers = status["servers"].as_array().unwrap();
    servers
        .iter()
        .filter(|server| {
            server["addr"]
                .as_str()
                .unwrap_or_default()
                .ends_with(&wanted)
        })
        .filter_map(|server| server["pid"].as_u64())
        .collect()
}

#[test]
fn a_server_restarted_under_the_agent() {
    let mut server = Server::start(&Options::default()).unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let mut before = connect(&server, "before");
    before.query("SELECT 'before'").unwrap();
    server.restart().unwrap();
    let pid = u64::from(server.pid().unwrap());
    wait_for("the new server is found", PATIENCE, || {
        let pids = server_pids(&agent.status()?, server.port());
        let found = !pids.is_empty() && pids.iter().all(|found| *found == pid);
        Ok(found.then_some(()))
    })
    .unwrap();
    let mut after = connect(&server, "after");
    after.query("SELECT 'after'").unwrap();
    drop(after);
    // Ended without a word to anybody.
    let mut crashed = connect(&server, "crashed");
    crashed.query("SELECT 'crashed'").unwrap();
    server.crash().unwrap();
    agent
        .wait_for_record("the end of the crashed session", PATIENCE, |record| {
            record["kind"] == "session_close" && record["session"]["application"] == "crashed"
        })
        .unwrap();
    agent.stop().unwrap();

    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let before = journal::of_application(&records, "before");
    assert_eq!(
        journal::kinds(&before),
        [
            "session_open",
            "statement",
            "session_error",
            "session_close"
        ]
    );
    // admin_shutdown
    assert_eq!(before[2]["error"]["code"], "57P01");
    assert_eq!(before[3]["close"]["reason"], "server_closed");
    for (name, kinds) in [("after", 3), ("crashed", 3)] {
        let session = journal::of_application(&records, name);
        assert_eq!(journal::texts(&session), [format!("SELECT '{name}'")]);
        assert!(journal::kinds(&session).len() >= kinds);
        assert_eq!(session.last().unwrap()["kind"], "session_close");
    }
    assert!(journal::of_kind(&records, "gap").is_empty());
}

/// What a statement is recognised by: its text, where it has one, and its parameters.
#[derive(Debug, PartialEq)]
struct Told<'a> {
    text: Option<&'a str>,
    params: Vec<Option<&'a str>>,
    rows: Option<u64>,
}

impl<'a> Told<'a> {
    fn by_journal(record: &'a Value) -> Self {
        let statement = &record["statement"];
        let params = statement["params"].as_array();
        Told {
            text: statement["text"].as_str(),
            params: params.map_or(Vec::new(), |all| all.iter().map(Value::as_str).collect()),
            rows: record["result"]["rows"].as_u64(),
        }
    }

    /// Parameters of a statement whose text was never seen are not recorded, since they might be secrets; it is known by its
    /// rows, which are as many as its first parameter says.
    fn is(&self, logged: &LogStatement) -> bool {
        let params: Vec<Option<&str>> = logged.params.iter().map(Option::as_deref).collect();
        match self.text {
            Some(text) => text == logged.text && self.params == params,
            None => {
                let first = params.first().copied().flatten();
                self.params.iter().flatten().all(|param| *param == "***")
                    && self
                        .rows
                        .is_none_or(|rows| first.and_then(|first| first.parse().ok()) == Some(rows))
            }
        }
    }
}

/// What the server ran, by the client's address, in order.
fn truth(server: &Server) -> HashMap<String, Vec<LogStatement>> {
    let mut sessions: HashMap<String, Vec<LogStatement>> = HashMap::new();
    for statement in server.log().unwrap() {
        if matches!(statement.kind, Kind::Simple | Kind::Execute | Kind::Fetch) {
            let session = sessions.entry(statement.remote.clone()).or_default();
            session.push(statement);
        }
    }
    sessions
}

/// Compares a session with the log: its statements are a stretch of what the server ran, in order; where some are left
/// out a gap record stands. Returns how many the log has before and behind.
fn compare(session: &[&Value], log: &[LogStatement]) -> (usize, usize) {
    let stretches = session.split(|record| record["kind"] == "gap");
    let (mut before, mut next) = (None, 0);
    for stretch in stretches {
        let statements = stretch.iter().filter(|r| r["kind"] == "statement");
        let told: Vec<Told> = statements.clone().map(|r| Told::by_journal(r)).collect();
        statements.for_each(|record| check_result(record));
        if told.is_empty() {
            continue;
        }
        let fits = |logged: &[LogStatement]| told.iter().zip(logged).all(|(told, l)| told.is(l));
        let at = log[next..].windows(told.len()).position(fits);
        let at = at.unwrap_or_else(|| {
            panic!(
                "{} statements are not in the log like this: {stretch:?}",
                told.len()
            )
        });
        before = before.or(Some(next + at));
        next += at + told.len();
    }
    let last = session
        .iter()
        .rfind(|r| r["kind"] == "gap" || r["kind"] == "statement");
    let ends_with_gap = last.is_some_and(|record| record["kind"] == "gap");
    match before {
        Some(before) => (before, if ends_with_gap { 0 } else { log.len() - next }),
        None => (0, 0),
    }
}

/// The load's statements return as many rows as their first number says.
fn check_result(record: &Value) {
    let told = Told::by_journal(record);
    let first = told.params.first().copied().flatten().or_else(|| {
        let words = told.text?.strip_prefix("SELECT generate_series(1,")?;
        words.split(')').next()
    });
    let rows = first.and_then(|number| number.parse::<u64>().ok());
    let result = &record["result"];
    if result["status"] == "ok" && rows.is_some() {
        assert_eq!(result["rows"].as_u64(), rows, "another's result: {record}");
    }
}

/// pgbench in the background, each statement of which is unlike the others.
fn load(server: &Server, mode: &str, seconds: u32, scratch: &Scratch) -> Child {
    let script = scratch.path().join("load.sql");
    let text = "\\set rows random(1, 50)\n\\set n random(1, 1000000000)\nSELECT generate_series(1,:rows), :n;\n";
    std::fs::write(&script, text).unwrap();
    let target = server.target("127.0.0.1").application("load");
    let mut command = drivers::pgbench(&target).unwrap();
    command
        .args(["--no-vacuum", "--client=8", "--jobs=2"])
        .args([format!("--protocol={mode}"), format!("--time={seconds}")])
        .arg("--file")
        .arg(script)
        .envs(target.environment())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    process::spawn(command).unwrap()
}

fn agent_restarted_under_load(mode: &str) {
    let mut server = Server::start(&Options::default()).unwrap();
    let scratch = Scratch::new("load").unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    // The verifier reads the programs for some seconds while the load has the processors.
    let mut load = load(&server, mode, 20, &scratch);
    let load_pid = load.id();
    std::thread::sleep(Duration::from_millis(1000));
    agent.stop().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    agent.start_again().unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    agent.kill9().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    agent.start_again().unwrap();
    assert!(load.wait().unwrap().success());
    agent.stop().unwrap();
    server.stop().unwrap();

    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let log = truth(&server);
    let starts = journal::of_kind(&records, "agent_start").len();
    assert_eq!(starts, 3);
    let crashes = records.iter().filter(|r| r["gap"]["cause"] == "crash");
    assert_eq!(crashes.count(), 1);

    let last_start = records.iter().rposition(|r| r["kind"] == "agent_start");
    let last_run = &records[last_start.unwrap()..];
    assert!(journal::of_kind(last_run, "statement").len() > 1000);
    let last_run = journal::by_session(last_run);
    let mut midstream = 0;
    for (id, session) in journal::by_session(&records) {
        if journal::texts(&session).is_empty() {
            continue;
        }
        let last = session[session.len() - 1];
        let remote = last["session"]["client_addr"].as_str().unwrap();
        let logged = log.get(remote).unwrap_or_else(|| panic!("{remote}"));
        let (missed_before, missed_behind) = compare(&session, logged);
        assert_eq!(last["session"]["user"], "postgres", "{last}");
        assert_eq!(last["session"]["database"], "postgres", "{last}");
        assert_eq!(last["session"]["server_pid"], logged[0].pid, "{last}");
        assert_eq!(last["identity"]["pid"], load_pid, "{last}");
        if last["session"]["joined"] == "midstream" {
            midstream += 1;
        } else {
            assert_eq!(missed_before, 0, "{id}");
        }
        if last_run.contains_key(id) {
            assert_eq!(missed_behind, 0, "{id}");
        }
    }
    assert!(midstream >= 16, "8 clients over 2 restarts: {midstream}");
}

#[test]
fn an_agent_restarted_under_simple_load() {
    agent_restarted_under_load("simple");
}

#[test]
fn an_agent_restarted_under_extended_load() {
    agent_restarted_under_load("extended");
}

#[test]
fn an_agent_restarted_under_prepared_load() {
    agent_restarted_under_load("prepared");
}

/// What the agent joins in the middle of is full of what looks like messages. None of it may be taken for one.
#[test]
fn joined_within_a_message_that_holds_others() {
    let server = Server::start(&Options::default()).unwrap();
    let mut agent = Agent::prepare(Config::watching(&[&server])).unwrap();
    let mut client = connect(&server, "trojan");
    let fake = [
        wire::query("DROP TABLE forged"),
        extended::once("DELETE FROM forged", &[]),
    ]
    .concat();
    let value = fake.repeat(20_000);
    let messages = [
        extended::parse("", "SELECT length($1::bytea)"),
        extended::bind("", "", 1, &[Some(&value)]),
        extended::execute("", 0),
        extended::sync(),
    ]
    .concat();
    // The rest begins at the first byte of one of the messages inside.
    let inner = messages.windows(fake.len()).position(|bytes| bytes == fake);
    let middle = inner.unwrap() + fake.len() * 10_000;
    client.stream.write_all(&messages[..middle]).unwrap();
    agent.start_again().unwrap();
    for piece in messages[middle..].chunks(fake.len() * 100) {
        client.stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    client.until_ready().unwrap();
    // From here on the agent knows where it is.
    std::thread::sleep(Duration::from_millis(300));
    client.query("SELECT 'after'").unwrap();
    client.query("SELECT 'again'").unwrap();
    drop(client);
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let forged = records.iter().find(|r| r.to_string().contains("forged"));
    assert!(forged.is_none(), "{}", forged.unwrap());
    let all: Vec<&Value> = records.iter().collect();
    let texts = journal::texts(&all);
    assert!(
        texts.ends_with(&["SELECT 'after'", "SELECT 'again'"]),
        "{texts:?}"
    );
    let gap = journal::of_kind(&records, "gap");
    assert!(
        gap.iter().any(|gap| gap["gap"]["cause"] == "midstream"),
        "{gap:?}"
    );
}

/// A session that is idle while the agent starts is found and named before it says anything.
#[test]
fn an_idle_session_older_than_the_agent_is_announced() {
    let server = Server::start(&Options::default()).unwrap();
    let mut client = connect(&server, "idle");
    client.query("SELECT 'unseen'").unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let local = client.stream.local_addr().unwrap();
    let open = agent
        .wait_for_record("the idle session", PATIENCE, |record| {
            record["kind"] == "session_open"
        })
        .unwrap();
    assert_eq!(open["session"]["client_addr"], local.to_string());
    assert_eq!(open["session"]["joined"], "midstream");
    assert_eq!(open["session"]["user"], "postgres");
    assert_eq!(open["session"]["database"], "postgres");
    assert_eq!(open["identity"]["pid"], std::process::id());
    client.query("SELECT 'seen'").unwrap();
    client.query("SELECT 'seen too'").unwrap();
    drop(client);
    agent
        .wait_for_record("the end", PATIENCE, |r| r["kind"] == "session_close")
        .unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let session = journal::of_client(&records, local);
    // That the first message begins at a boundary could not be known: it is there, or a gap of its size is.
    let texts = journal::texts(&session);
    if texts.len() == 1 {
        let gap = session.iter().find(|record| record["kind"] == "gap");
        let gap = &gap.unwrap_or_else(|| panic!("not told: {session:?}"))["gap"];
        assert_eq!(gap["cause"], "midstream");
        assert_eq!(gap["direction"], "request");
        assert_eq!(gap["bytes"], wire::query("SELECT 'seen'").len());
    } else {
        assert_eq!(texts[0], "SELECT 'seen'");
    }
    assert_eq!(texts.last(), Some(&"SELECT 'seen too'"));
    assert_eq!(session.last().unwrap()["close"]["reason"], "terminate");
}
