//! Any HTTP endpoint: records as JSON lines or as one JSON array, signed if wanted.

mod config;

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

pub use self::config::WebhookConfig;
use super::Format;
use super::config::Secret;
use super::http::{Connection, answer, client::REPLY_BYTES_MAX};
use super::parts::{self, Answer};
use super::progress::Progress;
use super::{Deliver, DeliverError, Item};

/// How several records are one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// One record a line, `application/x-ndjson`; `text/plain` where records are not JSON.
    #[default]
    Lines,
    /// `[…,…]`, `application/json`.
    Array,
}

/// A header that proves that the request is this sink's and that nobody changed it:
/// `t=<Unix seconds>,v1=<hex HMAC-SHA-256 of "<t>.<body>">`, the body as it is before compression. A receiver that also
/// looks at `t` is not fooled by a repetition.
#[derive(Debug, Clone)]
struct Signature {
    header: HeaderName,
    key: Secret,
}

#[derive(Debug)]
pub struct Webhook {
    poster: Poster,
    progress: Progress,
}

#[derive(Debug)]
struct Poster {
    connection: Connection,
    framing: Framing,
    content_type: &'static str,
    signature: Option<Signature>,
}

impl Webhook {
    pub fn new(config: &WebhookConfig, format: Format) -> Self {
        let content_type = match (config.framing, format.is_json()) {
            (Framing::Lines, true) => "application/x-ndjson",
            (Framing::Lines, false) => "text/plain; charset=utf-8",
            (Framing::Array, _) => "application/json",
        };
        Webhook {
            poster: Poster {
                connection: Connection::new(&config.http),
                framing: config.framing,
                content_type,
                signature: config.signature.clone(),
            },
            progress: Progress::default(),
        }
    }
}

impl Deliver for Webhook {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        parts::deliver(&mut self.progress, batch, &mut self.poster).await
    }
}

impl parts::Send for Poster {
    async fn send(&mut self, items: &[&Item]) -> Answer {
        let answer = self.post(items).await;
        self.connection.heed(answer)
    }
}

impl Poster {
    async fn post(&mut self, items: &[&Item]) -> Answer {
        let client = match self.connection.ready() {
            Ok(client) => client,
            Err(answer) => return answer,
        };
        let body = body(self.framing, items);
        let mut headers = HeaderMap::new();
        if let Some(signature) = &self.signature {
            let key = match signature.key.read() {
                Ok(key) => key,
                Err(error) => return Answer::misconfigured(error.to_string()),
            };
            match signed(&key, &body, unix_seconds()) {
                Some(value) => headers.insert(signature.header.clone(), value),
                None => return Answer::misconfigured("signature_secret cannot sign"),
            };
        }
        let url = client.url().clone();
        let reply = client.post(url, self.content_type, body, headers, REPLY_BYTES_MAX);
        match reply.await {
            Ok(reply) => answer::by_status(&client, &reply),
            Err(what) => Answer::later(what),
        }
    }
}

fn signed(key: &SecretString, body: &[u8], unix_seconds: u64) -> Option<HeaderValue> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).ok()?;
    mac.update(format!("{unix_seconds}.").as_bytes());
    mac.update(body);
    let sum = hex::encode(mac.finalize().into_bytes());
    HeaderValue::from_str(&format!("t={unix_seconds},v1={sum}")).ok()
}

fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn body(framing: Framing, items: &[&Item]) -> Vec<u8> {
    let bytes = items.iter().map(|item| item.body.len() + 1).sum::<usize>();
    let mut body = Vec::with_capacity(bytes + 1);
    if framing == Framing::Array {
        body.push(b'[');
    }
    for (at, item) in items.iter().enumerate() {
        if framing == Framing::Array && at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&item.body);
        if framing == Framing::Lines {
            body.push(b'\n');
        }
    }
    if framing == Framing::Array {
        body.push(b']');
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_items::items;

    #[test]
    fn bodies_are_what_their_content_type_says() {
        let batch = items(2);
        let all: Vec<&Item> = batch.iter().collect();
        let lines = String::from_utf8(body(Framing::Lines, &all)).unwrap();
        assert_eq!(
            lines,
            "{\"kind\":\"statement\",\"seq\":1}\n{\"kind\":\"statement\",\"seq\":2}\n"
        );
        let array: Vec<serde_json::Value> =
            serde_json::from_slice(&body(Framing::Array, &all)).unwrap();
        assert_eq!(array[1]["seq"], 2);
        assert_eq!(body(Framing::Array, &all[..1])[0], b'[');
    }

    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        // printf '1700000000.The quick brown fox' | openssl dgst -sha256 -hmac key
        let value = signed(&"key".into(), b"The quick brown fox", 1_700_000_000).unwrap();
        assert_eq!(value.to_str().unwrap(), SIGNED);
    }

    const SIGNED: &str =
        "t=1700000000,v1=94a2d29c55d07d9333ce48f2c48db8237d363908152c26bf57af92cd850f9901";
}
