//! Certificates for tests: an authority, and what it signs. By openssl, since they have to be real ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::scratch::Scratch;

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// An authority in a directory of its own.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    pub fn new() -> Result<Self> {
        let authority = Certificates {
            scratch: Scratch::new("ca")?,
        };
        openssl(
            authority.scratch.path(),
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem \
                 -days 2 -subj /CN={} -addext basicConstraints=critical,CA:TRUE \
                 -addext keyUsage=critical,keyCertSign,cRLSign",
                // No two of the same name: it would be their keys that differ, which is another error.
                crate::scratch::unique("authority-")
            ),
        )?;
        Ok(authority)
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// For a server of this DNS name on this host, or for a client.
    pub fn issue(&self, name: &str) -> Result<Identity> {
        let stem = self.request(name, "valid")?;
        let sign = format!(
            "x509 -req -in {stem}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {stem}.pem -copy_extensions copyall -days 2"
        );
        openssl(self.scratch.path(), &sign)?;
        Ok(self.identity(&stem))
    }

    /// One that was valid for a day in 2020.
    pub fn issue_expired(&self, name: &str) -> Result<Identity> {
        let stem = self.request(name, "expired")?;
        let dir = self.scratch.path();
        // `openssl x509` can backdate from 3.4 on only, `openssl ca` always could.
        std::fs::write(dir.join("index.txt"), "")?;
        std::fs::write(
            dir.join("ca.conf"),
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n\
             policy=p\ncopy_extensions=copyall\nunique_subject=no\n[p]\ncommonName=supplied\n",
        )?;
        let sign = format!(
            "ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key -in {stem}.csr -out {stem}.pem \
             -startdate 20200101000000Z -enddate 20200102000000Z"
        );
        openssl(dir, &sign)?;
        Ok(self.identity(&stem))
    }

    fn request(&self, name: &str, kind: &str) -> Result<String> {
        let stem = format!("{name}-{kind}");
        let request = format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {stem}.key -out {stem}.csr \
             -subj /CN={name} -addext subjectAltName=DNS:{name} -addext extendedKeyUsage=serverAuth,clientAuth"
        );
        openssl(self.scratch.path(), &request)?;
        Ok(stem)
    }

    fn identity(&self, stem: &str) -> Identity {
        let file = |suffix: &str| self.scratch.path().join(format!("{stem}.{suffix}"));
        Identity {
            certificate: file("pem"),
            key: file("key"),
        }
    }
}

fn openssl(dir: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .context("cannot run openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {arguments}: {said}");
    Ok(())
}
