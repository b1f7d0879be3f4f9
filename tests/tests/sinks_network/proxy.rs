//! Through an HTTP proxy (tinyproxy): CONNECT for https, whole addresses for http, and a user and a password.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use dbgov_tests::receivers::{Certificates, Daemon, program};

use super::python::{Receiver, free_port};
use super::refusals::{HOST, fails_saying};
use super::stand::Stand;

struct Proxy {
    port: u16,
    daemon: Daemon,
    log: PathBuf,
}

impl Proxy {
    fn start(dir: &Path) -> Result<Self> {
        let port = free_port()?;
        let (config, log) = (dir.join("tinyproxy.conf"), dir.join("tinyproxy.log"));
        std::fs::write(
            &config,
            format!(
                "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 30\nMaxClients 20\nLogLevel Connect\n\
                 BasicAuth dbgov s3cr3t\n"
            ),
        )?;
        let mut daemon = Daemon::new(log.clone());
        daemon.start(&program("tinyproxy")?, |command| {
            command.arg("-d").arg("-c").arg(&config);
        })?;
        dbgov_tests::wait_for("tinyproxy listens", Duration::from_secs(10), || {
            ensure!(daemon.is_running(), "tinyproxy ended: {}", daemon.log());
            Ok(std::net::TcpStream::connect(("127.0.0.1", port))
                .ok()
                .map(drop))
        })?;
        Ok(Proxy { port, daemon, log })
    }

    fn keys(&self, user: &str, password: &str) -> String {
        format!(
            "proxy = \"http://127.0.0.1:{}\"\nproxy_user = {user:?}\nproxy_password = {password:?}",
            self.port
        )
    }

    /// Requests that it has let through, as its log has them.
    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

#[test]
fn requests_go_through_it() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2"])?;
    let authority = Certificates::new()?;
    let server = authority.issue(HOST)?;
    let mut proxy = Proxy::start(&stand.path(""))?;
    for (scheme, line) in [
        ("http", "POST http://localhost:"),
        ("https", "CONNECT localhost:"),
    ] {
        let dir = stand.path(scheme);
        std::fs::create_dir(&dir)?;
        let mut receiver = Receiver::http("webhook", &dir)?.arg("--token", "s3cr3t-key");
        let mut keys = format!(
            "type = \"webhook\"\nsignature_secret = \"s3cr3t-key\"\nurl = \"{scheme}://{HOST}:{}/hook\"",
            receiver.port
        );
        if scheme == "https" {
            receiver = receiver
                .arg("--certificate", &server.certificate.display().to_string())
                .arg("--key", &server.key.display().to_string());
            keys = format!("{keys}\ntls = {{ ca = {:?} }}", authority.ca());
        }
        let _running = receiver.start("{}")?;
        let without = format!("{keys}\nproxy = \"http://127.0.0.1:{}\"", proxy.port);
        let wrong = format!("{keys}\n{}", proxy.keys("dbgov", "wr0ng"));
        // tinyproxy answers with 401 to a wrong password, where a proxy should with 407; and of an answer to CONNECT no more
        // is known than that it is none of the good ones.
        let words = match scheme {
            "http" => "(through the proxy) answered 40",
            _ => "the proxy refuses: it wants another proxy_user and proxy_password",
        };
        for refused in [&without, &wrong] {
            let status = fails_saying(&stand, refused, words)?;
            let said = status.last_error.unwrap_or_default();
            assert!(!said.contains("wr0ng"), "{said}");
        }
        assert!(receiver.arrived()?.is_empty(), "{scheme}");
        let keys = format!("{keys}\n{}", proxy.keys("dbgov", "s3cr3t"));
        let status = stand.deliver(&keys, || Ok(()))?;
        assert_eq!(status.retries, 0, "{status:?}");
        assert_eq!(receiver.arrived()?.len(), 2, "{scheme}");
        let log = proxy.log()?;
        assert!(log.contains(line), "{log}");
        // The proxy has seen no more of https than where it goes.
        assert!(scheme == "http" || !log.contains("https:"), "{log}");
        stand.forget()?;
    }
    proxy.daemon.stop()
}

/// A proxy that is away, or cannot reach the receiver, is said; it is not gone around.
#[test]
fn without_it_nothing_goes() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let receiver = Receiver::http("webhook", &stand.path(""))?.arg("--token", "s3cr3t-key");
    let _running = receiver.start("{}")?;
    let mut proxy = Proxy::start(&stand.path(""))?;
    let keys = |port: u16| {
        format!(
            "type = \"webhook\"\nsignature_secret = \"s3cr3t-key\"\nurl = \"http://{HOST}:{port}/hook\"\n{}",
            proxy.keys("dbgov", "s3cr3t")
        )
    };
    let (there, nowhere) = (keys(receiver.port), keys(free_port()?));
    fails_saying(&stand, &nowhere, "answered 5")?;
    proxy.daemon.stop()?;
    fails_saying(&stand, &there, "refused")?;
    assert!(receiver.arrived()?.is_empty());
    Ok(())
}
