//! The pipeline on a capture file: the same decoder and the same records, no privileges and no identity.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::capture::pcap::{CaptureFile, PcapError};
use crate::clock::Clock;
use crate::identity::networks::Networks;
use crate::protocol::postgres::{Decoder, Joined, Limits};
use crate::protocol::{Direction, Event};
use crate::session::{Recorder, Session};
use crate::stream::flow::{FlowEvent, FlowLimits, FlowTable, Servers};

struct Flow {
    session: Session,
    request_bytes: u64,
    response_bytes: u64,
}

/// Sessions of a capture file.
pub struct Replay {
    flows: HashMap<u64, Flow>,
    limits: Limits,
    /// Names of clients' addresses.
    pub networks: Arc<Networks>,
    pub recorder: Recorder,
    events: Vec<Event>,
}

/// What a replay passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    pub packets: u64,
    pub connections: u64,
}

impl Replay {
    pub fn new(limits: Limits) -> Self {
        Replay {
            flows: HashMap::new(),
            limits,
            networks: Arc::default(),
            recorder: Recorder::new(Clock::unix()),
            events: Vec::new(),
        }
    }

    /// Reads the file to its end; `each` is called whenever records may be waiting. After an error (a file that is cut)
    /// everything before it has been recorded.
    pub fn run(
        &mut self,
        file: &Path,
        servers: Servers,
        mut each: impl FnMut(&mut Recorder) -> std::io::Result<()>,
    ) -> Result<Passed, ReplayError> {
        let mut capture = CaptureFile::open(file)?;
        let mut table = FlowTable::new(servers, FlowLimits::default());
        let mut passed = Passed::default();
        let ended = loop {
            match capture.next_packet() {
                Ok(Some(packet)) => {
                    passed.packets += 1;
                    table.packet(&packet, &mut |event| self.flow(event, &mut passed));
                    each(&mut self.recorder)?;
                }
                Ok(None) => break Ok(passed),
                Err(error) => break Err(error.into()),
            }
        };
        let mut last = Passed::default();
        table.finish(&mut |event| self.flow(event, &mut last));
        each(&mut self.recorder)?;
        ended
    }

    fn flow(&mut self, event: FlowEvent<'_>, passed: &mut Passed) {
        let id = match event {
            FlowEvent::Open {
                flow,
                at,
                client,
                server,
                midstream,
            } => {
                passed.connections += 1;
                let joined = if midstream {
                    Joined::Midstream
                } else {
                    Joined::Start
                };
                let decoder = Decoder::new(joined, self.limits.clone());
                let mut session = Session::new(
                    format!("{at:x}-{flow:x}"),
                    decoder,
                    client,
                    server,
                    midstream,
                    at,
                );
                // Whose addresses these were nobody knows any more, but for those that never leave a host.
                let is_local =
                    client.ip().to_canonical().is_loopback() || client.ip() == server.ip();
                if !is_local {
                    session.set_client_address(self.networks.find(client.ip()), false);
                }
                self.flows.insert(
                    flow,
                    Flow {
                        session,
                        request_bytes: 0,
                        response_bytes: 0,
                    },
                );
                return;
            }
            FlowEvent::Data { flow, .. }
            | FlowEvent::Gap { flow, .. }
            | FlowEvent::Close { flow, .. } => flow,
        };
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let decoder = &mut flow.session.decoder;
        match event {
            FlowEvent::Data {
                at,
                direction,
                bytes,
                ..
            } => {
                match direction {
                    Direction::Request => flow.request_bytes += bytes.len() as u64,
                    Direction::Response => flow.response_bytes += bytes.len() as u64,
                }
                if direction == Direction::Response && !decoder.response_in_step() {
                    boundary(decoder, at, bytes, &mut self.events);
                } else {
                    decoder.data(direction, at, bytes, &mut self.events);
                }
            }
            FlowEvent::Gap {
                at,
                direction,
                bytes,
                cause,
                ..
            } => {
                decoder.gap(direction, at, bytes, cause, &mut self.events);
            }
            FlowEvent::Close { at, .. } => decoder.end(at, &mut self.events),
            FlowEvent::Open { .. } => {}
        }
        flow.session.record(&mut self.events, &mut self.recorder);
        if let FlowEvent::Close { at, reason, .. } = event {
            let bytes = (flow.request_bytes, flow.response_bytes);
            flow.session.close(at, reason, bytes, &mut self.recorder);
            self.flows.remove(&id);
        }
    }
}

/// As the kernel program does it: a ReadyForQuery that ends a packet is a boundary.
fn boundary(decoder: &mut Decoder, at: u64, bytes: &[u8], events: &mut Vec<Event>) {
    let Some((before, ready)) = bytes.len().checked_sub(6).map(|cut| bytes.split_at(cut)) else {
        return decoder.data(Direction::Response, at, bytes, events);
    };
    if matches!(ready, [b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E']) {
        decoder.data(Direction::Response, at, before, events);
        decoder.response_boundary(at, events);
        decoder.data(Direction::Response, at, ready, events);
    } else {
        decoder.data(Direction::Response, at, bytes, events);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Capture(#[from] PcapError),
    #[error("cannot write the records: {0}")]
    Output(#[from] std::io::Error),
}
