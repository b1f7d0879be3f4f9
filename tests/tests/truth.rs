//! Truth with PostgreSQL's own programs.

use std::fs;

use dbgov_tests::drivers::{self, Target};
use dbgov_tests::installation::Installation;
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::Options;
use dbgov_tests::scratch::Scratch;
use dbgov_tests::truth::{Client, Report, Witness};
use dbgov_tests::{Result, ensure};
use serde_json::Value;

/// Runs psql with `args` as an application of its own.
fn psql(target: &Target, application: &str, args: &[&str]) -> Result<Client> {
    run_psql(target, application, args, &[])
}

fn run_psql(
    target: &Target,
    application: &str,
    args: &[&str],
    environment: &[(&str, &str)],
) -> Result<Client> {
    let mut command = drivers::psql(target)?;
    command.args(args).envs(environment.iter().copied());
    let (pid, _) = drivers::run(command, &target.clone().application(application))?;
    Client::new(application, pid, &Installation::find()?.tool("psql"))
}

fn pgbench(target: &Target, application: &str, args: &[&str]) -> Result<Client> {
    let mut command = drivers::pgbench(target)?;
    command.args(args);
    let (pid, _) = drivers::run(command, &target.clone().application(application))?;
    Client::new(application, pid, &Installation::find()?.tool("pgbench"))
}

fn initialize(target: &Target) -> Result<Client> {
    pgbench(target, "init", &["--initialize", "--quiet", "--scale=1"])
}

/// Reports what was compared, so that a run shows its figures (`--nocapture`).
fn told(report: &Report, at_least: usize) -> Result<()> {
    println!("{}", report.figures());
    report.ensure(at_least)
}

fn sessions(journal: &[Value], application: &str) -> Vec<Value> {
    let of_application = |record: &&Value| {
        record["kind"] == "statement" && record["session"]["application"] == application
    };
    journal.iter().filter(of_application).cloned().collect()
}

const MODES: [&str; 3] = ["simple", "extended", "prepared"];

#[test]
fn pgbench_at_full_rate() -> Result<()> {
    let witness = Witness::start(&Options::default())?;
    let target = witness.server.target("127.0.0.1");
    let mut clients = vec![initialize(&target)?];
    for mode in MODES {
        let args = ["-n", "-M", mode, "-c", "8", "-j", "2"];
        let select = [&args[..], &["-S", "-t", "4500"]].concat();
        clients.push(pgbench(&target, &format!("select-{mode}"), &select)?);
        let tpcb = [&args[..], &["-t", "100"]].concat();
        clients.push(pgbench(&target, &format!("tpcb-{mode}"), &tpcb)?);
    }
    let (report, _) = witness.finish(&clients)?;
    told(&report, 3 * 8 * (4500 + 7 * 100))
}

/// Several statements on their way at once, in one packet and answered in one.
const PIPELINE: &str = "\\set aid random(1, 100000)
\\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT 'several', :client_id, :aid;
\\endpipeline
SELECT 1;
";

#[test]
fn pgbench_in_pipelines_and_short_connections() -> Result<()> {
    let scratch = Scratch::new("truth")?;
    let script = scratch.path().join("pipeline.sql");
    fs::write(&script, PIPELINE)?;
    let script = script.display().to_string();
    let witness = Witness::start(&Options::default())?;
    let target = witness.server.target("::1");
    let mut clients = vec![initialize(&target)?];
    for mode in &MODES[1..] {
        let args = [
            "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "500", "-f", &script,
        ];
        clients.push(pgbench(&target, &format!("pipeline-{mode}"), &args)?);
    }
    let connecting = ["-n", "-C", "-S", "-c", "4", "-j", "2", "-t", "100"];
    clients.push(pgbench(&target, "connecting", &connecting)?);
    let (report, _) = witness.finish(&clients)?;
    ensure!(report.sessions >= 400, "{} sessions", report.sessions);
    told(&report, 2 * 8 * 500 * 4 + 400)
}

/// What psql sends as one Query message each, but where it says otherwise. `TABLE` is a name of its own.
const SCRIPT: &str = r"
CREATE TABLE TABLE (n int PRIMARY KEY, name text);
INSERT INTO TABLE SELECT g, 'name ' || g FROM generate_series(1, 100) AS g;
SELECT count(*) FROM TABLE -- a comment at the end
;
/* a comment before */ UPDATE TABLE SET name = 'Grüße, 世界 🦀' WHERE n <= 10;
SELECT 'a
	text of several lines; with a semicolon', $tag$it's $$ dollar-quoted;$tag$;
SELECT 1 AS one\; SELECT 2 AS two\; DELETE FROM TABLE WHERE n > 90;
SELEKT 1;
SELECT 1 / 0;
SELECT * FROM no_such_table;
BEGIN;
INSERT INTO TABLE VALUES (1, 'there already');
SELECT 'in a failed transaction';
ROLLBACK;
BEGIN;
SAVEPOINT s;
DELETE FROM TABLE WHERE n = 5;
ROLLBACK TO s;
COMMIT;
PREPARE p (int, text) AS SELECT name FROM TABLE WHERE n = $1 OR name = $2;
EXECUTE p (3, 'it''s');
EXECUTE p (NULL, NULL);
EXECUTE no_such_prepared (1);
DEALLOCATE p;
DO $$ BEGIN RAISE NOTICE 'of no %', 'consequence'; PERFORM 1; END $$;
DO $$ BEGIN RAISE EXCEPTION 'with a state of its own' USING ERRCODE = 'XX123'; END $$;
SET search_path = public, pg_catalog;
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM TABLE ORDER BY n;
FETCH 7 FROM c;
MOVE 3 IN c;
CLOSE c;
SELECT g FROM generate_series(1, 5) AS g \gset last_
\set FETCH_COUNT 10
SELECT * FROM TABLE ORDER BY n;
\unset FETCH_COUNT
\d TABLE
SELECT format('SELECT %L', x) FROM unnest(ARRAY['made', 'by gexec']) AS x \gexec
\copy TABLE (n, name) FROM PROGRAM 'seq 1001 1500 | sed s/.*/\&,copied/' WITH (FORMAT csv)
\copy TABLE (n, name) FROM PROGRAM 'echo no number' WITH (FORMAT csv)
\copy (SELECT * FROM TABLE) TO /dev/null
COPY TABLE (n, name) FROM STDIN;
2001	in the script
2002	\N
\.
COPY TABLE TO STDOUT WITH (FORMAT binary);
CREATE TABLE deferred_TABLE (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO deferred_TABLE VALUES (1), (1);
\lo_import /etc/passwd
\lo_export :LASTOID /dev/null
\lo_unlink :LASTOID
LISTEN channel;
NOTIFY channel, 'payload';
EXPLAIN (COSTS off) SELECT * FROM TABLE;
VACUUM TABLE;
DROP TABLE TABLE, deferred_TABLE;
";

/// The script with names of its own, often enough to be some thousand statements.
fn script(scratch: &Scratch, name: &str, rounds: usize) -> Result<String> {
    let path = scratch.path().join(format!("{name}.sql"));
    let text = SCRIPT
        .replace("DROP TABLE", "DROP_T")
        .replace("CREATE TABLE", "CREATE_T");
    let text = text.replace("TABLE", name);
    let text = text
        .replace("DROP_T", "DROP TABLE")
        .replace("CREATE_T", "CREATE TABLE");
    fs::write(&path, text.repeat(rounds))?;
    Ok(path.display().to_string())
}

/// psql over what is given, by file and by command line.
fn psql_work(target: &Target, scratch: &Scratch, name: &str) -> Result<Vec<Client>> {
    let file = script(scratch, name, 12)?;
    let several =
        "SELECT 1; SELECT 'two'; CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1), (2)";
    Ok(vec![
        psql(target, &format!("{name}-file"), &["-f", &file])?,
        psql(
            target,
            &format!("{name}-one"),
            &["--single-transaction", "-c", several],
        )?,
        psql(
            target,
            &format!("{name}-two"),
            &["-c", ";", "-c", "  ", "-c", "-- nothing", "-c", "SELECT 2"],
        )?,
    ])
}

/// At least this many statements in one call of [`psql_work`].
const PSQL_WORK_STATEMENTS: usize = 12 * 75;

#[test]
fn psql_over_ipv4_and_ipv6() -> Result<()> {
    let scratch = Scratch::new("truth")?;
    let witness = Witness::start(&Options::default())?;
    witness.server.admin("CREATE ROLE alice SUPERUSER LOGIN")?;
    witness.server.admin("CREATE DATABASE \"Vertrieb Süd\"")?;
    let mut clients = Vec::new();
    clients.extend(psql_work(
        &witness.server.target("127.0.0.1"),
        &scratch,
        "four",
    )?);
    let other = witness
        .server
        .target("::1")
        .user("alice")
        .database("Vertrieb Süd");
    clients.extend(psql_work(&other, &scratch, "six")?);
    let (report, journal) = witness.finish(&clients)?;
    told(&report, 2 * PSQL_WORK_STATEMENTS)?;
    ensure!(report.errors >= 2 * 12 * 8, "{} errors", report.errors);
    // psql reaches large objects by FunctionCall messages.
    let is_call = |record: &&Value| record["statement"]["via"] == "function_call";
    let calls = journal.iter().filter(is_call).count();
    ensure!(calls == 2 * 12 * 9, "{calls} function calls");
    known_results(&sessions(&journal, "four-file"))
}

/// Rows and tags of statements whose result is known.
fn known_results(records: &[Value]) -> Result<()> {
    let expected = [
        ("INSERT INTO four SELECT g", 100, "[\"INSERT 0 100\"]"),
        ("/* a comment before */ UPDATE", 10, "[\"UPDATE 10\"]"),
        (
            "SELECT 1 AS one; SELECT 2",
            12,
            "[\"SELECT 1\",\"SELECT 1\",\"DELETE 10\"]",
        ),
        ("FETCH 7 FROM c", 7, "[\"FETCH 7\"]"),
        ("COPY  four ( n, name ) FROM STDIN", 500, "[\"COPY 500\"]"),
        ("COPY four (n, name) FROM STDIN", 2, "[\"COPY 2\"]"),
        ("COPY four TO STDOUT", 592, "[\"COPY 592\"]"),
    ];
    for (head, rows, tags) in expected {
        let found = records.iter().filter(|record| {
            let text = record["statement"]["text"].as_str().unwrap_or_default();
            text.starts_with(head) && record["result"]["status"] == "ok"
        });
        let results: Vec<&Value> = found.map(|record| &record["result"]).collect();
        ensure!(results.len() == 12, "{head}: {} times", results.len());
        for result in results {
            let tags: Value = serde_json::from_str(tags)?;
            let fits = result["rows"] == rows && result["tags"] == tags;
            ensure!(fits, "{head}: {result}");
        }
    }
    Ok(())
}

#[test]
fn psql_with_big_texts_and_another_encoding() -> Result<()> {
    let scratch = Scratch::new("truth")?;
    let path = scratch.path().join("big.sql");
    let sizes = [
        1 << 10,
        16 << 10,
        64 << 10,
        300 << 10,
        (1 << 20) - 40,
        1 << 20,
        3 << 20,
    ];
    let big: Vec<String> = sizes
        .iter()
        .map(|size| format!("SELECT length('{}');\n", "é\u{1F980}x".repeat(size / 7)))
        .collect();
    fs::write(&path, big.concat())?;
    let latin = scratch.path().join("latin1.sql");
    // "Grüße" in Latin-1.
    fs::write(
        &latin,
        b"SELECT 'Gr\xfc\xdfe';\nSELECT \xa7;\nSELECT 'plain';\n",
    )?;

    let witness = Witness::start(&Options::default())?;
    let target = witness.server.target("127.0.0.1");
    let latin_args = ["-f", &latin.display().to_string()];
    let clients = [
        psql(&target, "big", &["-f", &path.display().to_string()])?,
        run_psql(
            &target,
            "latin1",
            &latin_args,
            &[("PGCLIENTENCODING", "LATIN1")],
        )?,
    ];
    let (report, journal) = witness.finish(&clients)?;
    told(&report, sizes.len() + 3)?;
    let truncated = sessions(&journal, "big");
    let truncated = truncated
        .iter()
        .filter(|r| r["statement"]["truncated"] == true);
    ensure!(truncated.count() == 2, "the limit is 1 MiB");
    let latin = sessions(&journal, "latin1");
    ensure!(
        latin[0]["statement"]["encoding"] == "LATIN1" && latin[0]["statement"]["bytes"] == 15,
        "{}",
        latin[0]
    );
    Ok(())
}

#[test]
fn clients_in_another_network_namespace() -> Result<()> {
    let scratch = Scratch::new("truth")?;
    let netns = Netns::joined_to_host()?;
    let listen = vec!["*".to_string()];
    let witness = Witness::start(&Options {
        listen,
        ..Options::default()
    })?;
    let ipv4 = witness
        .server
        .target(&netns.peer_ipv4.to_string())
        .from(netns.place());
    let ipv6 = witness
        .server
        .target(&netns.peer_ipv6.to_string())
        .from(netns.place());
    netns_work(witness, &ipv4, &ipv6, &scratch)
}

#[test]
fn server_in_another_network_namespace() -> Result<()> {
    let scratch = Scratch::new("truth")?;
    let netns = Netns::joined_to_host()?;
    let witness = Witness::start(&Options {
        netns: Some(&netns),
        ..Options::default()
    })?;
    let ipv4 = witness.server.target(&netns.ipv4.to_string());
    let ipv6 = witness.server.target(&netns.ipv6.to_string());
    netns_work(witness, &ipv4, &ipv6, &scratch)
}

#[test]
fn server_and_clients_in_two_other_network_namespaces() -> Result<()> {
    let scratch = Scratch::new("truth")?;
    let (one, two) = Netns::pair()?;
    let witness = Witness::start(&Options {
        netns: Some(&one),
        ..Options::default()
    })?;
    let ipv4 = witness
        .server
        .target(&one.ipv4.to_string())
        .from(two.place());
    let ipv6 = witness
        .server
        .target(&one.ipv6.to_string())
        .from(two.place());
    netns_work(witness, &ipv4, &ipv6, &scratch)
}

fn netns_work(witness: Witness, ipv4: &Target, ipv6: &Target, scratch: &Scratch) -> Result<()> {
    let mut clients = vec![initialize(ipv4)?];
    clients.extend(psql_work(ipv4, scratch, "four")?);
    clients.extend(psql_work(ipv6, scratch, "six")?);
    for (name, target) in [("bench4", ipv4), ("bench6", ipv6)] {
        let args = ["-n", "-M", "prepared", "-c", "4", "-j", "2", "-t", "100"];
        clients.push(pgbench(target, name, &args)?);
    }
    let (report, _) = witness.finish(&clients)?;
    told(&report, 2 * PSQL_WORK_STATEMENTS + 2 * 4 * 100 * 7)
}
