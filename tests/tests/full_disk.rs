//! A disk that fills up under the journal and under what sinks keep on it, and is freed again: the journal holds, what it
//! could not take is counted, every sink's receiver has every record in order, and the gate goes on meanwhile.

mod records;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::Asking;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::receivers::{Input, Receiver, Rsyslog};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::small_disk::{self, SmallDisk};
use dbgov_tests::{journal, wait_for};
use records::Arrived;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// For all that is written in a quarter of a minute, twice: one sink writes to the same disk.
const DISK_MIB: u32 = 128;
/// The longest a client waited for an answer, or somebody for the gate, on a test machine that is busy.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Of a client's statements.
const PAUSE: Duration = Duration::from_millis(4);
/// Statements of those who try the gate: two drops and a truncate.
const GATED: u64 = 3;
const HOOK_KEY: &str = "s3cr3t-key";
const POLICY: &str = "[[rule]]\nname = \"no-drop\"\naction = \"reject\"\nverbs = [\"drop\"]\n\
     [[rule]]\nname = \"ask\"\naction = \"hold\"\nverbs = [\"truncate\"]\napproval_timeout = \"5m\"\n";

fn connect(server: &Server, application: &str) -> Result<Asking> {
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    Asking::connect(address, application)
}

/// Clients that ask on and on.
struct Load {
    ends: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<(u64, Duration)>>>,
}

impl Load {
    /// The first one's statements are so long that the journal's memory is full within seconds.
    fn start(server: &Server) -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for (number, filler_bytes) in [12_000, 20, 20, 20].into_iter().enumerate() {
            let mut client = connect(server, &format!("load-{number}"))?;
            let ends = Arc::clone(&ends);
            let filler = "f".repeat(filler_bytes);
            clients.push(thread::spawn(move || {
                let (mut asked, mut longest) = (0, Duration::ZERO);
                while !ends.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let answer = client.simple(&format!("SELECT {asked}, '{filler}'"))?;
                    ensure!(answer.error.is_none() && !answer.closed, "{answer:?}");
                    longest = longest.max(begun.elapsed());
                    asked += 1;
                    thread::sleep(PAUSE);
                }
                Ok((asked, longest))
            }));
        }
        Ok(Load { ends, clients })
    }

    /// How many statements were answered.
    fn stop(self) -> Result<u64> {
        self.ends.store(true, Ordering::Relaxed);
        let mut asked = 0;
        for client in self.clients {
            let (of_one, longest) = client.join().ok().context("a client panicked")??;
            ensure!(longest < ANSWER_MAX, "an answer took {longest:?}");
            asked += of_one;
        }
        Ok(asked)
    }
}

/// Takes every page that becomes free, until it is dropped.
struct Filler {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Filler {
    fn start(disk: &SmallDisk) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (end, path) = (Arc::clone(&ends), disk.path().join("ballast"));
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let _ = small_disk::fill(&path);
                thread::sleep(Duration::from_millis(5));
            }
            let _ = fs::remove_file(&path);
        });
        Filler {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A sink over TCP, one over HTTP, and one into a file on the very disk.
fn sinks(rsyslog: &Rsyslog, hook: &Receiver, file: &Path) -> String {
    format!(
        "[[sink]]\nname = \"siem\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{}\"\ntransport = \"tcp\"\n\
         [[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook\"\nsignature_secret = \"{HOOK_KEY}\"\n\
         [[sink]]\nname = \"file\"\ntype = \"file\"\npath = {file:?}\nbytes_max = 1000000000\n",
        rsyslog.port(),
        hook.port,
    )
}

fn sink(agent: &Agent, name: &str) -> Result<Value> {
    let status = agent.status()?;
    let sinks = status["sinks"].as_array().context("sinks")?;
    let found = sinks.iter().find(|sink| sink["name"] == name);
    Ok(found.context("a sink")?.clone())
}

fn until_journal(agent: &Agent, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_for(what, PATIENCE, || {
        let journal = agent.status()?["journal"].clone();
        Ok(wanted(&journal).then_some(journal))
    })
}

fn a_drop_is_refused(server: &Server) -> Result<()> {
    let begun = Instant::now();
    let refused = connect(server, "drops")?.simple("DROP TABLE kept")?;
    ensure!(refused.error.is_some(), "{refused:?}");
    ensure!(begun.elapsed() < ANSWER_MAX, "{:?}", begun.elapsed());
    Ok(())
}

/// Verdicts are given, and people are asked, while nothing can be written.
fn the_gate_goes_on(server: &Server, agent: &Agent) -> Result<()> {
    a_drop_is_refused(server)?;
    let mut client = connect(server, "asks")?;
    let waiter = thread::spawn(move || client.simple("TRUNCATE emptied"));
    let id = wait_for("it waits", ANSWER_MAX, || {
        let output = agent.command(&["approvals", "list", "--json"])?;
        let listed: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        Ok(listed
            .first()
            .and_then(|one| one["id"].as_str().map(str::to_owned)))
    })?;
    let begun = Instant::now();
    let approved = agent.command(&["approvals", "approve", &id])?;
    ensure!(approved.status.success(), "{approved:?}");
    let answer = waiter.join().ok().context("the client panicked")??;
    ensure!(answer.error.is_none() && !answer.closed, "{answer:?}");
    ensure!(begun.elapsed() < ANSWER_MAX, "{:?}", begun.elapsed());
    ensure!(server.admin("SELECT count(*) FROM emptied")? == "0");
    ensure!(server.admin("SELECT count(*) FROM kept")? == "1");
    Ok(())
}

/// `seq` and text of a line of the journal that arrived as it is.
fn whole(line: &str) -> Option<(u64, String)> {
    let record: Value = serde_json::from_str(line).ok()?;
    Some((record["seq"].as_u64()?, line.to_owned()))
}

/// The text of a syslog message, as rsyslog writes it down.
fn of_syslog(line: &str) -> Option<(u64, String)> {
    let text = line.splitn(7, '\t').nth(6)?;
    whole(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The hook has what names a record: if that is right it is this record.
fn of_hook(lines: &BTreeMap<u64, String>, hook: &Receiver) -> Result<Vec<Option<(u64, String)>>> {
    let mut arrived = Vec::new();
    for entry in hook.arrived()? {
        let line = lines.get(&entry.seq);
        let id = format!("\"hash\":\"{}\"", entry.id);
        let same = line.filter(|line| line.contains(&id));
        arrived.push(same.map(|line| (entry.seq, line.clone())));
    }
    Ok(arrived)
}

fn gaps<'a>(records: &'a [Value], cause: &str) -> Vec<&'a Value> {
    let of_cause = |record: &&Value| record["gap"]["cause"] == cause;
    records.iter().filter(of_cause).collect()
}

/// Nothing is left of attempts to write: `cursor.new`, half a compressed segment.
fn ensure_tidy(audit: &Path) -> Result<()> {
    for dir in [audit.to_owned(), audit.join("sinks")] {
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let known = [".jsonl", ".zst", ".idx", ".cursor", ".lock"];
            // The half line of an agent that was killed is put aside, and a gap names it.
            let is_torn = name.starts_with("torn-") && name.ends_with(".bin");
            let is_known =
                known.iter().any(|end| name.ends_with(end)) || name == "sinks" || is_torn;
            ensure!(is_known, "{name} is left");
        }
    }
    Ok(())
}

fn fills_up_and_is_freed(killed: bool) -> Result<()> {
    let server = Server::start(&Options {
        quiet: true,
        ..Options::default()
    })?;
    server.admin("CREATE TABLE kept AS SELECT 1 AS n; CREATE TABLE emptied AS SELECT 1 AS n")?;
    let disk = SmallDisk::mount(DISK_MIB)?;
    let (audit, file) = (disk.path().join("audit"), disk.path().join("records.jsonl"));
    let rsyslog = Rsyslog::start(&Input::Tcp)?;
    let hooks = Scratch::new("hook")?;
    let hook = Receiver::http("webhook", hooks.path())?.arg("--token", HOOK_KEY);
    let hook_runs = hook.start("{}")?;
    let config = Config::watching(&[&server])
        .set("audit", "dir", &format!("{audit:?}"))
        .set("audit", "segment_bytes_max", "1048576")
        .policy(POLICY)
        .quiet()
        .more(&sinks(&rsyslog, &hook, &file));
    let mut agent = Agent::start(config)?;
    let load = Load::start(&server)?;
    hook.wait_for(200)?;

    // It has something to deliver while its cursor cannot be written.
    hook_runs.stop()?;
    thread::sleep(Duration::from_millis(1500));
    let before = records::lines(&audit);
    let filler = Filler::start(&disk);
    let full = until_journal(&agent, "the disk is full", |j| j["degraded"] == true)?;
    let words = full["last_error"].as_str().unwrap_or_default();
    ensure!(words.contains("No space left"), "{full}");
    let _hook_runs = hook.start("{}")?;
    let blocked = wait_for("the cursor cannot be written", PATIENCE, || {
        let hook = sink(&agent, "hook")?;
        Ok((hook["state"] == "blocked").then_some(hook))
    })?;
    let words = blocked["last_error"].as_str().unwrap_or_default();
    ensure!(
        words.contains("hook.cursor") && words.contains("No space left"),
        "{blocked}"
    );
    the_gate_goes_on(&server, &agent)?;
    until_journal(&agent, "records are dropped", |j| {
        j["dropped"].as_u64() > Some(0)
    })?;
    thread::sleep(Duration::from_secs(2));
    a_drop_is_refused(&server)?;
    ensure!(agent.exited()?.is_none(), "the agent ended");

    if killed {
        agent.kill9()?;
    }
    drop(filler);
    if killed {
        agent.start_again()?;
    }
    until_journal(&agent, "the journal is written again", |j| {
        j["degraded"] == false
    })?;
    thread::sleep(Duration::from_secs(1));
    let asked = load.stop()?;
    wait_for("the sinks have nearly all", PATIENCE, || {
        let near = |name: &&str| -> Result<bool> {
            let sink = sink(&agent, name)?;
            let is_well = sink["state"] == "delivering";
            Ok(is_well && sink["lag_records"].as_u64().is_some_and(|lag| lag < 200))
        };
        for name in ["siem", "hook", "file"] {
            if !near(&name)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .with_context(|| format!("{:#?}", agent.status().map(|s| s["sinks"].clone())))?;
    let skipped = agent.status()?["sinks"].clone();
    agent.stop()?;

    let kept = journal::verify(&audit)?;
    let lines = records::lines(&audit);
    for (seq, line) in &before {
        ensure!(
            lines.get(seq) == Some(line),
            "record {seq} is another or gone"
        );
    }
    for sink in skipped.as_array().context("sinks")? {
        for count in ["skipped", "refused", "journal_replaced", "restarts"] {
            ensure!(sink[count] == 0, "{count}: {sink}");
        }
    }
    let statements = journal::of_kind(&kept, "statement").len() as u64;
    let full = gaps(&kept, "disk_full");
    let lost: u64 = full
        .iter()
        .filter_map(|gap| gap["gap"]["records"].as_u64())
        .sum();
    match killed {
        true => ensure!(
            gaps(&kept, "crash").len() == 1,
            "a gap says that it was killed"
        ),
        false => {
            // The statements of the gate's clients, and how their sessions began and ended, are among either.
            let missing = (asked + GATED).saturating_sub(statements);
            ensure!(full.len() == 1 && lost > 0, "{full:?}");
            ensure!(
                (missing..missing + 30).contains(&lost),
                "{lost} are said to be lost, {missing} statements of {asked} are missing"
            );
        }
    }
    let written = fs::read_to_string(&file)?;
    let of_syslog = Arrived::compare(&lines, rsyslog.received().lines().map(of_syslog));
    let of_file = Arrived::compare(&lines, written.lines().map(whole));
    let of_hook = Arrived::compare(&lines, of_hook(&lines, &hook)?.into_iter());
    for (name, arrived) in [("syslog", of_syslog), ("file", of_file), ("hook", of_hook)] {
        println!(
            "{name}: of {} records {} missing, {} twice, {} torn; {} on disk before, {lost} lost of {asked} asked",
            lines.len(),
            arrived.missing.len(),
            arrived.duplicates,
            arrived.torn,
            before.len()
        );
        arrived.ensure_complete();
        ensure!(
            arrived.torn == 0,
            "{name}: what is not in the journal: {arrived:?}"
        );
    }
    ensure_tidy(&audit)
}

#[test]
fn sinks_have_every_record_of_a_disk_that_was_full() -> Result<()> {
    fills_up_and_is_freed(false)
}

/// The agent is killed meanwhile: what cursors did not tell is sent again.
#[test]
fn sinks_have_every_record_of_a_disk_that_was_full_when_the_agent_was_killed() -> Result<()> {
    fills_up_and_is_freed(true)
}
