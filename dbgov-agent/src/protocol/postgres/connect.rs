//! The bytes before the first message: start-up packets and the question of encryption ("Start-up", "SSL Session
//! Encryption", "GSSAPI Session Encryption").

use super::Decoder;
use super::limits::STARTUP_BYTES_MAX;
use super::request::Phase;
use super::startup::{self, Startup};
use crate::protocol::{Direction, Event, Opaque, TimeNs};

/// A start-up packet and one behind it, which a client may send before the answer to its SSLRequest.
const STARTUP_HELD_BYTES_MAX: usize = 2 * STARTUP_BYTES_MAX as usize + 16;

impl Decoder {
    pub(super) fn startup_data(&mut self, at: TimeNs, bytes: &[u8], out: &mut Vec<Event>) {
        let room = STARTUP_HELD_BYTES_MAX.saturating_sub(self.request.startup.len());
        let (held, rest) = bytes.split_at(room.min(bytes.len()));
        self.request.startup.extend_from_slice(held);
        self.request.passed(held.len() as u64);
        self.startup_packets(at, out);
        if rest.is_empty() || self.is_ignored() {
            return;
        }
        if self.request.phase == Phase::Messages {
            self.request_messages(at, rest, out);
        } else {
            let reason = "data before the answer to the encryption request";
            self.protocol_error(at, Direction::Request, reason, out);
        }
    }

    /// Reads the start-up packets that are there.
    fn startup_packets(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        while self.request.phase != Phase::Messages && !self.is_ignored() {
            let held = &self.request.startup;
            if startup::is_tls(held) {
                self.matcher.session.became_opaque(at, Opaque::Tls, out);
                return;
            }
            let Some(length_word) = held.first_chunk() else {
                return;
            };
            // The first byte of a TLS record alone says too little yet; as a length it is refused below.
            if self.request.phase == Phase::EncryptionAnswer {
                return;
            }
            let packet_bytes = match startup::packet_bytes(*length_word) {
                Ok(bytes) => bytes,
                Err(reason) => return self.protocol_error(at, Direction::Request, reason, out),
            };
            if held.len() < packet_bytes {
                return;
            }
            let found = startup::read(&held[..packet_bytes]);
            self.request.startup.drain(..packet_bytes);
            self.started(at, found, out);
        }
    }

    fn started(&mut self, at: TimeNs, found: Startup, out: &mut Vec<Event>) {
        match found {
            Startup::Ssl => self.ask_encryption(Opaque::Tls),
            Startup::Gss => self.ask_encryption(Opaque::Gss),
            Startup::Cancel { backend_pid } => {
                out.push(Event::Cancel { at, backend_pid });
                self.finished = true;
            }
            Startup::Session(told) => {
                self.matcher.session.change(at, out, |facts| {
                    facts.user = told.user;
                    facts.database = told.database;
                    facts.application = told.application;
                    facts.role_at_start = told.role_at_start;
                    facts.replication = told.replication;
                    facts.protocol_version = told.protocol_version;
                });
                self.matcher.session.announce(at, out);
                self.request.phase = Phase::Messages;
                // The first ReadyForQuery answers the start-up. A client need not wait for it: what it has sent by then
                // is answered later.
                self.matcher.started();
                let rest = std::mem::take(&mut self.request.startup);
                self.request.position = self.request.position.wrapping_sub(rest.len() as u64);
                self.request_messages(at, &rest, out);
            }
            Startup::Bad(reason) => self.protocol_error(at, Direction::Request, reason, out),
        }
    }

    fn ask_encryption(&mut self, kind: Opaque) {
        // With the responses out of step the answer will not be recognised: the client's next bytes will tell.
        if self.response.lost.is_none() {
            self.request.phase = Phase::EncryptionAnswer;
            self.response.encryption_asked = Some(kind);
        }
    }

    /// The server stays with plain text, or its answer was lost.
    pub(super) fn encryption_refused(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        self.response.encryption_asked = None;
        if self.request.phase == Phase::EncryptionAnswer {
            self.request.phase = Phase::Startup;
            self.startup_packets(at, out);
        }
    }
}
