//! What outlives the agent, under bpffs.
//!
//! ```text
//! <bpffs>/link-ingress ...     the links that attach the programs to their hooks
//! <bpffs>/maps-<layout>/PORTS  the maps, by the layout of what is in them
//! ```
//!
//! An agent of another layout takes over the links and makes maps of its own.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use dbgov_common as common;
use dbgov_common::gate;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// Where systemd, and we, mount a bpffs.
const BPFFS_MOUNT: &str = "/sys/fs/bpf";
const LINK_PREFIX: &str = "link-";
const MAPS_PREFIX: &str = "maps-";
/// To be raised when what a map's bytes mean changes while their sizes do not.
const LAYOUT_VERSION: u32 = 1;
/// Maps that are pinned: all that both halves or two agents share.
const MAPS: [&str; 13] = [
    "PORTS",
    "PACKETS",
    "CONTROL",
    "CONNS",
    "CONNECTS",
    "TAGS",
    "COUNTERS",
    "EGRESS",
    "GATE_CONFIG",
    "HEARTBEAT",
    "GATES",
    "GATE_CONTROL",
    "AUTOMATA",
];

#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(
        "{path} is on no bpffs; mount one with `mount -t bpf bpf {BPFFS_MOUNT}`, or set [agent] bpffs"
    )]
    NoBpffs { path: PathBuf },
    #[error(
        "cannot mount a bpffs on {BPFFS_MOUNT}: {0}; run as root, or mount one and set [agent] bpffs"
    )]
    Mount(#[source] io::Error),
    #[error("cannot {what} {path}: {source}")]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot pin {path}: {source}")]
    Pin {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PinError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError {
        let path = path.to_owned();
        move |source| PinError::File { what, path, source }
    }
}

/// What was taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Programs taken off their hooks.
    pub links: usize,
    pub maps: usize,
}

/// The pins of this build's programs.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    dir: PathBuf,
    maps: PathBuf,
}

impl Pins {
    /// Makes the directories, and mounts a bpffs on its usual place where none is.
    pub(super) fn prepare(dir: &Path, packet_ring_bytes: u32) -> Result<Pins, PinError> {
        if !on_bpffs(dir) {
            let usual = Path::new(BPFFS_MOUNT);
            if !dir.starts_with(usual) || on_bpffs(usual) {
                return Err(PinError::NoBpffs {
                    path: dir.to_owned(),
                });
            }
            mount(
                Some("bpf"),
                usual,
                Some("bpf"),
                MsFlags::empty(),
                Some("mode=0700"),
            )
            .map_err(|errno| PinError::Mount(errno.into()))?;
        }
        let maps = maps_dir(dir, packet_ring_bytes);
        fs::create_dir_all(&maps).map_err(PinError::file("make the directory", &maps))?;
        Ok(Pins {
            dir: dir.to_owned(),
            maps,
        })
    }

    pub(super) fn maps(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        MAPS.iter().map(|name| (*name, self.maps.join(name)))
    }

    pub(super) fn link(&self, hook: &str) -> PathBuf {
        self.dir.join(format!("{LINK_PREFIX}{hook}"))
    }

    /// Pins a link and lets go of it: what removes the pin, whoever that is, then takes the program off its hook.
    pub(super) fn pin_link(&self, hook: &str, link: FdLink) -> Result<(), PinError> {
        let path = self.link(hook);
        let pinned = link.pin(&path).map_err(|source| PinError::Pin {
            path,
            source: source.into(),
        })?;
        drop(pinned);
        Ok(())
    }

    /// Directories of maps that an agent of another layout left.
    pub(super) fn other_layouts(&self) -> Vec<PathBuf> {
        let mut dirs = maps_dirs(&self.dir);
        dirs.retain(|dir| *dir != self.maps);
        dirs
    }

    pub(super) fn remove_other_layouts(&self) {
        for dir in self.other_layouts() {
            let removed = remove_maps(&dir);
            if let Err(error) = removed {
                tracing::warn!(%error, "maps of a former agent stay pinned");
            }
        }
    }

    /// Removes all pins. Programs whose links nobody else holds leave their hooks at once.
    pub(super) fn remove(&self) {
        if let Err(error) = gate_off(&self.dir) {
            tracing::error!(%error, "the gate may still be pinned; run `dbgov gate off`");
        }
    }
}

/// Takes everything away that is pinned under `bpffs`: programs leave their hooks at once, whether an agent runs or
/// not, and held packets pass when they are sent again. Nothing pinned is no error.
pub fn gate_off(bpffs: &Path) -> Result<Removed, PinError> {
    let mut removed = Removed::default();
    if !on_bpffs(bpffs) {
        return Ok(removed);
    }
    // Links first, ingress before the others: without it nothing is held.
    let mut links = link_pins(bpffs);
    links.sort_by_key(|path| !path.ends_with("link-ingress"));
    for path in links {
        unlink(&path)?;
        removed.links += 1;
    }
    for dir in maps_dirs(bpffs) {
        removed.maps += remove_maps(&dir)?;
    }
    match fs::remove_dir(bpffs) {
        // Nothing was there, or something that is not ours to remove.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) => {}
        other => other.map_err(PinError::file("remove", bpffs))?,
    }
    Ok(removed)
}

pub(super) fn link_pins(bpffs: &Path) -> Vec<PathBuf> {
    entries(bpffs, LINK_PREFIX)
}

pub(super) fn maps_dirs(bpffs: &Path) -> Vec<PathBuf> {
    entries(bpffs, MAPS_PREFIX)
}

/// Hooks with a pinned link.
pub(super) fn hooks(bpffs: &Path) -> Vec<String> {
    let mut hooks: Vec<String> = link_pins(bpffs)
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_prefix(LINK_PREFIX))
        .map(str::to_owned)
        .collect();
    hooks.sort();
    hooks
}

/// The directory of maps this build can read, whatever the size of their ring.
pub(super) fn readable_maps(bpffs: &Path) -> Option<PathBuf> {
    let sizes = (0..u32::BITS).map(|bit| maps_dir(bpffs, 1 << bit));
    sizes.into_iter().find(|dir| dir.is_dir())
}

fn maps_dir(bpffs: &Path, packet_ring_bytes: u32) -> PathBuf {
    bpffs.join(format!("{MAPS_PREFIX}{:016x}", layout(packet_ring_bytes)))
}

fn entries(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(dir) else {
        return Vec::new();
    };
    found
        .flatten()
        .filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_maps(dir: &Path) -> Result<usize, PinError> {
    let mut removed = 0;
    for path in entries(dir, "") {
        unlink(&path)?;
        removed += 1;
    }
    fs::remove_dir(dir).map_err(PinError::file("remove", dir))?;
    Ok(removed)
}

pub(super) fn unlink(path: &Path) -> Result<(), PinError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PinError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Whether the directory, or the nearest one above it that exists, is on a bpffs.
fn on_bpffs(path: &Path) -> bool {
    let exists = path.ancestors().find(|dir| dir.exists());
    exists
        .and_then(|dir| statfs(dir).ok())
        .is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Says which maps fit which programs: FNV-1a over the sizes of everything in them.
fn layout(packet_ring_bytes: u32) -> u64 {
    let sizes = [
        LAYOUT_VERSION as usize,
        packet_ring_bytes as usize,
        common::CONTROL_RING_BYTES as usize,
        common::CONNS_MAX as usize,
        common::CONNECTS_MAX as usize,
        common::TAGS_MAX as usize,
        gate::AUTOMATON_SLOTS as usize,
        size_of::<common::Header>(),
        size_of::<common::Response>(),
        size_of::<common::ConnState>(),
        size_of::<common::ConnectInfo>(),
        size_of::<common::Connecting>(),
        size_of::<common::KernelCounters>(),
        size_of::<gate::GateConfig>(),
        size_of::<gate::GateControl>(),
        size_of::<gate::GateState>(),
        size_of::<gate::Automaton>(),
    ];
    let bytes = sizes.iter().flat_map(|size| (*size as u64).to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

// bpf(2) where aya has no call for it (links of cgroups).
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_UPDATE: libc::c_int = 29;

/// The part of `union bpf_attr` for BPF_OBJ_GET.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` for BPF_LINK_UPDATE.
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is one of the two structures above, of the size that is given; the kernel only reads it, and the
    // memory behind its pathname outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done)
}

/// Opens a pinned object; None where nothing is pinned.
pub(super) fn open(path: &Path) -> Result<Option<OwnedFd>, PinError> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|error| PinError::file("open", path)(error.into()))?;
    let attr = ObjGet {
        pathname: name.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    match bpf(BPF_OBJ_GET, &attr) {
        // SAFETY: a descriptor the kernel has just made for us.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PinError::file("open", path)(error)),
    }
}

/// Replaces the program of an attached link, at once for every packet to come.
pub(super) fn update_link(link: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = LinkUpdate {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        flags: 0,
        old_prog_fd: 0,
    };
    bpf(BPF_LINK_UPDATE, &attr).map(drop)
}
