//! Names that operators give to cgroups.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::cgroup::{self, Cgroup};
use dbgov_tests::drivers::{Target, psql};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::runs::text;
use dbgov_tests::wait_for;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> Result<Server> {
    Server::start(&Options {
        quiet: true,
        ..Options::default()
    })
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
        let procs = cgroup::root()?.join(home).join("cgroup.procs");
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

/// Made anew at the same path and tagged again before the agent has noticed: the new one has the name.
#[test]
fn a_cgroup_that_is_made_anew_is_tagged_anew() -> Result<()> {
    let server = server()?;
    let mut agent = Agent::start(Config::watching(&[&server]).quiet())?;
    let cgroup = Cgroup::new("again")?;
    for _ in 0..3 {
        done(&agent, &["set", "agent:again", "--cgroup", cgroup.path()])?;
        fs::remove_dir(cgroup.dir())?;
        fs::create_dir(cgroup.dir())?;
    }
    done(&agent, &["set", "agent:again", "--cgroup", cgroup.path()])?;
    inside(&cgroup, &server.target("127.0.0.1"), "SELECT 1")?;
    agent.stop()?;
    assert_eq!(names(&agent)?["SELECT 1"], tagged("agent:again"));
    Ok(())
}
