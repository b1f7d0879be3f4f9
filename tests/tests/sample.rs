//! A short sample of everything, for kernels that run in an emulator (`cargo xtask kernels`) as for this one.

use std::fs;

use dbgov_tests::drivers::{self, Target};
use dbgov_tests::installation::Installation;
use dbgov_tests::postgres::Options;
use dbgov_tests::scratch::Scratch;
use dbgov_tests::truth::{Client, Witness};
use dbgov_tests::{Result, ensure};

/// Statements, errors, transactions, COPY both ways, a text over many packets, and results of many rows: before Linux
/// 5.17 the kernel walks them by tail calls.
const SCRIPT: &str = r"
CREATE TABLE sample (n int PRIMARY KEY, name text);
INSERT INTO sample SELECT g, 'name ' || g FROM generate_series(1, 5000) AS g;
SELECT count(*) FROM sample;
SELECT n FROM sample ORDER BY n LIMIT 500;
SELECT * FROM sample ORDER BY n;
SELECT repeat('wide', 100000);
SELEKT 1;
SELECT 1 / 0;
SELECT 1 AS one\; SELECT 2 AS two\; DELETE FROM sample WHERE n > 4000;
BEGIN;
INSERT INTO sample VALUES (1, 'there already');
ROLLBACK;
PREPARE p (int) AS SELECT name FROM sample WHERE n = $1;
EXECUTE p (3);
DEALLOCATE p;
DO $$ BEGIN RAISE NOTICE 'of no %', 'consequence'; END $$;
\copy sample TO /dev/null
COPY sample (n, name) FROM STDIN;
10001	one
10002	two
\.
";
const SCRIPT_ROUNDS: usize = 4;
/// Queries of one round, COPY included, counted low.
const SCRIPT_STATEMENTS: usize = 16;
const LONG_TEXT_BYTES: usize = 200_000;

const BENCHES: [(&str, &[&str]); 4] = [
    ("simple", &["-M", "simple", "-c", "2", "-t", "20"]),
    ("extended", &["-M", "extended", "-c", "2", "-t", "20"]),
    ("prepared", &["-M", "prepared", "-c", "2", "-t", "20"]),
    ("connecting", &["-C", "-S", "-c", "2", "-t", "10"]),
];
/// pgbench's transaction has seven statements, its select-only one has one.
const BENCH_STATEMENTS: usize = 3 * 2 * 20 * 7 + 2 * 10;

fn psql(target: &Target, application: &str, file: &str) -> Result<Client> {
    let mut command = drivers::psql(target)?;
    command.args(["-f", file]);
    let (pid, _) = drivers::run(command, &target.clone().application(application))?;
    Client::new(application, pid, &Installation::find()?.tool("psql"))
}

fn pgbench(target: &Target, application: &str, args: &[&str]) -> Result<Client> {
    let mut command = drivers::pgbench(target)?;
    command.args(args);
    let (pid, _) = drivers::run(command, &target.clone().application(application))?;
    Client::new(application, pid, &Installation::find()?.tool("pgbench"))
}

#[test]
fn the_journal_has_what_the_server_was_asked() -> Result<()> {
    let scratch = Scratch::new("sample")?;
    let file = scratch.path().join("sample.sql");
    let long = format!("SELECT length('{}');\n", "x".repeat(LONG_TEXT_BYTES));
    let round = format!("{SCRIPT}{long}DROP TABLE sample;\n");
    fs::write(&file, round.repeat(SCRIPT_ROUNDS))?;
    let file = file.display().to_string();

    let witness = Witness::start(&Options::default())?;
    let (four, six) = (
        witness.server.target("127.0.0.1"),
        witness.server.target("::1"),
    );
    let mut clients = vec![psql(&four, "four", &file)?, psql(&six, "six", &file)?];
    clients.push(pgbench(
        &four,
        "init",
        &["--initialize", "--quiet", "--scale=1"],
    )?);
    for (name, args) in BENCHES {
        clients.push(pgbench(&four, name, &[&["-n"], args].concat())?);
    }
    let (report, journal) = witness.finish(&clients)?;
    println!("{}", report.figures());
    let gaps: Vec<String> = journal
        .iter()
        .filter(|record| record["kind"] == "gap")
        .map(ToString::to_string)
        .collect();
    ensure!(gaps.is_empty(), "gaps:\n{}", gaps.join("\n"));
    report.ensure(2 * SCRIPT_ROUNDS * SCRIPT_STATEMENTS + BENCH_STATEMENTS)
}
