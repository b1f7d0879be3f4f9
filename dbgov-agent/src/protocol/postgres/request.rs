//! Client bytes -> messages ("Message Formats", frontend). A message that lies whole in the input is read in place;
//! of one that does not, only what the record keeps is held while it comes.

use std::sync::Arc;

use super::Decoder;
use super::args::Args;
use super::names::Prepared;
use super::plausible;
use super::queue::{Op, Running, Sent};
use super::resync::Lost;
use super::statement_text::{ParseBuilder, Parsed, QueryBuilder, text_of};
use super::wire::{self, HEADER_BYTES, Reader};
use crate::protocol::{Direction, Event, GapCause, Request, Text, TimeNs, Via};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Startup,
    /// SSLRequest or GSSENCRequest was sent.
    EncryptionAnswer,
    Messages,
}

/// The body of a message of which a part has come.
enum Body {
    Query(QueryBuilder),
    Parse(Box<ParseBuilder>),
    Args(u8, Box<Args>),
    /// One of the kinds that are short.
    Short(u8, Vec<u8>),
    /// CopyData, and what must not be kept: passwords.
    Skip,
}

pub(super) struct RequestSide {
    pub(super) phase: Phase,
    pub(super) startup: Vec<u8>,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    body: Option<(Body, usize)>,
    /// Bytes of the message that has begun, header included.
    begun_bytes: u64,
    /// Bytes of the stream so far, lost ones included.
    pub(super) position: u64,
    pub(super) lost: Option<Lost>,
    /// The server said ReadyForQuery and the client has sent nothing since.
    pub(super) client_turn: bool,
}

impl RequestSide {
    pub(super) fn new(start: bool) -> Self {
        RequestSide {
            phase: if start {
                Phase::Startup
            } else {
                Phase::Messages
            },
            startup: Vec::new(),
            header: [0; HEADER_BYTES],
            header_len: 0,
            body: None,
            begun_bytes: 0,
            position: 0,
            lost: (!start).then(|| Lost::new(Some(0), GapCause::Midstream)),
            client_turn: false,
        }
    }

    /// The stream goes on. A gap of any length may be claimed: the position wraps.
    pub(super) fn passed(&mut self, bytes: u64) {
        self.position = self.position.wrapping_add(bytes);
    }

    /// Bytes of a message or start-up packet that is not complete.
    pub(super) fn begun(&self) -> u64 {
        self.begun_bytes + self.startup.len() as u64
    }

    /// Gives up the message that has begun; its bytes so far.
    pub(super) fn abandon(&mut self) -> u64 {
        let begun = self.begun();
        self.phase = Phase::Messages;
        self.startup = Vec::new();
        self.header_len = 0;
        self.body = None;
        self.begun_bytes = 0;
        begun
    }
}

impl Decoder {
    pub(super) fn request_data(&mut self, at: TimeNs, bytes: &[u8], out: &mut Vec<Event>) {
        let client_turn = std::mem::take(&mut self.request.client_turn);
        if let Some(lost) = &mut self.request.lost {
            if !(client_turn && plausible::is_chain(bytes)) {
                lost.pass(bytes.len() as u64);
                self.request.passed(bytes.len() as u64);
                return;
            }
            self.request_regained(at, out);
        }
        if self.request.phase == Phase::Messages {
            self.request_messages(at, bytes, out);
        } else {
            self.startup_data(at, bytes, out);
        }
    }

    pub(super) fn request_messages(&mut self, at: TimeNs, mut bytes: &[u8], out: &mut Vec<Event>) {
        while !bytes.is_empty() && !self.is_ignored() {
            if let Some((body, left)) = &mut self.request.body {
                let count = bytes.len().min(*left);
                let (piece, rest) = bytes.split_at(count);
                bytes = rest;
                body.push(piece);
                *left -= count;
                self.request.begun_bytes += count as u64;
                let is_whole = *left == 0;
                self.request.passed(count as u64);
                if is_whole && let Some((body, _)) = self.request.body.take() {
                    let start = self.request.position.wrapping_sub(self.request.begun_bytes);
                    self.request.begun_bytes = 0;
                    self.request_body(at, start, body, out);
                }
                continue;
            }
            let taken = bytes.len().min(HEADER_BYTES - self.request.header_len);
            let at_header = self.request.header_len;
            self.request.header[at_header..at_header + taken].copy_from_slice(&bytes[..taken]);
            self.request.header_len += taken;
            self.request.begun_bytes += taken as u64;
            self.request.passed(taken as u64);
            bytes = &bytes[taken..];
            if self.request.header_len == HEADER_BYTES {
                self.request.header_len = 0;
                bytes = self.request_header(at, bytes, out);
            }
        }
    }

    /// A header is there; what is left of the input behind the message, or behind the part of it that has come.
    fn request_header<'a>(
        &mut self,
        at: TimeNs,
        bytes: &'a [u8],
        out: &mut Vec<Event>,
    ) -> &'a [u8] {
        let [kind, a, b, c, d] = self.request.header;
        let length = u32::from_be_bytes([a, b, c, d]);
        let reason = match wire::request_length_max(kind) {
            None => Some("unknown message type"),
            Some(max) if !(4..=max).contains(&length) => Some("message of invalid length"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            self.protocol_error(at, Direction::Request, reason, out);
            return &[];
        }
        let body_bytes = length as usize - 4;
        if kind == b'd' {
            self.matcher.push(at, Op::CopyIn(body_bytes as u64), out);
        }
        match bytes.split_at_checked(body_bytes) {
            Some((body, rest)) => {
                let start = self.request.position.wrapping_sub(HEADER_BYTES as u64);
                self.request.passed(body_bytes as u64);
                self.request.begun_bytes = 0;
                self.request_message(at, start, kind, body, out);
                rest
            }
            None => {
                self.request.body = Some((self.begin_body(kind), body_bytes));
                bytes
            }
        }
    }

    fn begin_body(&self, kind: u8) -> Body {
        let limits = &self.matcher.limits;
        match kind {
            b'Q' => Body::Query(QueryBuilder::new(
                limits.statement_bytes_max,
                self.trigger.clone(),
            )),
            b'P' => Body::Parse(Box::new(ParseBuilder::new(
                limits.statement_bytes_max,
                self.trigger.clone(),
            ))),
            b'B' => Body::Args(kind, Args::bind(limits)),
            b'F' => Body::Args(kind, Args::function_call(limits)),
            b'd' | b'p' => Body::Skip,
            _ => Body::Short(kind, Vec::new()),
        }
    }

    /// A message that came in pieces is complete; it began at `start`.
    fn request_body(&mut self, at: TimeNs, start: u64, body: Body, out: &mut Vec<Event>) {
        let encoding = &self.matcher.session.encoding;
        match body {
            Body::Query(builder) => {
                let text = builder.finish(encoding);
                self.query(at, start, text, out);
            }
            Body::Parse(builder) => {
                let parsed = builder.finish(encoding);
                self.parse(at, start, parsed, out);
            }
            Body::Args(kind, args) => self.args(at, start, kind, args, out),
            Body::Short(kind, bytes) => self.request_message(at, start, kind, &bytes, out),
            Body::Skip => {}
        }
    }

    fn request_message(
        &mut self,
        at: TimeNs,
        start: u64,
        kind: u8,
        body: &[u8],
        out: &mut Vec<Event>,
    ) {
        let text_max = self.matcher.limits.statement_bytes_max;
        let encoding = &self.matcher.session.encoding;
        match kind {
            b'Q' => {
                let end = wire::nul(body).unwrap_or(body.len());
                let text = text_of(&body[..end], text_max, &self.trigger, encoding);
                self.query(at, start, text, out);
            }
            b'P' => {
                let parsed = Parsed::read(body, text_max, &self.trigger, encoding);
                self.parse(at, start, parsed, out);
            }
            b'B' | b'F' => {
                let mut args = match kind {
                    b'B' => Args::bind(&self.matcher.limits),
                    _ => Args::function_call(&self.matcher.limits),
                };
                args.push(body);
                self.args(at, start, kind, args, out);
            }
            b'E' => self.execute(at, start, body, out),
            b'D' | b'C' => {
                let mut reader = Reader(body);
                let of_portal = reader.u8() == Some(b'P');
                let name = wire::name(reader.cstr().unwrap_or_default());
                let op = match (kind, of_portal) {
                    (b'D', false) => Op::DescribeStatement {
                        name,
                        described: false,
                    },
                    (b'D', true) => Op::DescribePortal,
                    (_, false) => Op::CloseStatement(name),
                    (_, true) => Op::ClosePortal(name),
                };
                self.matcher.push(at, op, out);
            }
            b'S' => {
                self.matcher.outstanding.segment_ends();
                self.matcher.push(at, Op::Sync, out);
            }
            b'c' | b'f' => self.matcher.push(at, Op::CopyEnd, out),
            b'X' => self.matcher.push(at, Op::Terminate(at), out),
            // Flush asks for nothing; CopyData is counted by its header; passwords are nobody's business.
            _ => {}
        }
    }

    fn query(&mut self, at: TimeNs, start: u64, text: Arc<Text>, out: &mut Vec<Event>) {
        let via = match self.matcher.session.facts.replication {
            true => Via::Replication,
            false => Via::Simple,
        };
        let mut run = Running::new(via, self.matcher.sent(at));
        if self.matcher.limits.tell_requests {
            let request = Request {
                texts: vec![text.clone()],
                text_at: Some(start.wrapping_add(HEADER_BYTES as u64)),
                ..self.asked(via, start, &run.sent)
            };
            out.push(Event::Request(Box::new(request)));
            self.matcher.queried_by_client(&text);
        }
        run.text = Some(text);
        self.matcher.push(at, Op::Query(run), out);
    }

    fn parse(&mut self, at: TimeNs, start: u64, parsed: Parsed, out: &mut Vec<Event>) {
        let sent = self.matcher.sent(at);
        if self.matcher.limits.tell_requests {
            let request = Request {
                texts: vec![parsed.text.clone()],
                text_at: Some(start.wrapping_add(HEADER_BYTES as u64 + parsed.name_bytes + 1)),
                ..self.asked(Via::Prepare, start, &sent)
            };
            out.push(Event::Request(Box::new(request)));
            self.matcher.outstanding.prepare(&parsed.name, &parsed.text);
        }
        let statement = Arc::new(Prepared {
            text: parsed.text,
            types: parsed.types,
        });
        let name = parsed.name;
        self.matcher.push(
            at,
            Op::Parse {
                name,
                statement,
                sent,
            },
            out,
        );
    }

    fn args(&mut self, at: TimeNs, start: u64, kind: u8, args: Box<Args>, out: &mut Vec<Event>) {
        let sent = self.matcher.sent(at);
        let tell = self.matcher.limits.tell_requests;
        let op = if kind == b'B' {
            if tell {
                self.matcher.bound_by_client(&args);
            }
            Op::Bind {
                args: Arc::from(args),
                sent,
            }
        } else {
            if tell {
                let request = Request {
                    function_oid: Some(args.function_oid),
                    ..self.asked(Via::FunctionCall, start, &sent)
                };
                out.push(Event::Request(Box::new(request)));
                self.matcher.outstanding.segment_ends();
            }
            let mut run = Running::new(Via::FunctionCall, sent);
            run.args = Some(args);
            Op::FunctionCall(run)
        };
        self.matcher.push(at, op, out);
    }

    fn execute(&mut self, at: TimeNs, start: u64, body: &[u8], out: &mut Vec<Event>) {
        let mut reader = Reader(body);
        let mut run = Running::new(Via::Execute, self.matcher.sent(at));
        run.portal = wire::name(reader.cstr().unwrap_or_default());
        run.max_rows = reader.u32().unwrap_or(0);
        if self.matcher.limits.tell_requests {
            let candidates = self.matcher.portal_candidates(&run.portal);
            let request = Request {
                texts: candidates.texts,
                unseen: candidates.unseen,
                ..self.asked(Via::Execute, start, &run.sent)
            };
            out.push(Event::Request(Box::new(request)));
        }
        self.matcher.push(at, Op::Execute(run), out);
    }

    /// The message that is now complete.
    fn asked(&self, via: Via, start: u64, sent: &Sent) -> Request {
        Request {
            number: sent.number,
            at: sent.at,
            via,
            texts: Vec::new(),
            unseen: false,
            function_oid: None,
            start,
            end: self.request.position,
            text_at: None,
            session: sent.session.clone(),
        }
    }
}

impl Body {
    fn push(&mut self, piece: &[u8]) {
        match self {
            Body::Query(builder) => builder.push(piece),
            Body::Parse(builder) => builder.push(piece),
            Body::Args(_, args) => args.push(piece),
            Body::Short(_, bytes) => bytes.extend_from_slice(piece),
            Body::Skip => {}
        }
    }
}
