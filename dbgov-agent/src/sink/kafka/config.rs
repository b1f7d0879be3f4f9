//! The keys of a Kafka sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::properties;
use crate::sink::config::Secret;
use crate::sink::scrub::Scrub;
use crate::sink::tls::TlsConfig;

/// Length of a topic's name, characters (Kafka's own limit).
const TOPIC_CHARS_MAX: usize = 249;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct KafkaConfig {
    pub(super) brokers: Vec<String>,
    pub(super) topic: String,
    pub(super) compression: Compression,
    pub(super) tls: Option<TlsConfig>,
    pub(super) sasl: Option<Sasl>,
    /// librdkafka's own, as far as they are allowed.
    pub(super) properties: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(super) struct Sasl {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// What every broker since 2.1 knows (zstd); older ones know the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    None,
    Gzip,
    Lz4,
    Snappy,
    #[default]
    Zstd,
}

impl Compression {
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Lz4 => "lz4",
            Compression::Snappy => "snappy",
            Compression::Zstd => "zstd",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    brokers: Vec<String>,
    topic: String,
    #[serde(default)]
    compression: Compression,
    tls: Option<TlsConfig>,
    sasl_mechanism: Option<Mechanism>,
    user: Option<String>,
    password: Option<Secret>,
    #[serde(default)]
    properties: BTreeMap<String, Property>,
}

/// librdkafka takes texts; TOML has numbers.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "give a property as a text, a number, true or false"
)]
enum Property {
    Text(String),
    Number(i64),
    Switch(bool),
}

impl Property {
    fn text(self) -> String {
        match self {
            Property::Text(text) => text,
            Property::Number(number) => number.to_string(),
            Property::Switch(on) => on.to_string(),
        }
    }
}

impl TryFrom<Written> for KafkaConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.brokers.is_empty() {
            return Err("brokers: give one or more, such as \"kafka.example:9092\"".to_owned());
        }
        // Its text is not repeated: somebody may have written a password into it.
        if let Some(at) = written.brokers.iter().position(|text| !is_broker(text)) {
            return Err(format!(
                "brokers: number {} of them: give HOST or HOST:PORT, without a scheme; what is encrypted is said by tls, and a password by password",
                at + 1
            ));
        }
        let topic = written.topic;
        let is_topic = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty()
            || topic.len() > TOPIC_CHARS_MAX
            || matches!(topic.as_str(), "." | "..")
            || !topic.chars().all(is_topic)
        {
            return Err(format!(
                "topic = {topic:?}: give 1 to {TOPIC_CHARS_MAX} of the characters a-z, A-Z, 0-9, dot, _ and -"
            ));
        }
        let sasl = match (written.sasl_mechanism, written.user, written.password) {
            (None, None, None) => None,
            (Some(mechanism), Some(user), Some(password)) => Some(Sasl {
                mechanism,
                user,
                password,
            }),
            _ => return Err("give all of sasl_mechanism, user and password, or none".to_owned()),
        };
        let tls = written.tls.as_ref();
        if tls.is_some_and(|tls| tls.server_name.is_some()) {
            return Err(
                "tls.server_name is not for this kind: write that name into brokers".to_owned(),
            );
        }
        for name in written.properties.keys() {
            properties::check(name)?;
        }
        let properties = written.properties.into_iter();
        Ok(KafkaConfig {
            brokers: written.brokers,
            topic,
            compression: written.compression,
            tls: written.tls,
            sasl,
            properties: properties
                .map(|(name, value)| (name, value.text()))
                .collect(),
        })
    }
}

/// `kafka.example`, `kafka.example:9093`, `[2001:db8::1]:9093`. librdkafka passes over what it cannot read, as long as
/// one is left.
fn is_broker(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_ipv6 = host.starts_with('[') && host.ends_with(']');
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_port = |port: &str| matches!(port.parse::<u16>(), Ok(1..));
    !host.is_empty() && (is_ipv6 || host.chars().all(is_host)) && port.is_none_or(is_port)
}

impl KafkaConfig {
    /// What can be seen without a broker.
    pub fn check(&self) -> Result<(), String> {
        if let Some(tls) = &self.tls {
            // librdkafka reads these files with the first batch, not before.
            tls.client().map_err(|error| error.to_string())?;
        }
        let config = properties::client_config(self).map_err(|error| error.to_string())?;
        // librdkafka names the property that is wrong.
        let checked = config.create_native_config();
        checked.map(drop).map_err(|error| error.to_string())
    }

    /// What a broker knows of this sink, and may repeat.
    pub(super) fn scrub(&self) -> Scrub {
        let mut scrub = Scrub::default();
        if let Some(password) = self
            .sasl
            .as_ref()
            .and_then(|sasl| sasl.password.read().ok())
        {
            scrub.hide(password.expose_secret());
        }
        scrub
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        if let Some(tls) = &mut self.tls {
            tls.for_each_path(visit);
        }
        if let Some(path) = self.sasl.as_mut().and_then(|sasl| sasl.password.path_mut()) {
            visit(path);
        }
    }
}
