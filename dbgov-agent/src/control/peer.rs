//! Who asks, and whether they may.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User};

use crate::audit::record::ApproverBlock;
use crate::capture::cgroup;
use crate::capture::peer::{self, Credentials, Process};
use crate::gate::approvals::Approver;

/// UNIX group whose members may ask the agent beside root. Who decides on approvals belongs in it.
pub const GROUP: &str = "dbgov";

/// A client of the control socket, by the kernel's word.
#[derive(Debug, Clone)]
pub struct Peer {
    pub pid: u32,
    pub uid: u32,
    /// Name of the UNIX user, where there is one.
    pub user: Option<String>,
    /// Root, or in the group [`GROUP`]. Others may only ask to run something under a tag ([`super::Request::Exec`]).
    pub permitted: bool,
    /// All groups of the process.
    pub groups: Vec<u32>,
    /// cgroup v2 path of the process.
    pub cgroup: Option<String>,
    /// The process itself; absent where it had ended.
    pub process: Option<Arc<Process>>,
}

impl Peer {
    pub fn approver(&self) -> Approver {
        Approver {
            uid: self.uid,
            user: self.user.clone(),
        }
    }

    /// Name of the user, or its number.
    pub fn who(&self) -> String {
        match &self.user {
            Some(user) => user.clone(),
            None => format!("uid {}", self.uid),
        }
    }

    /// What one who may not ask is told.
    pub fn refusal(&self) -> String {
        let who = self.who();
        format!(
            "{who} may not ask: only root and members of the group {GROUP}; run this with sudo, or have root add you with `usermod -aG {GROUP} {who}` and log in anew"
        )
    }
}

impl From<&Peer> for ApproverBlock {
    fn from(peer: &Peer) -> Self {
        ApproverBlock {
            uid: peer.uid,
            user: peer.user.clone(),
        }
    }
}

/// The client. What the process's groups are counts, not what the user database says of its user: one that gave its
/// groups away has no more rights than it kept.
pub(super) fn identify(stream: &UnixStream) -> Result<Peer, String> {
    let credentials = peer::credentials(stream)
        .map_err(|error| format!("the kernel does not say who asks: {error}"))?;
    let user = User::from_uid(Uid::from_raw(credentials.uid))
        .ok()
        .flatten()
        .map(|user| user.name);
    let permitted = permitted(&credentials, group());
    let mut groups = credentials.groups;
    groups.push(credentials.gid);
    Ok(Peer {
        pid: credentials.pid,
        uid: credentials.uid,
        user,
        permitted,
        groups,
        cgroup: cgroup::of_process(credentials.pid)
            .ok()
            .and_then(|cgroups| cgroups.v2),
        process: peer::process(stream, credentials.pid).ok().map(Arc::new),
    })
}

/// Looked up each time: the group may be made while the agent runs.
pub(super) fn group() -> Option<Gid> {
    Group::from_name(GROUP)
        .ok()
        .flatten()
        .map(|group| group.gid)
}

/// Whom a client has to share its places with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Other,
    Group,
    Root,
}

/// Asked on the thread that accepts.
pub(super) fn standing(stream: &UnixStream) -> Standing {
    match peer::credentials(stream) {
        Ok(credentials) if credentials.uid == 0 => Standing::Root,
        Ok(credentials) if permitted(&credentials, group()) => Standing::Group,
        _ => Standing::Other,
    }
}

fn permitted(credentials: &Credentials, group: Option<Gid>) -> bool {
    credentials.uid == 0
        || group.is_some_and(|group| {
            let group = group.as_raw();
            credentials.gid == group || credentials.groups.contains(&group)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_group_are_permitted() {
        let of = |uid, gid, groups: &[u32]| Credentials {
            pid: 1,
            uid,
            gid,
            groups: groups.to_vec(),
        };
        let group = Some(Gid::from_raw(990));
        assert!(permitted(&of(0, 0, &[]), group));
        assert!(permitted(&of(0, 0, &[]), None));
        assert!(permitted(&of(1000, 990, &[]), group));
        assert!(permitted(&of(1000, 1000, &[27, 990]), group));
        assert!(!permitted(&of(1000, 1000, &[27]), group));
        // Root's group is not root.
        assert!(!permitted(&of(1000, 0, &[0]), group));
        assert!(!permitted(&of(1000, 990, &[990]), None));
    }
}
