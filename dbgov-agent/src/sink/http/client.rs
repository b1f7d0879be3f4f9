//! POST with gzip, TLS and secrets in headers; answers that are bounded and errors that hold no secret.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use super::answer;
use crate::sink::scrub::Scrub;

/// A receiver that cannot be reached within this is down; the caller's own limit is for the whole of a batch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Receivers behind load balancers cut idle connections after a minute; ours go before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// What is read of an answer. A receiver that says more than this about one request has nothing to tell.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Where a proxy does not connect.
const TUNNEL_HINT: &str = "; the proxy refuses: it wants another proxy_user and proxy_password, or may not or cannot reach the receiver";

#[derive(Debug)]
pub struct Settings {
    pub url: Url,
    /// None for `http:`.
    pub tls: Option<rustls::ClientConfig>,
    /// Never from the environment: an agent must not begin to talk to somebody because a variable is set.
    pub proxy: Option<ProxySettings>,
    pub gzip: bool,
    /// Of every request. Their values are secrets.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// Never to be shown, whoever says it.
    pub scrub: Scrub,
}

#[derive(Debug)]
pub struct ProxySettings {
    pub url: Url,
    /// User and password, which are sent with the first request already (RFC 7617 section 2.2).
    pub auth: Option<(String, SecretString)>,
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the value of the header {0} has characters that a header cannot have")]
    Header(HeaderName),
    #[error("cannot make the HTTP client: {0}")]
    Client(String),
}

#[derive(Debug)]
pub struct Client {
    inner: reqwest::Client,
    url: Url,
    through_proxy: bool,
    gzip: bool,
    headers: HeaderMap,
    scrub: Scrub,
}

/// An answer, of whatever status.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
    /// There was more of it.
    pub cut: bool,
}

impl Client {
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("dbgov/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, secret) in settings.headers {
            let mut value = HeaderValue::from_str(secret.expose_secret())
                .map_err(|_| SettingsError::Header(name.clone()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // A redirection would take the token to whoever it names.
            .redirect(reqwest::redirect::Policy::none());
        // Without a configuration reqwest makes one with the system's roots, also where it never connects by TLS.
        builder = builder.tls_backend_preconfigured(match settings.tls {
            Some(tls) => tls,
            None => no_roots().map_err(|e| SettingsError::Client(e.to_string()))?,
        });
        let through_proxy = settings.proxy.is_some();
        if let Some(proxy) = settings.proxy {
            let mut all = reqwest::Proxy::all(proxy.url)
                .map_err(|e| SettingsError::Client(chain(&e.without_url())))?;
            if let Some((user, password)) = proxy.auth {
                all = all.basic_auth(&user, password.expose_secret());
            }
            builder = builder.proxy(all);
        }
        let inner = builder
            .build()
            .map_err(|e| SettingsError::Client(chain(&e.without_url())))?;
        Ok(Client {
            inner,
            url: settings.url,
            through_proxy,
            gzip: settings.gzip,
            headers,
            scrub: settings.scrub,
        })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A URL below that of the settings, whose query stays.
    pub fn below(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// Sends `body` and reads at most `reply_bytes_max` of the answer. The error is for the status: one line, no secret.
    pub async fn post(
        &self,
        url: Url,
        content_type: &'static str,
        body: Vec<u8>,
        extra: HeaderMap,
        reply_bytes_max: usize,
    ) -> Result<Reply, String> {
        let mut request = self
            .inner
            .post(url)
            .headers(self.headers.clone())
            .headers(extra)
            .header(CONTENT_TYPE, content_type);
        request = if self.gzip {
            let packed = gzip(&body).map_err(|error| format!("cannot compress: {error}"))?;
            request.header(CONTENT_ENCODING, "gzip").body(packed)
        } else {
            request.body(body)
        };
        let mut response = request.send().await.map_err(|e| self.say(e))?;
        let mut reply = Reply {
            status: response.status(),
            retry_after: response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| answer::retry_after(value, jiff::Timestamp::now())),
            body: Vec::new(),
            cut: false,
        };
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // Who refuses a request may close without having read it, and the reset takes the rest of the answer.
                Err(_) if !reply.status.is_success() => {
                    reply.cut = true;
                    break;
                }
                Err(error) => return Err(self.say(error)),
            };
            let room = reply_bytes_max - reply.body.len();
            reply
                .body
                .extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                reply.cut = true;
                break;
            }
        }
        Ok(reply)
    }

    fn say(&self, error: reqwest::Error) -> String {
        // A webhook's path often is its secret: the host is enough to know which one it was.
        let mut text = chain(&error.without_url());
        if self.through_proxy && text.contains("tunnel error") {
            // What the proxy answered is not to be had.
            text.push_str(TUNNEL_HINT);
        }
        format!("{}: {}", self.host(), self.scrub.text(&text))
    }

    /// What the receiver said, for the status.
    pub fn describe(&self, reply: &Reply) -> String {
        let text = String::from_utf8_lossy(&reply.body);
        let text = text.trim();
        let status = reply.status;
        if text.is_empty() {
            return format!("{} answered {status}", self.host());
        }
        format!(
            "{} answered {status}: {}",
            self.host(),
            self.scrub.excerpt(text)
        )
    }

    /// Who was asked. What a proxy answers itself looks like the receiver's.
    pub fn host(&self) -> String {
        let host = self.url.origin().ascii_serialization();
        match self.through_proxy {
            true => format!("{host} (through the proxy)"),
            false => host,
        }
    }

    /// What must not be shown of what the receiver says.
    pub fn scrub(&self) -> &Scrub {
        &self.scrub
    }
}

/// An error with its causes, which most libraries leave to the reader; none of them twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    // The lines of a journal are so alike that the fastest level is near the best.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Trusts nobody: for `http:`, where it is never asked.
fn no_roots() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        let mut scrub = Scrub::default();
        scrub.hide("s3cr3t-token");
        Client::new(Settings {
            scrub,
            url: url.parse().unwrap(),
            tls: None,
            proxy: None,
            gzip: false,
            headers: vec![(
                HeaderName::from_static("authorization"),
                SecretString::from("Splunk s3cr3t-token"),
            )],
        })
        .unwrap()
    }

    #[test]
    fn what_a_receiver_repeats_of_a_secret_is_not_shown() {
        let client = client("https://siem:8088/hook/T0/B1?key=k");
        let reply = Reply {
            status: StatusCode::FORBIDDEN,
            retry_after: None,
            body: b"no such token:\ns3cr3t-token".to_vec(),
            cut: false,
        };
        let text = client.describe(&reply);
        assert_eq!(
            text,
            "https://siem:8088 answered 403 Forbidden: no such token: [removed]"
        );
        assert!(!format!("{client:?}").contains("s3cr3t"), "{client:?}");
    }

    #[test]
    fn paths_are_put_below_the_configured_one() {
        let below = |url| client(url).below("_bulk").to_string();
        assert_eq!(below("http://h:9200"), "http://h:9200/_bulk");
        assert_eq!(below("http://h/es/"), "http://h/es/_bulk");
    }

    #[test]
    fn a_header_that_cannot_be_one_is_named() {
        let error = Client::new(Settings {
            url: "http://h".parse().unwrap(),
            tls: None,
            proxy: None,
            gzip: true,
            headers: vec![(HeaderName::from_static("x-key"), "a\nb".into())],
            scrub: Scrub::default(),
        })
        .unwrap_err();
        assert!(error.to_string().contains("x-key"), "{error}");
        assert!(!error.to_string().contains("a\nb"));
    }
}
