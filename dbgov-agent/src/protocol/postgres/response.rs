//! Server bytes -> messages ("Message Formats", backend). Of a body no more than its head is held; rows are counted and
//! passed over.

use super::Decoder;
use super::limits::{LARGE_MESSAGE_BYTES_MAX, RESPONSE_BODY_BYTES_MAX, UNKNOWN_RESPONSE_BYTES_MAX};
use super::resync::Lost;
use super::wire::HEADER_BYTES;
use crate::protocol::{Direction, Event, GapCause, Opaque, TimeNs};

/// A message of which a part has come.
struct Begun {
    kind: u8,
    head: Vec<u8>,
    left: u64,
}

pub(super) struct ResponseSide {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    body: Option<Begun>,
    /// Bytes of the message that has begun, header included.
    begun_bytes: u64,
    /// The next byte answers an SSLRequest or GSSENCRequest.
    pub(super) encryption_asked: Option<Opaque>,
    pub(super) lost: Option<Lost>,
}

impl ResponseSide {
    pub(super) fn new(start: bool) -> Self {
        ResponseSide {
            header: [0; HEADER_BYTES],
            header_len: 0,
            body: None,
            begun_bytes: 0,
            encryption_asked: None,
            lost: (!start).then(|| Lost::new(Some(0), GapCause::Midstream)),
        }
    }

    /// Gives up the message that has begun; its bytes so far.
    pub(super) fn abandon(&mut self) -> u64 {
        self.header_len = 0;
        self.body = None;
        std::mem::take(&mut self.begun_bytes)
    }
}

/// Bodies that are not looked at.
fn is_passed_over(kind: u8) -> bool {
    matches!(
        kind,
        b'D' | b'd' | b'T' | b'N' | b'A' | b'V' | b'R' | b'G' | b'H' | b'W'
    )
}

/// The longest length word believed for a message of this kind: libpq as well takes more than 30000 only for kinds that
/// carry data. `None`: no message of any server.
fn length_max(kind: u8) -> Option<u32> {
    match kind {
        b'T' | b't' | b'D' | b'd' | b'V' | b'E' | b'N' | b'A' | b'R' | b'S' => {
            Some(LARGE_MESSAGE_BYTES_MAX)
        }
        _ if kind.is_ascii_alphanumeric() => Some(UNKNOWN_RESPONSE_BYTES_MAX),
        _ => None,
    }
}

impl Decoder {
    pub(super) fn response_data(&mut self, at: TimeNs, mut bytes: &[u8], out: &mut Vec<Event>) {
        if let Some(lost) = &mut self.response.lost {
            lost.pass(bytes.len() as u64);
            return;
        }
        while let Some((&first, rest)) = bytes.split_first() {
            if self.is_ignored() {
                return;
            }
            match self.response.encryption_asked {
                Some(kind) => {
                    if self.encryption_answer(at, first, kind, out) {
                        bytes = rest;
                    }
                }
                None if self.response.body.is_some() => bytes = self.response_body(at, bytes, out),
                None => bytes = self.response_header(at, bytes, out),
            }
        }
    }

    /// The single byte that answers SSLRequest ("SSL Session Encryption"). Whether it was such a byte: a server may send
    /// an ErrorResponse instead.
    fn encryption_answer(
        &mut self,
        at: TimeNs,
        byte: u8,
        kind: Opaque,
        out: &mut Vec<Event>,
    ) -> bool {
        match (byte, kind) {
            (b'S', Opaque::Tls) | (b'G', Opaque::Gss) => {
                self.matcher.session.became_opaque(at, kind, out);
            }
            (b'N', _) => self.encryption_refused(at, out),
            (b'E', _) => {
                self.encryption_refused(at, out);
                return false;
            }
            _ => {
                let reason = "invalid answer to the encryption request";
                self.protocol_error(at, Direction::Response, reason, out);
            }
        }
        true
    }

    fn response_header<'a>(
        &mut self,
        at: TimeNs,
        bytes: &'a [u8],
        out: &mut Vec<Event>,
    ) -> &'a [u8] {
        let taken = bytes.len().min(HEADER_BYTES - self.response.header_len);
        let (piece, rest) = bytes.split_at(taken);
        let at_header = self.response.header_len;
        self.response.header[at_header..at_header + taken].copy_from_slice(piece);
        self.response.header_len += taken;
        self.response.begun_bytes += taken as u64;
        if self.response.header_len < HEADER_BYTES {
            return rest;
        }
        self.response.header_len = 0;
        let [kind, a, b, c, d] = self.response.header;
        let length = u32::from_be_bytes([a, b, c, d]);
        let reason = match length_max(kind) {
            None => Some("unknown message type"),
            Some(max) if !(4..=max).contains(&length) => Some("message of invalid length"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            self.protocol_error(at, Direction::Response, reason, out);
            return &[];
        }
        let body_bytes = length as usize - 4;
        if kind == b'd' {
            self.matcher.copy_out(body_bytes as i64);
        }
        match rest.split_at_checked(body_bytes) {
            Some((body, rest)) => {
                self.response.begun_bytes = 0;
                let head = &body[..body.len().min(RESPONSE_BODY_BYTES_MAX)];
                self.response_message(at, kind, head, out);
                rest
            }
            None => {
                let left = body_bytes as u64;
                self.response.body = Some(Begun {
                    kind,
                    head: Vec::new(),
                    left,
                });
                rest
            }
        }
    }

    /// The next piece of a body.
    fn response_body<'a>(&mut self, at: TimeNs, bytes: &'a [u8], out: &mut Vec<Event>) -> &'a [u8] {
        let Some(begun) = &mut self.response.body else {
            return bytes;
        };
        let count = usize::try_from(begun.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (piece, rest) = bytes.split_at(count);
        if !is_passed_over(begun.kind) {
            let room = RESPONSE_BODY_BYTES_MAX - begun.head.len();
            begun
                .head
                .extend_from_slice(&piece[..piece.len().min(room)]);
        }
        begun.left -= count as u64;
        self.response.begun_bytes += count as u64;
        self.response_body_done(at, out);
        rest
    }

    fn response_body_done(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if let Some(begun) = self.response.body.take_if(|begun| begun.left == 0) {
            self.response.begun_bytes = 0;
            self.response_message(at, begun.kind, &begun.head, out);
        }
    }

    fn response_message(&mut self, at: TimeNs, kind: u8, head: &[u8], out: &mut Vec<Event>) {
        self.matcher.answer(at, kind, head, out);
        if kind == b'Z' {
            self.request.client_turn = true;
        }
    }

    pub(super) fn response_elided(
        &mut self,
        at: TimeNs,
        bytes: u64,
        rows: u32,
        out: &mut Vec<Event>,
    ) {
        if let Some(lost) = &mut self.response.lost {
            lost.pass(bytes);
            return;
        }
        let mut bytes = bytes;
        if let Some(begun) = &mut self.response.body {
            let count = bytes.min(begun.left);
            begun.left -= count;
            bytes -= count;
            self.response.begun_bytes += count;
            self.response_body_done(at, out);
        }
        if bytes > 0 || rows > 0 {
            // A header that had begun belongs to what was left out.
            self.response.abandon();
            self.matcher.left_out(at, bytes, rows);
        }
    }
}
