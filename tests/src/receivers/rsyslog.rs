//! rsyslog, which writes each record it gets into a file as soon as it has it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{Daemon, Identity, directory, program};
use crate::postgres::free_port;
use crate::scratch::Scratch;
use crate::wait_for;

const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// How it is reached.
#[derive(Debug, Clone)]
pub enum Input {
    /// The module imudp.
    Udp,
    /// The module imtcp.
    Tcp,
    /// The module imptcp.
    PlainTcp,
    /// The module imtcp with GnuTLS; clients need a certificate of this authority.
    Tls { own: Identity, ca: PathBuf },
}

#[derive(Debug)]
pub struct Rsyslog {
    scratch: Scratch,
    daemon: Daemon,
    port: u16,
}

impl Rsyslog {
    pub fn start(input: &Input) -> Result<Self> {
        let mut rsyslog = Rsyslog::prepare(input)?;
        rsyslog.start_again()?;
        Ok(rsyslog)
    }

    /// Not started yet: nobody listens at its port.
    pub fn prepare(input: &Input) -> Result<Self> {
        let scratch = Scratch::new("rsyslog")?;
        let port = free_port()?;
        let daemon = Daemon::new(scratch.path().join("rsyslog.log"));
        let rsyslog = Rsyslog {
            scratch,
            daemon,
            port,
        };
        std::fs::write(
            rsyslog.scratch.path().join("rsyslog.conf"),
            rsyslog.config(input),
        )?;
        Ok(rsyslog)
    }

    pub fn start_again(&mut self) -> Result<()> {
        let dir = self.scratch.path();
        // The path is put before the names of modules as it is.
        let modules = directory().join(format!(
            "usr/lib/{}-linux-gnu/rsyslog/",
            std::env::consts::ARCH
        ));
        self.daemon.start(&program("rsyslogd")?, |command| {
            command
                .args(["-n", "-C", "-f"])
                .arg(dir.join("rsyslog.conf"));
            command.arg("-i").arg(dir.join("pid"));
            command.arg("-M").arg(modules);
        })?;
        // It says so in its own log, through the queue: every input listens by then.
        let starts = self.starts();
        wait_for("rsyslog listens", READY_TIMEOUT, || {
            anyhow::ensure!(
                self.daemon.is_running(),
                "rsyslog ended: {}",
                self.daemon.log()
            );
            Ok((self.starts() > starts).then_some(()))
        })
    }

    /// How often it said that it had started.
    fn starts(&self) -> usize {
        let own = std::fs::read_to_string(self.scratch.path().join("own.log")).unwrap_or_default();
        own.matches("start\n").count()
    }

    /// Queues of memory only would lose on kill -9 what their input has read; "direct" has none.
    fn config(&self, input: &Input) -> String {
        let dir = self.scratch.path().display();
        let port = self.port;
        let (global, module, kind) = match input {
            Input::Udp => (String::new(), "module(load=\"imudp\")".to_owned(), "imudp"),
            Input::Tcp => (String::new(), "module(load=\"imtcp\")".to_owned(), "imtcp"),
            Input::PlainTcp => (
                String::new(),
                "module(load=\"imptcp\")".to_owned(),
                "imptcp",
            ),
            Input::Tls { own, ca } => (
                format!(
                    "defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{}\" \
                     defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\"",
                    ca.display(),
                    own.certificate.display(),
                    own.key.display()
                ),
                "module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
                 streamDriver.authMode=\"x509/certvalid\")"
                    .to_owned(),
                "imtcp",
            ),
        };
        format!(
            "global(processInternalMessages=\"on\" workDirectory=\"{dir}\" maxMessageSize=\"1m\" net.enableDNS=\"off\" \
               parser.escapeControlCharactersOnReceive=\"off\" {global})\n\
             main_queue(queue.type=\"direct\")\n\
             {module}\n\
             template(name=\"record\" type=\"string\" \
               string=\"%syslogfacility-text%\\t%syslogseverity-text%\\t%hostname%\\t%app-name%\\t%msgid%\\t%structured-data%\\t%msg%\\n\")\n\
             ruleset(name=\"records\" queue.type=\"direct\") {{\n\
               action(type=\"omfile\" file=\"{dir}/received\" template=\"record\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n\
             }}\n\
             input(type=\"{kind}\" port=\"{port}\" address=\"127.0.0.1\" ruleset=\"records\")\n\
             if $syslogtag == \"rsyslogd:\" then action(type=\"omfile\" file=\"{dir}/own.log\")\n"
        )
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn stop(&mut self) -> Result<()> {
        self.daemon.stop()
    }

    pub fn kill9(&mut self) -> Result<()> {
        self.daemon.kill9()
    }

    /// Facility, severity, host, program, kind, structured data and text of each record, separated by tabs.
    pub fn received(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("received")).unwrap_or_default()
    }

    /// What it said of itself.
    pub fn own_words(&self) -> String {
        let own = std::fs::read_to_string(self.scratch.path().join("own.log")).unwrap_or_default();
        format!("{own}{}", self.daemon.log())
    }
}
