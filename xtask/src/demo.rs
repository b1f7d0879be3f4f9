//! `cargo xtask run --demo`: the night the tables were dropped, on a throw-away PostgreSQL, with dbgov watching; and the
//! night after, with a policy in force.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::process;
use dbgov_tests::scratch::Scratch;
use dbgov_tests::target_dir;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::setup::{self, Part};
use crate::{build, shell};

const TABLES: [&str; 6] = [
    "orders",
    "order_items",
    "customers",
    "invoices",
    "payments",
    "carts",
];
/// What the clean-up script takes for left-overs.
const DROPPED: [&str; 3] = ["orders", "invoices", "payments"];
/// Whose user the clean-up script has: one that every system has.
const CLEAN_UP_USER: &str = "daemon";
/// In force on the second night.
const POLICY: &str = r#"default = "allow"

[[rule]]
name = "clean-up-drops-nothing"
action = "reset"
identities = ["daemon"]
verbs = ["drop", "truncate"]
reason = "ask the shop's team first"
"#;
/// Long enough to read a line before the next comes.
const PACE: Duration = Duration::from_millis(350);
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(keep: bool) -> Result<()> {
    setup::provide(&[Part::Agent, Part::Kernel, Part::Postgres])?;
    let binary = build::everything(true)?;
    let stop = Stop::on_signals()?;
    let mut stage = Stage::set(&binary)?;
    stage.play(&stop)?;
    stage.tell()?;
    stage.govern(&binary)?;
    stage.play_again(&stop)?;
    stage.tell_again()?;
    if keep {
        stage.wait(&stop);
    }
    stage.strike()
}

/// Set by Ctrl-C: the play ends early, and everything started is stopped as usual.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Stop(flag))
    }

    fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn pause(&self, time: Duration) -> Result<()> {
        const SLICE: Duration = Duration::from_millis(50);
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.asked() {
                bail!("stopped");
            }
            thread::sleep(SLICE);
        }
        Ok(())
    }
}

/// Server, agent and the actors' programs. The agent goes first on drop, then the server.
struct Stage {
    agent: Agent,
    server: Server,
    programs: Scratch,
    journal: PathBuf,
}

impl Stage {
    fn set(binary: &Path) -> Result<Self> {
        let server = Server::start(&Options {
            quiet: true,
            ..Options::default()
        })?;
        server.admin("CREATE ROLE app LOGIN")?;
        server.admin("CREATE DATABASE shop OWNER app")?;
        let journal = fresh_journal_dir()?;
        shell::say(format_args!(
            "a throw-away PostgreSQL listens on port {}; dbgov records into {}",
            server.port(),
            journal.display()
        ));
        let agent = Agent::start(config(binary, &server, &journal))?;
        let programs = Scratch::new("demo")?;
        fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Stage {
            agent,
            server,
            programs,
            journal,
        })
    }

    /// The agent once more, with a policy.
    fn govern(&mut self, binary: &Path) -> Result<()> {
        self.agent.stop()?;
        println!("The day after, somebody writes a policy:\n\n{POLICY}");
        self.agent = Agent::start(config(binary, &self.server, &self.journal).policy(POLICY))?;
        Ok(())
    }

    fn play(&self, stop: &Stop) -> Result<()> {
        shell::say("evening: migrate sets the shop up, web serves its customers");
        self.set_up(&TABLES, stop)?;

        let mut web = self.actor("web")?;
        web.say("SELECT id, note FROM orders WHERE id = 42", stop)?;
        web.say(
            "INSERT INTO orders VALUES (501, 'two crates of apples')",
            stop,
        )?;
        web.say("UPDATE carts SET note = 'checked out' WHERE id = 7", stop)?;

        shell::say("night: an AI agent was asked to free some space; it runs a clean-up script");
        self.clean_up(stop)?;

        shell::say("morning: web looks for its orders");
        web.say("SELECT id, note FROM orders WHERE id = 501", stop)?;
        web.leave()?;
        Ok(())
    }

    fn play_again(&self, stop: &Stop) -> Result<()> {
        shell::say("evening: migrate restores the tables from the backup; no rule is about it");
        self.set_up(&DROPPED, stop)?;
        shell::say("night: the same script runs again");
        let words = self.clean_up(stop)?;
        println!("\nThe script ended there. Its log says:\n\n{words}");
        shell::say("morning: web looks for its orders");
        Ok(())
    }

    fn set_up(&self, tables: &[&str], stop: &Stop) -> Result<()> {
        let mut migrate = self.actor("migrate")?;
        for table in tables {
            migrate.say(
                &format!("CREATE TABLE {table} (id int PRIMARY KEY, note text)"),
                stop,
            )?;
        }
        for table in tables {
            let rows = format!(
                "INSERT INTO {table} SELECT n, 'row ' || n FROM generate_series(1, 500) AS n"
            );
            migrate.say(&rows, stop)?;
        }
        migrate.leave()?;
        Ok(())
    }

    /// The script's last words.
    fn clean_up(&self, stop: &Stop) -> Result<String> {
        let mut clean_up = self.actor("clean-up")?;
        clean_up.say(
            "SELECT relname, n_live_tup FROM pg_stat_user_tables ORDER BY 2 DESC",
            stop,
        )?;
        for table in DROPPED {
            if clean_up.has_left()? {
                break;
            }
            clean_up.say(
                &format!("DROP TABLE {table} /* unused since last migration */"),
                stop,
            )?;
        }
        clean_up.leave()
    }

    fn actor(&self, name: &str) -> Result<Actor> {
        let mut command = self.psql(name)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(Actor(process::spawn(command)?))
    }

    /// psql under another name: the name its process has, and what it calls itself to the server.
    fn psql(&self, name: &str) -> Result<Command> {
        let program = self.programs.path().join(name);
        if !program.exists() {
            symlink(self.server.installation().tool("psql"), &program)?;
        }
        let mut target = self
            .server
            .target("127.0.0.1")
            .user("app")
            .database("shop")
            .application(name);
        if name == "clean-up" {
            target.place.user = Some(CLEAN_UP_USER.to_owned());
        }
        let mut command = target.place.command(&program);
        command
            .args(["-X", "-q"])
            .envs(target.environment())
            .current_dir("/");
        Ok(command)
    }

    /// Prints who did it.
    fn tell(&self) -> Result<()> {
        let is_last = |record: &Value| {
            verbs(record).any(|verb| verb == "drop")
                && text(record).contains(DROPPED[DROPPED.len() - 1])
        };
        self.agent
            .wait_for_record("the last DROP is in the journal", RECORD_TIMEOUT, is_last)?;
        println!(
            "\nWho dropped the tables? The journal in {} says:\n",
            self.journal.display()
        );
        for record in self.agent.statements()? {
            if verbs(&record).any(|verb| verb == "drop") {
                println!("{record}\n");
            }
        }
        Ok(())
    }

    /// Prints what became of the second night's script.
    fn tell_again(&self) -> Result<()> {
        let is_refused = |record: &Value| record["verdict"]["action"] == "reset";
        let refused = self.agent.wait_for_record(
            "the refused DROP is recorded",
            RECORD_TIMEOUT,
            is_refused,
        )?;
        let mut web = self.psql("web")?;
        let counted = web
            .args(["-At", "-c", "SELECT count(*) FROM orders"])
            .output()?;
        println!(
            "\nNothing was dropped: orders has {} rows. The journal says of the script:\n\n{refused}\n",
            String::from_utf8_lossy(&counted.stdout).trim()
        );
        Ok(())
    }

    fn wait(&self, stop: &Stop) {
        shell::say(format_args!(
            "still running (Ctrl-C ends it): psql 'host=127.0.0.1 port={} user=app dbname=shop sslmode=disable'; \
             the policy is {}, and is read again when it changes",
            self.server.port(),
            self.agent.policy_path().display()
        ));
        while !stop.asked() {
            thread::sleep(PACE);
        }
    }

    fn strike(mut self) -> Result<()> {
        self.agent.stop()?;
        shell::say(format_args!(
            "the journal stays in {}",
            self.journal.display()
        ));
        Ok(())
    }
}

fn config(binary: &Path, server: &Server, journal: &Path) -> Config {
    let path = format!("{:?}", journal.display().to_string());
    let config = Config::watching(&[server]).set("audit", "dir", &path);
    config.binary(binary).live()
}

/// The journal outlives the demo, the one of the demo before does not.
fn fresh_journal_dir() -> Result<PathBuf> {
    let dir = target_dir().join("demo/audit");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A client that says one statement after the other.
struct Actor(Child);

impl Actor {
    fn say(&mut self, sql: &str, stop: &Stop) -> Result<()> {
        let input = self.0.stdin.as_mut().context("the client has left")?;
        match writeln!(input, "{sql};") {
            // It may end while it is being told.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => stop.pause(PACE),
        }
    }

    fn has_left(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// What it has to complain of: a few lines, fewer than a pipe holds.
    fn leave(mut self) -> Result<String> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        let mut words = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut words)?;
        }
        Ok(words)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.0, &[]);
    }
}

fn verbs(record: &Value) -> impl Iterator<Item = &str> {
    let verbs = record["statement"]["verbs"].as_array();
    verbs.into_iter().flatten().filter_map(Value::as_str)
}

fn text(record: &Value) -> &str {
    record["statement"]["text"].as_str().unwrap_or_default()
}
