//! The keys of an Elasticsearch or OpenSearch sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::index::Index;
use crate::sink::Format;
use crate::sink::config::Secret;
use crate::sink::http::config::{Auth, HttpConfig, Keys};
use crate::sink::tls::TlsConfig;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct ElasticConfig {
    pub(super) http: HttpConfig,
    pub(super) index: Index,
    pub(super) pipeline: Option<String>,
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
    user: Option<String>,
    password: Option<Secret>,
    /// As Elasticsearch shows it: the encoded form.
    api_key_token: Option<Secret>,
    index: String,
    pipeline: Option<String>,
}

impl TryFrom<Written> for ElasticConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let auth = match (written.user, written.password, written.api_key_token) {
            (None, None, None) => None,
            (Some(user), Some(password), None) => Some(Auth::Basic { user, password }),
            (None, None, Some(key)) => Some(Auth::Token("ApiKey", key)),
            _ => return Err("give user and password, or api_key_token".to_owned()),
        };
        Ok(ElasticConfig {
            http: HttpConfig::try_from(Keys {
                url: written.url,
                tls: written.tls,
                proxy: written.proxy,
                gzip: written.gzip,
                headers: written.headers,
                auth,
            })?,
            index: Index::new(&written.index).map_err(|error| format!("index: {error}"))?,
            pipeline: written.pipeline,
        })
    }
}

impl ElasticConfig {
    /// What can be seen without the receiver.
    pub fn check(&self, format: Format) -> Result<(), String> {
        if !format.is_json() {
            return Err("Elasticsearch takes only formats that are JSON".to_owned());
        }
        self.http.check().map_err(|error| error.to_string())
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.http.for_each_path(visit);
    }
}
