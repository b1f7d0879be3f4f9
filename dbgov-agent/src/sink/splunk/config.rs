//! The keys of a Splunk sink.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, HttpConfig, Keys};
use crate::sink::tls::TlsConfig;

/// An indexer that has said nothing for so long has lost the events, or what it knew of them (it forgets at a restart).
const ACKNOWLEDGE_TIMEOUT_MS: u64 = 300_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct SplunkConfig {
    pub(super) http: HttpConfig,
    pub(super) source: String,
    pub(super) sourcetype: String,
    pub(super) index: Option<String>,
    /// None: what the collector has taken counts as delivered, though it may only be in its memory.
    pub(super) acknowledge: Option<Duration>,
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
    token: Secret,
    source: Option<String>,
    sourcetype: Option<String>,
    index: Option<String>,
    acknowledge: Option<bool>,
    acknowledge_timeout_ms: Option<u64>,
}

impl TryFrom<Written> for SplunkConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let http = HttpConfig::try_from(Keys {
            url: written.url,
            tls: written.tls,
            proxy: written.proxy,
            gzip: written.gzip,
            headers: written.headers,
            auth: Some(Auth::Token("Splunk", written.token)),
        })?;
        let timeout = written
            .acknowledge_timeout_ms
            .unwrap_or(ACKNOWLEDGE_TIMEOUT_MS);
        let acknowledge = written.acknowledge.unwrap_or(true);
        Ok(SplunkConfig {
            http,
            source: written.source.unwrap_or_else(|| "dbgov".to_owned()),
            sourcetype: written
                .sourcetype
                .unwrap_or_else(|| "dbgov:record".to_owned()),
            index: written.index,
            acknowledge: acknowledge.then_some(Duration::from_millis(timeout)),
        })
    }
}

impl SplunkConfig {
    /// What can be seen without the receiver.
    pub fn check(&self) -> Result<(), String> {
        self.http.check().map_err(|error| error.to_string())
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.http.for_each_path(visit);
    }
}
