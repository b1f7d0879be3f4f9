//! Names that operators give to cgroups, and runs that are started under them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{self, Agent, Config};
use dbgov_tests::cgroup::Cgroup;
use dbgov_tests::drivers::{Target, psql};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::process::Place;
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{journal, wait_for};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
/// A user who is neither root nor in the group dbgov.
const NOBODY: &str = "65534";
const NOBODY_ID: u32 = 65534;
const LET_NOBODY: &str = "[[exec]]\nnames = [\"agent:*\"]\nusers = [\"nobody\"]";

fn server() -> Result<Server> {
    Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A place where everybody finds the programs and a configuration that only names the control socket.
struct Public {
    scratch: Scratch,
    config: PathBuf,
}

impl Public {
    fn of(agent: &Agent) -> Result<Self> {
        let scratch = Scratch::new("public")?;
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), everybody.clone())?;
        fs::copy(agent::binary()?, scratch.path().join("dbgov"))?;
        let socket = agent.config_path().with_file_name("control.sock");
        let config = scratch.path().join("dbgov.toml");
        fs::write(&config, format!("[agent]\ncontrol_socket = {socket:?}\n"))?;
        fs::set_permissions(agent.config_path().with_file_name(""), everybody)?;
        Ok(Public { scratch, config })
    }

    /// `dbgov ARGS` as that user.
    fn dbgov(&self, user: Option<&str>, args: &[&str]) -> Command {
        let place = Place {
            user: user.map(str::to_owned),
            ..Place::default()
        };
        let mut command = place.command(self.scratch.path().join("dbgov"));
        command.arg("--config").arg(&self.config).args(args);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// A program of its own: a copy under another path.
    fn copy(&self, program: &std::path::Path, name: &str) -> Result<PathBuf> {
        let dir = self.scratch.path().join(name);
        fs::create_dir_all(&dir)?;
        let copy = dir.join(program.file_name().context("a program")?);
        fs::copy(program, &copy)?;
        Ok(copy)
    }
}

/// `dbgov exec` of a program that says its run's id before it becomes the program.
struct Run {
    child: Child,
    id: String,
}

impl Run {
    fn start(public: &Public, target: &Target, words: &[&str], program: &[&str]) -> Result<Run> {
        let mut command = public.dbgov(Some(NOBODY), &["exec"]);
        command
            .args(words)
            .args(["--", "sh", "-c", "echo $DBGOV_RUN; exec \"$@\"", "sh"])
            .args(program)
            .envs(target.environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = dbgov_tests::process::spawn(command)?;
        let mut id = String::new();
        // Byte by byte: what comes behind is the program's.
        let stdout = child.stdout.as_mut().context("its output")?;
        BufReader::with_capacity(1, stdout).read_line(&mut id)?;
        if id.is_empty() {
            anyhow::bail!("did not start: {}", text(&child.wait_with_output()?));
        }
        Ok(Run {
            child,
            id: id.trim().to_owned(),
        })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn end(self) -> Result<Output> {
        Ok(self.child.wait_with_output()?)
    }
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
        let path = public.scratch.path().join(format!("script-{number}.sql"));
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

fn tag(agent: &Agent, args: &[&str]) -> Result<(bool, String)> {
    let output = agent.command(&[&["tag"], args].concat())?;
    Ok((output.status.success(), text(&output)))
}

fn done(agent: &Agent, args: &[&str]) -> Result<String> {
    let (good, said) = tag(agent, args)?;
    ensure!(good, "dbgov tag {args:?}: {said}");
    Ok(said)
}

/// psql inside of the cgroup.
fn inside(cgroup: &Cgroup, target: &Target, sql: &str) -> Result<Output> {
    let psql = psql(target)?;
    let words = cgroup.words();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .arg(psql.get_program())
        .args(psql.get_args())
        .args(["-X", "-A", "-t", "-c", sql])
        .envs(target.environment())
        .stdin(Stdio::null());
    Ok(command.output()?)
}

/// `identity.name` and `.source` of the statements, by their texts.
fn names(agent: &Agent) -> Result<BTreeMap<String, (String, String)>> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let statements = agent.statements()?;
    let named = statements.iter().map(|record| {
        let identity = &record["identity"];
        let name = (word(&identity["name"]), word(&identity["source"]));
        (word(&record["statement"]["text"]), name)
    });
    Ok(named.collect())
}

fn tagged(name: &str) -> (String, String) {
    (name.to_owned(), "tag".to_owned())
}

fn tag_records(agent: &Agent) -> Result<Vec<Value>> {
    let mut records = agent.journal()?;
    records.retain(|record| record["kind"] == "tag");
    Ok(records)
}

/// Event and name of each change.
fn changes(agent: &Agent) -> Result<Vec<(String, String)>> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let records = tag_records(agent)?;
    let told = records
        .iter()
        .map(|record| (word(&record["tag"]["event"]), word(&record["tag"]["name"])));
    Ok(told.collect())
}

#[test]
fn the_nearest_tagged_cgroup_names_a_process_until_it_ends() -> Result<()> {
    let server = server()?;
    let mut agent = Agent::start(Config::watching(&[&server]).quiet())?;
    let target = server.target("127.0.0.1");
    let inner = Cgroup::new("outer/middle/inner")?;
    let outer = format!("{}/outer", inner.top());
    inside(&inner, &target, "SELECT 'none'")?;
    done(&agent, &["set", "agent:outer", "--cgroup", &outer])?;
    inside(&inner, &target, "SELECT 'outer'")?;
    // As it stands in the file system.
    let written = inner.dir().display().to_string();
    done(&agent, &["set", "agent:inner", "--cgroup", &written])?;
    inside(&inner, &target, "SELECT 'inner'")?;
    agent.wait_for_record("the statement", PATIENCE, |record| {
        record["statement"]["text"] == "SELECT 'inner'"
    })?;
    let listed = done(&agent, &["list"])?;
    assert!(
        listed.contains("agent:inner") && listed.contains(inner.path()),
        "{listed}"
    );

    // The tags outlive the agent, whatever ends it.
    agent.kill9()?;
    agent.start_again()?;
    inside(&inner, &target, "SELECT 'inner again'")?;
    agent.stop()?;
    agent.start_again()?;
    inside(&inner, &target, "SELECT 'and again'")?;

    done(&agent, &["rm", "agent:inner"])?;
    inside(&inner, &target, "SELECT 'outer again'")?;
    let (good, said) = tag(&agent, &["rm", "agent:inner"])?;
    assert!(
        !good && said.contains("no cgroup goes by agent:inner"),
        "{said}"
    );
    let below = inner.path().to_owned();
    drop(inner);
    agent.wait_for_record("the end of the tag", PATIENCE, |record| {
        record["tag"]["event"] == "ended"
    })?;
    assert_eq!(done(&agent, &["list"])?, "nothing is tagged\n");
    agent.stop()?;

    let names = names(&agent)?;
    for (sql, name) in [
        ("SELECT 'outer'", "agent:outer"),
        ("SELECT 'inner'", "agent:inner"),
        ("SELECT 'inner again'", "agent:inner"),
        ("SELECT 'and again'", "agent:inner"),
        ("SELECT 'outer again'", "agent:outer"),
    ] {
        assert_eq!(names[sql], tagged(name), "{sql}");
    }
    assert_ne!(names["SELECT 'none'"].1, "tag");
    let events = [
        ("set", "agent:outer"),
        ("set", "agent:inner"),
        ("removed", "agent:inner"),
        ("ended", "agent:outer"),
    ];
    let events: Vec<_> = events.map(|(e, n)| (e.to_owned(), n.to_owned())).into();
    assert_eq!(changes(&agent)?, events);
    let set = &tag_records(&agent)?[1]["tag"];
    assert_eq!(set["by"]["uid"], 0);
    assert_eq!(set["cgroup"], below);
    assert_eq!(set["origin"], "command");
    Ok(())
}

/// A cgroup that is made anew at the same path is another.
#[test]
fn a_tag_ends_with_its_cgroup_while_no_agent_runs() -> Result<()> {
    let server = server()?;
    let mut agent = Agent::start(Config::watching(&[&server]).quiet())?;
    let cgroup = Cgroup::new("job")?;
    done(&agent, &["set", "agent:job", "--cgroup", cgroup.path()])?;
    agent.kill9()?;
    fs::remove_dir(cgroup.dir())?;
    fs::create_dir(cgroup.dir())?;
    agent.start_again()?;
    inside(&cgroup, &server.target("127.0.0.1"), "SELECT 1")?;
    agent.stop()?;
    assert_ne!(names(&agent)?["SELECT 1"].1, "tag");
    assert_eq!(changes(&agent)?.last().unwrap().0, "ended");
    Ok(())
}

const NO_DDL_FOR_AGENTS: &str = r#"
[[rule]]
name = "no-ddl"
action = "reset"
verbs = ["ddl"]
identities = ["agent:*"]
"#;

/// A tag is a policy from now on, for connections that are open too.
#[test]
fn an_open_session_goes_by_a_tag_from_the_moment_it_is_set() -> Result<()> {
    let server = server()?;
    let mut agent = Agent::start(
        Config::watching(&[&server])
            .quiet()
            .policy(NO_DDL_FOR_AGENTS),
    )?;
    let cgroup = Cgroup::new("open")?;
    let target = server.target("127.0.0.1");
    let mut postgres = {
        // The connection is opened by a process of the cgroup: this one, for a moment.
        let before = fs::read_to_string("/proc/self/cgroup")?;
        let before = before.lines().find_map(|line| line.strip_prefix("0::"));
        let home = before
            .context("no cgroup v2")?
            .trim_start_matches('/')
            .to_owned();
        cgroup.add(std::process::id())?;
        let connected = postgres::Client::connect(&server.dsn(), postgres::NoTls);
        let procs = dbgov_tests::cgroup::root()?.join(home).join("cgroup.procs");
        fs::write(procs, std::process::id().to_string())?;
        connected?
    };
    postgres.batch_execute("CREATE TABLE before ()")?;
    done(&agent, &["set", "agent:open", "--cgroup", cgroup.path()])?;
    postgres.simple_query("SELECT 'still there'")?;
    let error = postgres.batch_execute("CREATE TABLE after ()").unwrap_err();
    assert!(
        error.to_string().contains("db error") || error.is_closed(),
        "{error:?}"
    );
    done(&agent, &["rm", "agent:open"])?;
    inside(&cgroup, &target, "CREATE TABLE untagged ()")?;
    agent.stop()?;
    let tables = server
        .admin("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_stat_user_tables")?;
    assert_eq!(tables, "before untagged");
    let names = names(&agent)?;
    assert_ne!(names["CREATE TABLE before ()"].1, "tag");
    assert_eq!(names["SELECT 'still there'"], tagged("agent:open"));
    assert_eq!(names["CREATE TABLE after ()"], tagged("agent:open"));
    Ok(())
}

/// Cgroups that are made while the agent runs, with a process that connects at once.
#[test]
fn tags_of_the_configuration_are_for_cgroups_that_come_and_go() -> Result<()> {
    let server = server()?;
    let mut cgroups = Vec::new();
    let old = Cgroup::new("agents/old")?;
    let config = Config::watching(&[&server]).quiet().more(&format!(
        "[[tag]]\nname = \"agent:any\"\ncgroup = \"{}*/agents/*\"\n[[tag]]\nname = \"agent:sync\"\nunit = \"sync@*.service\"",
        "/dbgov-test-cgroup-"
    ));
    let mut agent = Agent::start(config)?;
    let target = server.target("127.0.0.1");
    let listed = done(&agent, &["list"])?;
    assert!(listed.contains(old.path()), "{listed}");
    for n in 0..20 {
        let cgroup = Cgroup::new(&format!("agents/job-{n}/payload"))?;
        inside(&cgroup, &target, &format!("SELECT 'job {n}'"))?;
        cgroups.push(cgroup);
    }
    let unit = Cgroup::new("system.slice/sync@7.service/payload")?;
    inside(&unit, &target, "SELECT 'unit'")?;
    let other = Cgroup::new("elsewhere/job")?;
    inside(&other, &target, "SELECT 'other'")?;
    // What an operator says of a cgroup further in goes before the configuration.
    done(
        &agent,
        &["set", "agent:special", "--cgroup", cgroups[0].path()],
    )?;
    inside(&cgroups[0], &target, "SELECT 'special'")?;
    let (good, said) = tag(&agent, &["rm", "agent:any"])?;
    assert!(
        !good && said.contains("[[tag]] of the configuration"),
        "{said}"
    );
    agent.stop()?;
    let names = names(&agent)?;
    for n in 0..20 {
        assert_eq!(names[&format!("SELECT 'job {n}'")], tagged("agent:any"));
    }
    assert_eq!(names["SELECT 'unit'"], tagged("agent:sync"));
    assert_eq!(names["SELECT 'special'"], tagged("agent:special"));
    assert_ne!(names["SELECT 'other'"].1, "tag");
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
    assert!(
        !dbgov_tests::cgroup::root()?
            .join("dbgov")
            .join(&id)
            .exists()
    );

    // Without an agent nothing is run under a name that nobody would see.
    let none = exec(None, &["--", "echo", "ran"])?;
    assert_eq!(none.status.code(), Some(125));
    assert!(text(&none).contains("no dbgov answers"), "{}", text(&none));
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
        let (dbgov, config) = (public.scratch.path().join("dbgov"), public.config.clone());
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
    assert!(changes(&agent)?.iter().all(|(_, name)| name == "agent:one"));
    Ok(())
}

#[test]
fn a_cgroup_that_cannot_be_meant_is_told_so() -> Result<()> {
    let server = server()?;
    let agent = Agent::start(Config::watching(&[&server]).quiet())?;
    let cgroup = Cgroup::new("shared.service")?;
    let mut sleepers = Vec::new();
    for _ in 0..2 {
        let words = cgroup.words();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["sleep", "60"])
            .spawn()?;
        sleepers.push(child);
    }
    wait_for("two sleepers", PATIENCE, || {
        let text = fs::read_to_string(cgroup.dir().join("cgroup.procs"))?;
        Ok((text.lines().count() == 2).then_some(()))
    })?;
    let pid = sleepers[0].id().to_string();
    for (args, told) in [
        (
            &["set", "a:b", "--cgroup", "/"][..],
            "every process is below the root",
        ),
        (
            &["set", "a:b", "--cgroup", "/no/such"],
            "there is no cgroup /no/such",
        ),
        (&["set", "a b", "--cgroup", "/x"], "letters, digits"),
        (&["set", "a:b"], "--cgroup"),
        (&["set", "a:b", "--pid", "4194305"], "no process 4194305"),
        (
            &["set", "a:b", "--pid", &pid],
            "also that of processes it did not start",
        ),
        (
            &["set", "a:b", "--unit", "no.service"],
            "is the unit running",
        ),
    ] {
        let (good, said) = tag(&agent, args)?;
        assert!(!good && said.contains(told), "{args:?}: {said}");
    }
    let said = done(&agent, &["set", "a:b", "--unit", "shared.service"])?;
    assert!(said.contains(cgroup.path()), "{said}");
    for sleeper in &mut sleepers[1..] {
        sleeper.kill()?;
        sleeper.wait()?;
    }
    let said = done(&agent, &["set", "a:c", "--pid", &pid])?;
    assert!(said.contains("(it was a:b)"), "{said}");
    sleepers[0].kill()?;
    sleepers[0].wait()?;
    Ok(())
}
