//! The keys of a Splunk sink.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, HttpConfig, Keys};

/// An indexer that has said nothing for so long has lost the events, or what it knew of them (it forgets at a restart).
const ACKNOWLEDGE_TIMEOUT_MS: u64 = 300_000;

/// What it may be instead, milliseconds: no indexer writes in less than a second, and none needs hours.
const ACKNOWLEDGE_TIMEOUT_MS_MIN: u64 = 1_000;
const ACKNOWLEDGE_TIMEOUT_MS_MAX: u64 = 3_600_000;

#[derive(Debug, Clone)]
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
pub(in crate::sink) struct Written {
    token: Secret,
    source: Option<String>,
    sourcetype: Option<String>,
    index: Option<String>,
    acknowledge: Option<bool>,
    acknowledge_timeout_ms: Option<u64>,
}

impl SplunkConfig {
    pub(in crate::sink) fn new(http: Keys, written: Written) -> Result<Self, String> {
        let timeout = written
            .acknowledge_timeout_ms
            .unwrap_or(ACKNOWLEDGE_TIMEOUT_MS);
        if !(ACKNOWLEDGE_TIMEOUT_MS_MIN..=ACKNOWLEDGE_TIMEOUT_MS_MAX).contains(&timeout) {
            return Err(format!(
                "acknowledge_timeout_ms = {timeout}: give {ACKNOWLEDGE_TIMEOUT_MS_MIN} to {ACKNOWLEDGE_TIMEOUT_MS_MAX}"
            ));
        }
        let acknowledge = written.acknowledge.unwrap_or(true);
        Ok(SplunkConfig {
            http: HttpConfig::new(http, Some(Auth::Token("Splunk", written.token)))?,
            source: written.source.unwrap_or_else(|| "dbgov".to_owned()),
            sourcetype: written
                .sourcetype
                .unwrap_or_else(|| "dbgov:record".to_owned()),
            index: written.index,
            acknowledge: acknowledge.then_some(Duration::from_millis(timeout)),
        })
    }

    /// What can be seen without the receiver.
    pub fn check(&self) -> Result<(), String> {
        self.http.check().map_err(|error| error.to_string())
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.http.for_each_path(visit);
    }
}
