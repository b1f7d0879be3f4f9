//! Who was behind a statement, and what he says about it.

use std::process::Command;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers::{self, Target};
use dbgov_tests::journal;
use dbgov_tests::postgres::{Options, Server};
use serde_json::{Value, json};

const COMMENTED: &str = "SELECT 1 /*dbgov_run='r%2D17',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/";

/// psql, started by a shell that waits for it; the numbers of both.
fn psql_below_a_shell(target: &Target, sql: &str) -> (u32, u32) {
    let psql = drivers::psql(target).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#""$@" & echo $!; wait $!"#, "sh"])
        .arg(psql.get_program())
        .args(psql.get_args())
        .args(["-c", sql]);
    let (pid, output) = drivers::run(shell, target).unwrap();
    let child = String::from_utf8(output.stdout).unwrap();
    (pid, child.lines().next().unwrap().parse().unwrap())
}

/// Of each session of the application, its records.
fn session(records: &[Value], application: &str) -> Vec<Value> {
    let records = journal::of_application(records, application);
    records.into_iter().cloned().collect()
}

#[test]
fn the_process_and_those_above_it() {
    let server = Server::start(&Options::default()).unwrap();
    let mut agent = Agent::start(Config::watching(&[&server])).unwrap();
    let target = server.target("127.0.0.1").application("below");
    let (shell, client) = psql_below_a_shell(&target, COMMENTED);
    agent.stop().unwrap();

    let records = agent.journal().unwrap();
    let records = session(&records, "below");
    let told: Vec<_> = records
        .iter()
        .filter(|record| !record["process"].is_null())
        .collect();
    assert_eq!(told.len(), 1, "once in a session");
    assert_eq!(told[0]["kind"], "session_open");
    let process = &told[0]["process"];
    let command: Vec<_> = process["command"].as_array().unwrap().iter().collect();
    assert_eq!(*command[command.len() - 1], json!(COMMENTED));
    assert_eq!(told[0]["identity"]["pid"], client);
    let parents = process["parents"].as_array().unwrap();
    assert_eq!(parents[0]["pid"], shell);
    assert_eq!(parents[0]["comm"], "sh");
    assert_eq!(parents[1]["pid"], std::process::id());
    let exe = std::env::current_exe().unwrap();
    assert_eq!(parents[1]["exe"], exe.to_str().unwrap());
    // Within a second before it was first heard of; the kernel counts in steps of 10 ms.
    let [started, heard] =
        [&process["started"], &told[0]["time"]].map(|time| time.as_str().unwrap().to_owned());
    assert!(started < heard, "{started} before {heard}");

    let statement = records
        .iter()
        .find(|record| record["kind"] == "statement")
        .unwrap();
    assert_eq!(
        statement["statement"]["comment"],
        json!({"claimed": {
            "dbgov_run": "r-17",
            "traceparent": "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01",
        }})
    );
    assert_eq!(statement["statement"]["text"], COMMENTED);
}

#[test]
fn command_lines_are_left_out_where_they_may_tell_too_much() {
    let server = Server::start(&Options::default()).unwrap();
    let config = Config::watching(&[&server]).set("identity", "command_lines", "false");
    let mut agent = Agent::start(config).unwrap();
    let target = server.target("127.0.0.1").application("silent");
    psql_below_a_shell(&target, "SELECT 'in the statement only'");
    agent.stop().unwrap();

    let records = session(&agent.journal().unwrap(), "silent");
    let open = records
        .iter()
        .find(|record| record["kind"] == "session_open")
        .unwrap();
    assert!(open["process"]["command"].is_null());
    assert!(!open["process"]["parents"].as_array().unwrap().is_empty());
    assert!(!open.to_string().contains("in the statement only"));
}
