//! Network namespaces: what lives in them, and how to look into one from outside.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::proc;

/// asm-generic/socket.h; Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// asm-generic/socket.h; Linux 4.12.
const SO_COOKIE: libc::c_int = 57;

/// Namespaces looked into in one search.
const NAMESPACES_MAX: usize = 10_000;

/// Addresses of this host that are kept: a handful for each namespace.
pub const LOCAL_ADDRESSES_MAX: usize = 65_536;

/// A network namespace, named by the inode of its nsfs file and reachable through a process that lives in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetNs {
    pub inode: u64,
    /// Some process in it (it may be gone by the time the namespace is entered: that is then an error).
    pub pid: u32,
}

/// Inode of the calling thread's network namespace.
pub fn own_inode() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// Runs `work` in a network namespace: here where it is the calling thread's own (no privilege needed), else on a
/// short-lived thread that enters it by setns(2) (CAP_SYS_ADMIN) and ends there, so that no thread of the agent is
/// ever left in a foreign namespace.
pub fn within<T: Send>(ns: NetNs, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if own_inode().is_ok_and(|own| own == ns.inode) {
        return Ok(work());
    }
    let file = File::open(format!("/proc/{}/ns/net", ns.pid))?;
    // The process may have ended and its number been given away since the scan.
    if file.metadata()?.ino() != ns.inode {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the process left its network namespace",
        ));
    }
    thread::scope(|scope| {
        let visitor =
            thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, move || {
                    setns(&file, CloneFlags::CLONE_NEWNET)?;
                    Ok(work())
                })?;
        visitor
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Every network namespace in which a process lives that this one may look at; its own in any case.
pub fn all() -> io::Result<Vec<NetNs>> {
    let own = NetNs {
        inode: own_inode()?,
        pid: std::process::id(),
    };
    let mut all = BTreeMap::from([(own.inode, own)]);
    for pid in proc::pids()? {
        if let Ok(inode) = proc::netns_inode(pid)
            && all.len() < NAMESPACES_MAX
        {
            all.entry(inode).or_insert(NetNs { inode, pid });
        }
    }
    Ok(all.into_values().collect())
}

/// The addresses of all interfaces of all network namespaces. A namespace that cannot be looked into is left out.
pub fn local_addresses() -> io::Result<HashSet<IpAddr>> {
    let mut addresses = HashSet::new();
    for namespace in all()? {
        let found = within(namespace, || {
            Ok::<_, io::Error>(
                getifaddrs()?
                    .filter_map(|interface| address(&interface))
                    .collect::<Vec<_>>(),
            )
        });
        let room = LOCAL_ADDRESSES_MAX.saturating_sub(addresses.len());
        if let Ok(Ok(found)) = found {
            addresses.extend(found.into_iter().take(room));
        }
    }
    Ok(addresses)
}

fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
    four.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))
}

/// Cookie of the calling thread's network namespace, as bpf_get_netns_cookie gives it. Absent before Linux 5.14.
pub fn own_cookie() -> Option<u64> {
    let probe = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .ok()?;
    u64_option(probe.as_fd(), SO_NETNS_COOKIE).ok()
}

/// The namespace with this cookie, found through the processes that live in it: one look into every namespace of the
/// host, about 0.1 ms each.
pub fn find(cookie: u64) -> Option<NetNs> {
    let mut seen = HashSet::new();
    for pid in proc::pids().ok()? {
        // A process that has ended meanwhile lives in none.
        let Ok(inode) = proc::netns_inode(pid) else {
            continue;
        };
        let namespace = NetNs { inode, pid };
        if seen.len() < NAMESPACES_MAX
            && seen.insert(inode)
            && within(namespace, own_cookie).is_ok_and(|found| found == Some(cookie))
        {
            return Some(namespace);
        }
    }
    None
}

/// The number bpf_get_socket_cookie gives for the socket.
pub fn socket_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    u64_option(socket, SO_COOKIE)
}

fn u64_option(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<u64> {
    let mut value = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed and so open; `value` and `length` are live for the whole call, and the
    // kernel writes at most `length` = 8 bytes into `value`, for which every bit pattern is valid.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size_of::<u64>() {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_visited_without_privilege() {
        let here = thread::current().id();
        let ns = NetNs {
            inode: own_inode().unwrap(),
            pid: std::process::id(),
        };
        assert_eq!(within(ns, || thread::current().id()).unwrap(), here);
    }

    #[test]
    fn a_namespace_that_is_gone_is_an_error() {
        let ns = NetNs {
            inode: 1,
            pid: std::process::id(),
        };
        assert_eq!(
            within(ns, || ()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn the_cookie_of_a_namespace_is_stable() {
        let first = own_cookie();
        assert_eq!(first, own_cookie());
        assert_ne!(first, Some(0));
    }

    /// Needs root: a thread makes itself a namespace, and what is seen there is that one and not ours.
    #[test]
    fn a_foreign_namespace_is_entered_and_left() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (ready, wait) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn(move || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let tid = nix::unistd::gettid().as_raw() as u32;
            ready
                .send((own_inode().unwrap(), tid, own_cookie()))
                .unwrap();
            let _ = stopped.recv();
        });
        let (inode, pid, cookie) = wait.recv().unwrap();
        let before = own_inode().unwrap();
        let seen = within(NetNs { inode, pid }, || {
            (own_inode().unwrap(), own_cookie())
        })
        .unwrap();
        assert_eq!(seen, (inode, cookie));
        assert_ne!(seen.0, before);
        assert_eq!(own_inode().unwrap(), before);
        // /proc lists processes, and this namespace has none of its own.
        assert_eq!(find(cookie.unwrap()), None);
        assert_eq!(find(own_cookie().unwrap()).unwrap().inode, before);
        drop(stop);
        other.join().unwrap();
    }
}
