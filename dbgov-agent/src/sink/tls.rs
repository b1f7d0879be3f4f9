//! TLS to a receiver: rustls with ring, the system's roots or the receiver's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

/// Largest file of certificates or of a key, bytes: all roots of a distribution together have some 200 KiB.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// `tls = { ca = "ca.pem", certificate = "client.pem", key = "client.key", server_name = "siem.example" }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Written")]
pub struct TlsConfig {
    /// Only what these sign is trusted; without, what the system trusts.
    pub ca: Option<PathBuf>,
    /// Who this agent is: the certificate, and those up to the receiver's root ...
    pub certificate: Option<PathBuf>,
    /// ... and its key.
    pub key: Option<PathBuf>,
    /// What the receiver's certificate has to be for, where that is not the host of the address.
    pub server_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
}

impl TryFrom<Written> for TlsConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let missing = match (&written.certificate, &written.key) {
            (Some(_), None) => Some("key"),
            (None, Some(_)) => Some("certificate"),
            (None, None) | (Some(_), Some(_)) => None,
        };
        if let Some(missing) = missing {
            return Err(format!(
                "tls.{missing} is missing: a client certificate needs its key, and the other way round"
            ));
        }
        Ok(TlsConfig {
            ca: written.ca,
            certificate: written.certificate,
            key: written.key,
            server_name: written.server_name,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.{key}: cannot read {path}: {source}")]
    Read {
        key: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("tls.{key}: {path} has no {expected} in PEM")]
    Pem {
        key: &'static str,
        path: PathBuf,
        expected: &'static str,
    },
    #[error("tls.certificate and tls.key: {0}")]
    Identity(rustls::Error),
    #[error("tls.ca: {0}")]
    Root(rustls::Error),
    #[error(
        "this system trusts no certificates at all: install its package ca-certificates, or give tls.ca"
    )]
    NoRoots,
    #[error("{name:?} is no name a certificate could be for: {source}; give tls.server_name")]
    Name {
        name: String,
        source: InvalidDnsNameError,
    },
    #[error("TLS: {0}")]
    Other(rustls::Error),
}

impl TlsConfig {
    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        [&mut self.ca, &mut self.certificate, &mut self.key]
            .into_iter()
            .flatten()
            .for_each(visit);
    }

    /// Reads the files anew each time: certificates are renewed while the agent runs.
    pub fn client(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Other)?
            .with_root_certificates(self.roots()?);
        match self.identity()? {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsError::Identity),
        }
    }

    /// What the receiver's certificate has to be for; `host` is that of the address.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        ServerName::try_from(name.clone()).map_err(|source| TlsError::Name { name, source })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates("ca", path)? {
                    roots.add(certificate).map_err(TlsError::Root)?;
                }
            }
            None => {
                // What cannot be read of a system's roots is as good as not there.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsError::NoRoots);
                }
            }
        }
        Ok(roots)
    }

    fn identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let chain = certificates("certificate", certificate)?;
        let pem = read("key", key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Pem {
            key: "key",
            path: key.clone(),
            expected: "private key",
        })?;
        Ok(Some((chain, key)))
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::Pem {
            key,
            path: path.to_owned(),
            expected: "certificate",
        }),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;

    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|source| TlsError::Read {
            key,
            path: path.to_owned(),
            source,
        })?;
    Ok(pem)
}
