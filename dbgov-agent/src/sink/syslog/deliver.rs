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
/// So long after it has closed a connection in order, a receiver must still be there: one that is stopped closes in
/// order too, and drops what it has read and not yet written (syslog-ng's queue of a thousand messages in memory).
const STAY: Duration = Duration::from_millis(300);
const CLOSED: &str = "the receiver has closed the connection";
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
    /// When the first bytes were sent over it.
    since: Instant,
    bytes: usize,
}

impl Connection {
    async fn open(config: &SyslogConfig) -> Result<Self, String> {
        Ok(Connection {
            stream: Stream::connect(config).await?,
            since: Instant::now(),
            bytes: 0,
        })
    }
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
            None => Connection::open(&self.config).await?,
            Some(mut connection) => match (connection.stream.has_ended(), connection.bytes) {
                (false, _) => connection,
                // Receivers close connections over which nothing comes.
                (true, 0) => Connection::open(&self.config).await?,
                (true, _) => return Err(CLOSED.to_owned()),
            },
        };
        if connection.bytes == 0 {
            connection.since = Instant::now();
        }
        let lost = |error: std::io::Error| format!("the connection is lost: {error}");
        connection.stream.write(&self.frames).await.map_err(lost)?;
        if self.config.confirm == Confirm::Sent {
            connection.stream.wait_until_sent().await.map_err(lost)?;
        }
        connection.bytes += self.frames.len();
        self.connection = Some(connection);
        Ok(())
    }

    /// Closes the connection and returns once the receiver has everything, as far as can be told from here.
    async fn finish(&mut self, connection: Connection) -> Result<(), String> {
        let unread = |error| format!("the receiver did not read everything: {error}");
        connection.stream.finish().await.map_err(unread)?;
        // At once, not after the time: so a receiver that is stopped and started meanwhile is not taken for one that
        // has stayed.
        let gone =
            |error| format!("the receiver went away when it had just read the last: {error}");
        let mut next = Connection::open(&self.config).await.map_err(gone)?;
        tokio::time::sleep(STAY).await;
        if next.stream.has_ended() {
            return Err(gone(CLOSED.to_owned()));
        }
        self.connection = Some(next);
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
        let Some(mut connection) = self.connection.take() else {
            // Nothing was sent since the last one was closed in order.
            return Ok(true);
        };
        if connection.bytes == 0 {
            self.connection = Some(connection);
            return Ok(true);
        }
        if connection.stream.has_ended() {
            return Err(DeliverError::retry(CLOSED));
        }
        let is_due =
            connection.bytes >= CONFIRM_BYTES || connection.since.elapsed() >= CONFIRM_INTERVAL;
        if !is_due && !now {
            self.connection = Some(connection);
            return Ok(false);
        }
        self.finish(connection).await.map_err(DeliverError::retry)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
