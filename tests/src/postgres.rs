//! A throw-away PostgreSQL that logs everything it is asked.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::drivers::Target;
use crate::installation::Installation;
use crate::log::{self, LogStatement};
use crate::netns::Netns;
use crate::process::{self, Place};
use crate::scratch::Scratch;
use crate::wait_for;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A fast shutdown waits for its last checkpoint.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(20);
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of every server. Durability is of no interest, the log's completeness is.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("max_connections", "600"),
    ("jit", "off"),
    ("logging_collector", "on"),
    ("log_destination", "jsonlog"),
    ("log_filename", "server.log"),
    ("log_rotation_age", "0"),
    ("log_rotation_size", "0"),
    ("log_line_prefix", "%m [%p] %c %u@%d %a %r "),
];
/// Settings that make the log the truth about every statement.
const LOG_SETTINGS: &[(&str, &str)] = &[
    ("log_statement", "all"),
    ("log_min_duration_statement", "0"),
    ("log_connections", "on"),
    ("log_disconnections", "on"),
];

/// How a server differs from the usual one.
#[derive(Debug, Default)]
pub struct Options<'a> {
    pub settings: Vec<(String, String)>,
    /// Default: both loopback addresses, or all addresses in a namespace.
    pub listen: Vec<String>,
    /// Default: a free one.
    pub port: Option<u16>,
    pub netns: Option<&'a Netns>,
    /// Directory of the cgroup it runs in.
    pub cgroup: Option<&'a Path>,
    /// Log nothing but errors: for benches.
    pub quiet: bool,
    /// With a certificate of its own, so that clients may ask for TLS.
    pub tls: bool,
}

/// A running server, stopped and removed on drop.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    scratch: Scratch,
    place: Place,
    port: u16,
    child: Option<Child>,
}

impl Server {
    pub fn start(options: &Options) -> Result<Self> {
        let installation = Installation::find()?;
        let template = installation.template()?;
        let scratch = Scratch::new("pg")?;
        give_to_server_user(scratch.path())?;
        copy_tree(&template, &scratch.path().join("data"))?;
        let port = match options.port {
            Some(port) => port,
            None => free_port()?,
        };
        let mut server = Server {
            installation,
            scratch,
            place: Place {
                cgroup: options.cgroup.map(Path::to_path_buf),
                ..server_place(options.netns)
            },
            port,
            child: None,
        };
        server.configure(options)?;
        server.launch()?;
        Ok(server)
    }

    fn configure(&self, options: &Options) -> Result<()> {
        let listen = match (&options.listen[..], options.netns) {
            ([], None) => "127.0.0.1,::1".to_string(),
            ([], Some(_)) => "*".to_string(),
            (addresses, _) => addresses.join(","),
        };
        let sockets = self.scratch.path().display().to_string();
        let port = self.port.to_string();
        let own = [
            ("listen_addresses", listen.as_str()),
            ("port", &port),
            ("unix_socket_directories", &sockets),
        ];
        let log = if options.quiet { &[][..] } else { LOG_SETTINGS };
        let tls: &[(&str, &str)] = if options.tls { &[("ssl", "on")] } else { &[] };
        let mut text = String::from("\n");
        let asked = options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        // The last mention of a setting wins.
        for (name, value) in own
            .iter()
            .chain(SETTINGS)
            .chain(log)
            .chain(tls)
            .copied()
            .chain(asked)
        {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        let path = self.data_dir().join("postgresql.conf");
        fs::write(&path, fs::read_to_string(&path)? + &text)?;
        if options.tls {
            self.make_certificate()
        } else {
            Ok(())
        }
    }

    fn make_certificate(&self) -> Result<()> {
        let output = Place {
            netns: None,
            ..self.place.clone()
        }
        .command("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(self.data_dir())
        .output()
        .context("cannot run openssl")?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let early_log = fs::File::create(self.scratch.path().join("early.log"))?;
        let mut command = self.place.command(self.installation.tool("postgres"));
        command
            .arg("-D")
            .arg(self.data_dir())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(early_log.try_clone()?)
            .stderr(early_log);
        self.child = Some(process::spawn(command)?);
        let ready = wait_for("PostgreSQL is ready", START_TIMEOUT, || {
            let child = self.child.as_mut().context("not started")?;
            if let Some(status) = child.try_wait()? {
                bail!("PostgreSQL ended while starting ({status})");
            }
            Ok(is_ready(&self.scratch.path().join("data")).then_some(()))
        });
        ready.with_context(|| self.early_words())
    }

    /// What the server said before its log was open, and the log's end.
    fn early_words(&self) -> String {
        let early = fs::read_to_string(self.scratch.path().join("early.log")).unwrap_or_default();
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        format!("PostgreSQL says: {early}{log}")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Pid of the postmaster.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    pub fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Directory of the UNIX socket: a way in that no packet hook sees.
    pub fn socket_dir(&self) -> &Path {
        self.scratch.path()
    }

    /// The server at `host`, as user and database postgres.
    pub fn target(&self, host: &str) -> Target {
        Target::new(host, self.port)
    }

    /// Connection string over IPv4 loopback, as user and database postgres.
    pub fn dsn(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        )
    }

    /// Runs `sql` as superuser over the UNIX socket and returns the rows, fields separated by `|`.
    pub fn admin(&self, sql: &str) -> Result<String> {
        let output = Command::new(self.installation.tool("psql"))
            .args([
                "-XqAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-c",
                sql,
            ])
            .arg("-h")
            .arg(self.socket_dir())
            .args(["-p", &self.port.to_string()])
            .current_dir("/")
            .output()?;
        ensure!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_string())
    }

    /// The structured log. The collector writes it with a delay: complete only once the server has stopped.
    pub fn log_path(&self) -> PathBuf {
        self.data_dir().join("log/server.json")
    }

    /// The statements logged so far; see [`Server::log_path`].
    pub fn log(&self) -> Result<Vec<LogStatement>> {
        log::parse(&self.log_path())
    }

    /// Stops the server as a service manager would: sessions are ended, data is written out.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let signals = [
            (Signal::SIGINT, FAST_STOP_TIMEOUT),
            (Signal::SIGQUIT, IMMEDIATE_STOP_TIMEOUT),
        ];
        let status = process::stop(&mut child, &signals)?;
        ensure!(
            status.success(),
            "PostgreSQL ended with {status}: {}",
            self.early_words()
        );
        Ok(())
    }

    /// Ends the server at once, as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            process::stop(&mut child, &[(Signal::SIGQUIT, IMMEDIATE_STOP_TIMEOUT)])?;
        }
        Ok(())
    }

    /// Stops the server, if it runs, and starts it with the same data on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of a throw-away server needs saving.
        let _ = self.crash();
    }
}

/// A port nobody listens on. Another program could take it before it is used: rare, and then the start fails loudly.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The postmaster writes its state into line 8 of its pid file (`LOCK_FILE_LINE_PM_STATUS` in its miscadmin.h).
fn is_ready(data: &Path) -> bool {
    let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    pid_file
        .lines()
        .nth(7)
        .is_some_and(|state| state.trim() == "ready")
}

/// PostgreSQL refuses to run as root.
pub(crate) fn server_place(netns: Option<&Netns>) -> Place {
    Place {
        netns: netns.map(|ns| ns.name().to_string()),
        user: process::is_root().then(|| "postgres".to_string()),
        ..Place::default()
    }
}

pub(crate) fn give_to_server_user(dir: &Path) -> Result<()> {
    if process::is_root() {
        let user = nix::unistd::User::from_name("postgres")?
            .context("there is no system user postgres")?;
        chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}

pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .arg("-a")
        .arg("--")
        .arg(from)
        .arg(to)
        .status()?;
    ensure!(
        status.success(),
        "cp -a {} {}: {status}",
        from.display(),
        to.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_restarts_and_leaves_nothing_behind() {
        let mut server = Server::start(&Options::default()).unwrap();
        let (dir, first) = (server.scratch.path().to_path_buf(), server.pid());
        server.admin("CREATE TABLE kept AS SELECT 7 AS n").unwrap();
        server.restart().unwrap();
        assert_ne!(server.pid(), first);
        assert_eq!(server.admin("SELECT n FROM kept").unwrap(), "7");
        drop(server);
        assert!(!dir.exists());
    }

    #[test]
    fn serves_from_another_namespace() {
        let netns = Netns::joined_to_host().unwrap();
        let server = Server::start(&Options {
            netns: Some(&netns),
            ..Options::default()
        })
        .unwrap();
        for host in [netns.ipv4.to_string(), netns.ipv6.to_string()] {
            let address = format!(
                "{}:{}",
                if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host
                },
                server.port()
            );
            let mut client =
                crate::wire::Client::connect(address.parse().unwrap(), "postgres", "postgres", "t")
                    .unwrap();
            assert_eq!(client.query("SELECT 1").unwrap(), ["SELECT 1"]);
        }
    }

    #[test]
    fn a_wrong_setting_is_told_in_the_servers_words() {
        let options = Options {
            settings: vec![("no_such_setting".into(), "1".into())],
            ..Options::default()
        };
        let error = format!("{:#}", Server::start(&options).unwrap_err());
        assert!(error.contains("no_such_setting"), "{error}");
    }
}
