//! Clients: PostgreSQL's own programs and one program per foreign driver (`tests/drivers`), each of which plays a
//! fixed, varied workload and prints nothing unless it failed.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::installation::Installation;
use crate::process::{self, Place};
use crate::{target_dir, workspace};

/// Debian's package libpostgresql-jdbc-java.
pub const JDBC_JAR: &str = "/usr/share/java/postgresql.jar";

/// Where a client connects to, as whom, and where it runs.
#[derive(Debug, Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub application: Option<String>,
    pub place: Place,
}

impl Target {
    pub fn new(host: &str, port: u16) -> Self {
        Target {
            host: host.to_string(),
            port,
            user: "postgres".to_string(),
            database: "postgres".to_string(),
            application: None,
            place: Place::default(),
        }
    }

    pub fn user(mut self, user: &str) -> Self {
        self.user = user.to_string();
        self
    }

    pub fn database(mut self, database: &str) -> Self {
        self.database = database.to_string();
        self
    }

    pub fn application(mut self, application: &str) -> Self {
        self.application = Some(application.to_string());
        self
    }

    pub fn from(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// The environment libpq and its like read.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGDATABASE", self.database.clone()),
            ("PGSSLMODE", "disable".to_string()),
            ("PGGSSENCMODE", "disable".to_string()),
        ];
        environment.extend(self.application.clone().map(|name| ("PGAPPNAME", name)));
        environment
    }
}

/// The foreign drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Psycopg,
    Asyncpg,
    NodePostgres,
    Jdbc,
}

impl Driver {
    pub const ALL: [Driver; 4] = [
        Driver::Psycopg,
        Driver::Asyncpg,
        Driver::NodePostgres,
        Driver::Jdbc,
    ];

    /// What runs its program: a path, or a name to be found on the PATH.
    pub fn interpreter(self) -> PathBuf {
        match self {
            Driver::Psycopg | Driver::Asyncpg => directory().join("venv/bin/python"),
            Driver::NodePostgres => PathBuf::from("node"),
            Driver::Jdbc => PathBuf::from("java"),
        }
    }

    /// Its program, to be given the number of statements to send at least.
    fn command(self, place: &Place) -> Result<Command> {
        let made = directory();
        let programs = workspace().join("tests/drivers");
        let needed = match self {
            Driver::Psycopg | Driver::Asyncpg => made.join("venv"),
            Driver::NodePostgres => made.join("node/node_modules/pg"),
            Driver::Jdbc => made.join("java/JdbcDriver.class"),
        };
        ensure!(
            needed.exists(),
            "{} is missing: cargo xtask setup makes it",
            needed.display()
        );
        let mut command = place.command(self.interpreter());
        match self {
            Driver::Psycopg => command.arg(programs.join("psycopg_driver.py")),
            Driver::Asyncpg => command.arg(programs.join("asyncpg_driver.py")),
            Driver::NodePostgres => command
                .env("NODE_PATH", made.join("node/node_modules"))
                .arg(programs.join("pg_driver.js")),
            Driver::Jdbc => command
                .arg("-cp")
                .arg(format!("{}:{JDBC_JAR}", made.join("java").display()))
                .arg("JdbcDriver"),
        };
        Ok(command)
    }

    /// Plays the driver's workload of at least `statements` statements; returns the pid it had.
    pub fn run(self, target: &Target, statements: u32) -> Result<u32> {
        let mut command = self.command(&target.place)?;
        command.arg(statements.to_string());
        let (pid, output) = run(command, target).with_context(|| format!("{self:?}"))?;
        let printed = [output.stdout, output.stderr].concat();
        ensure!(
            printed.is_empty(),
            "{self:?} says: {}",
            String::from_utf8_lossy(&printed)
        );
        Ok(pid)
    }

    /// Runs one statement; what its user is told: how it failed, and whether the connection lives on.
    pub fn statement(self, target: &Target, sql: &str) -> Result<String> {
        let made = directory();
        let programs = workspace().join("tests/drivers");
        let mut command = target.place.command(self.interpreter());
        match self {
            Driver::Psycopg => command.arg(programs.join("psycopg_statement.py")),
            Driver::Asyncpg => command.arg(programs.join("asyncpg_statement.py")),
            Driver::NodePostgres => command
                .env("NODE_PATH", made.join("node/node_modules"))
                .arg(programs.join("pg_statement.js")),
            // A single source file needs no compiling (JEP 330).
            Driver::Jdbc => command
                .args(["-cp", JDBC_JAR])
                .arg(programs.join("JdbcStatement.java")),
        };
        command.arg(sql);
        let (_, output) = run(command, target).with_context(|| format!("{self:?}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Where `cargo xtask setup` puts the drivers.
pub fn directory() -> PathBuf {
    match std::env::var_os("DBGOV_DRIVERS") {
        Some(dir) => PathBuf::from(dir),
        None => target_dir().join("drivers"),
    }
}

/// psql, to be given its arguments; the server's own one, not a wrapper, so that the pid is that of the client.
pub fn psql(target: &Target) -> Result<Command> {
    let mut command = target.place.command(Installation::find()?.tool("psql"));
    command.args(["-X", "-q", "-A", "-t"]);
    Ok(command)
}

/// pgbench, to be given its arguments.
pub fn pgbench(target: &Target) -> Result<Command> {
    Ok(target.place.command(Installation::find()?.tool("pgbench")))
}

/// Runs a client to its end; returns its pid and what it printed. Anything but success is an error with its words.
pub fn run(mut command: Command, target: &Target) -> Result<(u32, Output)> {
    command
        .envs(target.environment())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = process::spawn(command)?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((pid, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Kind;
    use crate::postgres::{Options, Server};

    /// Against a server nobody watches: the programs themselves are right, and send at least what they were asked to.
    fn plays(driver: Driver, host: &str) {
        let statements = 200;
        let mut server = Server::start(&Options::default()).unwrap();
        let application = format!("{driver:?}");
        driver
            .run(&server.target(host).application(&application), statements)
            .unwrap();
        server.stop().unwrap();
        let log = server.log().unwrap();
        let sent = log.iter().filter(|s| {
            s.application == application && s.kind != Kind::Bind && s.kind != Kind::Parse
        });
        let sent = sent.count();
        assert!(sent >= statements as usize, "{sent} statements in the log");
    }

    #[test]
    #[ignore = "group drivers"]
    fn psycopg_plays() {
        plays(Driver::Psycopg, "127.0.0.1");
    }

    #[test]
    #[ignore = "group drivers"]
    fn asyncpg_plays() {
        plays(Driver::Asyncpg, "::1");
    }

    #[test]
    #[ignore = "group drivers"]
    fn node_postgres_plays() {
        plays(Driver::NodePostgres, "127.0.0.1");
    }

    #[test]
    #[ignore = "group drivers"]
    fn jdbc_plays() {
        plays(Driver::Jdbc, "::1");
    }

    #[test]
    fn psql_and_pgbench_run_with_the_pid_they_tell() {
        let server = Server::start(&Options::default()).unwrap();
        let target = server.target("127.0.0.1");
        let mut init = pgbench(&target).unwrap();
        init.args(["--initialize", "--quiet", "--scale=1"]);
        run(init, &target).unwrap();
        let mut shell = psql(&target).unwrap();
        shell.args(["-c", "\\! echo $PPID"]);
        let (pid, output) = run(shell, &target).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            pid.to_string()
        );
    }

    #[test]
    fn a_failing_client_is_an_error_with_its_words() {
        let server = Server::start(&Options::default()).unwrap();
        let target = server.target("127.0.0.1");
        let mut shell = psql(&target).unwrap();
        shell.args(["-c", "SELEKT"]);
        let error = run(shell, &target).unwrap_err().to_string();
        assert!(error.contains("syntax error"), "{error}");
    }
}
