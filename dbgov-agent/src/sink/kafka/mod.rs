//! Kafka, by librdkafka's idempotent producer. The key is the session's id, so that its records are in one partition and
//! in order; the header `id` tells a repetition.
//!
//! ```text
//! config       its keys
//! properties   librdkafka's own configuration
//! reports      what librdkafka tells
//! ```
//!
//! A record that was handed to librdkafka stays there until a broker has it, over the ends of this sink's own time-outs:
//! it is not handed over again, and nothing can come between it and those behind it. Only a fatal error of the producer,
//! or the end of the agent, sends what is not known to be there once more.

mod config;
mod properties;
mod reports;

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub use self::config::KafkaConfig;
use self::properties::{SetupError, client_config};
use self::reports::Context;
use super::progress::Progress;
use super::{Deliver, DeliverError, Item, MISCONFIGURED_RETRY};

/// How long this thread waits at a time for what librdkafka has to tell. Nobody else runs on it.
const POLL: Duration = Duration::from_millis(5);
/// After so long without any news the status says what is wrong; the records stay where they are.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Kafka {
    config: KafkaConfig,
    node: String,
    producer: Option<BaseProducer<Context>>,
    progress: Progress,
    /// Whether librdkafka has the record at this place.
    handed_over: Vec<bool>,
    /// Too large for the broker together with others: to be sent alone.
    alone: Vec<usize>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka")
            .field("config", &self.config)
            .finish()
    }
}

#[derive(Debug, Default)]
struct Heard {
    any: bool,
    failure: Option<RDKafkaErrorCode>,
}

impl Kafka {
    /// `node`: the key of records of no session. Threads are made with the first batch.
    pub fn new(config: &KafkaConfig, node: &str) -> Self {
        Kafka {
            config: config.clone(),
            node: node.to_owned(),
            producer: None,
            progress: Progress::default(),
            handed_over: Vec::new(),
            alone: Vec::new(),
        }
    }

    fn connect(&mut self) -> Result<(), DeliverError> {
        if self.producer.is_some() {
            return Ok(());
        }
        let made = client_config(&self.config).and_then(|config| {
            BaseProducer::from_config_and_context(&config, Context::new(self.config.scrub()))
                .map_err(|error| SetupError::Client(error.to_string()))
        });
        match made {
            Ok(producer) => {
                self.producer = Some(producer);
                Ok(())
            }
            Err(error) => Err(misconfigured(error.to_string())),
        }
    }

    /// What the producer had is lost or not, nobody can tell: it is sent again, and with it whatever comes after it in
    /// its session, so that the order holds among what was sent last.
    fn start_over(&mut self, batch: &[Item]) {
        self.producer = None;
        self.handed_over.fill(false);
        let mut sessions = std::collections::HashSet::new();
        for (place, item) in batch.iter().enumerate() {
            if self.progress.is_open(place) {
                sessions.insert(item.session.as_deref());
            } else if sessions.contains(&item.session.as_deref()) {
                self.progress.reopen(place);
            }
        }
    }

    /// Hands over what it has not; false where its queue is full.
    fn hand_over(&mut self, batch: &[Item]) -> Result<bool, DeliverError> {
        let Some(producer) = &self.producer else {
            return Ok(false);
        };
        for (place, item) in batch.iter().enumerate() {
            if self.handed_over[place] || !self.progress.is_open(place) || !self.may_go(place) {
                continue;
            }
            let key = item.session.as_deref().unwrap_or(&self.node);
            let record = BaseRecord::with_opaque_to(&self.config.topic, place)
                .key(key)
                .payload(item.body.as_slice())
                .timestamp(i64::try_from(item.time_unix_ns / 1_000_000).unwrap_or(0))
                .headers(headers(item));
            match producer.send(record) {
                Ok(()) => self.handed_over[place] = true,
                Err((error, _)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => return Ok(false),
                    Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                        refuse(&mut self.progress, place, &error);
                    }
                    _ => return Err(DeliverError::retry(format!("librdkafka: {error}"))),
                },
            }
        }
        Ok(true)
    }

    /// What was too large together with others goes once nothing else is under way, one by one.
    fn may_go(&self, place: usize) -> bool {
        if !self.alone.contains(&place) {
            return true;
        }
        let waits = |(other, handed): (usize, &bool)| *handed && self.progress.is_open(other);
        !self.handed_over.iter().enumerate().any(waits)
    }

    /// Takes in what librdkafka has told.
    fn heed(&mut self) -> Heard {
        let Some(producer) = &self.producer else {
            return Heard::default();
        };
        let results = producer.context().reports.take();
        let mut heard = Heard {
            any: !results.is_empty(),
            failure: None,
        };
        for (place, error) in results {
            match error {
                None => self.progress.taken(place),
                Some(code) if is_too_large(code) => self.too_large(place, code),
                Some(code) => heard.failure = Some(code),
            }
        }
        heard
    }

    fn too_large(&mut self, place: usize, code: RDKafkaErrorCode) {
        if let Some(handed) = self.handed_over.get_mut(place) {
            *handed = false;
        }
        match self.alone.contains(&place) {
            true => refuse(&mut self.progress, place, &code),
            false => self.alone.push(place),
        }
    }

    /// Why nothing goes on.
    fn trouble(&mut self, batch: &[Item]) -> DeliverError {
        let trouble = self
            .producer
            .as_ref()
            .and_then(|producer| producer.context().reports.trouble());
        let Some((code, reason)) = trouble else {
            return DeliverError::retry("no answer from the brokers");
        };
        if is_about_files(code) {
            // The producer keeps what it has read; with another one the password and the certificates are read anew.
            self.start_over(batch);
        }
        retry(code, reason)
    }
}

impl Deliver for Kafka {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        let delivered = self.produce(batch).await;
        delivered.map_err(|error| error.scrubbed(&self.config.scrub()))
    }
}

impl Kafka {
    async fn produce(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        if self.progress.begin(batch) {
            self.handed_over.clear();
            self.handed_over.resize(batch.len(), false);
            self.alone.clear();
            // Nothing of another batch is under way: a batch ends when all of it is told of.
        }
        self.connect()?;
        let mut news = tokio::time::Instant::now();
        while !self.progress.open().is_empty() {
            self.hand_over(batch)?;
            let Some(producer) = &self.producer else {
                return Err(DeliverError::retry("there is no producer"));
            };
            producer.poll(POLL);
            let fatal = producer.client().fatal_error();
            let heard = self.heed();
            if heard.any {
                news = tokio::time::Instant::now();
            }
            if let Some((_, why)) = fatal {
                self.start_over(batch);
                return Err(DeliverError::retry(format!("the producer failed: {why}")));
            }
            if let Some(code) = heard.failure {
                self.start_over(batch);
                return Err(retry(code, format!("{}: {code}", self.config.topic)));
            }
            if news.elapsed() >= PATIENCE {
                return Err(self.trouble(batch));
            }
            tokio::task::yield_now().await;
        }
        self.progress.outcome(batch)
    }
}

fn refuse(progress: &mut Progress, place: usize, error: &dyn std::fmt::Display) {
    progress.refused(place, format!("{error} (message.max.bytes)"));
}

fn headers(item: &Item) -> OwnedHeaders {
    OwnedHeaders::new()
        .insert(Header {
            key: "id",
            value: Some(item.id.as_bytes()),
        })
        .insert(Header {
            key: "kind",
            value: Some(item.kind.as_bytes()),
        })
}

/// Neither time nor another attempt will change it.
fn needs_a_person(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
    )
}

/// What the agent and the brokers think of each other's certificates and passwords.
fn is_about_files(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::SSL | Code::Authentication | Code::SaslAuthenticationFailed
    )
}

fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge
    )
}

fn retry(code: RDKafkaErrorCode, what: String) -> DeliverError {
    match needs_a_person(code) {
        true => misconfigured(what),
        false => DeliverError::retry(what),
    }
}

fn misconfigured(what: String) -> DeliverError {
    DeliverError::Retry {
        what,
        after: Some(MISCONFIGURED_RETRY),
    }
}
