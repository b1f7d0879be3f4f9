//! Who is at the other end of a UNIX socket, as the kernel noted when it connected (unix(7)). Nothing a process says.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Groups a process may be in (`NGROUPS_MAX` of the kernel's limits.h).
const GROUPS_MAX: usize = 65_536;
/// Nearly every process is in fewer; for one in more the kernel says how many.
const GROUPS_USUAL: usize = 64;

/// The process that connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// 0 where it is in a pid namespace this one does not see.
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// SO_PEERCRED and SO_PEERGROUPS (Linux 4.13): effective ids at the time of connect(2).
pub fn credentials(socket: &impl AsFd) -> io::Result<Credentials> {
    let found = getsockopt(&socket.as_fd(), PeerCredentials)?;
    Ok(Credentials {
        pid: u32::try_from(found.pid()).unwrap_or_default(),
        uid: found.uid(),
        gid: found.gid(),
        groups: groups(socket)?,
    })
}

/// A reference to the process that connected, which its number may cease to be. SO_PEERPIDFD (Linux 6.5), before that
/// pidfd_open(2) of the number.
pub fn process(socket: &impl AsFd, pid: u32) -> io::Result<Process> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed and so open; `fd` and `bytes` live for the whole call, and the kernel writes at
    // most `bytes` into `fd`.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut bytes,
        )
    };
    if answer != 0 {
        // SAFETY: takes numbers.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        fd = opened as libc::c_int;
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor the kernel has just made for us.
    Ok(Process(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// A process, whatever becomes of its number.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// A pidfd can be read when its process has ended (pidfd_open(2)).
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

fn groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut room = GROUPS_USUAL;
    loop {
        let mut groups: Vec<libc::gid_t> = vec![0; room];
        let mut bytes = (room * size_of::<libc::gid_t>()) as libc::socklen_t;
        // SAFETY: the descriptor is borrowed and so open; `groups` has room for `bytes` bytes, both live for the whole
        // call; the kernel writes at most `bytes` into it, group numbers, for which every bit pattern is valid.
        let answer = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let found = bytes as usize / size_of::<libc::gid_t>();
        if answer == 0 {
            groups.truncate(found);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE: `bytes` says now how many there are (`sk_getsockopt`).
        if error.raw_os_error() != Some(libc::ERANGE) || found <= room || found > GROUPS_MAX {
            return Err(error);
        }
        room = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_of_our_own_has_our_credentials() {
        let (one, _other) = UnixStream::pair().unwrap();
        let found = credentials(&one).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert_eq!(found.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(found.gid, nix::unistd::getegid().as_raw());
        assert!(!process(&one, found.pid).unwrap().has_ended());
        let mut ours: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .into_iter()
            .map(nix::unistd::Gid::as_raw)
            .collect();
        let mut theirs = found.groups;
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
