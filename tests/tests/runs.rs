//! Runs: programs that are started under a name, and who may not.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::cgroup::{self, Cgroup};
use dbgov_tests::journal;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::runs::{LET_NOBODY, NOBODY, NOBODY_ID, Public, Run, text};

const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> Result<Server> {
    Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
}

const PROGRAMS: usize = 10;
const STATEMENTS: usize = 10_000;
const SHORT_CONNECTIONS: usize = 1_000;
const TABLES: usize = 10;
/// The one that may not make tables.
const DENIED: usize = 3;

const DDL_POLICY: &str = r#"
[[rule]]
name = "no-ddl"
action = "reset"
verbs = ["ddl"]
identities = ["agent:3"]
reason = "this agent does not change schemas"
"#;

/// What is known of a run from outside.
struct Truth {
    number: usize,
    pid: u32,
    exe: PathBuf,
    purpose: String,
}

/// 100,000 statements and 10,000 short connections of ten programs, which all are the same database user.
#[test]
fn ten_programs_under_ten_tags_share_one_user() -> Result<()> {
    let server = server()?;
    let config = Config::watching(&[&server])
        .quiet()
        .policy(DDL_POLICY)
        .more(LET_NOBODY);
    let mut agent = Agent::start(config)?;
    let public = Public::of(&agent)?;
    let target = server.target("127.0.0.1");
    let mut truth: HashMap<String, Truth> = HashMap::new();
    let installation = server.installation();
    let mut play = |kind: &str, program: &str, args: &dyn Fn(usize) -> Vec<String>| -> Result<()> {
        let mut runs = Vec::new();
        for number in 0..PROGRAMS {
            let exe = public.copy(&installation.tool(program), &format!("{kind}-{number}"))?;
            let purpose = format!("{kind} of program {number}");
            let name = format!("agent:{number}");
            let words = ["--as", &name, "--purpose", &purpose];
            let mut command = vec![exe.display().to_string()];
            command.extend(args(number));
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            let run = Run::start(&public, &target, &words, &command)?;
            let known = Truth {
                number,
                pid: run.pid(),
                exe,
                purpose,
            };
            ensure!(
                truth.insert(run.id.clone(), known).is_none(),
                "one id, two runs"
            );
            runs.push(run);
        }
        for (number, run) in runs.into_iter().enumerate() {
            let output = run.end()?;
            let expected = kind != "tables" || number != DENIED;
            ensure!(
                output.status.success() == expected,
                "{kind} {number}: {}",
                text(&output)
            );
        }
        Ok(())
    };
    let script = |number: usize| -> Result<String> {
        let path = public.dir().join(format!("script-{number}.sql"));
        fs::write(&path, format!("SELECT 'by {number}';\n"))?;
        Ok(path.display().to_string())
    };
    let scripts: Vec<String> = (0..PROGRAMS).map(script).collect::<Result<_>>()?;
    let pgbench = |number: usize, more: &[&str], transactions: usize| -> Vec<String> {
        let transactions = transactions.to_string();
        let words = ["-n", "-f", &scripts[number], "-t", &transactions];
        [&words[..], more]
            .concat()
            .iter()
            .map(|word| word.to_string())
            .collect()
    };
    play("load", "pgbench", &|number| {
        pgbench(number, &[], STATEMENTS)
    })?;
    play("short", "pgbench", &|number| {
        pgbench(number, &["-C"], SHORT_CONNECTIONS)
    })?;
    play("tables", "psql", &|number| {
        let mut words = vec![
            "-X".to_owned(),
            "-q".to_owned(),
            "-c".to_owned(),
            format!("SELECT 'by {number}'"),
        ];
        for table in 0..TABLES {
            words.extend([
                "-c".to_owned(),
                format!("CREATE TABLE made_by_{number}_{table} ()"),
            ]);
        }
        words
    })?;
    agent.stop()?;

    let made =
        server.admin("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'made\\_by\\_%'")?;
    assert_eq!(made, ((PROGRAMS - 1) * TABLES).to_string());
    let denied = server.admin(&format!(
        "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'made\\_by\\_{DENIED}\\_%'"
    ))?;
    assert_eq!(denied, "0");

    let records = journal::verify(&agent.audit_dir()?)?;
    let mut statements = 0;
    let mut sessions: BTreeMap<usize, usize> = BTreeMap::new();
    let mut refused = 0;
    for record in records.iter().filter(|record| !record["session"].is_null()) {
        let identity = &record["identity"];
        let run = identity["run"]
            .as_str()
            .with_context(|| format!("no run: {record}"))?;
        let known = truth
            .get(run)
            .with_context(|| format!("not one of ours: {record}"))?;
        let named = format!("agent:{}", known.number);
        let says = (&identity["name"], &identity["source"], &identity["purpose"]);
        assert_eq!(
            says,
            (&named.into(), &"tag".into(), &known.purpose.clone().into()),
            "{record}"
        );
        assert_eq!(identity["pid"], known.pid, "{record}");
        assert_eq!(identity["exe"], known.exe.to_str().unwrap(), "{record}");
        assert_eq!(identity["uid"], NOBODY_ID, "{record}");
        match record["kind"].as_str().unwrap_or_default() {
            "session_open" => *sessions.entry(known.number).or_default() += 1,
            "statement" => {
                let sql = record["statement"]["text"].as_str().unwrap_or_default();
                if sql.starts_with("SELECT 'by ") {
                    // The truth of the program itself.
                    let said = format!("SELECT 'by {}'", known.number);
                    assert_eq!(sql.trim_end_matches(';'), said, "{record}");
                    statements += 1;
                }
                if record["verdict"]["action"] == "reset" {
                    assert_eq!(known.number, DENIED, "{record}");
                    assert_eq!(record["verdict"]["rule"], "no-ddl");
                    refused += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(
        statements,
        PROGRAMS * (STATEMENTS + SHORT_CONNECTIONS + 1),
        "statements"
    );
    // The first refusal ends the session.
    assert_eq!(refused, 1);
    for number in 0..PROGRAMS {
        // pgbench asks once more before it begins.
        let opened = sessions[&number];
        assert!(
            (SHORT_CONNECTIONS + 2..=SHORT_CONNECTIONS + 4).contains(&opened),
            "program {number}: {opened}"
        );
    }
    let runs = journal::of_kind(&records, "tag");
    let count = |event: &str| runs.iter().filter(|r| r["tag"]["event"] == event).count();
    assert_eq!((count("set"), count("ended")), (3 * PROGRAMS, 3 * PROGRAMS));
    Ok(())
}

#[test]
fn a_run_is_the_command_itself() -> Result<()> {
    let server = server()?;
    let mut agent = Agent::start(Config::watching(&[&server]).quiet().more(LET_NOBODY))?;
    let public = Public::of(&agent)?;
    let exec = |user: Option<&str>, words: &[&str]| -> Result<Output> {
        Ok(public
            .dbgov(user, &[&["exec", "--as", "agent:run"], words].concat())
            .output()?)
    };
    let said = |words: &[&str]| -> Result<String> {
        let output = exec(Some(NOBODY), words)?;
        ensure!(output.status.success(), "{words:?}: {}", text(&output));
        Ok(text(&output))
    };
    // As the user who asked, in a cgroup of its own, which it can tell from the environment.
    assert_eq!(said(&["--", "id", "-u"])?, "65534\n");
    let told = said(&[
        "--purpose",
        "try it",
        "--",
        "sh",
        "-c",
        "echo $DBGOV_IDENTITY $DBGOV_PURPOSE; sed -n s/^0:://p /proc/self/cgroup; echo /dbgov/$DBGOV_RUN",
    ])?;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "agent:run try it");
    assert_eq!(lines[1], lines[2]);
    // Its exit status and its signals are the command's.
    for (script, code) in [("exit 7", Some(7)), ("kill -TERM $$", None)] {
        let output = exec(Some(NOBODY), &["--", "sh", "-c", script])?;
        assert_eq!(output.status.code(), code, "{script}");
    }
    let missing = exec(None, &["--", "/no/such/command"])?;
    assert_eq!(missing.status.code(), Some(127), "{}", text(&missing));
    let data = exec(None, &["--", "/etc/passwd"])?;
    assert_eq!(data.status.code(), Some(126), "{}", text(&data));
    for (words, told) in [
        (&["--label", "novalue", "--", "true"][..], "KEY=VALUE"),
        (&["--purpose", "two\nlines", "--", "true"], "one line"),
    ] {
        let output = exec(None, words)?;
        assert_eq!(output.status.code(), Some(125));
        assert!(text(&output).contains(told), "{}", text(&output));
    }
    let pipe = exec(Some(NOBODY), &["--", "sh", "-c", "yes | head -1"])?;
    assert_eq!(text(&pipe), "y\n", "SIGPIPE is what it was");

    // A run outlives the agent, its children are its own, and its cgroup goes when the last of them has gone.
    let target = server.target("127.0.0.1");
    let psql = server.installation().tool("psql").display().to_string();
    let script = format!(
        "(sleep 3; {psql} -X -q -c \"SELECT 'late'\") & {psql} -X -q -c \"SELECT 'early'\" >/dev/null; sleep 1.5"
    );
    let mut run = Run::start(
        &public,
        &target,
        &["--as", "agent:long", "--label", "ticket=OPS-17"],
        &["sh", "-c", &script],
    )?;
    agent.wait_for_record("the first statement", PATIENCE, |r| {
        r["statement"]["text"] == "SELECT 'early'"
    })?;
    agent.kill9()?;
    agent.start_again()?;
    let id = run.id.clone();
    run.child.wait()?;
    let late = agent.wait_for_record("the last statement", PATIENCE, |r| {
        r["statement"]["text"] == "SELECT 'late'"
    })?;
    assert_eq!(late["identity"]["run"], id);
    assert_eq!(late["identity"]["labels"]["ticket"], "OPS-17");
    agent.wait_for_record("the end of the run", PATIENCE, |r| {
        r["tag"]["event"] == "ended" && r["tag"]["run"] == id
    })?;
    agent.stop()?;
    assert!(!cgroup::root()?.join("dbgov").join(&id).exists());

    // Without an agent nothing is run under a name that nobody would see.
    let none = exec(None, &["--", "echo", "ran"])?;
    assert_eq!(none.status.code(), Some(125));
    assert!(text(&none).contains("no dbgov answers"), "{}", text(&none));
    Ok(())
}

/// Of an agent that was killed and whose state is gone.
#[test]
fn cgroups_of_runs_that_nobody_knows_go_once_they_are_empty() -> Result<()> {
    let server = server()?;
    let root = cgroup::root()?.join("dbgov");
    // Ids are UUIDs of version 7: of 2024, and of the year 3084, as if it began just now.
    let (old, new) = (
        root.join("018d0000000070008000000000000000"),
        root.join("200000000000700080000000000000ff"),
    );
    let foreign = root.join("somebody's");
    for dir in [&old, &new, &foreign] {
        fs::create_dir_all(dir)?;
    }
    let mut agent = Agent::start(Config::watching(&[&server]).quiet())?;
    let left = [&old, &new, &foreign].map(|dir| dir.exists());
    agent.stop()?;
    for dir in [&new, &foreign] {
        fs::remove_dir(dir)?;
    }
    assert_eq!(left, [false, true, true]);
    Ok(())
}

#[test]
fn who_may_not_is_refused_and_recorded() -> Result<()> {
    let server = server()?;
    let mut agent = Agent::start(Config::watching(&[&server]).quiet().more(LET_NOBODY))?;
    let public = Public::of(&agent)?;
    let cgroup = Cgroup::new("theirs")?;
    let attempts: [(&str, &[&str], &str); 8] = [
        (
            "tag_set",
            &["tag", "set", "agent:x", "--cgroup", cgroup.path()],
            "only root and members",
        ),
        ("tag_list", &["tag", "list"], "only root and members"),
        (
            "tag_remove",
            &["tag", "rm", "agent:x"],
            "only root and members",
        ),
        ("status", &["status"], "only root and members"),
        ("approvals", &["approvals", "list"], "only root and members"),
        ("gate_off", &["gate", "off"], ""),
        (
            "exec",
            &["exec", "--as", "boss", "--", "true"],
            "may not run anything as boss",
        ),
        // A run keeps its name.
        (
            "exec",
            &[
                "exec",
                "--as",
                "agent:one",
                "--",
                "dbgov",
                "exec",
                "--as",
                "agent:two",
                "--",
                "true",
            ],
            "goes by agent:one",
        ),
    ];
    for (request, words, told) in attempts {
        let mut words = words.to_vec();
        let (dbgov, config) = (public.dir().join("dbgov"), public.config().to_owned());
        let (dbgov, config) = (dbgov.display().to_string(), config.display().to_string());
        if let Some(inner) = words.iter().position(|word| *word == "dbgov") {
            words[inner] = &dbgov;
            words.splice(inner + 1..inner + 1, ["--config", &config]);
        }
        let output = public.dbgov(Some(NOBODY), &words).output()?;
        assert!(!output.status.success(), "{words:?}");
        assert!(text(&output).contains(told), "{words:?}: {}", text(&output));
        if told.is_empty() {
            continue;
        }
        let record = agent.wait_for_record(request, PATIENCE, |record| {
            record["kind"] == "control" && record["control"]["request"] == request
        })?;
        assert_eq!(record["control"]["by"]["uid"], NOBODY_ID);
        assert_eq!(record["control"]["by"]["user"], "nobody");
        assert!(record["control"]["attempts"].as_u64() >= Some(1));
    }
    // Nor by the cgroup file system, nor out of a run's cgroup.
    let moved = public
        .dbgov(
            Some(NOBODY),
            &[
                "exec",
                "--as",
                "agent:one",
                "--",
                "sh",
                "-c",
                &format!("echo $$ > {}/cgroup.procs", cgroup.dir().display()),
            ],
        )
        .output()?;
    assert!(!moved.status.success());
    // Somebody who asks without end does not fill the journal.
    for _ in 0..200 {
        public.dbgov(Some(NOBODY), &["tag", "list"]).output()?;
    }
    agent.stop()?;
    let records = agent.journal()?;
    let refused = journal::of_kind(&records, "control");
    let attempts: u64 = refused
        .iter()
        .filter_map(|r| r["control"]["attempts"].as_u64())
        .sum();
    assert!(attempts >= 207, "{attempts}");
    assert!(refused.len() < 100, "{} records", refused.len());
    assert!(
        journal::of_kind(&records, "tag")
            .iter()
            .all(|record| record["tag"]["name"] == "agent:one")
    );
    Ok(())
}
