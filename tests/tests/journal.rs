//! The journal when things go wrong under it: the agent is killed, a line is torn, the disk is full.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dbgov_tests::agent::{Agent, Config, segments};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::small_disk::{self, SmallDisk};
use dbgov_tests::wire::Client;
use dbgov_tests::{journal, wait_for};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> Server {
    Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
    .unwrap()
}

fn connect(server: &Server, application: &str) -> Client {
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    Client::connect(address, "postgres", "postgres", application).unwrap()
}

/// One client asks on, `SELECT 0`, `SELECT 1`, … for as long as `going` says so.
fn ask(client: &mut Client, from: u64, mut going: impl FnMut() -> bool) -> u64 {
    let mut n = from;
    while going() {
        client.query(&format!("SELECT {n}")).unwrap();
        n += 1;
    }
    n
}

fn crashes(records: &[Value]) -> Vec<&Value> {
    let gaps = journal::of_kind(records, "gap");
    gaps.into_iter()
        .filter(|record| record["gap"]["cause"] == "crash")
        .collect()
}

#[test]
fn killed_again_and_again_under_load() {
    const KILLS: usize = 4;
    let server = server();
    // Small segments, so that kills also fall near their ends.
    let config = Config::watching(&[&server]).set("audit", "segment_bytes_max", "65536");
    let mut agent = Agent::start(config).unwrap();
    let mut client = connect(&server, "load");
    let mut asked = 0;
    for kill in 0..KILLS {
        let until = Instant::now() + Duration::from_millis(700 + 130 * kill as u64);
        asked = ask(&mut client, asked, || Instant::now() < until);
        agent.kill9().unwrap();
        agent.start_again().unwrap();
    }
    let until = Instant::now() + Duration::from_millis(500);
    asked = ask(&mut client, asked, || Instant::now() < until);
    drop(client);
    agent.stop().unwrap();
    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    assert!(segments(&agent.audit_dir().unwrap()).unwrap().len() > KILLS);
    assert_eq!(crashes(&records).len(), KILLS, "a gap for each kill");
    // What is there is in order, once, and nothing else.
    let all: Vec<&Value> = records.iter().collect();
    let numbers: Vec<u64> = journal::texts(&all)
        .iter()
        .map(|text| text.strip_prefix("SELECT ").unwrap().parse().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]));
    assert_eq!(numbers.first(), Some(&0));
    assert_eq!(numbers.last(), Some(&(asked - 1)));
    // A kill takes what was not flushed, a tenth of a second, and the time until the next agent is up.
    assert!(
        numbers.len() as u64 * 3 > asked,
        "{} of {asked}",
        numbers.len()
    );
}

#[test]
fn a_torn_line_is_put_aside_and_told() {
    let server = server();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    connect(&server, "one").query("SELECT 'one'").unwrap();
    agent
        .wait_for_record("the close", PATIENCE, |r| r["kind"] == "session_close")
        .unwrap();
    agent.kill9().unwrap();
    let dir = agent.audit_dir().unwrap();
    let (_, path) = segments(&dir).unwrap().pop().unwrap();
    let torn = r#"{"chain":{"hash":"00"#;
    let mut segment = OpenOptions::new().append(true).open(&path).unwrap();
    segment.write_all(torn.as_bytes()).unwrap();
    drop(segment);

    agent.start_again().unwrap();
    connect(&server, "two").query("SELECT 'two'").unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&dir).unwrap();
    let gaps = crashes(&records);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["gap"]["bytes"], torn.len());
    let side_file = gaps[0]["gap"]["side_file"].as_str().unwrap();
    assert_eq!(fs::read_to_string(dir.join(side_file)).unwrap(), torn);
    let all: Vec<&Value> = records.iter().collect();
    assert_eq!(journal::texts(&all), ["SELECT 'one'", "SELECT 'two'"]);
    // In good order there is nothing to tell.
    agent.start_again().unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&dir).unwrap();
    assert_eq!(crashes(&records).len(), 1);
}

fn journal_of(agent: &Agent) -> Value {
    agent.status().unwrap()["journal"].clone()
}

#[test]
fn a_full_disk_is_counted_told_and_made_good() {
    const FILLER_BYTES: usize = 100_000;
    let server = server();
    // 8 MiB of records are kept in memory: room for them has to be there in the end.
    let disk = SmallDisk::mount(32).unwrap();
    let ballast = disk.ballast(30).unwrap();
    let audit = disk.path().join("audit");
    let config = Config::watching(&[&server])
        .set(
            "audit",
            "dir",
            &format!("{:?}", audit.display().to_string()),
        )
        .set("audit", "segment_bytes_max", "1048576")
        // Room for all that is sent: an unoptimised agent is slower than it arrives.
        .set("capture", "ring_bytes", "67108864");
    let mut agent = Agent::start(config).unwrap();
    let mut client = connect(&server, "filler");
    let mut sent = 0u64;
    let mut send = |client: &mut Client| {
        let filler = "f".repeat(FILLER_BYTES);
        client.query(&format!("SELECT {sent}, '{filler}'")).unwrap();
        sent += 1;
    };
    // 2 MiB on disk and 8 MiB in memory are 100 of these.
    for _ in 0..300 {
        send(&mut client);
    }
    let full = wait_for("records are dropped", PATIENCE, || {
        let journal = journal_of(&agent);
        Ok((journal["dropped"].as_u64() > Some(0)).then_some(journal))
    })
    .unwrap();
    assert_eq!(full["degraded"], true, "{full}");
    assert!(full["write_errors"].as_u64() > Some(0));
    let error = full["last_error"].as_str().unwrap();
    assert!(error.contains("No space left"), "{error}");
    let readable = agent.command(&["status"]).unwrap();
    let readable = String::from_utf8_lossy(&readable.stdout).into_owned();
    assert!(readable.contains("cannot be written"), "{readable}");
    assert!(readable.contains("records dropped"), "{readable}");
    let log = fs::read_to_string(agent.stderr_path()).unwrap();
    assert!(log.contains("the journal cannot be written"), "{log}");
    assert!(log.contains("No space left"), "{log}");
    assert!(log.contains("are being dropped"), "{log}");

    // The server and its clients do not notice, and there is room again.
    send(&mut client);
    fs::remove_file(&ballast).unwrap();
    wait_for("the journal is written again", PATIENCE, || {
        Ok((journal_of(&agent)["degraded"] == false).then_some(()))
    })
    .unwrap();
    send(&mut client);
    drop(client);
    agent.stop().unwrap();

    let records = journal::verify(&audit).unwrap();
    let gaps: Vec<&Value> = records
        .iter()
        .filter(|record| record["gap"]["cause"] == "disk_full")
        .collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let lost = gaps[0]["gap"]["records"].as_u64().unwrap();
    let kept = journal::of_kind(&records, "statement").len() as u64;
    assert_eq!(kept + lost, sent, "every record is there or counted");
    // The hole is where the gap says it is.
    let all: Vec<&Value> = records.iter().collect();
    let numbers: Vec<u64> = journal::texts(&all)
        .iter()
        .map(|text| text[7..].split(',').next().unwrap().parse().unwrap())
        .collect();
    let hole = numbers.windows(2).find(|two| two[1] != two[0] + 1).unwrap();
    assert_eq!(hole[1] - hole[0] - 1, lost);
    let place = |wanted: &dyn Fn(&Value) -> bool| records.iter().position(wanted).unwrap();
    let place_of = |n: u64| {
        let wanted = format!("SELECT {n},");
        place(&|record| {
            let text = record["statement"]["text"].as_str().unwrap_or_default();
            text.starts_with(&wanted)
        })
    };
    let gap = place(&|record| record["gap"]["cause"] == "disk_full");
    assert_eq!((place_of(hole[0]), place_of(hole[1])), (gap - 1, gap + 1));
}

/// An agent that is stopped while the disk is full ends all the same, and the next one says what is missing.
#[test]
fn stopped_while_the_disk_is_full() {
    let server = server();
    let disk = SmallDisk::mount(4).unwrap();
    let audit = disk.path().join("audit");
    let config = Config::watching(&[&server]).set(
        "audit",
        "dir",
        &format!("{:?}", audit.display().to_string()),
    );
    let mut agent = Agent::start(config).unwrap();
    let ballast = disk.path().join("ballast");
    small_disk::fill(&ballast).unwrap();
    let mut client = connect(&server, "filler");
    let filler = "f".repeat(100_000);
    for n in 0..20 {
        client.query(&format!("SELECT {n}, '{filler}'")).unwrap();
    }
    drop(client);
    wait_for("the disk is full", PATIENCE, || {
        Ok((journal_of(&agent)["degraded"] == true).then_some(()))
    })
    .unwrap();
    agent.stop().unwrap();
    fs::remove_file(&ballast).unwrap();
    agent.start_again().unwrap();
    agent.stop().unwrap();
    let records = journal::verify(&audit).unwrap();
    assert_eq!(
        crashes(&records).len(),
        1,
        "{:?}",
        journal::of_kind(&records, "gap")
    );
    assert_eq!(records.last().unwrap()["kind"], "agent_stop");
}

/// Somebody deletes the segment that is being written.
#[test]
fn a_segment_removed_under_the_agent_is_told() {
    let server = server();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let dir = agent.audit_dir().unwrap();
    connect(&server, "one").query("SELECT 'one'").unwrap();
    agent
        .wait_for_record("the first session", PATIENCE, |r| {
            r["kind"] == "session_close"
        })
        .unwrap();
    let (_, path) = segments(&dir).unwrap().pop().unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    fs::remove_file(&path).unwrap();
    connect(&server, "two").query("SELECT 'two'").unwrap();
    let gap = agent
        .wait_for_record("the gap", PATIENCE, |r| r["kind"] == "gap")
        .unwrap();
    assert_eq!(gap["gap"]["cause"], "segment_removed");
    assert!(gap["gap"]["bytes"].as_u64() >= Some(bytes), "{gap}");
    connect(&server, "three").query("SELECT 'three'").unwrap();
    agent.stop().unwrap();
    let records = agent.journal().unwrap();
    let all: Vec<&Value> = records.iter().collect();
    assert_eq!(journal::texts(&all).last(), Some(&"SELECT 'three'"));
}
