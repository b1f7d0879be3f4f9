//! Splunk's HTTP Event Collector (help.splunk.com: "Format events for HTTP Event Collector", "About HTTP Event Collector
//! Indexer Acknowledgment").
//!
//! ```text
//! config     its keys
//! event      record -> event envelope
//! reply      HEC's own codes -> what to do
//! ```

mod config;
mod event;
mod reply;

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

pub use self::config::SplunkConfig;
use self::event::Envelope;
use self::reply::{AckReply, Posted};
use super::http::{Client, Connection, Reply, client::REPLY_BYTES_MAX};
use super::parts::{self, Answer};
use super::progress::Progress;
use super::{Deliver, DeliverError, Item};

/// First wait before an acknowledgement is asked for, doubled up to the longest. Splunk acknowledges after it has
/// written (and copied) what it took, which takes seconds; it wants not to be asked more often than that.
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(5);

const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

#[derive(Debug)]
pub struct Splunk {
    collector: Collector,
    progress: Progress,
}

#[derive(Debug)]
struct Collector {
    connection: Connection,
    envelope: Envelope,
    acknowledge: Option<Duration>,
    /// Names this sink to the collector: acknowledgements are numbered by channel.
    channel: HeaderValue,
    /// The token is known to be one with acknowledgement.
    checked: bool,
    /// Taken and not acknowledged. Kept when the caller's time is over: to ask on is better than to send again.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    ack_id: u64,
    /// Of the request: the first record's and the last one's.
    ends: (Box<str>, Box<str>),
    since: Instant,
}

impl Splunk {
    /// `host`: of the events.
    pub fn new(config: &SplunkConfig, host: &str) -> Self {
        let channel = uuid::Uuid::now_v7().to_string();
        // A UUID's text is a header's value.
        let channel =
            HeaderValue::from_str(&channel).unwrap_or_else(|_| HeaderValue::from_static("dbgov"));
        Splunk {
            collector: Collector {
                connection: Connection::new(&config.http),
                envelope: Envelope {
                    host: host.to_owned(),
                    source: config.source.clone(),
                    sourcetype: config.sourcetype.clone(),
                    index: config.index.clone(),
                },
                acknowledge: config.acknowledge,
                channel,
                checked: false,
                pending: None,
            },
            progress: Progress::default(),
        }
    }
}

impl Deliver for Splunk {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        parts::deliver(&mut self.progress, batch, &mut self.collector).await
    }
}

impl parts::Send for Collector {
    async fn send(&mut self, items: &[&Item]) -> Answer {
        let answer = match self.connection.ready() {
            Ok(client) => self.hand_over(&client, items).await,
            Err(answer) => answer,
        };
        self.connection.heed(answer)
    }
}

impl Collector {
    async fn hand_over(&mut self, client: &Client, items: &[&Item]) -> Answer {
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Answer::Taken;
        };
        let ends = (first.id.clone(), last.id.clone());
        let Some(timeout) = self.acknowledge else {
            return match self.post(client, items).await {
                Ok(_) => Answer::Taken,
                Err(answer) => answer,
            };
        };
        if self.pending.as_ref().is_none_or(|of| of.ends != ends) {
            self.pending = None;
            if let Err(answer) = self.check(client).await {
                return answer;
            }
            match self.post(client, items).await {
                Ok(Some(ack_id)) => {
                    let since = Instant::now();
                    self.pending = Some(Pending {
                        ack_id,
                        ends,
                        since,
                    });
                }
                Ok(None) => {
                    self.checked = false;
                    return Answer::misconfigured(reply::no_acknowledgement(client));
                }
                Err(answer) => return answer,
            }
        }
        self.acknowledged(client, timeout).await
    }

    /// Asks for an acknowledgement before anything is sent: a token without them would take each batch again and again.
    async fn check(&mut self, client: &Client) -> Result<(), Answer> {
        if self.checked {
            return Ok(());
        }
        match self.ask(client, 0).await? {
            AckReply::Known(_) => {
                self.checked = true;
                Ok(())
            }
            AckReply::Not(answer) => Err(answer),
        }
    }

    /// The number the acknowledgement will have, where there will be one.
    async fn post(&mut self, client: &Client, items: &[&Item]) -> Result<Option<u64>, Answer> {
        let body = self.envelope.body(items);
        let reply = self.call(client, "services/collector/event", body).await?;
        match reply::posted(client, &reply) {
            Posted::Taken { ack_id } => Ok(ack_id),
            Posted::Not(answer) => {
                self.checked = false;
                Err(answer)
            }
        }
    }

    async fn acknowledged(&mut self, client: &Client, timeout: Duration) -> Answer {
        let mut wait = POLL_MIN;
        while let Some(pending) = &self.pending {
            let (ack_id, since) = (pending.ack_id, pending.since);
            match self.ask(client, ack_id).await {
                Ok(AckReply::Known(true)) => {
                    self.pending = None;
                    return Answer::Taken;
                }
                Ok(AckReply::Known(false)) => {}
                Ok(AckReply::Not(answer)) | Err(answer) => {
                    // What it knows of the events, if anything, is asked again: only time proves them lost.
                    self.checked = false;
                    if since.elapsed() >= timeout {
                        self.pending = None;
                    }
                    return answer;
                }
            }
            if since.elapsed() >= timeout {
                self.pending = None;
                return Answer::Later {
                    what: format!(
                        "{} did not acknowledge within {} s: sending again",
                        client.host(),
                        timeout.as_secs()
                    ),
                    after: Some(Duration::ZERO),
                };
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(POLL_MAX);
        }
        Answer::Taken
    }

    async fn ask(&self, client: &Client, ack_id: u64) -> Result<AckReply, Answer> {
        let body = format!(r#"{{"acks":[{ack_id}]}}"#).into_bytes();
        let reply = self.call(client, "services/collector/ack", body).await?;
        Ok(reply::ack(client, &reply, ack_id))
    }

    async fn call(&self, client: &Client, path: &str, body: Vec<u8>) -> Result<Reply, Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(CHANNEL, self.channel.clone());
        let url = client.below(path);
        client
            .post(url, "application/json", body, headers, REPLY_BYTES_MAX)
            .await
            .map_err(Answer::later)
    }
}
