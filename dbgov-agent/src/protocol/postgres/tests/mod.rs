//! Sessions made by hand, as bytes of both sides in the order in which they pass, and what the decoder says of them.

mod golden;
mod hostile;
mod requests;
mod split;
mod step;

use super::{Decoder, Joined, Limits};
use crate::protocol::{Direction, Event, Statement, TimeNs};

/// One side says something.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

/// A message with its type byte and length word.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(super) fn startup_packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(super) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in parameters {
        body.extend(format!("{key}\0{value}\0").bytes());
    }
    body.push(0);
    startup_packet(0x0003_0000, &body)
}

pub(super) fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

pub(super) fn parse(name: &str, text: &str, types: &[u32]) -> Vec<u8> {
    let mut body = format!("{name}\0{text}\0").into_bytes();
    body.extend((types.len() as u16).to_be_bytes());
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    message(b'P', &body)
}

/// Formats: none for all text, one for all, or one each.
pub(super) fn bind(
    portal: &str,
    statement: &str,
    formats: &[u16],
    params: &[Option<&[u8]>],
) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend(arguments(formats, params));
    body.extend([0, 1, 0, 1]);
    message(b'B', &body)
}

pub(super) fn arguments(formats: &[u16], params: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (formats.len() as u16).to_be_bytes().to_vec();
    body.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
    body.extend((params.len() as u16).to_be_bytes());
    for param in params {
        body.extend(param.map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
        body.extend(param.unwrap_or_default());
    }
    body
}

pub(super) fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend(max_rows.to_be_bytes());
    message(b'E', &body)
}

/// Describe or Close of a statement (`S`) or a portal (`P`).
pub(super) fn named(kind: u8, what: char, name: &str) -> Vec<u8> {
    message(kind, format!("{what}{name}\0").as_bytes())
}

pub(super) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(super) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(super) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

pub(super) fn error(severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(
        b'E',
        format!("S{severity}\0V{severity}\0C{code}\0M{text}\0Fx.c\0L1\0\0").as_bytes(),
    )
}

pub(super) fn status(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// RowDescription and `rows` DataRow messages.
pub(super) fn rows(count: usize) -> Vec<u8> {
    let mut bytes = message(
        b'T',
        b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
    );
    bytes.extend(data_rows(count));
    bytes
}

pub(super) fn data_rows(count: usize) -> Vec<u8> {
    message(b'D', b"\0\x01\0\0\0\x01x").repeat(count)
}

/// Start-up, authentication and the first ReadyForQuery.
pub(super) fn login() -> Vec<Step> {
    let mut server = message(b'R', &[0, 0, 0, 0]);
    server.extend(status("application_name", "psql"));
    server.extend(status("client_encoding", "UTF8"));
    server.extend(status("server_version", "17.2"));
    server.extend(status("session_authorization", "app"));
    server.extend(message(b'K', &[0, 0, 0, 77, 1, 2, 3, 4]));
    server.extend(ready(b'I'));
    vec![
        Step::Client(startup(&[
            ("user", "app"),
            ("database", "prod"),
            ("application_name", "psql"),
        ])),
        Step::Server(message(b'R', &[0, 0, 0, 3])),
        Step::Client(message(b'p', b"secret\0")),
        Step::Server(server),
    ]
}

/// A session behind its log-in.
pub(super) fn session(steps: Vec<Step>) -> Vec<Step> {
    let mut all = login();
    all.extend(steps);
    all
}

pub(super) fn client(parts: &[Vec<u8>]) -> Step {
    Step::Client(parts.concat())
}

pub(super) fn server(parts: &[Vec<u8>]) -> Step {
    Step::Server(parts.concat())
}

pub(super) fn decoder() -> Decoder {
    Decoder::new(Joined::Start, Limits::default())
}

/// Gives a step to the decoder in pieces of at most `piece_bytes`.
pub(super) fn feed(
    decoder: &mut Decoder,
    at: TimeNs,
    step: &Step,
    piece_bytes: usize,
    out: &mut Vec<Event>,
) {
    let (direction, bytes) = match step {
        Step::Client(bytes) => (Direction::Request, bytes),
        Step::Server(bytes) => (Direction::Response, bytes),
    };
    for piece in bytes.chunks(piece_bytes) {
        decoder.data(direction, at, piece, out);
    }
}

/// Whole steps; the time is the number of the step, from 1.
pub(super) fn run(steps: &[Step]) -> Vec<Event> {
    run_in_pieces(steps, usize::MAX)
}

pub(super) fn run_in_pieces(steps: &[Step], piece_bytes: usize) -> Vec<Event> {
    let mut decoder = decoder();
    let mut out = Vec::new();
    let mut at = 0;
    for step in steps {
        at += 1;
        feed(&mut decoder, at, step, piece_bytes, &mut out);
    }
    decoder.end(at + 1, &mut out);
    out
}

/// Events on one line each; a session's facts are left out.
pub(super) fn lines(events: &[Event]) -> Vec<String> {
    let told = events
        .iter()
        .filter(|event| !matches!(event, Event::Session { .. } | Event::Request(_)));
    told.map(|event| match event {
        Event::Statement(statement) => line(statement),
        Event::Authenticated { .. } => "authenticated".into(),
        Event::Cancel { backend_pid, .. } => format!("cancel {backend_pid}"),
        Event::SessionError { error, .. } => {
            format!("session error {} {}", error.code, error.message)
        }
        Event::ProtocolError {
            direction, reason, ..
        } => format!("bad {direction:?}: {reason}"),
        Event::Gap {
            direction,
            bytes,
            cause,
            ..
        } => {
            format!("gap {direction:?} {bytes:?} {}", cause.name())
        }
        Event::Terminate { .. } => "terminate".into(),
        Event::Session { .. } | Event::Request(_) => String::new(),
    })
    .collect()
}

fn line(statement: &Statement) -> String {
    let result = &statement.result;
    let mut line = format!("{} {}", statement.via.name(), result.status.name());
    if let Some(text) = &statement.text {
        line += &format!(" '{}'", text.text);
    }
    if statement.unseen {
        line += " unseen";
    }
    if !statement.params.is_empty() {
        let params = statement
            .params
            .iter()
            .map(|param| param.as_deref().unwrap_or("NULL"));
        line += &format!(" ({})", params.collect::<Vec<_>>().join(","));
    }
    if let Some(rows) = result.rows {
        line += &format!(" rows={rows}");
    }
    if !result.tags.is_empty() {
        line += &format!(" {:?}", result.tags);
    }
    if let Some(error) = &result.error {
        line += &format!(" {}", error.code);
    }
    if result.copy_in_bytes + result.copy_out_bytes > 0 {
        line += &format!(" in={} out={}", result.copy_in_bytes, result.copy_out_bytes);
    }
    line
}
