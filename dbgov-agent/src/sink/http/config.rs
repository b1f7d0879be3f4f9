//! The keys that sinks over HTTP have in common. Each kind lists them itself, so that an unknown key is named as one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::prelude::*;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName};
use secrecy::{ExposeSecret, SecretString};

use super::client::{Client, Settings};
use crate::sink::config::{Secret, SecretError};
use crate::sink::scrub::Scrub;
use crate::sink::tls::{TlsConfig, TlsError};

/// A part of a path that is as long as this is a key rather than a name (Slack's have 24 characters).
const SEGMENT_CHARS_MIN: usize = 16;

#[derive(Debug, Clone)]
pub struct HttpConfig {
    url: Url,
    tls: TlsConfig,
    proxy: Option<Url>,
    gzip: bool,
    headers: Vec<(HeaderName, Secret)>,
    auth: Option<Auth>,
}

/// What `Authorization` says.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `Splunk`, `ApiKey`, `Bearer` and a token.
    Token(&'static str, Secret),
    /// RFC 7617 section 2.
    Basic { user: String, password: Secret },
}

/// As written.
#[derive(Debug)]
pub struct Keys {
    pub url: String,
    pub tls: Option<TlsConfig>,
    pub proxy: Option<String>,
    pub gzip: Option<bool>,
    pub headers: BTreeMap<String, Secret>,
    pub auth: Option<Auth>,
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

impl TryFrom<Keys> for HttpConfig {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let url = url("url", &keys.url)?;
        if url.scheme() == "http" && keys.tls.is_some() {
            return Err("tls is for urls that begin with https:".to_owned());
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
            url,
            tls,
            proxy: keys
                .proxy
                .map(|text| self::url("proxy", &text))
                .transpose()?,
            gzip: keys.gzip.unwrap_or(true),
            headers: headers.collect::<Result<_, _>>()?,
            auth: keys.auth,
        })
    }
}

/// The text is not repeated in a message: part of it may be a secret.
fn url(key: &str, text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| {
        format!("{key}: {error}; give one such as \"https://siem.example:8088\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!(
            "{key}: give one that begins with https:// or http://"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{key}: give user and password in keys of their own"
        ));
    }
    Ok(url)
}

impl HttpConfig {
    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        self.tls.for_each_path(visit);
        let secrets = self.headers.iter_mut().map(|(_, secret)| secret);
        let of_auth = self.auth.as_mut().map(|auth| match auth {
            Auth::Token(_, secret) => secret,
            Auth::Basic { password, .. } => password,
        });
        secrets
            .chain(of_auth)
            .filter_map(Secret::path_mut)
            .for_each(visit);
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
            proxy: self.proxy.clone(),
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

impl Auth {
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
            let error = url("url", text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
