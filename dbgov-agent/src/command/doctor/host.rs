//! What this host has mounted, and where dbgov can write.

use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::Check;
use crate::capture::cgroup::{self, Mount};
use crate::capture::proc;
use crate::capture::sockdiag::{self, Query};

/// linux/magic.h.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

/// One line for each kind of file system.
const FILESYSTEMS_BYTES_MAX: u64 = 64 * 1024;

/// Less free space than this is worth a word: about a million records.
const AUDIT_FREE_BYTES: u64 = 1024 * 1024 * 1024;

pub(super) fn cgroup2() -> Check {
    match cgroup::mounts() {
        Ok(mounts) => cgroup2_of(&mounts),
        Err(e) => cgroup2_check(format!("/proc/self/mountinfo: {e}")).fail("mount /proc"),
    }
}

fn cgroup2_check(found: String) -> Check {
    Check::ok(
        "cgroup v2",
        "attaching the programs to all sockets of the host",
        found,
    )
}

fn cgroup2_of(mounts: &[Mount]) -> Check {
    let Some(mount) = cgroup::cgroup2_mount(mounts) else {
        return cgroup2_check("not mounted".into()).fail(
            "mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with systemd.unified_cgroup_hierarchy=1",
        );
    };
    let check = cgroup2_check(format!("{}", mount.mount_point.display()));
    if mount.root == Path::new("/") {
        return check;
    }
    let part = format!(
        "{}, showing only {}",
        mount.mount_point.display(),
        mount.root.display()
    );
    Check {
        found: part,
        ..check
    }
    .warn("mount the host's /sys/fs/cgroup into the container and give it the host's cgroup namespace")
}

/// The nearest directory on the way to `path` that exists.
fn existing_ancestor(path: &Path) -> &Path {
    path.ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("/"))
}

pub(super) fn bpffs(path: &Path) -> Check {
    let check = |found: String| {
        Check::ok(
            "bpffs",
            "the gate's programs, which are pinned there while a policy is enforced",
            found,
        )
    };
    let place = existing_ancestor(path);
    if statfs(place).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
        return check(format!("{} is on a bpffs", path.display()));
    }
    let supported = proc::read_bounded("/proc/filesystems", FILESYSTEMS_BYTES_MAX)
        .is_ok_and(|list| has_filesystem(&String::from_utf8_lossy(&list), "bpf"));
    if !supported {
        return check("this kernel has none".into()).warn("use a kernel with CONFIG_BPF_SYSCALL");
    }
    check(format!("{} is on no bpffs", path.display()))
        .warn("set agent.bpffs to a directory below /sys/fs/bpf, or: mount -t bpf bpf DIRECTORY")
}

/// A line is `nodev`, where it needs no device, a tab and the name.
fn has_filesystem(list: &str, name: &str) -> bool {
    list.lines()
        .any(|line| line.split_ascii_whitespace().last() == Some(name))
}

pub(super) fn pid_namespace() -> Check {
    let check = |found| Check::ok("pid namespace", "seeing whose a connection is", found);
    if proc::is_initial_pid_namespace() {
        check("the host's")
    } else {
        check("not the host's").warn(
            "give the container the host's pid namespace (hostPID: true, --pid=host); without it clients have no exe",
        )
    }
}

pub(super) fn sock_diag() -> Check {
    let needed_for = "finding servers, and connections older than the agent";
    match sockdiag::tcp_sockets(Query::Listening) {
        Ok(dump) => Check::ok(
            "sock_diag",
            needed_for,
            format!("works, {} listening TCP sockets", dump.sockets.len()),
        ),
        Err(e) => Check::ok("sock_diag", needed_for, e.to_string())
            .warn("modprobe tcp_diag, or use a kernel with CONFIG_INET_DIAG; name the ports in [[server]]"),
    }
}

pub(super) fn audit_dir(directory: &Path) -> Check {
    let check = |found: String| Check::ok("audit directory", "the audit trail", found);
    let shown = directory.display();
    let place = existing_ancestor(directory);
    if !place.is_dir() {
        return check(format!("{} is not a directory", place.display()))
            .fail("set audit.dir to a directory");
    }
    if let Err(e) = access(place, AccessFlags::W_OK | AccessFlags::X_OK) {
        return check(format!("{}: {}", place.display(), e.desc())).fail(format!(
            "let the user of dbgov write to {shown}, or set audit.dir to another directory"
        ));
    }
    let state = if place == directory {
        "writable"
    } else {
        "not there yet, can be made"
    };
    let Ok(fs) = statvfs(place) else {
        return check(format!("{shown} {state}"));
    };
    let free_bytes = fs.blocks_available().saturating_mul(fs.fragment_size());
    let found = check(format!(
        "{shown} {state}, {} MiB free",
        free_bytes / (1024 * 1024)
    ));
    if free_bytes < AUDIT_FREE_BYTES {
        return found.warn("make room: when the disk is full, statements go unrecorded");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn cgroup_mounts() {
        for (mountinfo, status, found) in [
            (
                "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
                Status::Ok,
                "/sys/fs/cgroup",
            ),
            (
                "30 23 0:26 /pod /sys/fs/cgroup ro - cgroup2 cgroup ro",
                Status::Warn,
                "only /pod",
            ),
            (
                "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw",
                Status::Fail,
                "not mounted",
            ),
        ] {
            let check = cgroup2_of(&cgroup::parse_mountinfo(mountinfo));
            assert_eq!(check.status, status);
            assert!(check.found.contains(found), "{}", check.found);
        }
    }

    #[test]
    fn filesystems() {
        let list = "nodev\tsysfs\nnodev\tbpf\n\text4\n";
        assert!(has_filesystem(list, "bpf") && has_filesystem(list, "ext4"));
        assert!(!has_filesystem(list, "nodev") && !has_filesystem("", "bpf"));
    }

    #[test]
    fn a_place_on_no_bpffs_is_said() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(bpffs(&directory.path().join("x")).status, Status::Warn);
    }

    #[test]
    fn audit_directories() {
        let directory = tempfile::tempdir().unwrap();
        let there = audit_dir(directory.path());
        assert!(there.found.contains("writable"), "{there:?}");
        let later = audit_dir(&directory.path().join("a/b"));
        assert!(later.found.contains("can be made"), "{later:?}");
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(audit_dir(&file).status, Status::Fail);
        assert_eq!(audit_dir(&file.join("below")).status, Status::Fail);
        let closed = directory.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        std::fs::set_permissions(&closed, mode).unwrap();
        let is_root = nix::unistd::geteuid().is_root();
        assert_eq!(audit_dir(&closed).status == Status::Fail, !is_root);
    }
}
