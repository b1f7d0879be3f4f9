//! A client that keeps every answer: what a person would read, and whether the connection lives on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wire;

/// A statement that takes longer is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The answer to everything up to a ReadyForQuery, or to the end of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The fields of all rows; NULL is empty.
    pub rows: Vec<Vec<String>>,
    pub tags: Vec<String>,
    pub error: Option<ServerError>,
    /// The connection has ended: with a message in `error`, or without.
    pub closed: bool,
}

impl Answer {
    /// The only field of the only row.
    pub fn value(&self) -> Option<&str> {
        match (&self.error, &self.rows[..]) {
            (None, [row]) => row.first().map(String::as_str),
            _ => None,
        }
    }

    /// The error's text; empty where there is none.
    pub fn told(&self) -> &str {
        self.error.as_ref().map_or("", |error| &error.message)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    pub severity: String,
    pub code: String,
    pub message: String,
}

#[derive(Debug)]
pub struct Asking {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Asking {
    /// Connects as postgres to the database postgres.
    pub fn connect(address: SocketAddr, application: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut asking = Asking {
            stream,
            unread: Vec::new(),
        };
        let hello = wire::startup(&[
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", application),
        ]);
        let answer = asking.ask(&hello)?;
        ensure!(
            answer.error.is_none() && !answer.closed,
            "start-up: {answer:?}"
        );
        Ok(asking)
    }

    pub fn simple(&mut self, sql: &str) -> Result<Answer> {
        self.ask(&wire::query(sql))
    }

    pub fn extended(&mut self, sql: &str) -> Result<Answer> {
        self.ask(&crate::extended::once(sql, &[]))
    }

    /// Sends messages that the server answers with one ReadyForQuery.
    pub fn ask(&mut self, messages: &[u8]) -> Result<Answer> {
        if let Err(error) = self.stream.write_all(messages) {
            ensure!(is_end(error.kind()), "cannot send: {error}");
        }
        self.answer()
    }

    /// Up to ReadyForQuery.
    pub fn answer(&mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let Some((kind, body)) = self.message()? else {
                answer.closed = true;
                return Ok(answer);
            };
            match kind {
                b'Z' => return Ok(answer),
                b'C' => answer
                    .tags
                    .push(strings(&body).into_iter().next().unwrap_or_default()),
                b'D' => answer.rows.push(fields(&body).context("a DataRow")?),
                b'E' => answer.error = Some(server_error(&body)),
                _ => {}
            }
        }
    }

    /// `None` at the end of the connection.
    fn message(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some(head) = self.unread.first_chunk::<5>() {
                let kind = head[0];
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                ensure!(length >= 4, "a message of {length} bytes");
                if self.unread.len() > length {
                    let body = self.unread[5..=length].to_vec();
                    self.unread.drain(..=length);
                    return Ok(Some((kind, body)));
                }
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(count) => self.unread.extend_from_slice(&piece[..count]),
                Err(error) if is_end(error.kind()) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("no answer"),
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.stream.write_all(&wire::message(b'X', &[]));
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

fn strings(body: &[u8]) -> Vec<String> {
    body.split(|byte| *byte == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in strings(body) {
        let place = match field.chars().next() {
            Some('V') => &mut error.severity,
            Some('C') => &mut error.code,
            Some('M') => &mut error.message,
            _ => continue,
        };
        *place = field[1..].to_owned();
    }
    error
}

fn fields(body: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut fields = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        fields.push(String::from_utf8_lossy(tail.get(..length)?).into_owned());
        rest = &tail[length..];
    }
    Some(fields)
}
