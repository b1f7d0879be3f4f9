//! The keys of an OTLP sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::grpc;
use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, ConnectError, HttpConfig, Keys};
use crate::sink::tls::TlsConfig;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct OtlpConfig {
    pub(super) protocol: Protocol,
    pub(super) http: HttpConfig,
    pub(super) body: Body,
    /// Attributes of the resource, beside the sink's own.
    pub(super) resource: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    #[default]
    Grpc,
    /// Protocol buffers over HTTP.
    Http,
}

/// The body of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Body {
    /// The record as a text, as the format writes it.
    #[default]
    Text,
    /// Maps and lists, where the format is JSON.
    Structured,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    #[serde(default)]
    protocol: Protocol,
    tls: Option<TlsConfig>,
    proxy: Option<String>,
    gzip: Option<bool>,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    /// `Authorization: Bearer`.
    token: Option<Secret>,
    #[serde(default)]
    body: Body,
    #[serde(default)]
    resource: BTreeMap<String, String>,
}

impl TryFrom<Written> for OtlpConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.protocol == Protocol::Grpc && written.proxy.is_some() {
            return Err("proxy is only for protocol = \"http\"".to_owned());
        }
        Ok(OtlpConfig {
            protocol: written.protocol,
            http: HttpConfig::try_from(Keys {
                url: written.url,
                tls: written.tls,
                proxy: written.proxy,
                gzip: written.gzip,
                headers: written.headers,
                auth: written.token.map(|token| Auth::Token("Bearer", token)),
            })?,
            body: written.body,
            resource: written.resource,
        })
    }
}

impl OtlpConfig {
    /// What can be seen without the receiver.
    pub fn check(&self) -> Result<(), String> {
        match self.protocol {
            Protocol::Grpc => grpc::check(&self.http).map_err(|error| error.to_string()),
            Protocol::Http => self.http.check().map_err(|error| error.to_string()),
        }
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.http.for_each_path(visit);
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("tls: cannot read {path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("headers: {0:?} cannot be metadata of gRPC")]
    Metadata(String),
    #[error("{0}")]
    Endpoint(String),
}
