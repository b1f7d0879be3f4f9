//! The thread that drains the rings.
//!
//! It reads in batches: after a drain it lets a few milliseconds of packets gather, so that the agent wakes a few
//! hundred times a second under load, not once for each packet, and the kernel programs need not wake it (a ring
//! buffer notifies only a reader that has caught up). Connects are read at once: their process may be gone soon.

mod asked;
mod connects;
mod known;
mod tags;
mod tick;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbgov_common::{ConnState, REQUEST_CLASS_BYTES};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use self::connects::{client, connects};
use self::tags::Noted;
pub(super) use self::tags::TagKeeper;
use super::answers::Refusals;
use super::gate::{Gate, Heart};
use super::host::{Host, Report, Request};
use super::policy::PolicyWatch;
use super::status::{HookStatus, Shared};
use super::{AgentError, stop_record};
use crate::capture::discover::Scan;
use crate::capture::event::{self, Captured};
use crate::capture::kernel::{Kernel, Rings};
use crate::clock::boot_ns;
use crate::control::Requests;
use crate::identity::Resolver;
use crate::identity::pods::Pods;
use crate::pipeline::{Command, Pipeline};

/// Packet records read before the control ring and the clock get their turn.
const DRAIN_RECORDS_MAX: usize = 4096;
/// A drain of so many bytes is a burst: it is followed by the next at once, and the thread is favoured until a tick has
/// passed without one. At the speed of the loopback the ring would be full in some ten milliseconds. Statements of
/// everyday size stay far below: 60,000 a second are some 150 KiB a drain.
const BURST_BYTES: usize = 1 << 20;
/// A record of so many bytes is of a large statement, and more of it are on their way: the drain is a burst.
const LARGE_RECORD_BYTES: usize = REQUEST_CLASS_BYTES[4];
/// Nice value in bursts. Otherwise the thread competes like any other, which costs the database less.
const BURST_NICE: i32 = -10;
/// How long packets gather after a drain, milliseconds: the ring holds a second of them and more.
const GATHER_MS: u16 = 10;
/// Longest sleep when nothing passes, milliseconds.
const IDLE_MS: u16 = 250;
const TICK: Duration = Duration::from_millis(250);
/// How often sessions whose end no event told are looked for, where there can be any.
const SWEEP: Duration = Duration::from_secs(10);
/// How often processes that may have ended while their connections go on are looked for.
const ENDED: Duration = Duration::from_secs(1);

pub(super) struct Capture {
    pub kernel: Kernel,
    pub rings: Rings,
    pub pipeline: Pipeline,
    /// Where a policy is enforced.
    pub gate: Option<Gate>,
    /// Where the kernel must know that the agent is alive.
    pub heart: Option<Heart>,
    /// Size of the ring of packets, bytes.
    pub ring_bytes: u64,
    /// `[audit] lossless`.
    pub lossless: bool,
    /// `[identity] command_lines`.
    pub command_lines: bool,
    /// Where the Kubernetes API is asked.
    pub pods: Option<Arc<Pods>>,
    pub policy: Option<PolicyWatch>,
    /// What the control socket is asked of this thread.
    pub requests: Requests,
    pub host: Host,
    pub tags: TagKeeper,
    /// What the control socket refused, to be recorded.
    pub refusals: Arc<Refusals>,
    pub wake: Arc<EventFd>,
    pub stop: Arc<AtomicBool>,
    pub shared: Arc<Shared>,
}

struct State {
    resolver: Resolver,
    /// The last drain was a burst.
    burst: bool,
    /// So was one since the last tick.
    bursts: bool,
    /// The thread runs at [`BURST_NICE`].
    favoured: bool,
    /// Lost bytes of connections as the kernel counted them at the last tick, when its ring had been full.
    losses: Vec<(u64, ConnState)>,
    /// The last look at the host's servers.
    scan: Scan,
    /// Of the pods, as the sessions know them.
    pods_generation: u64,
    /// The ring was read to its end since.
    caught_up: bool,
    lossy_records: u64,
    malformed: u64,
    conns_full: u64,
    ring_full: u64,
    /// The most that was in the ring of packets since the last tick, bytes.
    ring_used_bytes: u64,
    unparsed: u64,
    ticked: Instant,
    /// When the journal was last handed what there was.
    sent: Instant,
    /// The last poll(2) found the eventfd raised.
    woken: bool,
    swept: Instant,
    /// When it was last asked which clients have ended.
    asked_ended: Instant,
    looking: bool,
    ready: bool,
    /// The connections of a gate that was there before are not known yet: their packets wait in the ring.
    adopting: bool,
}

impl Capture {
    pub(super) fn run(mut self) -> Result<(), AgentError> {
        let resolver =
            Resolver::new(self.command_lines).map_err(|e| AgentError::Os("read /proc", e))?;
        let now = Instant::now();
        let mut state = State {
            resolver,
            burst: false,
            bursts: false,
            favoured: false,
            losses: Vec::new(),
            scan: Scan::default(),
            pods_generation: 0,
            caught_up: false,
            lossy_records: 0,
            malformed: 0,
            conns_full: 0,
            ring_full: 0,
            ring_used_bytes: 0,
            unparsed: 0,
            ticked: now,
            sent: now,
            woken: true,
            swept: now,
            asked_ended: now,
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
                &mut self.tags,
                &mut state,
            );
            let drained = self.packets(&mut state)?;
            self.tag_changes()?;
            self.reports(&mut state)?;
            self.pods(&mut state);
            self.asked()?;
            self.commands(&mut state)?;
            if let Some(gate) = &mut self.gate {
                gate.end_refused(false);
            }
            if let Some(heart) = &mut self.heart {
                heart.beat(&mut self.kernel)?;
            }
            if state.ticked.elapsed() >= TICK {
                self.tick(&mut state)?;
            }
            // A held packet wakes this thread at once, but the journal's need not wake with it.
            if drained == 0 || state.sent.elapsed() >= Duration::from_millis(GATHER_MS.into()) {
                state.sent = Instant::now();
                self.send()?;
            }
            if stopping && drained < DRAIN_RECORDS_MAX {
                return self.finish(&mut state);
            }
            match drained {
                0 => {
                    let gate = self.gate.as_ref();
                    let idle_ms = gate.map_or(IDLE_MS, |gate| gate.idle_ms(IDLE_MS));
                    state.woken = self.wait(true, idle_ms);
                }
                DRAIN_RECORDS_MAX => {}
                _ if state.burst => {}
                _ => state.woken = self.wait(false, GATHER_MS),
            }
        }
    }

    fn packets(&mut self, state: &mut State) -> Result<usize, AgentError> {
        state.burst = false;
        let mut bytes = 0;
        if state.adopting {
            return Ok(0);
        }
        if let Some(depth) = &self.rings.packets_depth {
            state.ring_used_bytes = state.ring_used_bytes.max(depth.used_bytes());
        }
        for read in 0..DRAIN_RECORDS_MAX {
            let Some(item) = self.rings.packets.next() else {
                state.caught_up = true;
                return Ok(read);
            };
            bytes += item.len();
            if !state.burst && (bytes > BURST_BYTES || item.len() >= LARGE_RECORD_BYTES) {
                (state.burst, state.bursts) = (true, true);
                favour(state, true);
            }
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
                            &mut self.tags,
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
            // A drain may take seconds.
            if let Some(heart) = &mut self.heart {
                heart.beat(&mut self.kernel)?;
            }
        }
        Ok(DRAIN_RECORDS_MAX)
    }

    fn send(&mut self) -> Result<(), AgentError> {
        let recorder = self.pipeline.recorder();
        recorder.send().map_err(|_| AgentError::WriterEnded)
    }

    fn reports(&mut self, state: &mut State) -> Result<(), AgentError> {
        if state.woken {
            state.woken = false;
            let _ = self.wake.read();
        }
        while let Ok(Report {
            governed,
            scan,
            existing,
            ended,
            local,
        }) = self.host.reports.try_recv()
        {
            if let Some(governed) = governed {
                self.kernel.govern(governed.all_ports())?;
                self.shared
                    .update(|status| status.ports = sorted(governed.all_ports()));
                self.pipeline.govern(governed);
            }
            if let Some(local) = local {
                self.pipeline.set_local_addresses(local);
            }
            if let Some(scan) = scan {
                self.pipeline.know_servers(&scan.servers);
                if let Some(gate) = &mut self.gate {
                    gate.know_servers(&scan.servers);
                }
                state.scan = scan;
                self.tell_scan(state);
            }
            if let Some(existing) = existing {
                state.adopting = false;
                let now = boot_ns();
                for (connection, client) in existing.connections {
                    let client = client.map(|client| self.tags.name(client, Noted::Nothing));
                    self.pipeline.existing(&connection, client, now);
                }
                self.pipeline.retain(&existing.alive, existing.at);
                self.tag_changes()?;
                state.looking = false;
            }
            for (cookie, holder) in ended {
                self.pipeline.client_ended(cookie, holder);
            }
            if !state.ready {
                state.ready = true;
                self.ready();
            }
        }
        Ok(())
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

    /// Whether the eventfd was raised.
    fn wait(&self, packets: bool, timeout_ms: u16) -> bool {
        let mut fds = vec![
            PollFd::new(self.rings.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
        ];
        if packets {
            fds.push(PollFd::new(self.rings.packets.as_fd(), PollFlags::POLLIN));
        }
        // A time-out and an interrupted call alike only mean that the loop goes round.
        let _ = poll(&mut fds, PollTimeout::from(timeout_ms));
        fds[1].any().unwrap_or(true)
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
        if let Some(gate) = &mut self.gate {
            gate.end_refused(true);
        }
        self.tags.sweep_all();
        self.tag_changes()?;
        self.tags.leave();
        self.refused();
        let (opened, sessions) = (self.pipeline.opened(), self.pipeline.sessions());
        self.pipeline.stop(boot_ns(), stays);
        let statements = self.pipeline.recorder().statements;
        let record = stop_record(sessions, opened, statements);
        self.pipeline.recorder().push(record);
        self.send()?;
        self.shared.update(|status| status.ready = false);
        if let Some(journal) = self.pipeline.recorder().journal.take() {
            let stats = journal.close();
            tracing::info!(records = stats.records, dropped = stats.dropped, "stopped");
        }
        if stays {
            self.kernel.leave();
        }
        Ok(())
    }
}

/// Favours this thread, and only it, or no longer.
fn favour(state: &mut State, favoured: bool) {
    if favoured == state.favoured {
        return;
    }
    state.favoured = favoured;
    let nice = if favoured { BURST_NICE } else { 0 };
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

fn sorted(ports: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.into_iter().collect();
    ports.sort_unstable();
    ports
}
