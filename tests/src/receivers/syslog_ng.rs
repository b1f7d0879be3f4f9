//! syslog-ng, which writes each record it gets into a file.

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
pub enum Transport {
    Udp,
    /// Octet counting (RFC 6587, 3.4.1): the driver `syslog()`.
    Tcp,
    /// Lines (RFC 6587, 3.4.2): the driver `network()`.
    Lines,
    /// The driver `syslog()`; clients need a certificate of this authority.
    Tls {
        own: Identity,
        ca: PathBuf,
    },
}

#[derive(Debug)]
pub struct SyslogNg {
    scratch: Scratch,
    daemon: Daemon,
    port: u16,
}

impl SyslogNg {
    pub fn start(transport: &Transport) -> Result<Self> {
        let scratch = Scratch::new("syslog-ng")?;
        let daemon = Daemon::new(scratch.path().join("syslog-ng.log"));
        let port = free_port()?;
        let mut receiver = SyslogNg {
            scratch,
            daemon,
            port,
        };
        let path = receiver.scratch.path().join("syslog-ng.conf");
        std::fs::write(path, receiver.config(transport))?;
        receiver.start_again()?;
        Ok(receiver)
    }

    pub fn start_again(&mut self) -> Result<()> {
        let dir = self.scratch.path();
        let library = directory().join("usr/lib/syslog-ng");
        let before = self.daemon.log().matches("syslog-ng starting up").count();
        self.daemon.start(&program("syslog-ng")?, |command| {
            command.args(["--foreground", "--stderr", "--no-caps", "--verbose"]);
            command.arg("--cfgfile").arg(dir.join("syslog-ng.conf"));
            command.arg("--persist-file").arg(dir.join("persist"));
            command.arg("--pidfile").arg(dir.join("pid"));
            command.arg("--control").arg(dir.join("control"));
            command.arg("--module-path").arg(library.join("3.38"));
            command.env("LD_LIBRARY_PATH", &library);
        })?;
        wait_for("syslog-ng listens", READY_TIMEOUT, || {
            anyhow::ensure!(
                self.daemon.is_running(),
                "syslog-ng ended: {}",
                self.daemon.log()
            );
            let starts = self.daemon.log().matches("syslog-ng starting up").count();
            Ok((starts > before).then_some(()))
        })
    }

    fn config(&self, transport: &Transport) -> String {
        let dir = self.scratch.path().display();
        let port = self.port;
        let (driver, more) = match transport {
            Transport::Udp => ("syslog", "transport(\"udp\") so-rcvbuf(8388608)".to_owned()),
            Transport::Tcp => ("syslog", "transport(\"tcp\")".to_owned()),
            Transport::Lines => (
                "network",
                "transport(\"tcp\") flags(syslog-protocol)".to_owned(),
            ),
            Transport::Tls { own, ca } => (
                "syslog",
                format!(
                    "transport(\"tls\") tls(cert-file(\"{}\") key-file(\"{}\") ca-file(\"{}\") peer-verify(required-trusted))",
                    own.certificate.display(),
                    own.key.display(),
                    ca.display()
                ),
            ),
        };
        // Flow control: what its queue has no room for is not read.
        format!(
            "@version: 3.38\n\
             options {{ keep-hostname(yes); use-dns(no); stats-freq(0); log-msg-size(1048576); trim-large-messages(no); }};\n\
             source records {{ {driver}(ip(\"127.0.0.1\") port({port}) {more} log-iw-size(1000) max-connections(100)); }};\n\
             destination out {{ file(\"{dir}/received\" \
               template(\"$FACILITY\\t$LEVEL\\t$HOST\\t$PROGRAM\\t$MSGID\\t$SDATA\\t$MESSAGE\\n\")); }};\n\
             log {{ source(records); destination(out); flags(flow-control); }};\n"
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
        self.daemon.log()
    }
}
