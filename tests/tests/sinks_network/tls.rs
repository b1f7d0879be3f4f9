//! Certificates for receivers, made by openssl.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A certificate for 127.0.0.1 that signs itself: its own authority.
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

/// `openssl ca` is the one that takes any dates.
const CONFIG: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nrand_serial = yes\nnew_certs_dir = .\n\
    default_md = sha256\npolicy = any\ncopy_extensions = copy\n[any]\ncommonName = supplied\n";

impl Certificate {
    pub(crate) fn valid(dir: &Path, name: &str) -> Result<Self> {
        Certificate::make(dir, name, "20200101000000Z", "20991231235959Z")
    }

    pub(crate) fn expired(dir: &Path, name: &str) -> Result<Self> {
        Certificate::make(dir, name, "20200101000000Z", "20200201000000Z")
    }

    fn make(dir: &Path, name: &str, from: &str, to: &str) -> Result<Self> {
        let made = Certificate {
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        };
        let request = dir.join(format!("{name}.csr"));
        std::fs::write(dir.join("ca.conf"), CONFIG)?;
        std::fs::write(dir.join("index"), "")?;
        openssl(
            Command::new("openssl")
                .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
                .args(["-nodes", "-subj", "/CN=127.0.0.1"])
                .args(["-addext", "subjectAltName=IP:127.0.0.1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
                .arg(&made.key)
                .arg("-out")
                .arg(&request),
        )?;
        openssl(
            Command::new("openssl")
                .current_dir(dir)
                .args(["ca", "-batch", "-selfsign", "-notext", "-config", "ca.conf"])
                .args(["-startdate", from, "-enddate", to, "-keyfile"])
                .arg(&made.key)
                .arg("-in")
                .arg(&request)
                .arg("-out")
                .arg(&made.certificate),
        )?;
        Ok(made)
    }

    pub(crate) fn path(&self) -> Result<&str> {
        self.certificate.to_str().context("a path of UTF-8")
    }

    pub(crate) fn key(&self) -> Result<&str> {
        self.key.to_str().context("a path of UTF-8")
    }
}

fn openssl(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
