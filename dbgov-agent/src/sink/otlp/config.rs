//! The keys of an OTLP sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::grpc;
use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, ConnectError, HttpConfig, Keys};

#[derive(Debug, Clone)]
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
pub(in crate::sink) struct Written {
    #[serde(default)]
    protocol: Protocol,
    /// `Authorization: Bearer`.
    token: Option<Secret>,
    #[serde(default)]
    body: Body,
    #[serde(default)]
    resource: BTreeMap<String, String>,
}

impl OtlpConfig {
    pub(in crate::sink) fn new(http: Keys, written: Written) -> Result<Self, String> {
        let http = HttpConfig::new(http, written.token.map(Auth::bearer))?;
        if written.protocol == Protocol::Grpc && http.has_proxy() {
            return Err("proxy is only for protocol = \"http\"".to_owned());
        }
        Ok(OtlpConfig {
            protocol: written.protocol,
            http,
            body: written.body,
            resource: written.resource,
        })
    }

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
