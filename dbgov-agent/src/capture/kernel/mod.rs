//! Loads the kernel programs, attaches them to the cgroup v2 root and owns their maps.
//!
//! ```text
//! mod.rs    the running programs: governed ports, counters, their end
//! load.rs   the object into the kernel
//! attach.rs programs to hooks, new ones in place of a former agent's
//! pin.rs    what outlives the agent, under bpffs
//! gate.rs   what the agent tells the gate, and reads from it
//! ```

mod attach;
mod gate;
mod layout;
mod load;
mod pin;
mod ring_depth;
mod tags;

use std::fs::File;
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::ProgramError;
use aya::{Ebpf, EbpfError};
use aya_log::EbpfLogger;
use dbgov_common::{ConnState, KernelCounters, PORT_BITMAP_WORDS, conn};

pub use gate::{AgentState, GateStatus, gate_status};
pub use layout::kernel_memory_is_known;
pub use load::{has_gate, kernel_release, kernel_version, sock_ops_tells_netns};
pub use pin::{PinError, Removed, gate_off};
use ring_depth::RingDepth;

/// Smallest ring for packets, bytes: a few of the largest packets.
pub const PACKET_RING_BYTES_MIN: u32 = 1 << 20;
/// Largest: the ring is kernel memory, and a longer stall than this holds is better recorded as a gap.
pub const PACKET_RING_BYTES_MAX: u32 = 512 << 20;

/// (major, minor) of the oldest kernel on which `cargo xtask kernels` has seen everything work. It needs ring buffers
/// (5.8) and socket cookies in all hooks, and tail calls beside function calls (5.10).
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("this build carries no kernel programs; build it with `cargo xtask build`")]
    NoObject,
    #[error(
        "no permission to load kernel programs: run as root, and in a container with --privileged (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON); `dbgov doctor` shows what is missing"
    )]
    NotPermitted(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "cannot open the cgroup v2 root {path}: {source}; mount it with `mount -t cgroup2 none {path}`"
    )]
    Cgroup {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "this kernel ({release}) is too old: boot Linux {}.{} or newer ({source})", OLDEST_KERNEL.0, OLDEST_KERNEL.1
    )]
    TooOld {
        release: String,
        source: Box<KernelError>,
    },
    #[error(
        "this kernel ({release}) refuses the kernel program {program}: {source} (DBGOV_LOG=debug shows the verifier's words)"
    )]
    Load {
        program: &'static str,
        release: String,
        source: std::io::Error,
    },
    #[error("cannot attach the kernel program {program} to the cgroup v2 root: {source}")]
    Attach {
        program: &'static str,
        source: ProgramError,
    },
    #[error("the kernel object cannot be loaded: {0}")]
    Object(#[source] EbpfError),
    #[error("kernel map {name}: {source}")]
    Map {
        name: &'static str,
        source: aya::maps::MapError,
    },
    #[error("the kernel object has no {0}; build again with `cargo xtask build`")]
    Missing(&'static str),
    #[error(
        "this kernel ({0}) cannot hold packets back: boot Linux 5.17 or newer, or set [policy] mode = \"observe\" and [audit] lossless = false"
    )]
    NoGate(String),
    #[error(transparent)]
    Pin(#[from] PinError),
}

/// What the caller chooses at load time.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub cgroup_root: PathBuf,
    /// A power of two between [`PACKET_RING_BYTES_MIN`] and [`PACKET_RING_BYTES_MAX`].
    pub packet_ring_bytes: u32,
    /// Let the kernel programs write debug lines (they cost time on the packet path).
    pub debug: bool,
    /// Let them read command lines, in which there may be secrets.
    pub command_lines: bool,
    /// Directory for pins, on a bpffs.
    pub bpffs: PathBuf,
    /// Pin programs and maps there, so that the gate outlives the agent, and adopt what a former agent left. Without,
    /// what such an agent left is taken away.
    pub pin: bool,
}

/// The loaded programs. Dropping it detaches them, but for what is pinned.
pub struct Kernel {
    ebpf: Ebpf,
    cgroup: File,
    /// Where programs and maps are pinned, while they are.
    pinned: Option<pin::Pins>,
    /// What attaches the programs, where no pin does.
    links: Vec<attach::Link>,
    gate: gate::GateMaps,
    ports: Array<MapData, u64>,
    conns: HashMap<MapData, u64, ConnState>,
    counters: PerCpuArray<MapData, KernelCounters>,
    /// Ids of tags by the ids of their cgroups.
    tags: HashMap<MapData, u64, u32>,
    // Closing the map would take the program out of it.
    _egress: ProgramArray<MapData>,
    bitmap: Vec<u64>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    problems: Vec<String>,
}

/// Ring buffers, handed to the thread that drains them.
pub struct Rings {
    pub packets: RingBuf<MapData>,
    pub control: RingBuf<MapData>,
    /// How full `packets` is; absent where the kernel does not let it be seen.
    pub packets_depth: Option<RingDepth>,
}

impl Kernel {
    pub fn load(options: &LoadOptions) -> Result<(Kernel, Rings), KernelError> {
        Kernel::load_here(options).map_err(|error| blame(error, kernel_version()))
    }

    fn load_here(options: &LoadOptions) -> Result<(Kernel, Rings), KernelError> {
        let cgroup = File::open(&options.cgroup_root).map_err(|source| KernelError::Cgroup {
            path: options.cgroup_root.clone(),
            source,
        })?;
        let pinned = if options.pin {
            Some(pin::Pins::prepare(
                &options.bpffs,
                options.packet_ring_bytes,
            )?)
        } else {
            None
        };
        let (mut ebpf, problems) = load::object(options, pinned.as_ref())?;
        let logger = if options.debug {
            EbpfLogger::init(&mut ebpf).ok()
        } else {
            None
        };
        load::programs(&mut ebpf)?;
        let egress = load::egress_tail_call(&mut ebpf)?;
        let gate = gate::GateMaps::take(&mut ebpf, pinned.as_ref())?;
        let ports: Array<_, u64> = take(&mut ebpf, "PORTS", Array::try_from)?;
        // Last: from here on packets run through the programs, and all they look at is in place.
        let links = attach::attach(&mut ebpf, &cgroup, pinned.as_ref())?;
        match &pinned {
            Some(pins) => pins.remove_other_layouts(),
            None => take_stale_away(&options.bpffs),
        }
        let packets: RingBuf<MapData> = take(&mut ebpf, "PACKETS", RingBuf::try_from)?;
        let rings = Rings {
            packets_depth: RingDepth::of(&packets).ok(),
            packets,
            control: take(&mut ebpf, "CONTROL", RingBuf::try_from)?,
        };
        let kernel = Kernel {
            cgroup,
            pinned,
            links,
            gate,
            bitmap: (0..PORT_BITMAP_WORDS)
                .map(|index| ports.get(&index, 0).unwrap_or(0))
                .collect(),
            ports,
            conns: take(&mut ebpf, "CONNS", HashMap::try_from)?,
            counters: take(&mut ebpf, "COUNTERS", PerCpuArray::try_from)?,
            tags: take(&mut ebpf, tags::MAP, HashMap::try_from)?,
            _egress: egress,
            logger,
            problems,
            ebpf,
        };
        Ok((kernel, rings))
    }

    /// Makes `ports` the governed ones. Words that change are written one by one; a port in both sets stays governed.
    pub fn govern(&mut self, ports: impl IntoIterator<Item = u16>) -> Result<(), KernelError> {
        let mut wanted = vec![0u64; PORT_BITMAP_WORDS as usize];
        for port in ports {
            wanted[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        for (index, word) in wanted
            .iter()
            .enumerate()
            .filter(|&(i, w)| self.bitmap[i] != *w)
        {
            self.ports
                .set(index as u32, word, 0)
                .map_err(|source| KernelError::Map {
                    name: "PORTS",
                    source,
                })?;
        }
        self.bitmap = wanted;
        Ok(())
    }

    /// Stops copying for a connection that turned out not to be a governed server's.
    pub fn ignore(&mut self, cookie: u64) {
        if let Ok(mut state) = self.conns.get(&cookie, 0) {
            state.mode = conn::MODE_IGNORED;
            // BPF_EXIST: a connection that has gone meanwhile is not made anew.
            let _ = self.conns.insert(cookie, state, 2);
        }
    }

    /// Forgets a connection whose end the kernel could not tell (joined mid-stream).
    pub fn forget(&mut self, cookie: u64) {
        let _ = self.conns.remove(&cookie);
        self.gate.forget(cookie);
    }

    pub fn connection(&self, cookie: u64) -> Option<ConnState> {
        self.conns.get(&cookie, 0).ok()
    }

    /// Counters since load, summed over the CPUs.
    pub fn counters(&self) -> KernelCounters {
        let mut sum = KernelCounters::default();
        let Ok(values) = self.counters.get(&0, 0) else {
            return sum;
        };
        for cpu in values.iter() {
            sum.request_packets += cpu.request_packets;
            sum.request_bytes += cpu.request_bytes;
            sum.response_packets += cpu.response_packets;
            sum.response_bytes += cpu.response_bytes;
            sum.response_copied_bytes += cpu.response_copied_bytes;
            sum.ring_full += cpu.ring_full;
            sum.ring_full_bytes += cpu.ring_full_bytes;
            sum.control_ring_full += cpu.control_ring_full;
            sum.conns_full += cpu.conns_full;
            sum.unparsed_packets += cpu.unparsed_packets;
            sum.shared_packets += cpu.shared_packets;
            sum.unframed += cpu.unframed;
            sum.response_record_bytes += cpu.response_record_bytes;
            sum.gate_held += cpu.gate_held;
            sum.gate_released += cpu.gate_released;
            sum.gate_dropped += cpu.gate_dropped;
            sum.gate_lock_missed += cpu.gate_lock_missed;
            sum.gate_down_passed += cpu.gate_down_passed;
            sum.gate_down_held += cpu.gate_down_held;
        }
        sum
    }

    /// Names and kernel ids of the loaded programs.
    pub fn programs(&self) -> Vec<(String, u32)> {
        let id = |program: &aya::programs::Program| program.info().ok().map(|info| info.id());
        self.ebpf
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), id(program)?)))
            .collect()
    }

    /// What the programs cannot do on this kernel, in words.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Takes the hooks away, pinned ones too; the rings keep what they hold.
    pub fn detach(&mut self) {
        if let Some(pins) = self.pinned.take() {
            pins.remove();
        }
        self.links.clear();
    }

    /// Ends the agent and leaves what is pinned: the gate goes on without it, as [`GateConfig::closed`] says.
    ///
    /// [`GateConfig::closed`]: dbgov_common::gate::GateConfig
    pub fn leave(self) {
        // Our descriptors are closed; pins are references of their own.
        drop(self);
    }

    /// Switches the gate off and removes the pins; the programs go on as observers until this is dropped.
    pub fn take_away(&mut self) -> Result<(), KernelError> {
        self.gate.switch_off()?;
        let Some(pins) = self.pinned.take() else {
            return Ok(());
        };
        self.links = attach::keep(&mut self.ebpf, &self.cgroup, &pins)?;
        pins.remove();
        Ok(())
    }

    /// Whether programs and maps outlive this process.
    pub fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// Passes what the programs logged to the agent's log.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

/// The programs as they stand in the object, for the tests.
pub fn carries_programs() -> bool {
    cfg!(dbgov_bpf_object)
}

/// What a former agent left must not gate behind the back of one that only observes.
fn take_stale_away(bpffs: &Path) {
    match gate_off(bpffs) {
        Ok(removed) if removed.links > 0 => {
            tracing::warn!(bpffs = %bpffs.display(), "a gate that a former agent left pinned was taken away: this agent only observes");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, "a gate that a former agent left pinned may still be there")
        }
    }
}

/// What an old kernel refuses, it refuses for its age. It is tried all the same: distributions give old releases newer
/// features.
fn blame(error: KernelError, version: Option<(u32, u32)>) -> KernelError {
    use KernelError::{Attach, Load, Map, Object};
    let refused = matches!(error, Load { .. } | Attach { .. } | Object(_) | Map { .. });
    if refused && version.is_some_and(|version| version < OLDEST_KERNEL) {
        KernelError::TooOld {
            release: kernel_release(),
            source: Box::new(error),
        }
    } else {
        error
    }
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
    program
        .try_into()
        .map_err(|source| load::error(name, source))
}

fn take<T>(
    ebpf: &mut Ebpf,
    name: &'static str,
    wrap: impl FnOnce(Map) -> Result<T, aya::maps::MapError>,
) -> Result<T, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::Missing(name))?;
    wrap(map).map_err(|source| KernelError::Map { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told_what_it_needs() {
        let refusal = || KernelError::Map {
            name: "PACKETS",
            source: aya::maps::MapError::KeyNotFound,
        };
        let told = blame(refusal(), Some((5, 9))).to_string();
        assert!(told.contains("too old: boot Linux 5.10 or newer"), "{told}");
        for new in [Some((5, 10)), Some((6, 1)), None] {
            assert!(matches!(blame(refusal(), new), KernelError::Map { .. }));
        }
        // Not the kernel's fault, and a newer one would not help.
        let other = blame(KernelError::NoObject, Some((4, 18)));
        assert!(matches!(other, KernelError::NoObject));
    }
}
