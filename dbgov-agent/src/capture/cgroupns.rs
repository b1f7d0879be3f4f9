//! The cgroup namespace: what a container runtime hides of the cgroups of the host.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, setns};

use super::proc;

/// Inode of the host's cgroup namespace (`PROC_CGROUP_INIT_INO` in the kernel's proc_ns.h).
const INITIAL_INODE: u64 = 0xEFFF_FFFB;

/// Processes that are in it: init, and kthreadd where a security module hides init.
const HOST_PROCESSES: [&str; 2] = ["/proc/1/ns/cgroup", "/proc/2/ns/cgroup"];

/// Enters the cgroup namespace of the host, where this process is in another: there the paths of cgroups that are not below
/// its own begin with `/..` (cgroup_namespaces(7)). For the calling thread and those it starts later. Needs CAP_SYS_ADMIN
/// and CAP_SYS_PTRACE, and the host's pid namespace.
pub fn enter_host() -> io::Result<()> {
    if inode("/proc/thread-self/ns/cgroup")? == INITIAL_INODE || !proc::is_initial_pid_namespace() {
        return Ok(());
    }
    let host = HOST_PROCESSES
        .iter()
        .find(|path| inode(path).is_ok_and(|inode| inode == INITIAL_INODE))
        .ok_or_else(|| io::Error::other("no process of the host can be looked at"))?;
    Ok(setns(File::open(host)?, CloneFlags::CLONE_NEWCGROUP)?)
}

fn inode(path: &str) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}
