//! The journal as evidence: what was seen in it is there after any number of kills, a large one is verified in seconds,
//! and what docs/journal.md says is enough to verify one without dbgov.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dbgov_agent::audit::journal::{Journal, JournalConfig};
use dbgov_agent::audit::key::PrivateKey;
use dbgov_agent::audit::record::{Kind, Record, Rendered, ResultBlock, Session, StatementBlock};
use dbgov_tests::agent::{self, Agent, Config, segment_text, segments};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{drivers, journal, process, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> Server {
    Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
    .unwrap()
}

/// Something in the background that ends with the test.
struct Background(Child);

impl Background {
    fn stop(&mut self) {
        let _ = process::stop(&mut self.0, &[(Signal::SIGTERM, Duration::from_secs(5))]);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

/// pgbench until it is stopped.
fn load(server: &Server, scratch: &Scratch) -> Background {
    let script = scratch.path().join("load.sql");
    fs::write(&script, "\\set n random(1, 1000000000)\nSELECT :n;\n").unwrap();
    let target = server.target("127.0.0.1").application("load");
    let mut command = drivers::pgbench(&target).unwrap();
    command
        .args(["--no-vacuum", "--client=4", "--time=3600", "--file"])
        .arg(script)
        .envs(target.environment())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Background(process::spawn(command).unwrap())
}

/// `dbgov audit tail --follow`: what anybody saw of the journal, into a file.
fn follow(agent: &Agent, to: &Path) -> Background {
    let mut command = Command::new(agent::binary().unwrap());
    command
        .args([
            "audit", "tail", "--json", "--follow", "-n", "1000000", "--config",
        ])
        .arg(agent.config_path())
        .stdin(Stdio::null())
        .stdout(File::create(to).unwrap())
        .stderr(Stdio::inherit());
    Background(process::spawn(command).unwrap())
}

/// Numbers and hashes of the lines of a text, whole lines only.
fn places(text: &str) -> BTreeMap<u64, String> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record");
            let hash = record["chain"]["hash"].as_str().unwrap().to_owned();
            (record["seq"].as_u64().unwrap(), hash)
        })
        .collect()
}

#[test]
fn killed_a_hundred_times_under_load() {
    const KILLS: u32 = 100;
    let server = server();
    let scratch = Scratch::new("evidence").unwrap();
    let config = Config::watching(&[&server])
        .quiet()
        // Small segments, so that kills also fall into their ends and into the compression of others.
        .set("audit", "segment_bytes_max", "1048576")
        .set("audit", "checkpoint_records", "100");
    let mut agent = Agent::start(config).unwrap();
    let dir = agent.audit_dir().unwrap();
    let seen_path = scratch.path().join("seen.jsonl");
    let mut follower = follow(&agent, &seen_path);
    let mut load = load(&server, &scratch);
    let mut last_seen = 0;
    for kill in 0..KILLS {
        // Until something of this run was seen; then at any moment.
        let seen = || fs::metadata(&seen_path).map_or(0, |file| file.len());
        wait_for("records are seen", PATIENCE, || {
            Ok((seen() > last_seen).then_some(()))
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(kill * 37 % 300)));
        last_seen = seen();
        agent.kill9().unwrap();
        agent.start_again().unwrap();
    }
    load.stop();
    agent.stop().unwrap();
    follower.stop();

    let records = journal::verify(&dir).unwrap();
    let crashes = records.iter().filter(|r| r["gap"]["cause"] == "crash");
    assert_eq!(crashes.count(), KILLS as usize, "each is told");
    let mut kept = BTreeMap::new();
    for (_, path) in segments(&dir).unwrap() {
        kept.extend(places(&segment_text(&path).unwrap()));
    }
    let seen = places(&fs::read_to_string(&seen_path).unwrap());
    assert!(seen.len() > 10_000, "{}", seen.len());
    for (seq, hash) in &seen {
        assert_eq!(kept.get(seq), Some(hash), "record {seq} was seen");
    }
    println!(
        "{KILLS} kills: {} records, {} seen before, all there",
        kept.len(),
        seen.len()
    );
}

fn statement(number: u64) -> Record {
    let session = Session {
        client_addr: Some("10.9.0.2:41884".to_owned()),
        database: Some("prod".to_owned()),
        id: "0a1b2c3d4e5f-42".to_owned(),
        joined: "start",
        protocol: "postgresql",
        server_addr: Some("10.9.0.1:5432".to_owned()),
        user: Some("app".to_owned()),
        ..Session::default()
    };
    let mut record = Record::new(Kind::Statement, 1_795_391_999_000_000_000 + number * 25_000);
    record.session = Some(Rendered::new(&session).unwrap());
    record.statement = Some(StatementBlock {
        bytes: 52,
        count: 1,
        fingerprint: Some("9f86d081884c7d65".into()),
        params: vec![Some(number.to_string())],
        parse: "ok",
        tables: ["pgbench_accounts".into()].into(),
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
        verbs: ["select"].into(),
        via: "execute",
        ..StatementBlock::default()
    });
    record.result = Some(ResultBlock {
        duration_us: Some(812),
        rows: Some(1),
        status: "ok",
        tags: vec!["SELECT 1".to_owned()],
        ..ResultBlock::default()
    });
    record
}

/// A journal of so many records, and its key.
fn made(dir: &Path, records: u64) -> PathBuf {
    let key = dir.join("audit.key");
    let config = JournalConfig {
        key: Some(PrivateKey::load_or_create(&key).unwrap().into()),
        ..JournalConfig::new(dir.join("audit"), "host-1")
    };
    let (mut journal, _) = Journal::open(config).unwrap();
    journal.append(&Record::new(Kind::AgentStart, 0));
    for number in 0..records {
        if number % 64 == 0 {
            journal.tick(Instant::now());
        }
        journal.append(&statement(number));
    }
    journal.append(&Record::new(Kind::AgentStop, 0));
    journal.close();
    key
}

#[test]
fn a_million_records_are_verified_in_one_run() {
    const RECORDS: u64 = 1_000_000;
    let scratch = Scratch::new("million").unwrap();
    let key = made(scratch.path(), RECORDS);
    let dir = scratch.path().join("audit");
    let arguments = ["--key".as_ref(), key.as_os_str()];
    let report = journal::verified(&dir, &arguments).unwrap();
    assert_eq!(report["intact"], true, "{report:#}");
    assert_eq!(report["origin_proven"], true);
    assert!(report["records"].as_u64().unwrap() > RECORDS);
    assert!(report["checkpoints"].as_u64().unwrap() >= RECORDS / 1000);
    let seconds = report["seconds"].as_f64().unwrap();
    let (records, bytes) = (
        report["records"].as_f64().unwrap(),
        report["bytes"].as_f64().unwrap(),
    );
    println!(
        "{records} records, {:.0} MB, {} segments: {seconds:.2} s, {:.0} records/s, {:.0} MB/s",
        bytes / 1e6,
        report["segments"],
        records / seconds,
        bytes / 1e6 / seconds
    );
    assert!(records / seconds > 50_000.0, "{report:#}");

    // One bit in the middle of it.
    let (first, path) = segments(&dir).unwrap().swap_remove(3);
    let mut content = fs::read(&path).unwrap();
    let middle = content.len() / 2;
    let line = content[..middle]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count() as u64;
    content[middle] ^= 1;
    assert!(content[middle] != b'\n' && content[middle] ^ 1 != b'\n');
    fs::write(&path, content).unwrap();
    let report = journal::verified(&dir, &arguments).unwrap();
    assert_eq!(report["intact"], false);
    let found = &report["breaks"][0];
    assert_eq!(
        (&found["seq"], &found["line"]),
        (&(first + line).into(), &(line + 1).into()),
        "{found}"
    );
}

/// The verifier in docs/journal.md, as it stands there.
fn documented() -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/journal.md");
    let text = fs::read_to_string(document).unwrap();
    let code = text.split_once("```python\n").unwrap().1;
    code.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_format_is_enough_to_verify_a_journal() {
    let server = server();
    let config = Config::watching(&[&server])
        .set("audit", "segment_bytes_max", "65536")
        .set("audit", "checkpoint_records", "50")
        .more("[audit.retention]\nbytes_max = 262144");
    let mut agent = Agent::start(config).unwrap();
    let dir = agent.audit_dir().unwrap();
    let scratch = Scratch::new("documented").unwrap();
    let mut load = load(&server, &scratch);
    // Compressed segments hold some ten times their size on the disk.
    wait_for("segments were removed", PATIENCE * 2, || {
        Ok(dir.join("tombstone.json").exists().then_some(()))
    })
    .unwrap();
    load.stop();
    let public = agent.command(&["audit", "key"]).unwrap();
    assert!(public.status.success());
    // While records come faster than they are compressed, what is removed may be all that was.
    wait_for("segments are compressed", PATIENCE, || {
        let compressed = |path: &Path| path.extension().is_some_and(|end| end == "zst");
        let segments = segments(&dir)?;
        Ok(segments
            .iter()
            .any(|(_, path)| compressed(path))
            .then_some(()))
    })
    .unwrap();
    agent.stop().unwrap();
    let segments = segments(&dir).unwrap();

    let (script, key) = (
        scratch.path().join("verify.py"),
        scratch.path().join("audit.pub"),
    );
    fs::write(&script, documented()).unwrap();
    fs::write(&key, public.stdout).unwrap();
    let run = || {
        let mut command = Command::new("python3");
        command.arg(&script).arg(&dir).arg(&key);
        command.output().unwrap()
    };
    let output = run();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = journal::verified(&dir, &["--key".as_ref(), key.as_os_str()]).unwrap();
    assert_eq!(report["intact"], true, "{report:#}");
    assert_eq!(report["removed"]["from"], 1, "{report:#}");
    let records = format!("{} records", report["records"]);
    let signatures = format!("{} signatures", report["checkpoints"]);
    assert!(
        said.contains(&records) && said.contains(&signatures),
        "{said} {report:#}"
    );

    // It finds what dbgov finds.
    let (_, newest) = segments.last().unwrap();
    let text = fs::read_to_string(newest).unwrap();
    fs::write(newest, text.replacen("\"node\"", "\"mode\"", 1)).unwrap();
    assert!(!run().status.success());
    assert_eq!(journal::verified(&dir, &[]).unwrap()["intact"], false);
}
