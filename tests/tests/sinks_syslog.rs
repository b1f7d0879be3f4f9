//! The syslog sink against rsyslog and syslog-ng: records arrive whole, in order, at least once, whatever happens to the
//! receiver; and only at the receiver that is meant.

mod records;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dbgov_agent::audit::Durable;
use dbgov_agent::config::Config;
use dbgov_agent::sink::{SinkConfig, SinkStatus, Sinks};
use dbgov_tests::receivers::{Certificates, Identity, Input, Rsyslog, SyslogNg, Transport};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::wait_for;
use records::Arrived;

const PATIENCE: Duration = Duration::from_secs(120);
const NODE: &str = "node-1";

fn sinks(keys: &str) -> Vec<SinkConfig> {
    let text = format!("[[sink]]\nname = \"siem\"\ntype = \"syslog\"\n{keys}\n");
    Config::parse(&text, Path::new("/dbgov.toml"))
        .unwrap()
        .sinks
}

fn run(keys: &str, journal: &Path) -> JoinHandle<SinkStatus> {
    let (sinks, journal) = (sinks(keys), journal.to_owned());
    std::thread::spawn(move || Sinks::run_once(&sinks, &journal, NODE).unwrap().remove(0))
}

/// The receiver's own reading of a message: facility, severity, host, program, kind, structured data, text.
fn record(line: &str) -> Option<(u64, String)> {
    let mut fields = line.splitn(7, '\t');
    let (_facility, _severity) = (fields.next()?, fields.next()?);
    if (fields.next()?, fields.next()?) != (NODE, "dbgov") {
        return None;
    }
    let _kind = fields.next()?;
    let (_, seq) = fields.next()?.split_once("seq=\"")?;
    let seq = seq.split_once('"')?.0.parse().ok()?;
    let text = fields.next()?;
    Some((
        seq,
        text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
    ))
}

fn arrived(journal: &BTreeMap<u64, String>, received: &str) -> Arrived {
    Arrived::compare(journal, received.lines().map(record))
}

fn address(port: u16, more: &str) -> String {
    format!("address = \"127.0.0.1:{port}\"\n{more}")
}

#[test]
fn rsyslog_gets_every_record_whole() {
    let journal = Scratch::new("journal").unwrap();
    records::write_journal(journal.path(), 2000);
    let lines = records::lines(journal.path());
    for (input, transport) in [
        (Input::Tcp, "transport = \"tcp\""),
        (Input::Tcp, "transport = \"tcp\"\nframing = \"lines\""),
        (Input::PlainTcp, "transport = \"tcp\""),
        (
            Input::PlainTcp,
            "transport = \"tcp\"\nframing = \"lines\"\nconfirm = \"sent\"",
        ),
        (Input::Udp, "transport = \"udp\""),
    ] {
        let receiver = Rsyslog::start(&input).unwrap();
        let run = run(&address(receiver.port(), transport), journal.path());
        let status = run.join().unwrap();
        assert_eq!(status.delivered, 2000, "{transport}: {status:?}");
        let complete = wait_for("all records", PATIENCE, || {
            let arrived = arrived(&lines, &receiver.received());
            Ok((arrived.records >= 2000).then_some(arrived))
        });
        let arrived = complete.unwrap_or_else(|error| {
            panic!(
                "{transport}: {error}: {:?}",
                arrived(&lines, &receiver.received())
            )
        });
        arrived.ensure_complete();
        assert_eq!((arrived.duplicates, arrived.torn), (0, 0), "{transport}");
        let received = receiver.received();
        let first = received.lines().next().unwrap();
        assert!(
            first.starts_with("audit\tinfo\tnode-1\tdbgov\tstatement\t[dbgov@32473 id="),
            "{first}"
        );
        std::fs::remove_dir_all(journal.path().join("sinks")).unwrap();
    }
}

#[test]
fn syslog_ng_gets_every_record_whole() {
    let journal = Scratch::new("journal").unwrap();
    records::write_journal(journal.path(), 2000);
    let lines = records::lines(journal.path());
    for (input, transport) in [
        (Transport::Tcp, "transport = \"tcp\""),
        (Transport::Lines, "transport = \"tcp\"\nframing = \"lines\""),
        (Transport::Udp, "transport = \"udp\""),
    ] {
        let mut receiver = SyslogNg::start(&input).unwrap();
        let run = run(&address(receiver.port(), transport), journal.path());
        let status = run.join().unwrap();
        assert_eq!(status.delivered, 2000, "{transport}: {status:?}");
        let waited = wait_for("all records", Duration::from_secs(20), || {
            let lines = receiver.received().lines().count();
            Ok((lines >= 2000).then_some(()))
        });
        receiver.stop().unwrap();
        let arrived = arrived(&lines, &receiver.received());
        arrived.ensure_complete();
        waited.unwrap();
        assert_eq!((arrived.duplicates, arrived.torn), (0, 0), "{transport}");
        std::fs::remove_dir_all(journal.path().join("sinks")).unwrap();
    }
}

/// What is done to a receiver in the middle.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Stop,
    Kill9,
}

/// 100,000 records, and the receiver goes away four times meanwhile.
fn interrupted(
    name: &str,
    keys: &str,
    blows: &[Blow],
    received: &dyn Fn() -> String,
    strike: &mut dyn FnMut(Blow),
    begin_again: &mut dyn FnMut(),
) {
    const RECORDS: u32 = 100_000;
    let journal = Scratch::new("journal").unwrap();
    records::write_journal(journal.path(), RECORDS);
    let lines = records::lines(journal.path());
    let begun = Instant::now();
    let run = run(keys, journal.path());
    for (number, blow) in blows.iter().enumerate() {
        // Well apart, and all before the end.
        let share = (number + 1) * RECORDS as usize / (blows.len() + 2);
        wait_for("records arrive", PATIENCE, || {
            Ok((received().lines().count() >= share).then_some(()))
        })
        .unwrap();
        assert!(
            !run.is_finished(),
            "{name}: the sink is done before the blow {number}"
        );
        strike(*blow);
        std::thread::sleep(Duration::from_millis(300));
        begin_again();
    }
    let status = run.join().unwrap();
    let mut last = arrived(&lines, &received());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !last.missing.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
        last = arrived(&lines, &received());
    }
    println!(
        "{name}: {RECORDS} records, {} blows: {} missing, {} duplicates, {} torn, {} attempts failed, {:.1} s",
        blows.len(),
        last.missing.len(),
        last.duplicates,
        last.torn,
        status.retries,
        begun.elapsed().as_secs_f64()
    );
    last.ensure_complete();
    assert!(status.retries >= 1, "{name}: {status:?}");
    assert_eq!(status.delivered_seq, u64::from(RECORDS));
    assert!(last.torn <= blows.len() * 2, "{name}: {last:?}");
}

const BLOWS: &[Blow] = &[Blow::Stop, Blow::Kill9, Blow::Kill9, Blow::Stop];

fn rsyslog_interrupted(name: &str, input: &Input, keys: &dyn Fn(u16) -> String) {
    let receiver = std::cell::RefCell::new(Rsyslog::start(input).unwrap());
    let keys = keys(receiver.borrow().port());
    interrupted(
        name,
        &keys,
        BLOWS,
        &|| receiver.borrow().received(),
        &mut |blow| match blow {
            Blow::Stop => receiver.borrow_mut().stop().unwrap(),
            Blow::Kill9 => receiver.borrow_mut().kill9().unwrap(),
        },
        &mut || receiver.borrow_mut().start_again().unwrap(),
    );
}

#[test]
fn rsyslog_restarted_and_killed_misses_nothing() {
    rsyslog_interrupted("rsyslog, imtcp", &Input::Tcp, &|port| {
        address(port, "transport = \"tcp\"")
    });
    rsyslog_interrupted("rsyslog, imptcp", &Input::PlainTcp, &|port| {
        address(port, "transport = \"tcp\"\nframing = \"lines\"")
    });
}

#[test]
fn rsyslog_over_tls_restarted_and_killed_misses_nothing() {
    let authority = Certificates::new().unwrap();
    let own = authority.issue("siem.example").unwrap();
    let client = authority.issue("agent").unwrap();
    let ca = authority.ca();
    rsyslog_interrupted(
        "rsyslog, TLS",
        &Input::Tls {
            own,
            ca: ca.clone(),
        },
        &|port| address(port, &tls(&ca, Some(&client), Some("siem.example"))),
    );
}

#[test]
fn syslog_ng_restarted_misses_nothing() {
    let authority = Certificates::new().unwrap();
    let own = authority.issue("siem.example").unwrap();
    let client = authority.issue("agent").unwrap();
    let ca = authority.ca();
    let over_tls = Transport::Tls {
        own,
        ca: ca.clone(),
    };
    let tls = tls(&ca, Some(&client), Some("siem.example"));
    for (name, transport, keys) in [
        ("syslog-ng, TCP", Transport::Tcp, "transport = \"tcp\""),
        ("syslog-ng, TLS", over_tls, tls.as_str()),
    ] {
        let receiver = std::cell::RefCell::new(SyslogNg::start(&transport).unwrap());
        let keys = address(receiver.borrow().port(), keys);
        interrupted(
            name,
            &keys,
            // Killed, it loses what it has read and not yet written: nobody can know of that from outside.
            &[Blow::Stop, Blow::Stop, Blow::Stop],
            &|| receiver.borrow().received(),
            &mut |_| receiver.borrow_mut().stop().unwrap(),
            &mut || receiver.borrow_mut().start_again().unwrap(),
        );
    }
}

fn tls(ca: &Path, client: Option<&Identity>, server_name: Option<&str>) -> String {
    let mut keys = vec![format!("ca = {ca:?}")];
    if let Some(client) = client {
        keys.push(format!("certificate = {:?}", client.certificate));
        keys.push(format!("key = {:?}", client.key));
    }
    if let Some(name) = server_name {
        keys.push(format!("server_name = {name:?}"));
    }
    format!("transport = \"tls\"\ntls = {{ {} }}", keys.join(", "))
}

/// Runs a sink until it says why it fails; nothing may have arrived.
fn failure(journal: &Path, keys: &str) -> String {
    let sinks = Sinks::start(&sinks(keys), journal, NODE, Durable::whole()).unwrap();
    let boards = sinks.boards();
    let error = wait_for("the failure is in the status", PATIENCE, || {
        Ok(boards.shown()[0].last_error.clone())
    });
    let status = boards.shown().remove(0);
    assert_eq!(status.delivered_seq, 0, "{status:?}");
    sinks.stop(Duration::from_millis(100));
    error.unwrap()
}

#[test]
fn who_is_not_meant_gets_nothing() {
    let journal = Scratch::new("journal").unwrap();
    records::write_journal(journal.path(), 20);
    let authority = Certificates::new().unwrap();
    let another = Certificates::new().unwrap();
    let own = authority.issue("siem.example").unwrap();
    let client = authority.issue("agent").unwrap();
    let strange = another.issue("agent").unwrap();
    let ca = authority.ca();

    let rsyslog = Rsyslog::start(&Input::Tls {
        own: own.clone(),
        ca: ca.clone(),
    })
    .unwrap();
    let ng = SyslogNg::start(&Transport::Tls {
        own,
        ca: ca.clone(),
    })
    .unwrap();
    for (receiver, port) in [("rsyslog", rsyslog.port()), ("syslog-ng", ng.port())] {
        let case = |tls: String| failure(journal.path(), &address(port, &tls));
        let name = Some("siem.example");
        let error = case(tls(&another.ca(), Some(&client), name));
        assert!(error.contains("UnknownIssuer"), "{receiver}: {error}");
        let error = case(tls(&ca, Some(&client), Some("other.example")));
        assert!(error.contains("not valid for name"), "{receiver}: {error}");
        let error = case(tls(&ca, Some(&client), None));
        assert!(error.contains("not valid for name"), "{receiver}: {error}");
        // The receiver's turn to refuse.
        for client in [None, Some(&strange)] {
            let error = case(tls(&ca, client, name));
            println!(
                "{receiver}, client certificate {}: {error}",
                if client.is_some() {
                    "of another authority"
                } else {
                    "missing"
                }
            );
        }
    }
    assert_eq!(
        (rsyslog.received().as_str(), ng.received().as_str()),
        ("", "")
    );

    let expired = authority.issue_expired("siem.example").unwrap();
    let late = Rsyslog::start(&Input::Tls {
        own: expired.clone(),
        ca: ca.clone(),
    })
    .unwrap();
    let late_ng = SyslogNg::start(&Transport::Tls {
        own: expired,
        ca: ca.clone(),
    })
    .unwrap();
    for port in [late.port(), late_ng.port()] {
        let error = failure(
            journal.path(),
            &address(port, &tls(&ca, Some(&client), Some("siem.example"))),
        );
        assert!(error.contains("expired"), "{error}");
    }
    assert_eq!(
        (late.received().as_str(), late_ng.received().as_str()),
        ("", "")
    );

    // And the one that is meant gets all.
    let keys = address(
        rsyslog.port(),
        &tls(&ca, Some(&client), Some("siem.example")),
    );
    let status = run(&keys, journal.path()).join().unwrap();
    assert_eq!(status.delivered, 20);
    arrived(&records::lines(journal.path()), &rsyslog.received()).ensure_complete();
}

#[test]
fn files_that_are_not_there_are_told_at_the_start() {
    let journal = Scratch::new("journal").unwrap();
    records::write_journal(journal.path(), 1);
    let authority = Certificates::new().unwrap();
    let identity = authority.issue("agent").unwrap();
    let no_pem = tls(&identity.key, None, None);
    for (keys, expected) in [
        (
            tls(Path::new("/nowhere/ca.pem"), None, None),
            "sink \"siem\": tls.ca: cannot read /nowhere/ca.pem",
        ),
        (no_pem, "has no certificate in PEM"),
    ] {
        let error = Sinks::start(
            &sinks(&address(1, &keys)),
            journal.path(),
            NODE,
            Durable::whole(),
        )
        .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_statement_longer_than_a_message_is_cut_and_says_so() {
    let journal = Scratch::new("journal").unwrap();
    let config = dbgov_agent::audit::journal::JournalConfig::new(journal.path(), NODE);
    let (mut writer, _) = dbgov_agent::audit::journal::Journal::open(config).unwrap();
    writer.append(&records::statement(0, 0, &"é".repeat(100_000)));
    writer.append(&records::statement(0, 1, "SELECT 1"));
    writer.close();
    for (input, transport) in [(Input::Udp, "udp"), (Input::Tcp, "tcp")] {
        let receiver = Rsyslog::start(&input).unwrap();
        let keys = address(receiver.port(), &format!("transport = {transport:?}"));
        run(&keys, journal.path()).join().unwrap();
        wait_for("two records", PATIENCE, || {
            Ok((receiver.received().lines().count() >= 2).then_some(()))
        })
        .unwrap();
        let received = receiver.received();
        let lines: Vec<&str> = received.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains(" truncated=\"2"), "{:.400}", lines[0]);
        assert!(lines[0].len() > 65_000 && lines[0].ends_with('é'));
        assert!(!lines[1].contains("truncated="));
        std::fs::remove_dir_all(journal.path().join("sinks")).unwrap();
    }
}
