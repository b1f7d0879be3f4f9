//! Batches to a receiver of syslog.

use std::time::Duration;

use tokio::time::Instant;

use super::config::{Confirm, Framing, SyslogConfig, Transport};
use super::datagrams::Datagrams;
use super::message::Messages;
use super::stream::Stream;
use crate::sink::deliver::{Deliver, DeliverError, Item};

/// A connection is closed, which confirms what was sent over it, after so long ...
const CONFIRM_INTERVAL: Duration = Duration::from_secs(10);
/// ... or so many bytes: that much is sent again after a failure. A connection for each 4 MiB costs nothing.
const CONFIRM_BYTES: usize = 4 << 20;
/// Memory kept for the next batch, bytes.
const KEPT_BYTES: usize = 2 << 20;

#[derive(Debug)]
pub struct Syslog {
    config: SyslogConfig,
    messages: Messages,
    datagrams: Datagrams,
    connection: Option<Connection>,
    /// Frames of a batch.
    frames: Vec<u8>,
    message: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    since: Instant,
    bytes: usize,
}

impl SyslogConfig {
    /// Whether the files it names can be used.
    pub(in crate::sink) fn check(&self) -> Result<(), String> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        tls.client().map_err(|error| error.to_string())?;
        tls.server_name(&self.host)
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Syslog {
    pub fn new(config: &SyslogConfig, node: &str) -> Self {
        Syslog {
            messages: Messages::new(config, node),
            config: config.clone(),
            datagrams: Datagrams::default(),
            connection: None,
            frames: Vec::new(),
            message: Vec::new(),
        }
    }

    fn make_frames(&mut self, batch: &[Item]) {
        self.frames.clear();
        self.frames.shrink_to(KEPT_BYTES);
        let by_length =
            self.config.transport == Transport::Tls || self.config.framing == Framing::Octets;
        for item in batch {
            self.messages.write(item, &mut self.message);
            if by_length {
                // RFC 6587, 3.4.1; RFC 5425, 4.3.
                self.frames
                    .extend_from_slice(self.message.len().to_string().as_bytes());
                self.frames.push(b' ');
                self.frames.extend_from_slice(&self.message);
            } else {
                // RFC 6587, 3.4.2. Encoders write one line; nothing may end the frame before its end.
                let blank = |byte: &u8| if *byte == b'\n' { b' ' } else { *byte };
                self.frames.extend(self.message.iter().map(blank));
                self.frames.push(b'\n');
            }
        }
    }

    async fn send(&mut self) -> Result<(), String> {
        // Taken out for as long as it is not known to be whole: who drops this future drops the connection, which may
        // have half a message in it.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection {
                stream: Stream::connect(&self.config).await?,
                since: Instant::now(),
                bytes: 0,
            },
        };
        let lost = |error: std::io::Error| format!("the connection is lost: {error}");
        if connection.stream.has_ended() {
            return Err("the receiver has closed the connection".to_owned());
        }
        connection.stream.write(&self.frames).await.map_err(lost)?;
        if self.config.confirm == Confirm::Sent {
            connection.stream.wait_until_sent().await.map_err(lost)?;
        }
        connection.bytes += self.frames.len();
        self.connection = Some(connection);
        Ok(())
    }
}

impl Deliver for Syslog {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        if self.config.transport == Transport::Udp {
            return self
                .datagrams
                .send(&self.config, &self.messages, batch)
                .await;
        }
        self.make_frames(batch);
        self.send().await.map_err(DeliverError::retry)
    }

    async fn confirm(&mut self, now: bool) -> Result<bool, DeliverError> {
        if self.config.transport == Transport::Udp || self.config.confirm == Confirm::Sent {
            return Ok(true);
        }
        let Some(connection) = &mut self.connection else {
            // Nothing was sent since the last one was closed in order.
            return Ok(true);
        };
        if connection.stream.has_ended() {
            self.connection = None;
            return Err(DeliverError::retry(
                "the receiver has closed the connection",
            ));
        }
        let is_due =
            connection.bytes >= CONFIRM_BYTES || connection.since.elapsed() >= CONFIRM_INTERVAL;
        if !is_due && !now {
            return Ok(false);
        }
        let Some(connection) = self.connection.take() else {
            return Ok(true);
        };
        match connection.stream.finish().await {
            Ok(()) => Ok(true),
            Err(error) => Err(DeliverError::retry(format!(
                "the receiver did not read everything: {error}"
            ))),
        }
    }
}
