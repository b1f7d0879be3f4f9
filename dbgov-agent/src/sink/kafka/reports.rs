//! What librdkafka tells: what became of each message, and what is wrong with the connections.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::sink::scrub::Scrub;

/// What becomes of the messages of one batch.
#[derive(Debug, Default)]
pub(super) struct Reports(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// Place in the batch, and the error if any.
    results: Vec<(usize, Option<RDKafkaErrorCode>)>,
    /// The newest of the connections' errors.
    trouble: Option<(RDKafkaErrorCode, String)>,
}

impl Reports {
    pub(super) fn take(&self) -> Vec<(usize, Option<RDKafkaErrorCode>)> {
        match self.0.lock() {
            Ok(mut told) => std::mem::take(&mut told.results),
            Err(_) => Vec::new(),
        }
    }

    /// Why nothing goes on.
    pub(super) fn trouble(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.lock().ok()?.trouble.clone()
    }

    fn tell(&self, place: usize, error: Option<RDKafkaErrorCode>) {
        if let Ok(mut told) = self.0.lock() {
            if error.is_none() {
                told.trouble = None;
            }
            told.results.push((place, error));
        }
    }
}

/// Shared with librdkafka's threads.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) reports: Reports,
    scrub: Scrub,
}

impl Context {
    pub(super) fn new(scrub: Scrub) -> Self {
        Context {
            reports: Reports::default(),
            scrub,
        }
    }
}

impl ProducerContext for Context {
    /// The place in the batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let error = match result {
            Ok(_) => None,
            Err((error, _)) => Some(
                error
                    .rdkafka_error_code()
                    .unwrap_or(RDKafkaErrorCode::Unknown),
            ),
        };
        self.reports.tell(place, error);
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        // What matters comes as an error too; without `debug`, which cannot be set, no line has a secret in it.
        tracing::debug!(facility, text = self.scrub.text(text), "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error
            .rdkafka_error_code()
            .unwrap_or(RDKafkaErrorCode::Unknown);
        if let Ok(mut told) = self.reports.0.lock() {
            // "All brokers are down" says less than why.
            if code == RDKafkaErrorCode::AllBrokersDown && told.trouble.is_some() {
                return;
            }
            told.trouble = Some((code, reason.to_owned()));
        }
    }
}
