//! The keys of an Elasticsearch or OpenSearch sink.

use std::path::PathBuf;

use serde::Deserialize;

use super::index::Index;
use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, HttpConfig, Keys};

#[derive(Debug, Clone)]
pub struct ElasticConfig {
    pub(super) http: HttpConfig,
    pub(super) index: Index,
    pub(super) pipeline: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sink) struct Written {
    user: Option<String>,
    password: Option<Secret>,
    /// As Elasticsearch shows it: the encoded form.
    api_key_token: Option<Secret>,
    index: String,
    pipeline: Option<String>,
}

impl ElasticConfig {
    pub(in crate::sink) fn new(http: Keys, written: Written) -> Result<Self, String> {
        let auth = match (written.user, written.password, written.api_key_token) {
            (None, None, None) => None,
            (Some(user), Some(password), None) => Some(Auth::Basic { user, password }),
            (None, None, Some(key)) => Some(Auth::Token("ApiKey", key)),
            _ => return Err("give user and password, or api_key_token".to_owned()),
        };
        Ok(ElasticConfig {
            http: HttpConfig::new(http, auth)?,
            index: Index::new(&written.index).map_err(|error| format!("index: {error}"))?,
            pipeline: written.pipeline,
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
