//! The keys of a webhook sink.

use std::path::PathBuf;

use reqwest::header::HeaderName;
use serde::Deserialize;

use super::{Framing, Signature};
use crate::sink::Format;
use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, HttpConfig, Keys};

#[derive(Debug, Clone)]
pub struct WebhookConfig {
    pub(super) http: HttpConfig,
    pub(super) framing: Framing,
    pub(super) signature: Option<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sink) struct Written {
    /// `Authorization: Bearer`.
    token: Option<Secret>,
    #[serde(default)]
    framing: Framing,
    signature_secret: Option<Secret>,
    signature_header: Option<String>,
}

impl WebhookConfig {
    pub(in crate::sink) fn new(http: Keys, written: Written) -> Result<Self, String> {
        let header = written.signature_header.as_deref();
        let header: HeaderName = header
            .unwrap_or("x-dbgov-signature")
            .parse()
            .map_err(|_| "signature_header: that is no name of a header".to_owned())?;
        if written.signature_header.is_some() && written.signature_secret.is_none() {
            return Err("signature_header needs signature_secret".to_owned());
        }
        Ok(WebhookConfig {
            http: HttpConfig::new(http, written.token.map(Auth::bearer))?,
            framing: written.framing,
            signature: written
                .signature_secret
                .map(|key| Signature { header, key }),
        })
    }

    /// An array has JSON in it.
    pub fn takes(&self, format: Format) -> bool {
        self.framing == Framing::Lines || format.is_json()
    }

    /// What can be seen without the receiver.
    pub fn check(&self) -> Result<(), String> {
        if let Some(Signature { key, .. }) = &self.signature {
            key.read().map_err(|error| error.to_string())?;
        }
        self.http.check().map_err(|error| error.to_string())
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.http.for_each_path(visit);
        if let Some(path) = self.signature.as_mut().and_then(|s| s.key.path_mut()) {
            visit(path);
        }
    }
}
