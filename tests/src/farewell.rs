//! A server that lets everybody in and then ends the session with given bytes, as the gate does in the server's name.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Result;

use crate::wire::message;

/// What drivers insist on knowing of a server (PostgreSQL documentation 55.2.7).
const PARAMETERS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("integer_datetimes", "on"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// Serves one connection after the other on a port of its own: a request with `DROP` in it gets `farewell` and, after
/// `pause`, the end of the stream; others are told that they succeeded.
pub fn start(farewell: Vec<u8>, pause: Duration) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that leaves early is its test's concern.
            let _ = serve(stream, &farewell, pause);
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream, farewell: &[u8], pause: Duration) -> Result<()> {
    let mut room = [0; 4096];
    // The start-up message: short, and in one piece.
    let _ = stream.read(&mut room)?;
    stream.write_all(&welcome())?;
    loop {
        let read = stream.read(&mut room)?;
        let request = &room[..read];
        if read == 0 {
            return Ok(());
        }
        if request.windows(4).any(|bytes| bytes == b"DROP") {
            stream.write_all(farewell)?;
            std::thread::sleep(pause);
            return Ok(());
        }
        stream.write_all(&answers(request))?;
    }
}

/// AuthenticationOk, what is reported, BackendKeyData, ReadyForQuery.
fn welcome() -> Vec<u8> {
    let mut all = message(b'R', &[0; 4]);
    for (name, value) in PARAMETERS {
        let body = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat();
        all.extend(message(b'S', &body));
    }
    all.extend(message(b'K', &[0, 0, 0, 1, 0, 0, 0, 1]));
    all.extend(message(b'Z', b"I"));
    all
}

/// Each message of a request has succeeded.
fn answers(mut request: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [kind, a, b, c, d, ..] = *request {
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        let ready = message(b'Z', b"I");
        let done = message(b'C', b"SET\0");
        all.extend(match kind {
            b'Q' => [done, ready].concat(),
            b'P' => message(b'1', b""),
            b'B' => message(b'2', b""),
            b'D' => message(b'n', b""),
            b'E' => done,
            b'S' => ready,
            _ => Vec::new(),
        });
        request = request.get(length..).unwrap_or_default();
    }
    all
}
