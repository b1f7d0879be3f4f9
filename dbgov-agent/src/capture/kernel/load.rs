//! The object into the kernel: maps made or adopted, programs verified.

use std::sync::OnceLock;
use std::time::Instant;

use aya::maps::{MapData, ProgramArray};
use aya::programs::{CgroupSkb, CgroupSockAddr, ProgramError, SockOps};
use aya::{Ebpf, EbpfLoader};
use dbgov_common::TaskLayout;

use super::layout;
use super::pin::Pins;
use super::{KernelError, LoadOptions, program, take};
use crate::heap;

/// None: built without the kernel programs. One code path for both, so that neither rots unseen.
#[cfg(dbgov_bpf_object)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("DBGOV_BPF_OBJECT")));
#[cfg(not(dbgov_bpf_object))]
static OBJECT: Option<&[u8]> = None;

/// The object, and what it cannot do on this kernel, in words.
pub(super) fn object(
    options: &LoadOptions,
    pins: Option<&Pins>,
) -> Result<(Ebpf, Vec<String>), KernelError> {
    let object = OBJECT.ok_or(KernelError::NoObject)?;
    let sock_ops_has_netns_cookie = u8::from(sock_ops_tells_netns());
    let skb_has_netns_cookie = u8::from(kernel_at_least(6, 15));
    let layouts = layout::layouts();
    if layouts.skb.is_none() {
        tracing::warn!(
            "what clients of this host send by sendfile(2) or splice(2) they can change after it was looked at, unnoticed: \
             that takes Linux 5.12 with CONFIG_DEBUG_INFO_BTF (/sys/kernel/btf/vmlinux), not in lockdown confidentiality"
        );
    }
    let mut problems = Vec::new();
    if layouts.task.is_none() {
        let problem = "the kernel does not tell how it keeps processes (CONFIG_DEBUG_INFO_BTF, /sys/kernel/btf/vmlinux, not \
                       in lockdown confidentiality): of one that ends within milliseconds of its connect, program and \
                       command line stay unknown";
        tracing::warn!("{problem}");
        problems.push(problem.to_owned());
    }
    let skb = layouts.skb.unwrap_or_default();
    let task = layouts.task.unwrap_or(TaskLayout::UNKNOWN);
    let command_lines = u8::from(options.command_lines);
    let log_level: u8 = if options.debug {
        aya_log::Level::Debug as u8
    } else {
        0
    };
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries("PACKETS", options.packet_ring_bytes)
        .override_global(
            "SOCK_OPS_HAS_NETNS_COOKIE",
            &sock_ops_has_netns_cookie,
            true,
        )
        .override_global("SKB_HAS_NETNS_COOKIE", &skb_has_netns_cookie, true)
        .override_global("SKB_HEAD_AT", &skb.head, true)
        .override_global("SKB_END_AT", &skb.end, true)
        .override_global("TASK", &task, true)
        .override_global("COMMAND_LINES", &command_lines, true)
        .override_global(aya_log::LEVEL, &log_level, false);
    for (name, path) in pins.iter().flat_map(|pins| pins.maps()) {
        loader.map_pin_path(name, path);
    }
    let loaded = loader.load(object);
    drop(loader);
    // The kernel's types, read twice, were some ten thousand small pieces, which the allocator would keep: 20 MiB.
    heap::give_back();
    let ebpf = loaded.map_err(|source| {
        if denied(&source) {
            KernelError::NotPermitted(source.into())
        } else {
            KernelError::Object(source)
        }
    })?;
    Ok((ebpf, problems))
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

/// (major, minor) of the running kernel. Read once: which programs are chosen must not change on the way.
pub fn kernel_version() -> Option<(u32, u32)> {
    static VERSION: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let release = kernel_release();
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
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

/// Programs of the hooks, by the name of their hook's pin.
pub(super) fn hooks() -> [(&'static str, &'static str); 5] {
    // Order: who connects is known before the first packet is seen.
    [
        ("connect4", "dbgov_connect4"),
        ("connect6", "dbgov_connect6"),
        ("sock_ops", sock_ops()),
        ("egress", egress()),
        ("ingress", ingress()),
    ]
}

/// Loads every program this kernel takes.
pub(super) fn programs(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    for name in ["dbgov_connect4", "dbgov_connect6"] {
        let program: &mut CgroupSockAddr = program(ebpf, name)?;
        verified(name, || program.load())?;
    }
    let name = sock_ops();
    let program_of: &mut SockOps = program(ebpf, name)?;
    verified(name, || program_of.load())?;
    for name in [egress_walk(), egress(), ingress()] {
        let program: &mut CgroupSkb = program(ebpf, name)?;
        verified(name, || program.load())?;
    }
    Ok(())
}

/// Loads one; most of the agent's start is the verifier's time.
fn verified(
    name: &'static str,
    load: impl FnOnce() -> Result<(), ProgramError>,
) -> Result<(), KernelError> {
    let begun = Instant::now();
    load().map_err(|e| error(name, e))?;
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(program = name, ms, "loaded");
    Ok(())
}

/// bpf_loop came with Linux 5.17.
fn has_loop() -> bool {
    kernel_at_least(5, 17)
}

/// Whether this kernel can hold packets back: the gate needs bpf_loop (Linux 5.17).
pub fn has_gate() -> bool {
    has_loop()
}

fn sock_ops() -> &'static str {
    if has_gate() {
        "dbgov_sock_ops"
    } else {
        "dbgov_sock_ops_ungated"
    }
}

fn ingress() -> &'static str {
    if has_gate() {
        "dbgov_ingress"
    } else {
        "dbgov_ingress_ungated"
    }
}

fn egress() -> &'static str {
    if has_loop() {
        "dbgov_egress"
    } else {
        "dbgov_egress_bounded"
    }
}

/// The program that walks over the rest of a response packet.
fn egress_walk() -> &'static str {
    if has_loop() {
        "dbgov_egress_walk"
    } else {
        "dbgov_egress_walk_bounded"
    }
}

pub(super) fn error(program: &'static str, source: ProgramError) -> KernelError {
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

pub(super) fn egress_tail_call(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, KernelError> {
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
