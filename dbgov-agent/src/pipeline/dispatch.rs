//! What the kernel captured, given to the connection it is about.

use super::early::FirstRequest;
use super::{Command, Pipeline};
use crate::capture::event::Captured;
use crate::identity::joiner::Connection as Addresses;
use crate::protocol::{Direction, Event, GapCause, TimeNs};
use crate::stream::Start;

impl Pipeline {
    /// Something passed on a governed connection.
    pub fn captured(&mut self, event: Captured<'_>) {
        match event {
            Captured::Open {
                cookie,
                at,
                ends,
                netns_cookie,
                request_seq,
                response_seq,
            } => {
                if self.ignored(cookie, netns_cookie, ends.local.port()) {
                    return;
                }
                let start = Start::At(request_seq);
                self.open(cookie, at, ends, netns_cookie, start, Some(response_seq));
                if let Some(first) = self.early.opened(ends, cookie) {
                    self.first_request(cookie, first);
                }
            }
            Captured::Seen {
                cookie,
                at,
                ends,
                netns_cookie,
            } => {
                if self.connections.contains_key(&cookie)
                    || self.ignored(cookie, netns_cookie, ends.local.port())
                {
                    return;
                }
                self.open(cookie, at, ends, netns_cookie, Start::Unknown, None);
                self.commands.push(Command::LookUpExisting);
            }
            Captured::Request {
                cookie,
                at,
                seq,
                ack,
                lost_bytes,
                payload,
                held,
                shared,
            } => {
                if held.is_some() && !self.connections.contains_key(&cookie) {
                    // Of a connection that a look at the host has not shown: its client waits, and sends it again.
                    self.commands.push(Command::LookUpExisting);
                }
                let again = self
                    .connections
                    .get_mut(&cookie)
                    .and_then(|connection| connection.held(seq, ack, payload, held));
                if let Some(range) = again {
                    self.send_again(cookie, range);
                }
                self.with(cookie, |connection, events| {
                    connection.request(at, seq, lost_bytes, payload, held.is_some(), events);
                    if shared && held.is_none() {
                        events.push(shared_pages(at, payload));
                    }
                });
            }
            Captured::FirstRequest {
                at,
                ends,
                seq,
                missing_bytes,
                shared,
                payload,
            } => {
                let first = FirstRequest {
                    at,
                    seq,
                    missing_bytes,
                    shared,
                    payload: payload.into(),
                };
                match self.early.connection(&ends) {
                    Some(cookie) if self.connections.contains_key(&cookie) => {
                        self.first_request(cookie, first);
                    }
                    _ => self.early.wait(ends, first),
                }
            }
            Captured::Response(response) => {
                self.with(response.cookie, |connection, events| {
                    connection.response(&response, events)
                });
            }
            // What passed was told when it was held.
            Captured::Released { .. } => {}
            Captured::Fin {
                cookie,
                at,
                direction,
                reset,
                seq,
                held,
            } => {
                self.with(cookie, |connection, _| {
                    connection.fin(at, direction, reset, seq)
                });
                if held.is_some() {
                    self.held_fin(cookie, seq);
                } else if reset && direction == Direction::Request {
                    self.gave_up(cookie, at);
                }
            }
            Captured::Close { cookie, at, totals } => self.close(cookie, at, Some(totals), "gone"),
            Captured::Client {
                cookie,
                at,
                ends,
                connect,
            } => {
                let netns = connect
                    .map(|c| c.netns_cookie)
                    .filter(|_| self.netns_cookies);
                let addresses = Addresses::new(ends.local, ends.remote, netns);
                match self.joiner.client_established(cookie, addresses, at) {
                    Some((session, process)) => {
                        if let Some(connection) = self.connections.get_mut(&session) {
                            connection.session.set_client(process);
                        }
                    }
                    None => {
                        let waiting = self.joiner.waiting(&addresses);
                        self.local_client(ends.local, waiting);
                    }
                }
            }
        }
    }

    /// Request bytes that came with the handshake.
    fn first_request(&mut self, cookie: u64, first: FirstRequest) {
        self.with(cookie, |connection, events| {
            connection.request(first.at, first.seq, 0, &first.payload, false, events);
            if first.shared {
                events.push(shared_pages(first.at, &first.payload));
            }
            if first.missing_bytes > 0 {
                connection
                    .request
                    .lost(first.missing_bytes, GapCause::Unparsed);
            }
        });
    }
}

/// What the server read may be another text.
fn shared_pages(at: TimeNs, payload: &[u8]) -> Event {
    Event::Gap {
        at,
        direction: Direction::Request,
        bytes: Some(payload.len() as u64),
        cause: GapCause::SharedPages,
    }
}
