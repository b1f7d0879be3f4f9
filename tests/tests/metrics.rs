//! What the agent tells over HTTP: right figures, and nothing that a client of it can break.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::asking::Asking;
use dbgov_tests::postgres::{Options, Server, free_port};
use dbgov_tests::{receivers, wait_for, workspace};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);
const SAMPLED: Duration = Duration::from_secs(45);
/// A drop and a hold, so that the gate's figures move.
const POLICY: &str = "[[rule]]\nname = \"no-drop\"\naction = \"reject\"\nverbs = [\"drop\"]\n";

struct Bench {
    server: Server,
    agent: Agent,
    address: SocketAddr,
}

impl Bench {
    fn start() -> Result<Bench> {
        let server = Server::start(&Options::default())?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let config = Config::watching(&[&server]).policy(POLICY).set(
            "agent",
            "listen",
            &format!("\"{address}\""),
        );
        let agent = Agent::start(config)?;
        Ok(Bench {
            server,
            agent,
            address,
        })
    }

    fn client(&self) -> Result<Asking> {
        Asking::connect(
            format!("127.0.0.1:{}", self.server.port()).parse()?,
            "metrics",
        )
    }
}

fn send(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Whoever is refused in the middle of a request is not read to its end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    send(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

fn scrape(address: SocketAddr) -> Result<String> {
    let answer = get(address, "/metrics")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    ensure!(
        head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"),
        "{head}"
    );
    Ok(body.to_owned())
}

/// The sum of the lines of this name with all of these in them.
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Names as PromQL has them: those of the families, and of the lines of counters and histograms.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["", "_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// Words in a text that can only be metrics of ours.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| {
            word.starts_with("dbgov_") || word.starts_with("process_") && word.len() > 12
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn figures_are_those_of_what_happened() -> Result<()> {
    let bench = Bench::start()?;
    let mut client = bench.client()?;
    for _ in 0..20 {
        client.simple("SELECT 1")?;
    }
    client.simple("CREATE TABLE m (n int)")?;
    client.simple("ALTER ROLE postgres PASSWORD 'x'")?;
    assert!(client.simple("DROP TABLE m")?.error.is_some());
    client.simple("SELECT nothing_there")?;
    let before = scrape(bench.address)?;
    let text = wait_for("the figures", PATIENCE, || {
        let text = scrape(bench.address)?;
        Ok((value(&text, "dbgov_statements_total", &[]) >= 24.0).then_some(text))
    })?;
    for (labels, expected) in [
        (
            &["verb=\"select\"", "status=\"ok\"", "verdict=\"allow\""][..],
            20.0,
        ),
        (&["verb=\"select\"", "status=\"error\""], 1.0),
        (&["verb=\"create\""], 1.0),
        (&["verb=\"drop\"", "verdict=\"reject\""], 1.0),
    ] {
        assert_eq!(
            value(&text, "dbgov_statements_total", labels),
            expected,
            "{labels:?}\n{text}"
        );
    }
    assert_eq!(value(&text, "dbgov_up", &[]), 1.0);
    assert_eq!(value(&text, "dbgov_sessions", &[]), 1.0);
    assert_eq!(value(&text, "dbgov_statements_redacted_total", &[]), 1.0);
    assert!(
        value(&text, "dbgov_held_seconds_count", &[]) >= 1.0,
        "{text}"
    );
    assert!(
        value(&text, "dbgov_gate_held_packets_total", &[]) >= 1.0,
        "{text}"
    );
    assert!(value(&text, "dbgov_packets_total", &["direction=\"request\""]) >= 24.0);
    assert!(value(&text, "process_resident_memory_bytes", &[]) > 1e6);
    assert!(value(&text, "process_cpu_seconds_total", &[]) > 0.0);
    let status = bench.agent.status()?;
    assert!(
        value(&text, "dbgov_journal_last_seq", &[])
            <= status["journal"]["last_seq"].as_f64().unwrap_or(0.0)
    );
    // The default, and what one statement at a time leaves in it.
    assert_eq!(value(&text, "dbgov_ring_bytes", &[]), f64::from(16 << 20));
    assert!(value(&text, "dbgov_ring_used_bytes", &[]) < f64::from(1 << 20));
    assert!(value(&text, "dbgov_journal_files", &[]) >= 1.0);
    assert!(value(&text, "dbgov_journal_files_bytes", &[]) > 1000.0);
    assert!(value(&text, "dbgov_journal_free_bytes", &[]) > 0.0);
    assert!(value(&text, "dbgov_journal_unsigned_records", &[]) > 0.0);
    assert!(!before.contains("'x'") && !text.contains("SELECT"));
    wait_for(
        "something is in the ring when it is looked at",
        PATIENCE,
        || {
            client.simple("SELECT 1")?;
            let used = value(&scrape(bench.address)?, "dbgov_ring_used_bytes", &[]);
            Ok((used > 0.0).then_some(()))
        },
    )?;
    // The kernel counts for a second in thirty.
    let runs = wait_for("run times of the programs", SAMPLED, || {
        client.simple("SELECT 1")?;
        let text = scrape(bench.address)?;
        Ok((value(&text, "dbgov_program_runs_total", &["ingress"]) > 0.0).then_some(text))
    })?;
    let seconds = value(&runs, "dbgov_program_run_seconds_total", &["ingress"]);
    let each = seconds / value(&runs, "dbgov_program_runs_total", &["ingress"]);
    eprintln!("a run of the ingress program: {:.0} ns", each * 1e9);
    assert!(each > 0.0 && each < 1e-3, "{each}");
    Ok(())
}

#[test]
fn what_is_documented_alerted_and_shown_is_there() -> Result<()> {
    let bench = Bench::start()?;
    bench.client()?.simple("SELECT 1")?;
    // The gate tells how it is with the first tick.
    let text = wait_for("figures of the gate", PATIENCE, || {
        let text = scrape(bench.address)?;
        Ok(text.contains("dbgov_gate_held_packets").then_some(text))
    })?;
    let told = names(&text);
    let read = |path: &str| fs::read_to_string(workspace().join(path)).context(path.to_owned());
    let documented = named(&read("docs/metrics.md")?);
    let missing: Vec<_> = told
        .iter()
        .filter(|name| {
            !documented.contains(*name)
                && !documented.iter().any(|known| {
                    name.strip_prefix(known.as_str())
                        .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
                })
        })
        .collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    for path in [
        "docs/metrics.md",
        "deploy/prometheus/alerts.yaml",
        "deploy/grafana/dashboard.json",
    ] {
        let unknown: Vec<_> = named(&read(path)?)
            .into_iter()
            .filter(|name| !told.contains(name))
            .collect();
        assert!(
            unknown.is_empty(),
            "{path} has what is not there: {unknown:?}"
        );
    }
    Ok(())
}

/// What Grafana needs of a dashboard it is to import.
#[test]
fn the_dashboard_is_one() -> Result<()> {
    let text = fs::read_to_string(workspace().join("deploy/grafana/dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36) && dashboard["uid"] == "dbgov");
    let panels = dashboard["panels"].as_array().context("panels")?;
    let mut ids = BTreeSet::new();
    let mut places: Vec<(u64, u64, u64, u64)> = Vec::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().context("an id")?),
            "{panel}"
        );
        assert!(
            !panel["title"].as_str().unwrap_or_default().is_empty(),
            "{panel}"
        );
        let targets = panel["targets"].as_array().context("targets")?;
        assert!(
            !targets.is_empty()
                && targets
                    .iter()
                    .all(|target| !named(&target["expr"].to_string()).is_empty()),
            "{panel}"
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().context("a place");
        let place = (at("x")?, at("y")?, at("x")? + at("w")?, at("y")? + at("h")?);
        assert!(place.2 <= 24, "{panel}");
        let overlaps = |other: &(u64, u64, u64, u64)| {
            place.0 < other.2 && other.0 < place.2 && place.1 < other.3 && other.1 < place.3
        };
        assert!(!places.iter().any(overlaps), "{panel}");
        places.push(place);
    }
    let variables = dashboard["templating"]["list"]
        .as_array()
        .context("variables")?;
    for name in ["datasource", "instance"] {
        assert!(
            variables.iter().any(|variable| variable["name"] == name),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn the_alert_rules_and_the_text_are_good_to_prometheus() -> Result<()> {
    let promtool = receivers::program("promtool")?;
    let rules = workspace().join("deploy/prometheus/alerts.yaml");
    let output = Command::new(&promtool)
        .args(["check", "rules"])
        .arg(&rules)
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        said.contains("SUCCESS") && said.contains("rules found"),
        "{said}"
    );
    Ok(())
}

#[test]
fn whoever_asks_otherwise_is_told_so() -> Result<()> {
    let bench = Bench::start()?;
    for (request, expected) in [
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200",
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200",
        ),
        ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        (
            "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 404",
        ),
        (
            "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 404",
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
            "HTTP/1.1 405",
        ),
        (
            "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 405",
        ),
        (
            "DELETE /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 405",
        ),
        ("hello\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/9.9\r\n\r\n", "HTTP/1.1 400"),
        ("\0\0\0\0\r\n\r\n", "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400"),
        (
            "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200",
        ),
    ] {
        let answer = send(bench.address, request.as_bytes())?;
        assert!(answer.starts_with(expected), "{request:?}: {answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let wide = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    for request in [long, many, wide] {
        let answer = send(bench.address, request.as_bytes())?;
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
            "{answer}"
        );
    }
    scrape(bench.address)?;
    Ok(())
}

/// Connections that send nothing, or never an end, take all places; when they have had their time others get theirs. The
/// agent captures all the while.
#[test]
fn idle_and_slow_connections_are_ended() -> Result<()> {
    let bench = Bench::start()?;
    let idle: Vec<TcpStream> = (0..40)
        .map(|number| {
            let mut stream = TcpStream::connect(bench.address)?;
            if number % 2 == 0 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
            }
            Ok(stream)
        })
        .collect::<Result<_>>()?;
    // All places are taken: whoever comes now is turned away at once, not kept waiting.
    let turned_away = get(bench.address, "/healthz")?;
    assert!(turned_away.is_empty(), "{turned_away}");
    let since = Instant::now();
    let mut client = bench.client()?;
    for _ in 0..100 {
        client.simple("SELECT 1")?;
    }
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    wait_for("a place", Duration::from_secs(40), || {
        Ok(get(bench.address, "/healthz")?
            .starts_with("HTTP/1.1 200")
            .then_some(()))
    })?;
    eprintln!("a place again after {:?}", since.elapsed());
    drop(idle);
    Ok(())
}

#[test]
fn a_port_that_is_taken_stops_nothing() -> Result<()> {
    let server = Server::start(&Options::default())?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let config = Config::watching(&[&server]).set("agent", "listen", &format!("\"{address}\""));
    let agent = Agent::start(config)?;
    let problem = |status: &Value| {
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().any(|problem| {
            problem
                .as_str()
                .is_some_and(|text| text.contains(&address.to_string()))
        })
    };
    wait_for("the status says so", PATIENCE, || {
        Ok(problem(&agent.status()?).then_some(()))
    })?;
    let log = fs::read_to_string(agent.stderr_path())?;
    assert!(log.contains("metrics are not served"), "{log}");
    drop(taken);
    wait_for("it is served", Duration::from_secs(20), || {
        Ok(scrape(address).is_ok().then_some(()))
    })?;
    wait_for("the status is good again", PATIENCE, || {
        Ok((!problem(&agent.status()?)).then_some(()))
    })?;
    Ok(())
}

#[test]
fn nothing_is_served_where_that_is_asked_for() -> Result<()> {
    let server = Server::start(&Options::default())?;
    let agent = Agent::start(Config::watching(&[&server]).set("agent", "listen", "\"\""))?;
    let pid = agent.pid().context("a pid")?;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = fs::read_to_string(task?.path().join("comm"))?;
        assert_ne!(name.trim(), "http");
    }
    Ok(())
}
