//! `cargo xtask run --demo`: the night the tables were dropped, on a throw-away PostgreSQL, with dbgov watching.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers::Target;
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
/// Long enough to read a line before the next comes.
const PACE: Duration = Duration::from_millis(350);
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(keep: bool) -> Result<()> {
    setup::provide(&[Part::Kernel, Part::Postgres])?;
    let binary = build::everything(true)?;
    let stop = Stop::on_signals()?;
    let stage = Stage::set(&binary)?;
    stage.play(&stop)?;
    stage.tell()?;
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
        let path = format!("{:?}", journal.display().to_string());
        let config = Config::watching(&[&server]).set("audit", "dir", &path);
        let agent = Agent::start(config.binary(binary).live())?;
        Ok(Stage {
            agent,
            server,
            programs: Scratch::new("demo")?,
            journal,
        })
    }

    fn play(&self, stop: &Stop) -> Result<()> {
        shell::say("evening: migrate sets the shop up, web serves its customers");
        let mut migrate = self.actor("migrate")?;
        for table in TABLES {
            migrate.say(
                &format!("CREATE TABLE {table} (id int PRIMARY KEY, note text)"),
                stop,
            )?;
        }
        for table in TABLES {
            let rows = format!(
                "INSERT INTO {table} SELECT n, 'row ' || n FROM generate_series(1, 500) AS n"
            );
            migrate.say(&rows, stop)?;
        }
        migrate.leave()?;

        let mut web = self.actor("web")?;
        web.say("SELECT id, note FROM orders WHERE id = 42", stop)?;
        web.say(
            "INSERT INTO orders VALUES (501, 'two crates of apples')",
            stop,
        )?;
        web.say("UPDATE carts SET note = 'checked out' WHERE id = 7", stop)?;

        shell::say("night: an AI agent was asked to free some space; it runs a clean-up script");
        let mut clean_up = self.actor("clean-up")?;
        clean_up.say(
            "SELECT relname, n_live_tup FROM pg_stat_user_tables ORDER BY 2 DESC",
            stop,
        )?;
        for table in DROPPED {
            clean_up.say(
                &format!("DROP TABLE {table} /* unused since last migration */"),
                stop,
            )?;
        }
        clean_up.leave()?;

        shell::say("morning: web looks for its orders");
        web.say("SELECT id, note FROM orders WHERE id = 501", stop)?;
        web.leave()
    }

    /// psql under another name: the name its process has, and what it calls itself to the server.
    fn actor(&self, name: &str) -> Result<Actor> {
        let program = self.programs.path().join(name);
        if !program.exists() {
            symlink(self.server.installation().tool("psql"), &program)?;
        }
        let target = self
            .server
            .target("127.0.0.1")
            .user("app")
            .database("shop")
            .application(name);
        Actor::enter(&program, &target)
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

    fn wait(&self, stop: &Stop) {
        shell::say(format_args!(
            "still running: psql -h 127.0.0.1 -p {} -U app shop   (Ctrl-C ends it)",
            self.server.port()
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
    fn enter(program: &Path, target: &Target) -> Result<Self> {
        let mut command = target.place.command(program);
        command
            .args(["-X", "-q"])
            .envs(target.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Actor(process::spawn(command)?))
    }

    fn say(&mut self, sql: &str, stop: &Stop) -> Result<()> {
        let input = self.0.stdin.as_mut().context("the client has left")?;
        writeln!(input, "{sql};")?;
        stop.pause(PACE)
    }

    fn leave(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
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
