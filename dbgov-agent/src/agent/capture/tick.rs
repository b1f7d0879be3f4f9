//! What is done four times a second: clocks, time-outs, figures, and the losses that no event tells.

use std::time::Instant;

use super::{Capture, ENDED, SWEEP, State, favour};
use crate::agent::host::Request;
use crate::agent::policy::PolicyWatch;
use crate::agent::status::{GateStatus, KernelStatus};
use crate::agent::{AgentError, journal_status};
use crate::audit::JournalHandle;
use crate::audit::record::{GapBlock, Kind, Record};
use crate::clock::{Clock, boot_ns, unix_ns};
use crate::protocol::GapCause;

impl Capture {
    pub(super) fn tick(&mut self, state: &mut State) -> Result<(), AgentError> {
        state.ticked = Instant::now();
        let bursts = std::mem::take(&mut state.bursts);
        favour(state, bursts);
        if let Some(read) = self.policy.as_mut().and_then(PolicyWatch::poll) {
            self.take_policy(read, None)?;
        }
        self.pipeline.set_clock(Clock::boot());
        self.pipeline.tick(boot_ns());
        self.tags.sweep();
        self.tag_changes()?;
        self.refused();
        self.kernel.flush_log();
        let counters = self.kernel.counters();
        self.losses(state, counters.ring_full);
        // A lost event may have been the end of a connection; remembered until a sweep has looked.
        let lossy = counters.ring_full > state.ring_full;
        self.unattributed(state, counters.conns_full, counters.unparsed_packets);
        if state.swept.elapsed() >= SWEEP && (lossy || self.pipeline.has_midstream()) {
            state.swept = Instant::now();
            state.ring_full = counters.ring_full;
            self.host.request(Request::Existing);
        }
        if state.asked_ended.elapsed() >= ENDED {
            state.asked_ended = Instant::now();
            let clients = self.pipeline.active_clients();
            if !clients.is_empty() {
                self.host.request(Request::Ended(clients));
            }
        }
        let kernel = KernelStatus {
            request_packets: counters.request_packets,
            request_bytes: counters.request_bytes,
            response_packets: counters.response_packets,
            response_bytes: counters.response_bytes,
            response_copied_bytes: counters.response_copied_bytes,
            response_record_bytes: counters.response_record_bytes,
            ring_bytes: self.ring_bytes,
            ring_used_bytes: std::mem::take(&mut state.ring_used_bytes),
            lost_segments: counters.ring_full,
            lost_bytes: counters.ring_full_bytes,
            control_lost: counters.control_ring_full,
            connections_refused: counters.conns_full,
            unparsed_packets: counters.unparsed_packets,
            shared_packets: counters.shared_packets,
            unframed: counters.unframed,
            malformed_events: state.malformed,
        };
        let gate = self.gate.as_ref().map(|gate| GateStatus {
            held_packets: counters.gate_held,
            released_packets: counters.gate_released,
            dropped_packets: counters.gate_dropped,
            lock_missed: counters.gate_lock_missed,
            down_passed: counters.gate_down_passed,
            down_held: counters.gate_down_held,
            refused_connections: gate.counters.refused_connections,
            failed_releases: gate.counters.failed_releases,
            failed_refusals: gate.counters.failed_refusals,
            approvals_pending: self.pipeline.approvals(boot_ns()).len() as u64,
        });
        let journal = self.pipeline.recorder().journal.as_ref();
        let journal = journal_status(&journal.map(JournalHandle::stats).unwrap_or_default());
        let (sessions, connections) = (self.pipeline.sessions() as u64, self.pipeline.opened());
        let statements = self.pipeline.recorder().statements;
        let figures = &self.pipeline.recorder().figures;
        self.shared.tell(figures, |status| {
            status.kernel = kernel;
            status.journal = journal;
            (status.sessions, status.connections, status.statements) =
                (sessions, connections, statements);
            status.gate = gate;
        });
        if self.pods.is_some() {
            self.tell_scan(state);
        }
        Ok(())
    }

    /// A loss at the end of what a client sends has no event behind it that would tell it. The kernel's counts of one
    /// tick are compared at a later one, when everything from before them has been read.
    fn losses(&mut self, state: &mut State, ring_full: u64) {
        if state.caught_up {
            let now = boot_ns();
            for (cookie, counted) in state.losses.drain(..) {
                self.pipeline.lost(
                    cookie,
                    now,
                    counted.request_lost_bytes,
                    counted.response_lost_bytes,
                );
            }
        }
        if ring_full > state.lossy_records && state.losses.is_empty() {
            state.lossy_records = ring_full;
            let kernel = &self.kernel;
            let counted = |cookie| kernel.connection(cookie).map(|counted| (cookie, counted));
            state.losses = self.pipeline.cookies().filter_map(counted).collect();
            state.caught_up = false;
        }
    }

    /// Losses of no known connection are records too.
    fn unattributed(&mut self, state: &mut State, conns_full: u64, unparsed: u64) {
        let gaps = [
            (conns_full - state.conns_full, GapCause::TableFull),
            (unparsed - state.unparsed, GapCause::Unparsed),
        ];
        (state.conns_full, state.unparsed) = (conns_full, unparsed);
        for (packets, cause) in gaps.into_iter().filter(|(packets, _)| *packets > 0) {
            tracing::warn!(packets, cause = cause.name(), "packets were not followed");
            let gap = GapBlock {
                cause: cause.name(),
                ..GapBlock::default()
            };
            let record = Record {
                gap: Some(gap.into()),
                ..Record::new(Kind::Gap, unix_ns())
            };
            self.pipeline.recorder().push(record);
        }
    }
}
