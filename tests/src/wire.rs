//! A PostgreSQL client of a few lines, for what drivers cannot do: a thousand idle connections, odd timing, raw bytes.
//! It speaks protocol 3.0 to a server that trusts it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail, ensure};

/// Version 3.0 in the StartupMessage ("Message Formats", PostgreSQL documentation 55.7).
const PROTOCOL_3_0: i32 = 3 << 16;
/// No message of these tests' servers is longer.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(
        address: SocketAddr,
        user: &str,
        database: &str,
        application: &str,
    ) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream };
        client.stream.write_all(&startup(&[
            ("user", user),
            ("database", database),
            ("application_name", application),
        ]))?;
        client.until_ready().context("start-up")?;
        Ok(client)
    }

    /// Runs a simple query and returns the command tags.
    pub fn query(&mut self, sql: &str) -> Result<Vec<String>> {
        self.stream.write_all(&query(sql))?;
        self.until_ready()
    }

    /// Reads until ReadyForQuery; an ErrorResponse becomes the error, after the whole answer was read.
    pub fn until_ready(&mut self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut error = None;
        loop {
            let (kind, body) = self.message()?;
            match kind {
                b'Z' => break,
                b'C' => tags.push(text(&body)),
                b'E' => error = Some(text(&body)),
                _ => {}
            }
        }
        if let Some(error) = error {
            bail!("{error}");
        }
        Ok(tags)
    }

    pub fn message(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let declared = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(declared)?;
        ensure!(
            (4..=MESSAGE_BYTES_MAX).contains(&length),
            "a message of {length} bytes"
        );
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Terminate; without it the server logs an unexpected EOF.
        let _ = self.stream.write_all(&message(b'X', &[]));
    }
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    [&length(&body)[..], &body].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), &[0]].concat())
}

/// A message of `kind`: its byte, its length (which counts itself), its body.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &length(body), body].concat()
}

fn length(body: &[u8]) -> [u8; 4] {
    let length = i32::try_from(body.len() + 4).expect("test messages are shorter than 2 GiB");
    length.to_be_bytes()
}

/// The text of a CommandComplete; the fields of an ErrorResponse with spaces between.
fn text(body: &[u8]) -> String {
    let trimmed: Vec<u8> = body
        .iter()
        .map(|&byte| if byte == 0 { b' ' } else { byte })
        .collect();
    String::from_utf8_lossy(&trimmed).trim_end().to_string()
}
