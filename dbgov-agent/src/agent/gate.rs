//! Carries out what the pipeline wants of the gate: loads automata, classifies connections, sends what is released,
//! ends what is refused. Runs on the capture thread, between two events.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use dbgov_common::gate::{CLASS_PASS, CLASS_STRICT, GateConfig};

use super::AgentError;
use crate::capture::discover::FoundServer;
use crate::capture::kernel::{Kernel, KernelError};
use crate::capture::netns::{self, NetNs};
use crate::clock::boot_ns;
use crate::gate::destroy::{self, Destroyed};
use crate::gate::inject::{InjectError, Injector, Injectors};
use crate::gate::packet::PACKET_BYTES_MAX;
use crate::pipeline::{GateCommand, Release, Target};
use crate::policy::{AgentDown, Policy};
use crate::protocol::TimeNs;

/// A heartbeat older than this means that the agent is down, nanoseconds: several times what a busy machine keeps the
/// thread waiting, and not long for a client that is held.
const HEARTBEAT_TIMEOUT_NS: u64 = 5_000_000_000;
/// How often the thread beats, nanoseconds.
const BEAT_NS: TimeNs = 200_000_000;

/// How often a release is sent before the client's retransmission has to bring it up again.
const RELEASE_TRIES: u32 = 16;

/// What a client has to read why it is refused, before its connection ends. Some clients report the end instead, where
/// they find both at once, and on some systems a RST takes away what was not read yet.
const READING: Duration = Duration::from_millis(10);

/// Bytes released in one packet: with an IPv6 and a TCP header it is one at any MTU a loopback has.
const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - 40 - 20;

/// What it did, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub released_packets: u64,
    pub refused_connections: u64,
    /// Releases that could not be sent; the client's retransmission tries again.
    pub failed_releases: u64,
    pub failed_refusals: u64,
}

/// Tells the kernel that the agent is alive, without which nothing is held.
pub(super) struct Heart {
    beaten_at: TimeNs,
}

impl Heart {
    fn start(kernel: &mut Kernel, config: GateConfig) -> Result<Self, KernelError> {
        let now = boot_ns();
        kernel.beat(now)?;
        kernel.set_gate_config(config)?;
        Ok(Heart { beaten_at: now })
    }

    /// Without a gate: packets wait for room in the ring, and nothing else.
    pub(super) fn lossless(kernel: &mut Kernel) -> Result<Self, KernelError> {
        let config = GateConfig {
            heartbeat_timeout_ns: HEARTBEAT_TIMEOUT_NS,
            class: CLASS_PASS,
            lossless: 1,
            ..GateConfig::default()
        };
        Heart::start(kernel, config)
    }

    /// Beats now and then.
    pub(super) fn beat(&mut self, kernel: &mut Kernel) -> Result<(), KernelError> {
        let now = boot_ns();
        if now.saturating_sub(self.beaten_at) < BEAT_NS {
            return Ok(());
        }
        self.beaten_at = now;
        kernel.beat(now)
    }
}

pub(super) struct Gate {
    injectors: Injectors,
    /// Where the servers' network namespaces are, by their cookies.
    namespaces: HashMap<u64, NetNs>,
    /// The namespace a server of this port lives in, where that is one only.
    by_port: HashMap<u16, Option<u64>>,
    config: GateConfig,
    /// Refused connections that are about to end, the next first.
    endings: VecDeque<Ending>,
    pub counters: Counters,
}

impl Gate {
    /// Puts the gate in force: from the next packet on, everything new is held until it is known whose it is.
    pub(super) fn start(
        kernel: &mut Kernel,
        policy: &Policy,
        lossless: bool,
    ) -> Result<(Self, Heart), KernelError> {
        let config = GateConfig {
            heartbeat_timeout_ns: HEARTBEAT_TIMEOUT_NS,
            mark: kernel.mark()?,
            class: CLASS_STRICT,
            closed: closed(policy),
            lossless: u8::from(lossless),
            enforcing: 1,
        };
        let heart = Heart::start(kernel, config)?;
        // Those of a former agent speak of its automata. Until the connections are classified all is held, so that what
        // the gate knows of them can be read without haste.
        kernel.remove_controls();
        let gate = Gate {
            injectors: Injectors::new(config.mark),
            namespaces: HashMap::new(),
            by_port: HashMap::new(),
            config,
            endings: VecDeque::new(),
            counters: Counters::default(),
        };
        Ok((gate, heart))
    }

    /// Another policy may want another behaviour while the agent is down.
    pub(super) fn follow(
        &mut self,
        kernel: &mut Kernel,
        policy: &Policy,
    ) -> Result<(), KernelError> {
        self.config.closed = closed(policy);
        kernel.set_gate_config(self.config)
    }

    pub(super) fn is_closed_without_agent(&self) -> bool {
        self.config.closed != 0
    }

    /// Where servers live.
    pub(super) fn know_servers(&mut self, servers: &[FoundServer]) {
        self.namespaces.clear();
        self.by_port.clear();
        for server in servers {
            let Some(cookie) = server.netns_cookie else {
                continue;
            };
            let namespace = NetNs {
                inode: server.netns_inode,
                pid: server.process.pid,
            };
            self.namespaces.insert(cookie, namespace);
            self.by_port
                .entry(server.port())
                .and_modify(|known| *known = known.filter(|known| *known == cookie))
                .or_insert(Some(cookie));
        }
        let namespaces = &self.namespaces;
        self.injectors
            .retain(|cookie| namespaces.contains_key(&cookie));
    }

    pub(super) fn run(
        &mut self,
        kernel: &mut Kernel,
        command: GateCommand,
    ) -> Result<(), AgentError> {
        match command {
            GateCommand::Load { slot, words } => {
                kernel.load_automaton(u32::from(slot), words.automaton())?;
            }
            GateCommand::Control { cookie, control } => kernel.set_control(cookie, control)?,
            GateCommand::Release(release) => {
                let sent = self.release(kernel, &release);
                match sent {
                    Ok(()) => self.counters.released_packets += 1,
                    // The client sends it again, and so do we then.
                    Err(error) => {
                        self.counters.failed_releases += 1;
                        let cookie = release.to.cookie;
                        tracing::warn!(%error, cookie, "held bytes were not released yet");
                    }
                }
            }
            GateCommand::Refuse {
                to,
                request_seq,
                response_seq,
                message,
            } => {
                let response_seq = response_seq
                    .or_else(|| kernel.connection(to.cookie).map(|state| state.response_seq));
                let told = self.refuse(to, request_seq, response_seq, message.as_deref());
                self.counters.refused_connections += 1;
                if let Err(error) = told {
                    self.refusal_failed(to.cookie, &error);
                }
            }
        }
        Ok(())
    }

    /// Sends the bytes packet by packet, each until the gate has let it pass.
    fn release(&mut self, kernel: &Kernel, release: &Release) -> Result<(), InjectError> {
        let mut seq = release.seq;
        let mut rest = release.payload.as_slice();
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
            let last = behind.is_empty();
            self.release_piece(kernel, release, seq, piece, last)?;
            if last {
                return Ok(());
            }
            seq = seq.wrapping_add(piece.len() as u32);
            rest = behind;
        }
    }

    /// It goes over the loopback within the call. Where a packet of the client held the lock of the connection
    /// meanwhile, it was dropped; nobody else would send it again soon. One packet at a time: the gate remembers only
    /// how far it has let pass, so that a later packet would hide an earlier one that was dropped.
    fn release_piece(
        &mut self,
        kernel: &Kernel,
        release: &Release,
        seq: u32,
        piece: &[u8],
        last: bool,
    ) -> Result<(), InjectError> {
        let Release {
            to, ack, window, ..
        } = *release;
        let end = seq.wrapping_add(piece.len() as u32);
        for _ in 0..RELEASE_TRIES {
            let injector = self.injector(to)?;
            if last && release.fin {
                injector.end_to_server(to.ends, seq, ack, window, piece)?;
            } else {
                let resume = last && release.ends_message;
                injector.to_server(to.ends, seq, ack, window, piece, resume)?;
            }
            if has_passed(kernel, to, end) {
                break;
            }
        }
        Ok(())
    }

    /// Tells the client, and ends the connection at both sides: at once where there is nothing to tell.
    fn refuse(
        &mut self,
        to: Target,
        request_seq: u32,
        response_seq: Option<u32>,
        message: Option<&[u8]>,
    ) -> Result<(), InjectError> {
        let mut ending = Ending {
            to,
            request_seq,
            response_seq,
            due: Instant::now(),
        };
        if let (Some(seq), Some(message)) = (response_seq, message) {
            let injector = self.injector(to)?;
            injector.to_client(to.ends, seq, request_seq, message, false)?;
            ending.response_seq = Some(seq.wrapping_add(message.len() as u32));
            ending.due += READING;
            self.endings.push_back(ending);
            return Ok(());
        }
        self.end(ending)
    }

    /// Ends the connections whose clients have had the time to read why; those that had it not, too, where the gate
    /// itself ends.
    pub(super) fn end_refused(&mut self, all: bool) {
        while let Some(ending) = self.endings.front()
            && (all || ending.due <= Instant::now())
        {
            let Some(ending) = self.endings.pop_front() else {
                return;
            };
            let cookie = ending.to.cookie;
            if let Err(error) = self.end(ending) {
                self.refusal_failed(cookie, &error);
            }
        }
    }

    /// How long the thread may sleep, milliseconds.
    pub(super) fn idle_ms(&self, most: u16) -> u16 {
        let Some(ending) = self.endings.front() else {
            return most;
        };
        let left = ending.due.saturating_duration_since(Instant::now());
        // Rounded up: not to wake just before.
        u16::try_from(left.as_millis() + 1).map_or(most, |left| left.min(most))
    }

    fn end(&mut self, ending: Ending) -> Result<(), InjectError> {
        let Ending {
            to,
            request_seq,
            response_seq,
            ..
        } = ending;
        let injector = self.injector(to)?;
        if let Some(seq) = response_seq {
            injector.to_client(to.ends, seq, request_seq, &[], true)?;
        }
        injector.rst_to_server(to.ends, request_seq)?;
        if let Some(seq) = response_seq {
            // The FIN counts as one.
            injector.rst_to_client(to.ends, seq.wrapping_add(1))?;
        }
        let namespace = self.namespace(to);
        match destroy::destroy(namespace, to.ends, to.cookie) {
            Ok(Destroyed::Destroyed | Destroyed::Gone | Destroyed::Unsupported) => {}
            Err(error) => {
                tracing::debug!(%error, cookie = to.cookie, "SOCK_DESTROY did not work; the RST has to do");
            }
        }
        Ok(())
    }

    /// Nothing of it passes in any case: the kernel holds it, and nobody will release it.
    fn refusal_failed(&mut self, cookie: u64, error: &InjectError) {
        self.counters.failed_refusals += 1;
        tracing::warn!(%error, cookie, "a refused connection could not be ended; what it sends stays held");
    }

    fn injector(&mut self, to: Target) -> Result<&mut Injector, InjectError> {
        let cookie = self.cookie(to).unwrap_or(0);
        let namespaces = &self.namespaces;
        self.injectors.get(cookie, |cookie| {
            namespaces
                .get(&cookie)
                .copied()
                .or_else(|| netns::find(cookie))
        })
    }

    /// The namespace of the server's socket. Before Linux 6.1 the kernel does not tell; then that of the server that was
    /// found on its port, else the own one.
    fn cookie(&self, to: Target) -> Option<u64> {
        let found = || self.by_port.get(&to.ends.server.port()).copied().flatten();
        to.netns_cookie.or_else(found).or_else(netns::own_cookie)
    }

    /// `None`: the own one.
    fn namespace(&self, to: Target) -> Option<NetNs> {
        let cookie = self.cookie(to)?;
        if netns::own_cookie() == Some(cookie) {
            return None;
        }
        self.namespaces.get(&cookie).copied()
    }
}

/// A refused connection whose client reads why.
struct Ending {
    to: Target,
    /// What the server's TCP, and the client's, expect next.
    request_seq: u32,
    response_seq: Option<u32>,
    due: Instant,
}

/// Whether the gate has let everything before `end` pass.
fn has_passed(kernel: &Kernel, to: Target, end: u32) -> bool {
    kernel
        .gate_state(to.cookie)
        .is_none_or(|state| state.passed.wrapping_sub(end) as i32 >= 0)
}

fn closed(policy: &Policy) -> u8 {
    u8::from(policy.settings.on_agent_down == AgentDown::Closed)
}
