//! Loads the kernel programs, attaches them to the cgroup v2 root and owns their maps.

use std::fs::File;
use std::path::PathBuf;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSockAddr, SockOps};
use aya::programs::{CgroupSkbAttachType, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_log::EbpfLogger;
use dbgov_common::{ConnState, KernelCounters, PORT_BITMAP_WORDS, conn};

/// Smallest ring for packets, bytes: a few of the largest packets.
pub const PACKET_RING_BYTES_MIN: u32 = 1 << 20;
/// Largest: the ring is kernel memory, and a longer stall than this holds is better recorded as a gap.
pub const PACKET_RING_BYTES_MAX: u32 = 512 << 20;

/// (major, minor) of the oldest kernel on which `cargo xtask kernels` has seen everything work. It needs ring buffers
/// (5.8) and socket cookies in all hooks, and tail calls beside function calls (5.10).
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

#[cfg(dbgov_bpf_object)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("DBGOV_BPF_OBJECT"));

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
}

/// What the caller chooses at load time.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub cgroup_root: PathBuf,
    /// A power of two between [`PACKET_RING_BYTES_MIN`] and [`PACKET_RING_BYTES_MAX`].
    pub packet_ring_bytes: u32,
    /// Let the kernel programs write debug lines (they cost time on the packet path).
    pub debug: bool,
}

/// The loaded programs. Dropping it detaches them.
pub struct Kernel {
    ebpf: Ebpf,
    ports: Array<MapData, u64>,
    conns: HashMap<MapData, u64, ConnState>,
    counters: PerCpuArray<MapData, KernelCounters>,
    // Closing the map would take the program out of it.
    _egress: ProgramArray<MapData>,
    bitmap: Vec<u64>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// Ring buffers, handed to the thread that drains them.
pub struct Rings {
    pub packets: RingBuf<MapData>,
    pub control: RingBuf<MapData>,
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
        let mut ebpf = load_object(options)?;
        let logger = if options.debug {
            EbpfLogger::init(&mut ebpf).ok()
        } else {
            None
        };
        attach(&mut ebpf, &cgroup)?;
        let egress = egress_tail_call(&mut ebpf)?;
        let rings = Rings {
            packets: take(&mut ebpf, "PACKETS", RingBuf::try_from)?,
            control: take(&mut ebpf, "CONTROL", RingBuf::try_from)?,
        };
        let kernel = Kernel {
            ports: take(&mut ebpf, "PORTS", Array::try_from)?,
            conns: take(&mut ebpf, "CONNS", HashMap::try_from)?,
            counters: take(&mut ebpf, "COUNTERS", PerCpuArray::try_from)?,
            _egress: egress,
            bitmap: vec![0; PORT_BITMAP_WORDS as usize],
            logger,
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
            sum.unframed += cpu.unframed;
            sum.response_records += cpu.response_records;
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

    /// Takes the hooks away; the rings keep what they hold.
    pub fn detach(&mut self) {
        use aya::programs::Program;
        for (name, program) in self.ebpf.programs_mut() {
            let done = match program {
                Program::CgroupSkb(program) => program.unload(),
                Program::CgroupSockAddr(program) => program.unload(),
                Program::SockOps(program) => program.unload(),
                _ => Ok(()),
            };
            // Not loaded at all is what is wanted; anything else ends with the process.
            if let Err(error) = done
                && !matches!(error, ProgramError::NotLoaded)
            {
                tracing::warn!(%error, program = name, "kernel program not detached");
            }
        }
    }

    /// Passes what the programs logged to the agent's log.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

#[cfg(not(dbgov_bpf_object))]
fn load_object(_options: &LoadOptions) -> Result<Ebpf, KernelError> {
    let _ = EbpfLoader::new;
    Err(KernelError::NoObject)
}

#[cfg(dbgov_bpf_object)]
fn load_object(options: &LoadOptions) -> Result<Ebpf, KernelError> {
    let sock_ops_has_netns_cookie = u8::from(sock_ops_tells_netns());
    let skb_has_netns_cookie = u8::from(kernel_at_least(6, 15));
    let log_level: u8 = if options.debug {
        aya_log::Level::Debug as u8
    } else {
        0
    };
    EbpfLoader::new()
        .map_max_entries("PACKETS", options.packet_ring_bytes)
        .override_global(
            "SOCK_OPS_HAS_NETNS_COOKIE",
            &sock_ops_has_netns_cookie,
            true,
        )
        .override_global("SKB_HAS_NETNS_COOKIE", &skb_has_netns_cookie, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .load(OBJECT)
        .map_err(|error| {
            if denied(&error) {
                KernelError::NotPermitted(error.into())
            } else {
                KernelError::Object(error)
            }
        })
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

/// EPERM anywhere in the chain of causes.
fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.raw_os_error() == Some(libc::EPERM))
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// (major, minor) of the running kernel.
pub fn kernel_version() -> Option<(u32, u32)> {
    let release = kernel_release();
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Whether the programs can tell the network namespace of an established socket (Linux 6.1).
pub fn sock_ops_tells_netns() -> bool {
    kernel_at_least(6, 1)
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    kernel_version().is_some_and(|version| version >= (major, minor))
}

fn attach(ebpf: &mut Ebpf, cgroup: &File) -> Result<(), KernelError> {
    // Order: who connects is known before the first packet is seen.
    for name in ["dbgov_connect4", "dbgov_connect6"] {
        let program: &mut CgroupSockAddr = program(ebpf, name)?;
        program.load().map_err(|e| load_error(name, e))?;
        program
            .attach(cgroup, CgroupAttachMode::Single)
            .map_err(|source| KernelError::Attach {
                program: name,
                source,
            })?;
    }
    let name = "dbgov_sock_ops";
    let sock_ops: &mut SockOps = program(ebpf, name)?;
    sock_ops.load().map_err(|e| load_error(name, e))?;
    sock_ops
        .attach(cgroup, CgroupAttachMode::Single)
        .map_err(|source| KernelError::Attach {
            program: name,
            source,
        })?;
    let packet_hooks = [
        (egress_walk(), None),
        (egress(), Some(CgroupSkbAttachType::Egress)),
        ("dbgov_ingress", Some(CgroupSkbAttachType::Ingress)),
    ];
    for (name, hook) in packet_hooks {
        let program: &mut CgroupSkb = program(ebpf, name)?;
        program.load().map_err(|e| load_error(name, e))?;
        if let Some(hook) = hook {
            program
                .attach(cgroup, hook, CgroupAttachMode::Single)
                .map_err(|source| KernelError::Attach {
                    program: name,
                    source,
                })?;
        }
    }
    Ok(())
}

/// bpf_loop came with Linux 5.17.
fn egress() -> &'static str {
    if kernel_at_least(5, 17) {
        "dbgov_egress"
    } else {
        "dbgov_egress_bounded"
    }
}

/// The program that walks over the rest of a response packet.
fn egress_walk() -> &'static str {
    if kernel_at_least(5, 17) {
        "dbgov_egress_walk"
    } else {
        "dbgov_egress_walk_bounded"
    }
}

fn load_error(program: &'static str, source: ProgramError) -> KernelError {
    if denied(&source) {
        return KernelError::NotPermitted(source.into());
    }
    // The verifier's reasoning fills screens: for those who ask.
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = source
    {
        tracing::debug!(program, "{verifier_log}");
        return KernelError::Load {
            program,
            release: kernel_release(),
            source: io_error,
        };
    }
    let source = std::io::Error::other(source);
    KernelError::Load {
        program,
        release: kernel_release(),
        source,
    }
}

fn egress_tail_call(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, KernelError> {
    let mut map: ProgramArray<MapData> = take(ebpf, "EGRESS", ProgramArray::try_from)?;
    let name = egress_walk();
    let program: &mut CgroupSkb = program(ebpf, name)?;
    let fd = program.fd().map_err(|source| KernelError::Attach {
        program: name,
        source,
    })?;
    map.set(0, fd, 0).map_err(|source| KernelError::Map {
        name: "EGRESS",
        source,
    })?;
    Ok(map)
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
    program
        .try_into()
        .map_err(|source| load_error(name, source))
}

fn take<T>(
    ebpf: &mut Ebpf,
    name: &'static str,
    wrap: impl FnOnce(Map) -> Result<T, aya::maps::MapError>,
) -> Result<T, KernelError> {
    let map = ebpf.take_map(name).ok_or(KernelError::Missing(name))?;
    wrap(map).map_err(|source| KernelError::Map { name, source })
}

/// The programs as they stand in the object, for the tests.
pub fn carries_programs() -> bool {
    cfg!(dbgov_bpf_object)
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
