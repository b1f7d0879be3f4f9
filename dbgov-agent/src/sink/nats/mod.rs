//! NATS JetStream. A record's id is the message's (`Nats-Msg-Id`), so that a stream stores once what is sent again.
//!
//! ```text
//! config       its keys
//! subject      the subject a record goes to
//! connection   to a server, and the stream
//! wave         which records may be under way at once
//! ```

mod config;
mod connection;
mod subject;
mod wave;

use std::error::Error;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};

pub use self::config::NatsConfig;
use self::connection::Connection;
use super::http::client::chain;
use super::progress::Progress;
use super::{Deliver, DeliverError, Item};

pub struct Nats {
    config: NatsConfig,
    node: String,
    connection: Option<Connection>,
    progress: Progress,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats")
            .field("config", &self.config)
            .finish()
    }
}

impl Nats {
    /// `node`: of the subjects.
    pub fn new(config: &NatsConfig, node: &str) -> Self {
        Nats {
            config: config.clone(),
            node: node.to_owned(),
            connection: None,
            progress: Progress::default(),
        }
    }

    /// Records that the stream had already.
    pub fn known(&self) -> u64 {
        self.progress.known
    }
}

impl Deliver for Nats {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        let delivered = self.publish(batch).await;
        delivered.map_err(|error| error.scrubbed(&self.config.scrub()))
    }
}

impl Nats {
    async fn publish(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        self.progress.begin(batch);
        let connection = match self.connection.take() {
            Some(connection) if connection.is_up() => connection,
            _ => Connection::open(&self.config, &self.node).await?,
        };
        // What is still under way when the caller's time is over is asked for again under the same id.
        let connection = self.connection.insert(connection);
        let publisher = Publisher {
            config: &self.config,
            node: &self.node,
            connection,
        };
        if let Err(error) = publisher.publish(&mut self.progress, batch).await {
            // A connection that failed once may still send what is in its buffers, behind what is sent again.
            self.connection = None;
            return Err(error);
        }
        self.progress.outcome(batch)
    }
}

struct Publisher<'a> {
    config: &'a NatsConfig,
    node: &'a str,
    connection: &'a Connection,
}

impl Publisher<'_> {
    async fn publish(&self, progress: &mut Progress, batch: &[Item]) -> Result<(), DeliverError> {
        loop {
            let open = progress.open();
            if open.is_empty() {
                return Ok(());
            }
            let wave = wave::next(batch, &open, self.config.in_flight_max, self.config.order);
            self.send(progress, batch, &wave).await?;
        }
    }

    /// Sends these and waits for the acknowledgements of all.
    async fn send(
        &self,
        progress: &mut Progress,
        batch: &[Item],
        wave: &[usize],
    ) -> Result<(), DeliverError> {
        let mut under_way = Vec::with_capacity(wave.len());
        for &place in wave {
            let Some(item) = batch.get(place) else {
                continue;
            };
            let subject = self.config.subject.of(self.node, &item.kind);
            let sent = self
                .connection
                .context
                .send_publish(subject, self.message(item));
            match sent.await {
                Ok(acknowledgement) => under_way.push((place, acknowledgement)),
                Err(error) => settle(progress, place, &error)?,
            }
        }
        let mut failed = None;
        for (place, acknowledgement) in under_way {
            let answer = tokio::select! {
                answer = acknowledgement => answer,
                () = self.connection.lost() => {
                    return Err(DeliverError::retry(self.connection.why()));
                }
            };
            match answer {
                Ok(stored) => {
                    progress.known += u64::from(stored.duplicate);
                    progress.taken(place);
                }
                Err(error) if error.kind() == PublishErrorKind::TimedOut => {
                    return Err(DeliverError::retry(self.connection.why_silent()));
                }
                // The others' answers are there or on their way.
                Err(error) => failed = settle(progress, place, &error).err().or(failed),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn message(&self, item: &Item) -> PublishMessage {
        let mut message = PublishMessage::build()
            .payload(item.body.clone().into())
            .message_id(&item.id);
        if let Some(stream) = &self.config.stream {
            message = message.expected_stream(stream);
        }
        if let Some(session) = &item.session {
            message = message.header("Dbgov-Session", session.as_ref());
        }
        message
            .header("Dbgov-Kind", item.kind.as_ref())
            .header("Dbgov-Seq", item.seq.to_string().as_str())
    }
}

/// A record that was not stored: refused, or everything waits.
fn settle(progress: &mut Progress, place: usize, error: &PublishError) -> Result<(), DeliverError> {
    match judge(error) {
        Judged::Refused(why) => {
            progress.refused(place, why);
            Ok(())
        }
        Judged::Later(error) => Err(error),
    }
}

enum Judged {
    Refused(String),
    Later(DeliverError),
}

fn judge(error: &PublishError) -> Judged {
    let code = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    match (error.kind(), code) {
        (PublishErrorKind::MaxPayloadExceeded, _)
        | (_, Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)) => Judged::Refused(chain(error)),
        (PublishErrorKind::StreamNotFound, _) => Judged::Later(DeliverError::retry(
            "no stream takes this subject, or JetStream is not ready: make a stream for it, or set create_stream",
        )),
        (_, Some(ErrorCode::STREAM_NOT_MATCH)) => Judged::Later(DeliverError::Retry {
            what: "another stream than the one configured takes this subject".to_owned(),
            after: Some(super::MISCONFIGURED_RETRY),
        }),
        _ => Judged::Later(DeliverError::retry(chain(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(kind: PublishErrorKind, code: Option<u64>) -> Judged {
        match code {
            None => judge(&PublishError::new(kind)),
            Some(code) => {
                let source: jetstream::Error = serde_json::from_value(serde_json::json!(
                    {"code": 400, "err_code": code, "description": "words"}
                ))
                .unwrap();
                judge(&PublishError::with_source(kind, source))
            }
        }
    }

    #[test]
    fn every_class_of_answer() {
        let refused = |judged| matches!(judged, Judged::Refused(_));
        assert!(refused(judged(PublishErrorKind::MaxPayloadExceeded, None)));
        assert!(refused(judged(PublishErrorKind::Other, Some(10054))));
        for (kind, code) in [
            (PublishErrorKind::StreamNotFound, None),
            (PublishErrorKind::BrokenPipe, None),
            // The store failed; insufficient resources; the stream is full.
            (PublishErrorKind::Other, Some(10077)),
            (PublishErrorKind::Other, Some(10023)),
            (PublishErrorKind::Other, None),
        ] {
            assert!(!refused(judged(kind, code)), "{kind:?} {code:?}");
        }
        let Judged::Later(DeliverError::Retry { after, .. }) =
            judged(PublishErrorKind::Other, Some(10060))
        else {
            panic!("a wrong stream is not the record's fault");
        };
        assert!(after.is_some());
    }
}
