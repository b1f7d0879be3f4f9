//! The keys that sinks over HTTP have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::prelude::*;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::client::{Client, ProxySettings, Settings};
use crate::sink::config::{Secret, SecretError};
use crate::sink::scrub::Scrub;
use crate::sink::tls::{TlsConfig, TlsError};

/// A part of a path that is as long as this is a key rather than a name (Slack's have 24 characters).
const SEGMENT_CHARS_MIN: usize = 16;

#[derive(Debug, Clone)]
pub struct HttpConfig {
    url: Url,
    tls: TlsConfig,
    proxy: Option<Proxy>,
    gzip: bool,
    headers: Vec<(HeaderName, Secret)>,
    auth: Option<Auth>,
}

#[derive(Debug, Clone)]
struct Proxy {
    url: Url,
    /// User and password.
    auth: Option<(String, Secret)>,
}

/// What `Authorization` says.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `Splunk`, `ApiKey`, `Bearer` and a token.
    Token(&'static str, Secret),
    /// RFC 7617 section 2.
    Basic { user: String, password: Secret },
}

/// Those of `Keys`.
pub const KEYS: &[&str] = &[
    "url",
    "tls",
    "proxy",
    "proxy_user",
    "proxy_password",
    "gzip",
    "headers",
];

/// As written. They are read by themselves, beside those of the kind: serde's `flatten` would lose the places of mistakes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    #[serde(deserialize_with = "url")]
    url: Url,
    tls: Option<TlsConfig>,
    #[serde(default, deserialize_with = "proxy")]
    proxy: Option<Url>,
    proxy_user: Option<String>,
    proxy_password: Option<Secret>,
    gzip: Option<bool>,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Settings(#[from] super::client::SettingsError),
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_url("url", "https://siem.example:8088", &text).map_err(serde::de::Error::custom)
}

fn proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = parse_url("proxy", "http://proxy.example:3128", &text);
    url.map(Some).map_err(serde::de::Error::custom)
}

/// The text is not repeated in a message: part of it may be a secret.
fn parse_url(key: &str, example: &str, text: &str) -> Result<Url, String> {
    let url: Url = text
        .parse()
        .map_err(|error| format!("{key}: {error}; give one such as {example:?}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!(
            "{key}: give one that begins with https:// or http://, such as {example:?}"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let of = if key == "proxy" { "proxy_" } else { "" };
        return Err(format!(
            "{key}: give user and password in keys of their own, {of}user and {of}password, where the kind has them"
        ));
    }
    Ok(url)
}

impl HttpConfig {
    pub fn new(mut keys: Keys, auth: Option<Auth>) -> Result<Self, String> {
        let proxy = keys.proxy()?;
        if keys.url.scheme() == "http" && keys.tls.is_some() {
            return Err(
                "tls is for urls that begin with https: write https:// in url, or leave tls out"
                    .to_owned(),
            );
        }
        let tls = keys.tls.unwrap_or_default();
        if tls.server_name.is_some() {
            return Err(
                "tls.server_name is not for this kind: write that name into the url".to_owned(),
            );
        }
        let headers =
            keys.headers
                .into_iter()
                .map(|(name, value)| match name.parse::<HeaderName>() {
                    Ok(name) => Ok((name, value)),
                    Err(_) => Err(format!("headers: {name:?} is no name of a header")),
                });
        Ok(HttpConfig {
            url: keys.url,
            tls,
            proxy,
            gzip: keys.gzip.unwrap_or(true),
            headers: headers.collect::<Result<_, _>>()?,
            auth,
        })
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.tls.for_each_path(visit);
        let secrets = self.headers.iter_mut().map(|(_, secret)| secret);
        let of_auth = self.auth.as_mut().map(|auth| match auth {
            Auth::Token(_, secret) => secret,
            Auth::Basic { password, .. } => password,
        });
        let of_proxy = self.proxy.as_mut().and_then(|proxy| proxy.auth.as_mut());
        secrets
            .chain(of_auth)
            .chain(of_proxy.map(|(_, password)| password))
            .filter_map(Secret::path_mut)
            .for_each(visit);
    }

    pub fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Scheme, host and port: what may be shown of the URL.
    pub fn host(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub fn gzip(&self) -> bool {
        self.gzip
    }

    /// None for `http:`.
    pub fn tls(&self) -> Option<&TlsConfig> {
        (self.url.scheme() == "https").then_some(&self.tls)
    }

    /// Of every request, as they are now.
    pub fn headers(&self) -> Result<Vec<(HeaderName, SecretString)>, ConnectError> {
        let mut headers = Vec::new();
        for (name, secret) in &self.headers {
            headers.push((name.clone(), secret.read()?));
        }
        if let Some(auth) = &self.auth {
            headers.push((AUTHORIZATION, auth.header()?));
        }
        Ok(headers)
    }

    /// Whether what it names is there.
    pub fn check(&self) -> Result<(), ConnectError> {
        Client::new(self.settings()?)?;
        Ok(())
    }

    /// Reads certificates and secrets as they are now.
    pub(super) fn settings(&self) -> Result<Settings, ConnectError> {
        Ok(Settings {
            url: self.url.clone(),
            tls: self.tls().map(TlsConfig::client).transpose()?,
            proxy: self.proxy.as_ref().map(Proxy::settings).transpose()?,
            gzip: self.gzip,
            headers: self.headers()?,
            scrub: self.scrub()?,
        })
    }

    /// What a receiver may know of this sink, and repeat. A webhook's path often is its secret.
    pub fn scrub(&self) -> Result<Scrub, ConnectError> {
        let mut scrub = Scrub::default();
        for (_, value) in self.headers()? {
            let value = value.expose_secret();
            scrub.hide(value);
            // `Splunk TOKEN`
            value.rsplit(' ').take(1).for_each(|word| scrub.hide(word));
        }
        if let Some(Auth::Basic { password, .. }) = &self.auth {
            scrub.hide(password.read()?.expose_secret());
        }
        if let Some((user, password)) = self.proxy.as_ref().and_then(|proxy| proxy.auth.as_ref()) {
            let password = password.read()?;
            scrub.hide(password.expose_secret());
            scrub.hide(&BASE64_STANDARD.encode(format!("{user}:{}", password.expose_secret())));
        }
        scrub.hide(self.url.path().trim_matches('/'));
        let segments = self.url.path().split('/');
        segments
            .filter(|segment| segment.len() >= SEGMENT_CHARS_MIN)
            .for_each(|segment| scrub.hide(segment));
        scrub.hide(self.url.query().unwrap_or_default());
        for (_, value) in self.url.query_pairs() {
            scrub.hide(&value);
        }
        Ok(scrub)
    }
}

impl Keys {
    fn proxy(&mut self) -> Result<Option<Proxy>, String> {
        let auth = match (self.proxy_user.take(), self.proxy_password.take()) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user, password)),
            _ => return Err("give both of proxy_user and proxy_password, or none".to_owned()),
        };
        let Some(url) = self.proxy.take() else {
            return match auth {
                None => Ok(None),
                Some(_) => Err("proxy_user and proxy_password need proxy".to_owned()),
            };
        };
        if url.scheme() == "https" && self.url.scheme() == "http" {
            return Err(
                "proxy: for a url that begins with http: give one that does, too".to_owned(),
            );
        }
        Ok(Some(Proxy { url, auth }))
    }
}

impl Proxy {
    fn settings(&self) -> Result<ProxySettings, SecretError> {
        let auth = self.auth.as_ref();
        Ok(ProxySettings {
            url: self.url.clone(),
            auth: auth
                .map(|(user, password)| Ok((user.clone(), password.read()?)))
                .transpose()?,
        })
    }
}

impl Auth {
    /// RFC 6750 section 2.1.
    pub fn bearer(token: Secret) -> Self {
        Auth::Token("Bearer", token)
    }

    fn header(&self) -> Result<SecretString, SecretError> {
        Ok(match self {
            Auth::Token(scheme, token) => {
                format!("{scheme} {}", token.read()?.expose_secret()).into()
            }
            Auth::Basic { user, password } => {
                let both = format!("{user}:{}", password.read()?.expose_secret());
                format!("Basic {}", BASE64_STANDARD.encode(both)).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_would_show_a_secret_or_lead_nowhere() {
        for (text, words) in [
            ("siem:8088", "begins with https://"),
            ("ftp://h/", "begins with https://"),
            ("https://u:hunter2@h/", "keys of their own"),
            ("https://", "url: "),
            ("no url", "url: "),
        ] {
            let error = parse_url("url", "https://siem.example", text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
