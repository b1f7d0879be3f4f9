//! Control groups: from the id the kernel gives to a path, and from a path to what runs in it.

mod container;
pub mod group;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::proc;
use container::CONTAINER_RUNTIMES;
pub use container::{Workload, container_id, pod_uid};

/// One line per hierarchy, each with a path of at most 4 KiB.
const PROC_CGROUP_BYTES_MAX: u64 = 64 * 1024;

/// A host with thousands of containers has tens of thousands of mounts of about 200 bytes.
const MOUNTINFO_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// linux/exportfs.h: a file handle that is the 64-bit id of a kernfs node (Linux 5.5).
const FILEID_KERNFS: libc::c_int = 0xfe;

/// One line of `/proc/<pid>/mountinfo` (proc_pid_mountinfo(5)), as far as dbgov reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The part of the file system that is mounted.
    pub root: PathBuf,
    pub mount_point: PathBuf,
    pub fs_type: String,
}

/// The mounts of this process.
pub fn mounts() -> io::Result<Vec<Mount>> {
    let text = proc::read_bounded("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX)?;
    Ok(parse_mountinfo(&String::from_utf8_lossy(&text)))
}

pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw`; the optional fields end with ` - `.
fn parse_mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut fields = head.split(' ').skip(3);
    Some(Mount {
        root: unescape(fields.next()?),
        mount_point: unescape(fields.next()?),
        fs_type: tail.split(' ').next()?.to_owned(),
    })
}

/// Blank, tab, newline and backslash stand as `\` and three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut path = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        let code = after.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                path.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

/// The cgroup v2 mount: at `/sys/fs/cgroup`, on hybrid hosts at `/sys/fs/cgroup/unified`. One that shows the whole
/// hierarchy goes before one that shows a part of it.
pub fn cgroup2_mount(mounts: &[Mount]) -> Option<&Mount> {
    let mut all = mounts.iter().filter(|m| m.fs_type == "cgroup2");
    let first = all.clone().next()?;
    Some(all.find(|m| m.root == Path::new("/")).unwrap_or(first))
}

/// The mounted cgroup v2 hierarchy.
#[derive(Debug)]
pub struct CgroupFs {
    mount_point: PathBuf,
    root: File,
}

impl CgroupFs {
    /// `None` where no cgroup v2 is mounted.
    pub fn open() -> io::Result<Option<Self>> {
        let mounts = mounts()?;
        let Some(mount) = cgroup2_mount(&mounts) else {
            return Ok(None);
        };
        Ok(Some(CgroupFs {
            root: File::open(&mount.mount_point)?,
            mount_point: mount.mount_point.clone(),
        }))
    }

    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Path of the cgroup with this id (bpf_get_current_cgroup_id), as `/proc/<pid>/cgroup` would write it; also where
    /// no process is left in it. Needs CAP_DAC_READ_SEARCH.
    pub fn path(&self, id: u64) -> io::Result<String> {
        let node = open_by_id(&self.root, id)?;
        let target = std::fs::read_link(format!("/proc/self/fd/{}", node.as_raw_fd()))?;
        let below = target
            .strip_prefix(&self.mount_point)
            .map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        let path = format!("/{}", below.to_string_lossy());
        Ok(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
    }

    /// Id of the cgroup at a path (its kernfs id, which is the directory's inode number on 64-bit kernels).
    pub fn id(&self, path: &str) -> io::Result<u64> {
        let below = path.trim_start_matches('/');
        Ok(std::fs::metadata(self.mount_point.join(below))?.ino())
    }
}

/// open_by_handle_at(2) with a handle made of the id alone.
fn open_by_id(mount: &File, id: u64) -> io::Result<OwnedFd> {
    /// `struct file_handle` with room for the eight bytes that follow it.
    #[repr(C)]
    struct Handle {
        head: libc::file_handle,
        id: [u8; 8],
    }
    let mut handle = Handle {
        head: libc::file_handle {
            handle_bytes: 8,
            handle_type: FILEID_KERNFS,
            f_handle: [],
        },
        id: id.to_ne_bytes(),
    };
    // SAFETY: the mount's descriptor is open for the whole call. `handle` is laid out as the kernel wants it: the
    // eight bytes `handle_bytes` speaks of lie directly behind the header (size 8, alignment 4, so no padding), and
    // the pointer is made from the whole struct.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut handle).cast(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just returned this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The cgroups of a process in the hierarchies of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessCgroups {
    pub v2: Option<String>,
    pub v1: Vec<String>,
}

impl ProcessCgroups {
    /// The container and the pod: by the v2 path, else (hybrid hosts, where v2 is often empty) by one of v1.
    pub fn workload(&self) -> Workload {
        let v2 = self.v2.iter();
        Workload::of_paths(v2.chain(&self.v1).map(String::as_str))
    }
}

pub fn of_process(pid: u32) -> io::Result<ProcessCgroups> {
    let text = proc::read_bounded(format!("/proc/{pid}/cgroup"), PROC_CGROUP_BYTES_MAX)?;
    Ok(parse_process_cgroups(&String::from_utf8_lossy(&text)))
}

/// `0::/path` for v2, `4:memory:/path` for v1 (cgroups(7)).
fn parse_process_cgroups(text: &str) -> ProcessCgroups {
    let mut cgroups = ProcessCgroups::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(_), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path).to_owned();
        if number == "0" {
            cgroups.v2 = Some(path);
        } else {
            cgroups.v1.push(path);
        }
    }
    cgroups
}

/// The systemd unit that names the workload: the innermost `*.service` or `*.scope` of the path.
///
/// Not taken, because they name a login or a container and change with each: `session-*.scope`, `init.scope`,
/// `user@*.service`, every scope below a user's manager (terminals and desktop programs get one each), a container's
/// own scope, and a container runtime's service around a container. Who has no unit goes by the OS user.
pub fn workload_unit(path: &str) -> Option<&str> {
    let mut in_container = false;
    let below_user_manager = path.contains("/user@");
    for component in path.rsplit('/') {
        if container::is_container(component) {
            in_container = true;
            continue;
        }
        let runs_container = in_container && CONTAINER_RUNTIMES.contains(&component);
        let is_unit = if component.ends_with(".service") {
            !component.starts_with("user@") && !runs_container
        } else {
            component.ends_with(".scope")
                && !below_user_manager
                && !component.starts_with("session-")
                && component != "init.scope"
                && !component.contains("conmon-")
        };
        if is_unit {
            return Some(component);
        }
    }
    None
}

#[cfg(test)]
mod tests;
