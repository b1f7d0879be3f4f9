//! Sinks of a running agent, with a real PostgreSQL: what is lost when receivers and agents are killed (nothing), and
//! what a receiver that hangs holds up (nobody).

mod records;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::receivers::{Input, Rsyslog};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::wait_for;
use records::Arrived;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

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

fn sinks(agent: &Agent) -> Vec<Value> {
    let status = agent.status().unwrap();
    status["sinks"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_hundred_thousand_statements_while_receiver_and_agent_are_killed() {
    const TRANSACTIONS: u32 = 25_000;
    let server = Server::start(&Options::default()).unwrap();
    let target = server.target("127.0.0.1");
    let mut init = drivers::pgbench(&target).unwrap();
    init.args(["--initialize", "--quiet"]);
    drivers::run(init, &target).unwrap();
    let mut rsyslog = Rsyslog::start(&Input::Tcp).unwrap();
    let out = Scratch::new("sink-file").unwrap();
    let file = out.path().join("records.jsonl");
    let sections = format!(
        "[[sink]]\nname = \"siem\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{}\"\ntransport = \"tcp\"\n\
         [[sink]]\nname = \"file\"\ntype = \"file\"\npath = {file:?}\nbytes_max = 1000000000\n",
        rsyslog.port()
    );
    let mut agent = Agent::start(Config::watching(&[&server]).quiet().more(&sections)).unwrap();

    let load = {
        let target = target.clone();
        std::thread::spawn(move || {
            let mut load = drivers::pgbench(&target).unwrap();
            load.args(["--no-vacuum", "--select-only", "--client=4", "--jobs=1"])
                .arg(format!("--transactions={TRANSACTIONS}"));
            drivers::run(load, &target).unwrap();
        })
    };
    let arrive = |rsyslog: &Rsyslog, lines: usize| {
        wait_for("records arrive", PATIENCE, || {
            Ok((rsyslog.received().lines().count() >= lines).then_some(()))
        })
        .unwrap();
    };
    arrive(&rsyslog, 5_000);
    rsyslog.kill9().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    rsyslog.start_again().unwrap();
    arrive(&rsyslog, 15_000);
    agent.kill9().unwrap();
    agent.start_again().unwrap();
    arrive(&rsyslog, 25_000);
    rsyslog.stop().unwrap();
    load.join().unwrap();
    rsyslog.start_again().unwrap();
    wait_for("the sinks are nearly done", PATIENCE, || {
        let near = |sink: &Value| sink["lag_records"].as_u64().unwrap_or(u64::MAX) < 5_000;
        Ok(sinks(&agent).iter().all(near).then_some(()))
    })
    .unwrap();
    agent.stop().unwrap();

    let lines = records::lines(&agent.audit_dir().unwrap());
    let written = std::fs::read_to_string(&file).unwrap();
    let arrived = [
        (
            "syslog",
            Arrived::compare(&lines, rsyslog.received().lines().map(of_syslog)),
        ),
        ("file", Arrived::compare(&lines, written.lines().map(whole))),
    ];
    for (name, arrived) in arrived {
        println!(
            "{name}: {} records in the journal, {} missing, {} duplicates, {} torn",
            lines.len(),
            arrived.missing.len(),
            arrived.duplicates,
            arrived.torn
        );
        // With the last record, which says that the agent stopped.
        arrived.ensure_complete();
        assert!(arrived.torn <= 2, "{name}: {arrived:?}");
    }
    assert!(lines.len() > 50_000, "{} records", lines.len());
}

#[test]
fn a_receiver_that_hangs_holds_nobody_up() {
    let hanging = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = hanging.local_addr().unwrap().port();
    let server = Server::start(&Options::default()).unwrap();
    let sections = format!(
        "[[sink]]\nname = \"hangs\"\ntype = \"syslog\"\naddress = \"127.0.0.1:{port}\"\ntransport = \"tls\"\ntimeout_ms = 500\n\
         tls = {{ ca = \"/etc/ssl/certs/ca-certificates.crt\" }}\n\
         [[sink]]\nname = \"away\"\ntype = \"syslog\"\naddress = \"127.0.0.1:1\"\ntransport = \"tcp\"\n"
    );
    let authority = dbgov_tests::receivers::Certificates::new().unwrap();
    let sections = sections.replace(
        "/etc/ssl/certs/ca-certificates.crt",
        &authority.ca().display().to_string(),
    );
    let mut agent = Agent::start(Config::watching(&[&server]).quiet().more(&sections)).unwrap();
    server.admin("SELECT 'seen'").unwrap();
    agent
        .wait_for_record("the statement", PATIENCE, |record| {
            record["statement"]["text"] == "SELECT 'seen'"
        })
        .unwrap();
    let shown = wait_for("both sinks fail", PATIENCE, || {
        let shown = sinks(&agent);
        let fail =
            |sink: &Value| sink["state"] == "retrying" && sink["lag_records"].as_u64() > Some(0);
        Ok(shown.iter().all(fail).then_some(shown))
    })
    .unwrap();
    let errors: Vec<&str> = shown
        .iter()
        .filter_map(|sink| sink["last_error"].as_str())
        .collect();
    assert!(errors[0].contains("no answer within 500 ms"), "{errors:?}");
    assert!(errors[1].contains("Connection refused"), "{errors:?}");
    let text = agent.command(&["status"]).unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("sink       hangs (syslog): retrying"),
        "{text}"
    );
    let begun = Instant::now();
    agent.stop().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn records_on_stdout_are_the_lines_of_the_journal() {
    let server = Server::start(&Options::default()).unwrap();
    let stdout =
        "[[sink]]\nname = \"out\"\ntype = \"stdout\"\nfilter = { kinds = [\"statement\"] }";
    let mut agent = Agent::start(Config::watching(&[&server]).quiet().more(stdout)).unwrap();
    for number in 0..20 {
        server.admin(&format!("SELECT {number}")).unwrap();
    }
    agent.stop().unwrap();
    let lines = records::lines(&agent.audit_dir().unwrap());
    let statements: Vec<&String> = lines
        .values()
        .filter(|line| line.contains("\"kind\":\"statement\""))
        .collect();
    assert!(statements.len() >= 20);
    let out = std::fs::read_to_string(agent.stdout_path()).unwrap();
    assert_eq!(out.lines().collect::<Vec<_>>(), statements);

    // The live view would be in between.
    let live = Agent::start(Config::watching(&[&server]).more(stdout)).unwrap_err();
    assert!(
        format!("{live:#}").contains("dbgov run --quiet"),
        "{live:#}"
    );
}
