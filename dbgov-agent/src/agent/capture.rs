//! The thread that drains the rings.
//!
//! It reads in batches: after a drain it lets a few milliseconds of packets gather, so that the agent wakes a few
//! hundred times a second under load, not once for each packet, and the kernel programs need not wake it (a ring
//! buffer notifies only a reader that has caught up). Connects are read at once: their process may be gone soon.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use dbgov_common::{ConnState, ConnectInfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::gate::Gate;
use super::host::{Host, Report, Request};
use super::policy::PolicyWatch;
use super::status::{GateStatus, HookStatus, KernelStatus, PolicyStatus, Shared};
use super::{AgentError, journal_status, shown_servers, stop_record};
use crate::audit::JournalHandle;
use crate::audit::record::{GapBlock, Kind, Record};
use crate::capture::discover::Scan;
use crate::capture::event::{self, Captured, Control};
use crate::capture::kernel::{Kernel, Rings};
use crate::capture::netns::NetNs;
use crate::clock::{Clock, boot_ns, unix_ns};
use crate::config::PolicyMode;
use crate::control::{self, Decided, Reply, Requests};
use crate::gate::approvals::{ApprovalId, Approver, Decision};
use crate::identity::{Resolver, Task};
use crate::judge::Rulebook;
use crate::pipeline::{Command, Pipeline};
use crate::policy::Policy;
use crate::protocol::GapCause;

/// Packet records read before the control ring and the clock get their turn.
const DRAIN_RECORDS_MAX: usize = 4096;
/// Records handed to the journal at once.
const BATCH_RECORDS: usize = 512;
/// A drain of so many bytes, a large statement or a burst, is followed by the next at once, and the thread is favoured
/// until a drain is smaller: at the speed of the loopback the ring would be full in some ten milliseconds. Statements of
/// everyday size stay far below: 60,000 a second are some 150 KiB a drain.
const BURST_BYTES: usize = 1 << 20;
/// Nice value meanwhile. Otherwise the thread competes like any other, which costs the database less.
const BURST_NICE: i32 = -10;
/// How long packets gather after a drain, milliseconds: the ring holds a second of them and more.
const GATHER_MS: u16 = 4;
/// Longest sleep when nothing passes, milliseconds: the period of the clock and the time-outs.
const IDLE_MS: u16 = 250;
const TICK: Duration = Duration::from_millis(250);
/// How often sessions whose end no event told are looked for, where there can be any.
const SWEEP: Duration = Duration::from_secs(10);

pub(super) struct Capture {
    pub kernel: Kernel,
    pub rings: Rings,
    pub pipeline: Pipeline,
    pub journal: JournalHandle,
    /// Where a policy is enforced.
    pub gate: Option<Gate>,
    pub policy: Option<PolicyWatch>,
    /// What the control socket is asked of this thread.
    pub requests: Requests,
    pub host: Host,
    pub wake: Arc<EventFd>,
    pub stop: Arc<AtomicBool>,
    pub shared: Arc<Shared>,
}

struct State {
    resolver: Resolver,
    /// Bytes of the last drain.
    drained_bytes: usize,
    /// The thread runs at [`BURST_NICE`].
    favoured: bool,
    /// Lost bytes of connections as the kernel counted them at the last tick, when its ring had been full.
    losses: Vec<(u64, ConnState)>,
    /// The ring was read to its end since.
    caught_up: bool,
    lossy_records: u64,
    malformed: u64,
    conns_full: u64,
    ring_full: u64,
    unparsed: u64,
    ticked: Instant,
    swept: Instant,
    looking: bool,
    ready: bool,
    /// The connections of a gate that was there before are not known yet: their packets wait in the ring.
    adopting: bool,
}

impl Capture {
    pub(super) fn run(mut self) -> Result<(), AgentError> {
        let resolver = Resolver::new().map_err(|e| AgentError::Os("read /proc", e))?;
        let now = Instant::now();
        let mut state = State {
            resolver,
            drained_bytes: 0,
            favoured: false,
            losses: Vec::new(),
            caught_up: false,
            lossy_records: 0,
            malformed: 0,
            conns_full: 0,
            ring_full: 0,
            unparsed: 0,
            ticked: now,
            swept: now,
            looking: false,
            ready: false,
            adopting: self.pipeline.has_adopted(),
        };
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            connects(
                &mut self.rings.control,
                &mut self.pipeline,
                &self.host,
                &mut state,
            );
            let drained = self.packets(&mut state)?;
            favour(&mut state);
            self.reports(&mut state)?;
            self.asked()?;
            self.commands(&mut state)?;
            if let Some(gate) = &mut self.gate {
                gate.beat(&mut self.kernel)?;
            }
            if state.ticked.elapsed() >= TICK {
                self.tick(&mut state)?;
            }
            self.send()?;
            if stopping && drained < DRAIN_RECORDS_MAX {
                return self.finish(&mut state);
            }
            match drained {
                0 => self.wait(true, IDLE_MS),
                DRAIN_RECORDS_MAX => {}
                _ if state.drained_bytes > BURST_BYTES => {}
                _ => self.wait(false, GATHER_MS),
            }
        }
    }

    fn packets(&mut self, state: &mut State) -> Result<usize, AgentError> {
        state.drained_bytes = 0;
        if state.adopting {
            return Ok(0);
        }
        for read in 0..DRAIN_RECORDS_MAX {
            let Some(item) = self.rings.packets.next() else {
                state.caught_up = true;
                return Ok(read);
            };
            state.drained_bytes += item.len();
            match event::captured(&item) {
                Ok(captured) => {
                    // Not a method of self: the item borrows the packet ring.
                    if let Captured::Client {
                        cookie, connect, ..
                    } = captured
                    {
                        client(
                            &mut self.rings.control,
                            &mut self.pipeline,
                            &self.host,
                            state,
                            (cookie, connect),
                        );
                    }
                    self.pipeline.captured(captured);
                }
                Err(error) => malformed(state, error),
            }
            drop(item);
            // Who is held waits for this.
            if self.gate.is_some() {
                self.commands(state)?;
            }
            // A drain of long statements takes longer than the heartbeat is believed.
            if let Some(gate) = &mut self.gate {
                gate.beat(&mut self.kernel)?;
            }
            if self.pipeline.recorder().waiting() >= BATCH_RECORDS {
                self.send()?;
            }
        }
        Ok(DRAIN_RECORDS_MAX)
    }

    fn send(&mut self) -> Result<(), AgentError> {
        let records = self.pipeline.recorder().take();
        if records.is_empty() {
            return Ok(());
        }
        self.journal
            .send(records)
            .map_err(|_| AgentError::WriterEnded)
    }

    fn reports(&mut self, state: &mut State) -> Result<(), AgentError> {
        let _ = self.wake.read();
        while let Ok(Report {
            governed,
            scan,
            existing,
        }) = self.host.reports.try_recv()
        {
            if let Some(governed) = governed {
                self.kernel.govern(governed.all_ports())?;
                self.shared
                    .update(|status| status.ports = sorted(governed.all_ports()));
                self.pipeline.govern(governed);
            }
            if let Some(scan) = scan {
                if let Some(gate) = &mut self.gate {
                    gate.know_namespaces(namespaces(&scan));
                }
                self.shared.update(|status| {
                    status.servers = shown_servers(&scan);
                    status.unix_sockets_unseen =
                        scan.unix_listeners.iter().map(|l| l.path.clone()).collect();
                    status.problems = scan.problems.clone();
                });
            }
            if let Some(existing) = existing {
                state.adopting = false;
                let now = boot_ns();
                for (connection, client) in &existing.connections {
                    self.pipeline.existing(connection, client.clone(), now);
                }
                self.pipeline.retain(&existing.alive, existing.at);
                state.looking = false;
            }
            if !state.ready {
                state.ready = true;
                self.ready();
            }
        }
        Ok(())
    }

    /// Answers what the control socket was asked.
    fn asked(&mut self) -> Result<(), AgentError> {
        while let Some(queued) = self.requests.next() {
            let approver = queued.peer.approver();
            let reply = match &queued.request {
                control::Request::Approvals => Reply::of(&self.pipeline.approvals(boot_ns())),
                control::Request::Approve { id, reason } => {
                    self.decide(id, Decision::Approve, approver, reason.clone())
                }
                control::Request::Deny { id, reason } => {
                    self.decide(id, Decision::Deny, approver, reason.clone())
                }
                control::Request::GateOff => {
                    let by = approver.to_string();
                    self.gate_off(&by)?
                }
                control::Request::PolicyReload => {
                    let by = approver.to_string();
                    match self.policy.as_mut().map(PolicyWatch::read) {
                        Some(read) => self.take_policy(read, Some(&by))?,
                        None => Reply::error("this agent has no [policy]"),
                    }
                }
                control::Request::GateStatus | control::Request::Status => {
                    Reply::of(&self.shared.get())
                }
            };
            queued.answer(reply);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        id: &ApprovalId,
        decision: Decision,
        approver: Approver,
        reason: Option<String>,
    ) -> Reply {
        match self
            .pipeline
            .decide(id, decision, approver, reason, boot_ns())
        {
            Ok(outcome) => Reply::of(&Decided::from(&outcome)),
            Err(error) => Reply::error(error),
        }
    }

    /// Puts a policy in force, or keeps the one that is; either way there is a record of it.
    fn take_policy(
        &mut self,
        read: Result<Policy, String>,
        by: Option<&str>,
    ) -> Result<Reply, AgentError> {
        let Some(watch) = &mut self.policy else {
            return Ok(Reply::error("this agent has no [policy]"));
        };
        let policy = match read {
            Ok(policy) => policy,
            Err(why) => {
                tracing::error!("the policy stays as it was: {why}");
                let record = watch.record(Err(&why), by);
                self.pipeline.recorder().push(record);
                self.shared.update(|status| {
                    if let Some(policy) = &mut status.policy {
                        policy.refused = Some(why.clone());
                    }
                });
                return Ok(Reply::Error(why));
            }
        };
        watch.generation += 1;
        let record = watch.record(Ok(&policy), by);
        let generation = watch.generation;
        if let Some(gate) = &mut self.gate {
            gate.follow(&mut self.kernel, &policy)?;
        }
        self.pipeline.set_rulebook(Rulebook { policy, generation });
        // The kernel takes it up before anybody is told.
        if let Some(gate) = &mut self.gate {
            for command in self.pipeline.take_commands() {
                if let Command::Gate(command) = command {
                    gate.run(&mut self.kernel, command)?;
                }
            }
        }
        self.pipeline.recorder().push(record);
        self.tell_policy();
        tracing::info!(generation, "policy in force");
        Ok(Reply::of(&generation))
    }

    fn tell_policy(&self) {
        let (Some(watch), Some(rulebook)) = (&self.policy, self.pipeline.rulebook()) else {
            return;
        };
        let policy = PolicyStatus {
            generation: rulebook.generation,
            sha256: rulebook.policy.sha256.to_string(),
            rules: rulebook.policy.rules.len() as u64,
            mode: match self.gate {
                Some(_) => watch.mode.name().to_owned(),
                None => PolicyMode::Observe.name().to_owned(),
            },
            refused: None,
        };
        self.shared.update(|status| status.policy = Some(policy));
    }

    /// Takes the gate away; verdicts are recorded from here on, and nothing is held.
    fn gate_off(&mut self, by: &str) -> Result<Reply, AgentError> {
        if self.gate.take().is_none() {
            return Ok(Reply::error(
                "this agent holds nothing: its policy only observes",
            ));
        }
        self.kernel.take_away()?;
        self.pipeline.gate_off(boot_ns());
        if let Some(watch) = &mut self.policy {
            watch.mode = PolicyMode::Observe;
            let mut record = Record::new(Kind::Policy, unix_ns());
            record.policy.insert("by", by.into());
            record.policy.insert("event", "gate_off".into());
            record.policy.insert("generation", watch.generation.into());
            record.policy.insert("mode", watch.mode.name().into());
            self.pipeline.recorder().push(record);
        }
        self.tell_policy();
        tracing::warn!(by, "the gate was taken away: nothing is held any more");
        Ok(Reply::of(&"off"))
    }

    fn ready(&mut self) {
        self.tell_policy();
        let hooks = self
            .kernel
            .programs()
            .into_iter()
            .map(|(program, id)| HookStatus { program, id })
            .collect();
        self.shared.update(|status| {
            status.ready = true;
            status.hooks = hooks;
        });
        tracing::info!("ready: capturing");
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    }

    fn commands(&mut self, state: &mut State) -> Result<(), AgentError> {
        for command in self.pipeline.take_commands() {
            match command {
                Command::Ignore { cookie } => self.kernel.ignore(cookie),
                Command::Forget { cookie } => self.kernel.forget(cookie),
                Command::Gate(command) => {
                    if let Some(gate) = &mut self.gate {
                        gate.run(&mut self.kernel, command)?;
                    }
                }
                Command::LookUpExisting if state.looking => {}
                Command::LookUpExisting => {
                    state.looking = true;
                    self.host.request(Request::Existing);
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, state: &mut State) -> Result<(), AgentError> {
        state.ticked = Instant::now();
        if let Some(read) = self.policy.as_mut().and_then(PolicyWatch::poll) {
            self.take_policy(read, None)?;
        }
        self.pipeline.set_clock(Clock::boot());
        self.pipeline.tick(boot_ns());
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
        let kernel = KernelStatus {
            request_packets: counters.request_packets,
            request_bytes: counters.request_bytes,
            response_packets: counters.response_packets,
            response_bytes: counters.response_bytes,
            response_copied_bytes: counters.response_copied_bytes,
            response_record_bytes: counters.response_record_bytes,
            lost_segments: counters.ring_full,
            lost_bytes: counters.ring_full_bytes,
            control_lost: counters.control_ring_full,
            connections_refused: counters.conns_full,
            unparsed_packets: counters.unparsed_packets,
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
        let journal = journal_status(&self.journal.stats());
        let (sessions, connections) = (self.pipeline.sessions() as u64, self.pipeline.opened());
        let statements = self.pipeline.recorder().statements;
        self.shared.update(|status| {
            status.kernel = kernel;
            status.journal = journal;
            (status.sessions, status.connections, status.statements) =
                (sessions, connections, statements);
            status.gate = gate;
        });
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
                gap: Some(gap),
                ..Record::new(Kind::Gap, unix_ns())
            };
            self.pipeline.recorder().push(record);
        }
    }

    fn wait(&self, packets: bool, timeout_ms: u16) {
        let mut fds = vec![
            PollFd::new(self.rings.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
        ];
        if packets {
            fds.push(PollFd::new(self.rings.packets.as_fd(), PollFlags::POLLIN));
        }
        // A time-out and an interrupted call alike only mean that the loop goes round.
        let _ = poll(&mut fds, PollTimeout::from(timeout_ms));
    }

    /// Takes the hooks away, unless the gate is to stay closed; reads what is left and closes the journal.
    fn finish(mut self, state: &mut State) -> Result<(), AgentError> {
        let stays = self
            .gate
            .as_ref()
            .is_some_and(Gate::is_closed_without_agent);
        if stays {
            tracing::warn!(
                "the gate stays, closed: what triggers is held until an agent runs again; `dbgov gate off` takes it away"
            );
            // What is held from here on is the next agent's.
        } else {
            self.kernel.detach();
        }
        while self.packets(state)? == DRAIN_RECORDS_MAX {}
        self.commands(state)?;
        let (opened, sessions) = (self.pipeline.opened(), self.pipeline.sessions());
        self.pipeline.stop(boot_ns(), stays);
        let statements = self.pipeline.recorder().statements;
        let record = stop_record(sessions, opened, statements);
        self.pipeline.recorder().push(record);
        self.send()?;
        self.shared.update(|status| status.ready = false);
        let stats = self.journal.close();
        tracing::info!(records = stats.records, dropped = stats.dropped, "stopped");
        if stays {
            self.kernel.leave();
        }
        Ok(())
    }
}

/// Where servers live, by the cookies of their network namespaces.
fn namespaces(scan: &Scan) -> HashMap<u64, NetNs> {
    let known = scan.servers.iter().filter_map(|server| {
        let namespace = NetNs {
            inode: server.netns_inode,
            pid: server.process.pid,
        };
        Some((server.netns_cookie?, namespace))
    });
    known.collect()
}

/// Reads the control ring: who connects, and who begins to listen.
fn connects(
    control: &mut RingBuf<MapData>,
    pipeline: &mut Pipeline,
    host: &Host,
    state: &mut State,
) {
    while let Some(item) = control.next() {
        match event::control(&item) {
            Ok(Control::Connect {
                cookie, connect, ..
            }) => connecting(pipeline, state, cookie, &connect),
            Ok(Control::Listen { .. }) => host.request(Request::Servers),
            // It has done its work: the thread is awake and reads the packets next.
            Ok(Control::Held { .. }) => {}
            Err(error) => malformed(state, error),
        }
    }
}

/// Before a client's event is taken: its connect(2) is in the other ring by now and may have come after that was read.
/// Where that ring was full, the client's own event has the same facts, only later.
fn client(
    control: &mut RingBuf<MapData>,
    pipeline: &mut Pipeline,
    host: &Host,
    state: &mut State,
    (cookie, connect): (u64, Option<ConnectInfo>),
) {
    connects(control, pipeline, host, state);
    if let Some(connect) = connect
        && !pipeline.is_connecting(cookie)
    {
        connecting(pipeline, state, cookie, &connect);
    }
}

fn connecting(pipeline: &mut Pipeline, state: &mut State, cookie: u64, connect: &ConnectInfo) {
    let (comm, at) = (comm(&connect.comm), connect.time_boot_ns);
    let task = Task {
        pid: connect.pid,
        uid: connect.uid,
        comm: &comm,
        cgroup_id: connect.cgroup_id,
        at,
    };
    pipeline.connecting(cookie, state.resolver.resolve(&task), at);
}

/// Favours this thread, and only it, during a burst.
fn favour(state: &mut State) {
    let burst = state.drained_bytes > BURST_BYTES;
    if burst == state.favoured {
        return;
    }
    state.favoured = burst;
    let nice = if burst { BURST_NICE } else { 0 };
    // SAFETY: takes numbers; 0 is the calling thread (setpriority(2), "NOTES": per thread on Linux).
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "the capture thread keeps its priority; a large statement may fill the ring");
    }
}

fn malformed(state: &mut State, error: event::EventError) {
    state.malformed += 1;
    tracing::error!(%error, "a record of the kernel programs cannot be read; please report this");
}

fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn sorted(ports: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.into_iter().collect();
    ports.sort_unstable();
    ports
}
