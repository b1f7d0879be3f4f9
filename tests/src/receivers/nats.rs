//! nats-server with JetStream.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Daemon, program};
use crate::postgres::free_port;

/// What sinks are told to write to.
pub const NATS_STREAM: &str = "AUDIT";

/// Where a server is and what it keeps, over its restarts.
#[derive(Debug)]
pub struct NatsSite {
    /// How the sink calls it.
    pub host: &'static str,
    pub port: u16,
    config: PathBuf,
}

impl NatsSite {
    /// `more`: of its configuration.
    pub fn new(dir: &Path, more: &str) -> Result<Self> {
        let port = free_port()?;
        std::fs::create_dir_all(dir)?;
        let config = dir.join("nats.conf");
        let store = dir.join("jetstream");
        std::fs::write(
            &config,
            format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?} }}\n{more}"),
        )?;
        Ok(NatsSite {
            host: "127.0.0.1",
            port,
            config,
        })
    }

    pub fn start(&self) -> Result<Daemon> {
        let mut server = Daemon::new(self.config.with_extension("log"));
        server.start(&program("nats-server")?, |command| {
            command.arg("--config").arg(&self.config);
        })?;
        crate::wait_for("nats-server listens", Duration::from_secs(10), || {
            ensure!(server.is_running(), "nats-server ended: {}", server.log());
            let stream = std::net::TcpStream::connect(("127.0.0.1", self.port));
            Ok(stream.ok().map(drop))
        })?;
        Ok(server)
    }

    pub fn keys(&self) -> String {
        format!(
            "type = \"nats\"\nservers = [\"nats://{}:{}\"]\nstream = \"{NATS_STREAM}\"\ncreate_stream = {{}}",
            self.host, self.port
        )
    }
}
