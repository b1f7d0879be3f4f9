//! The servers under measurement, and the variants to measure them in.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::drivers::{self, Target};
use dbgov_tests::postgres::{Options, Server, free_port};
use dbgov_tests::process::{self, Place};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::wait_for;
use nix::sys::signal::Signal;

use crate::shell;

const HOST: &str = "127.0.0.1";
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The memory figures want 1,000 clients, and some more for ourselves.
const MAX_CONNECTIONS: &str = "1100";

/// The ways to record statements, and to stop some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Variant {
    /// PostgreSQL alone
    Bare,
    /// dbgov in observe mode
    Dbgov,
    /// dbgov enforcing rules that are reduced to words, of which the load has none
    Triggers,
    /// dbgov holding every packet until it is judged
    Strict,
    /// The server's own log of all statements
    LogStatement,
    /// The extension pgaudit, logging everything
    Pgaudit,
    /// A proxy in between; it records nothing yet
    Pgbouncer,
}

/// The kernel looks for words.
pub(super) const TRIGGERS: &str = r#"
[[rule]]
name = "no-destructive-ddl"
action = "reset"
verbs = ["drop", "truncate"]
"#;
/// What cannot be read has no word to look for: every packet waits for the agent.
const STRICT: &str = r#"unparsed = "deny""#;

impl Variant {
    /// Those that record.
    pub(super) const RECORDING: [Variant; 5] = [
        Variant::Bare,
        Variant::Dbgov,
        Variant::LogStatement,
        Variant::Pgaudit,
        Variant::Pgbouncer,
    ];
    /// Those that could stop a statement; pgbouncer stands for a proxy that would.
    pub(super) const GATES: [Variant; 4] = [
        Variant::Bare,
        Variant::Triggers,
        Variant::Strict,
        Variant::Pgbouncer,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Variant::Bare => "bare",
            Variant::Dbgov => "dbgov observe",
            Variant::Triggers => "dbgov triggers",
            Variant::Strict => "dbgov strict gate",
            Variant::LogStatement => "log_statement=all",
            Variant::Pgaudit => "pgaudit",
            Variant::Pgbouncer => "pgbouncer",
        }
    }
}

/// Two servers with the same data: pgaudit has to be loaded at the start, so it has one of its own.
pub(super) struct Stand {
    pub(super) plain: Server,
    pub(super) audited: Server,
    binary: PathBuf,
}

impl Stand {
    pub(super) fn build(binary: &Path, scale: u32) -> Result<Self> {
        let plain = server(&[])?;
        let audited = server(&[
            ("shared_preload_libraries", "pgaudit"),
            ("pgaudit.log", "all"),
        ])?;
        for server in [&plain, &audited] {
            let target = server.target(HOST);
            let mut init = drivers::pgbench(&target)?;
            init.args(["--initialize", "--quiet", "--scale", &scale.to_string()]);
            drivers::run(init, &target).context("filling the server")?;
        }
        shell::say(format_args!(
            "servers with scale {scale} on ports {} and {}",
            plain.port(),
            audited.port()
        ));
        let binary = binary.to_path_buf();
        Ok(Stand {
            plain,
            audited,
            binary,
        })
    }

    /// An agent that watches the plain server.
    pub(super) fn agent(&self) -> Result<Agent> {
        Agent::start(self.config())
    }

    /// An agent that enforces a policy on the plain server.
    pub(super) fn enforcing(&self, policy: &str) -> Result<Agent> {
        Agent::start(self.config().policy(policy))
    }

    /// An agent with more sections in its configuration, and a policy or none.
    pub(super) fn agent_with(&self, sections: &str, policy: Option<&str>) -> Result<Agent> {
        let config = self.config().more(sections);
        Agent::start(match policy {
            Some(policy) => config.policy(policy),
            None => config,
        })
    }

    /// The journal is what is measured, not the live view.
    fn config(&self) -> Config {
        Config::watching(&[&self.plain])
            .binary(&self.binary)
            .quiet()
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(format!("{HOST}:{}", self.plain.port()).parse()?)
    }

    pub(super) fn target(&self) -> Target {
        self.plain.target(HOST)
    }

    /// Sets `variant` up for one measurement; it is taken down on drop.
    pub(super) fn enter(&self, variant: Variant) -> Result<Slice<'_>> {
        let (target, guard) = match variant {
            Variant::Bare => (self.target(), Guard::Nothing),
            Variant::Dbgov => (self.target(), Guard::agent(self.agent()?)),
            Variant::Triggers => (self.target(), Guard::agent(self.enforcing(TRIGGERS)?)),
            Variant::Strict => (self.target(), Guard::agent(self.enforcing(STRICT)?)),
            Variant::LogStatement => (
                self.target(),
                Guard::Setting(LoggedStatements::on(&self.plain)?),
            ),
            Variant::Pgaudit => (self.audited.target(HOST), Guard::Nothing),
            Variant::Pgbouncer => {
                let bouncer = Bouncer::start(self.plain.port())?;
                (Target::new(HOST, bouncer.port), Guard::Bouncer(bouncer))
            }
        };
        Ok(Slice { target, guard })
    }
}

fn server(settings: &[(&str, &str)]) -> Result<Server> {
    // The plain log, as servers have it, not the structured one of the tests.
    let common = [
        ("max_connections", MAX_CONNECTIONS),
        ("log_destination", "stderr"),
    ];
    let settings = common.iter().chain(settings);
    Server::start(&Options {
        settings: settings
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        quiet: true,
        ..Options::default()
    })
}

/// One variant, set up.
pub(super) struct Slice<'a> {
    pub(super) target: Target,
    guard: Guard<'a>,
}

enum Guard<'a> {
    Nothing,
    Agent(Box<Agent>),
    Setting(LoggedStatements<'a>),
    Bouncer(Bouncer),
}

impl Guard<'_> {
    fn agent(agent: Agent) -> Self {
        Guard::Agent(Box::new(agent))
    }
}

impl Slice<'_> {
    /// Takes the variant down; returns how many bytes dbgov lost, 0 for the others.
    pub(super) fn leave(self) -> Result<u64> {
        match self.guard {
            Guard::Nothing => Ok(0),
            Guard::Agent(mut agent) => {
                let status = agent.status()?;
                agent.stop()?;
                Ok(status["kernel"]["lost_bytes"].as_u64().unwrap_or_default())
            }
            Guard::Setting(setting) => setting.off().map(|()| 0),
            Guard::Bouncer(bouncer) => {
                drop(bouncer);
                Ok(0)
            }
        }
    }
}

/// `log_statement = all` for connections made from now on.
struct LoggedStatements<'a>(&'a Server);

impl<'a> LoggedStatements<'a> {
    fn on(server: &'a Server) -> Result<Self> {
        server.admin("ALTER SYSTEM SET log_statement = 'all'")?;
        let setting = LoggedStatements(server);
        setting.reload("all")?;
        Ok(setting)
    }

    fn off(&self) -> Result<()> {
        self.0.admin("ALTER SYSTEM RESET log_statement")?;
        self.reload("none")
    }

    /// New sessions take the setting once the postmaster has read it.
    fn reload(&self, expected: &str) -> Result<()> {
        self.0.admin("SELECT pg_reload_conf()")?;
        wait_for("the setting is in force", START_TIMEOUT, || {
            Ok((self.0.admin("SHOW log_statement")? == expected).then_some(()))
        })
    }
}

/// A pgbouncer in session mode before a server.
struct Bouncer {
    port: u16,
    child: Child,
    _scratch: Scratch,
}

impl Bouncer {
    fn start(server_port: u16) -> Result<Self> {
        let scratch = Scratch::new("pgbouncer")?;
        let port = free_port()?;
        let users = scratch.path().join("users.txt");
        let config = scratch.path().join("pgbouncer.ini");
        fs::write(&users, "\"postgres\" \"\"\n")?;
        fs::write(
            &config,
            format!(
                "[databases]\n* = host={HOST} port={server_port}\n[pgbouncer]\nlisten_addr = {HOST}\n\
                 listen_port = {port}\nauth_type = trust\nauth_file = {}\npool_mode = session\n\
                 default_pool_size = 100\nunix_socket_dir =\nlog_connections = 0\nlog_disconnections = 0\n",
                users.display()
            ),
        )?;
        let program = shell::find_program("pgbouncer").context("pgbouncer is not installed")?;
        // It refuses to run as root.
        let place = Place {
            user: Some("postgres".into()),
            ..Place::default()
        };
        let mut command = place.command(program);
        command
            .arg(&config)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut bouncer = Bouncer {
            port,
            child: process::spawn(command)?,
            _scratch: scratch,
        };
        wait_for("pgbouncer listens", START_TIMEOUT, || {
            let ended = bouncer.child.try_wait()?;
            ensure!(ended.is_none(), "pgbouncer ended: {ended:?}");
            Ok(TcpStream::connect((HOST, port)).ok())
        })?;
        Ok(bouncer)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.child, &[(Signal::SIGTERM, START_TIMEOUT)]);
    }
}
