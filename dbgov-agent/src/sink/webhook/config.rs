//! The keys of a webhook sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::header::HeaderName;
use serde::Deserialize;

use super::{Framing, Signature};
use crate::sink::Format;
use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, HttpConfig, Keys};
use crate::sink::tls::TlsConfig;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct WebhookConfig {
    pub(super) http: HttpConfig,
    pub(super) framing: Framing,
    pub(super) signature: Option<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    tls: Option<TlsConfig>,
    proxy: Option<String>,
    gzip: Option<bool>,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    /// `Authorization: Bearer`.
    token: Option<Secret>,
    #[serde(default)]
    framing: Framing,
    signature_secret: Option<Secret>,
    signature_header: Option<String>,
}

impl TryFrom<Written> for WebhookConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let header = written.signature_header.as_deref();
        let header: HeaderName = header
            .unwrap_or("x-dbgov-signature")
            .parse()
            .map_err(|_| "signature_header: that is no name of a header".to_owned())?;
        if written.signature_header.is_some() && written.signature_secret.is_none() {
            return Err("signature_header needs signature_secret".to_owned());
        }
        Ok(WebhookConfig {
            http: HttpConfig::try_from(Keys {
                url: written.url,
                tls: written.tls,
                proxy: written.proxy,
                gzip: written.gzip,
                headers: written.headers,
                auth: written.token.map(|token| Auth::Token("Bearer", token)),
            })?,
            framing: written.framing,
            signature: written
                .signature_secret
                .map(|key| Signature { header, key }),
        })
    }
}

impl WebhookConfig {
    /// What can be seen without the receiver.
    pub fn check(&self, format: Format) -> Result<(), String> {
        if self.framing == Framing::Array && !format.is_json() {
            return Err("framing = \"array\" needs a format that is JSON".to_owned());
        }
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
