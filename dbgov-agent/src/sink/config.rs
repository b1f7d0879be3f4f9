//! `[[sink]]`: where the records go beside the journal.

mod filter;
mod secret;
mod section;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use self::filter::{Filter, Traits};
pub use self::secret::{Secret, SecretError};
pub(crate) use self::section::{Mistake, Section, may_show_secret};
use super::Format;
use super::elastic::ElasticConfig;
use super::file::FileConfig;
use super::http::config as http;
use super::kafka::KafkaConfig;
use super::nats::NatsConfig;
use super::otlp::OtlpConfig;
use super::splunk::SplunkConfig;
use super::stdout::StdoutConfig;
use super::syslog::SyslogConfig;
use super::webhook::WebhookConfig;

/// Sinks of a configuration: each has a thread and a place in the journal.
const SINKS_MAX: usize = 32;
/// Bytes of a name, which is also that of files.
const NAME_BYTES_MAX: usize = 64;
/// Records of a batch: with more, one refusal means too much to send again.
const BATCH_RECORDS_MAX: usize = 100_000;
/// Bytes of a batch: it is in memory, and few receivers take larger requests.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// The longest a record may wait for others, milliseconds: who waits longer wants a report, not a sink.
const BATCH_INTERVAL_MS_MAX: u64 = 60_000;
/// Shorter than what a syslog receiver is watched for and any round trip over the world; longer than anybody waits,
/// milliseconds.
const TIMEOUT_MS_MIN: u64 = 500;
const TIMEOUT_MS_MAX: u64 = 600_000;

/// A sink, as configured.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// Names its files, and what is said of it.
    pub name: SinkName,
    pub kind: SinkKind,
    pub format: Format,
    /// Where a sink begins that has no cursor yet.
    pub start: Start,
    pub filter: Filter,
    pub batch: Batch,
    /// For one batch, from the connection to the receiver's answer.
    pub timeout: Duration,
}

/// The kinds, each with its own keys. Those of one are in `sink/<kind>/config.rs`.
#[derive(Debug, Clone)]
pub enum SinkKind {
    Elasticsearch(ElasticConfig),
    File(FileConfig),
    Kafka(KafkaConfig),
    Nats(NatsConfig),
    Otlp(OtlpConfig),
    Splunk(SplunkConfig),
    Stdout(StdoutConfig),
    Syslog(SyslogConfig),
    Webhook(WebhookConfig),
}

/// `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Elasticsearch,
    File,
    Kafka,
    Nats,
    Otlp,
    Splunk,
    Stdout,
    Syslog,
    Webhook,
}

/// How many records are handed over at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub records_max: usize,
    /// Of their bodies. A longer record goes alone.
    pub bytes_max: usize,
    /// A batch that is not full waits at most so long for more records.
    pub interval: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            records_max: 1000,
            bytes_max: 1 << 20,
            // Records become durable once a second, many at a time: they make batches of themselves.
            interval: Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest record of the journal.
    #[default]
    Oldest,
    /// With the records to come.
    Newest,
}

/// The name of a sink: also part of the names of files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SinkName(Box<str>);

impl SinkName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SinkName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_name = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        match is_name {
            true => Ok(SinkName(text.into())),
            false => Err(format!(
                "{text:?}: a sink's name has 1 to {NAME_BYTES_MAX} of the characters a-z, 0-9 and -"
            )),
        }
    }
}

impl std::fmt::Display for SinkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys that every sink has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    name: SinkName,
    #[serde(rename = "type")]
    kind: KindName,
    format: Option<Format>,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    filter: Filter,
    batch_records_max: Option<usize>,
    batch_bytes_max: Option<usize>,
    batch_interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
}

const TYPES: &str = "elasticsearch, file, kafka, nats, otlp, splunk, stdout, syslog or webhook";

const COMMON_KEYS: &[&str] = &[
    "name",
    "type",
    "format",
    "start",
    "filter",
    "batch_records_max",
    "batch_bytes_max",
    "batch_interval_ms",
    "timeout_ms",
];

/// The sinks of a configuration; paths in it are relative to `directory`.
pub(crate) fn sinks(sections: Vec<Section>, directory: &Path) -> Result<Vec<SinkConfig>, Mistake> {
    let mut sinks: Vec<SinkConfig> = Vec::new();
    for section in sections {
        let name_at = section.place_of("name");
        let sink = sink(section, directory)?;
        if sinks.iter().any(|other| other.name == sink.name) {
            let what = format!("there is a sink {:?} already", sink.name.as_str());
            return Err(Mistake::new(name_at, what));
        }
        let is_stdout = |sink: &SinkConfig| matches!(sink.kind, SinkKind::Stdout(_));
        if is_stdout(&sink) && sinks.iter().any(is_stdout) {
            let what = "there is a sink of type \"stdout\" already".to_owned();
            return Err(Mistake::new(name_at, what));
        }
        sinks.push(sink);
        if sinks.len() > SINKS_MAX {
            return Err(Mistake::new(
                name_at,
                format!("more than {SINKS_MAX} sinks"),
            ));
        }
    }
    Ok(sinks)
}

fn sink(section: Section, directory: &Path) -> Result<SinkConfig, Mistake> {
    let (common, own) = section.split(COMMON_KEYS);
    let places = common.places();
    let common: Common = common
        .read("")
        .map_err(|mistake| match mistake.what.as_str() {
            "missing field `type`" => Mistake {
                what: format!("{}: {TYPES}", mistake.what),
                ..mistake
            },
            _ => mistake,
        })?;
    let bounded = |key: &'static str, value: Option<u64>, min: u64, max: u64, default: u64| {
        let value = value.unwrap_or(default);
        match (min..=max).contains(&value) {
            true => Ok(value),
            false => Err(Mistake::new(
                places.of(key),
                format!("{key} = {value}: give {min} to {max}"),
            )),
        }
    };
    let default = Batch::default();
    let batch = Batch {
        records_max: bounded(
            "batch_records_max",
            common.batch_records_max.map(|n| n as u64),
            1,
            BATCH_RECORDS_MAX as u64,
            default.records_max as u64,
        )? as usize,
        bytes_max: bounded(
            "batch_bytes_max",
            common.batch_bytes_max.map(|n| n as u64),
            1,
            BATCH_BYTES_MAX as u64,
            default.bytes_max as u64,
        )? as usize,
        interval: Duration::from_millis(bounded(
            "batch_interval_ms",
            common.batch_interval_ms,
            0,
            BATCH_INTERVAL_MS_MAX,
            default.interval.as_millis() as u64,
        )?),
    };
    let timeout = Duration::from_millis(bounded(
        "timeout_ms",
        common.timeout_ms,
        TIMEOUT_MS_MIN,
        TIMEOUT_MS_MAX,
        30_000,
    )?);
    let mut kind = SinkKind::read(common.kind, own)?;
    kind.for_each_path(&mut |path| *path = directory.join(&*path));
    let format = common.format.unwrap_or(kind.default_format());
    kind.takes(format)
        .map_err(|what| Mistake::new(places.of("format"), what.to_owned()))?;
    Ok(SinkConfig {
        name: common.name,
        format,
        kind,
        start: common.start,
        filter: common.filter,
        batch,
        timeout,
    })
}

/// One over HTTP: the keys that those have in common, and its own.
fn over_http<Own: DeserializeOwned, T>(
    section: Section,
    also: &str,
    make: impl FnOnce(http::Keys, Own) -> Result<T, String>,
) -> Result<T, Mistake> {
    let whole = section.mistake(String::new());
    let (shared, own) = section.split(http::KEYS);
    let over_http = http::KEYS.join(", ");
    let own = own.read(&format!(", or of every sink over HTTP: {over_http}{also}"))?;
    make(shared.read("")?, own).map_err(|what| Mistake { what, ..whole })
}

impl SinkKind {
    fn read(name: KindName, own: Section) -> Result<Self, Mistake> {
        let also = format!(", or of every sink: {}", COMMON_KEYS.join(", "));
        Ok(match name {
            KindName::Elasticsearch => {
                SinkKind::Elasticsearch(over_http(own, &also, ElasticConfig::new)?)
            }
            KindName::File => SinkKind::File(own.read(&also)?),
            KindName::Kafka => SinkKind::Kafka(own.read(&also)?),
            KindName::Nats => SinkKind::Nats(own.read(&also)?),
            KindName::Otlp => SinkKind::Otlp(over_http(own, &also, OtlpConfig::new)?),
            KindName::Splunk => SinkKind::Splunk(over_http(own, &also, SplunkConfig::new)?),
            KindName::Stdout => SinkKind::Stdout(own.read(&also)?),
            KindName::Syslog => SinkKind::Syslog(own.read(&also)?),
            KindName::Webhook => SinkKind::Webhook(over_http(own, &also, WebhookConfig::new)?),
        })
    }

    /// As `type` has it.
    pub fn name(&self) -> &'static str {
        match self {
            SinkKind::Elasticsearch(_) => "elasticsearch",
            SinkKind::File(_) => "file",
            SinkKind::Kafka(_) => "kafka",
            SinkKind::Nats(_) => "nats",
            SinkKind::Otlp(_) => "otlp",
            SinkKind::Splunk(_) => "splunk",
            SinkKind::Stdout(_) => "stdout",
            SinkKind::Syslog(_) => "syslog",
            SinkKind::Webhook(_) => "webhook",
        }
    }

    /// What most receivers of the kind expect.
    fn default_format(&self) -> Format {
        match self {
            SinkKind::Elasticsearch(_) => Format::Ecs,
            SinkKind::File(_)
            | SinkKind::Kafka(_)
            | SinkKind::Nats(_)
            | SinkKind::Otlp(_)
            | SinkKind::Splunk(_)
            | SinkKind::Stdout(_)
            | SinkKind::Syslog(_)
            | SinkKind::Webhook(_) => Format::Native,
        }
    }

    /// What a receiver can do with a format.
    fn takes(&self, format: Format) -> Result<(), &'static str> {
        match self {
            SinkKind::Elasticsearch(_) if !format.is_json() => {
                Err("format: Elasticsearch takes only those that are JSON: ecs, ocsf and native")
            }
            SinkKind::Webhook(config) if !config.takes(format) => Err(
                "format: framing = \"array\" needs one that is JSON: native, ocsf or ecs; or write framing = \"lines\"",
            ),
            _ => Ok(()),
        }
    }

    /// The files the configuration names.
    fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        match self {
            SinkKind::Elasticsearch(config) => config.for_each_path(visit),
            SinkKind::File(config) => visit(&mut config.path),
            SinkKind::Kafka(config) => config.for_each_path(visit),
            SinkKind::Nats(config) => config.for_each_path(visit),
            SinkKind::Otlp(config) => config.for_each_path(visit),
            SinkKind::Splunk(config) => config.for_each_path(visit),
            SinkKind::Stdout(_) => {}
            SinkKind::Syslog(config) => config
                .tls
                .iter_mut()
                .for_each(|tls| tls.for_each_path(visit)),
            SinkKind::Webhook(config) => config.for_each_path(visit),
        }
    }
}

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod tests;
