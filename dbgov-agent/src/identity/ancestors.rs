//! The processes above a client: which shell, job or service started it.

use std::sync::Arc;

use hashlink::LruCache;

use crate::capture::event::Parent;
use crate::capture::proc;
use crate::protocol::TimeNs;

/// Processes named above one, the nearest first.
const CHAIN_MAX: usize = dbgov_common::PARENTS_MAX;

/// Chains remembered: many clients have the same parent.
const CHAINS_MAX: usize = 1024;

/// A process above a client, as it was when the client connected; its program as it was when dbgov looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    pub pid: u32,
    pub started_ns: TimeNs,
    pub comm: String,
    /// Absent where it had ended by then, or the agent may not look.
    pub exe: Option<String>,
}

impl Ancestor {
    pub(super) fn is(&self, parent: &Parent) -> bool {
        (self.pid, self.started_ns, &self.comm) == (parent.pid, parent.started_ns, &parent.comm)
    }
}

/// Parents and those above them.
#[derive(Debug)]
pub(super) struct Ancestors {
    /// `/proc` numbers processes as the kernel does.
    proc_is_the_hosts: bool,
    /// By the first of the chain.
    known: LruCache<u32, Arc<[Ancestor]>>,
}

impl Ancestors {
    pub(super) fn new(proc_is_the_hosts: bool) -> Self {
        Ancestors {
            proc_is_the_hosts,
            known: LruCache::new(CHAINS_MAX),
        }
    }

    /// Those the kernel named. A chain that was looked at before is taken as long as it is the same, and its first still
    /// runs the same program.
    pub(super) fn of(&mut self, parents: &[Parent]) -> Arc<[Ancestor]> {
        let Some(first) = parents.first() else {
            return Arc::default();
        };
        let first_exe = self.exe(first);
        if let Some(known) = self.known.get(&first.pid)
            && are(known, parents)
            && (first_exe.is_none() || known[0].exe == first_exe)
        {
            return Arc::clone(known);
        }
        let ancestor = |parent: &Parent, exe| Ancestor {
            pid: parent.pid,
            started_ns: parent.started_ns,
            comm: parent.comm.clone(),
            exe,
        };
        let above = parents[1..]
            .iter()
            .map(|parent| ancestor(parent, self.exe(parent)));
        let chain: Arc<[Ancestor]> = std::iter::once(ancestor(first, first_exe))
            .chain(above)
            .collect();
        self.known.insert(first.pid, Arc::clone(&chain));
        chain
    }

    /// The program of a process that is still there.
    fn exe(&self, parent: &Parent) -> Option<String> {
        let exe = self
            .proc_is_the_hosts
            .then(|| proc::exe(parent.pid))?
            .ok()?;
        // Asked last: the number was this process's all the while.
        let stat = proc::stat(parent.pid).ok()?;
        (stat.started_ns == parent.started_ns).then_some(exe)
    }
}

/// Whether these are the same processes.
pub(super) fn are(known: &[Ancestor], parents: &[Parent]) -> bool {
    known.len() == parents.len() && known.iter().zip(parents).all(|(a, p)| a.is(p))
}

/// The process `parent` and those above it, from `/proc`. Empty where it has ended: its number may be another's by now,
/// and the client has another parent.
pub(super) fn above(parent: u32, child_started_ns: TimeNs) -> Vec<Parent> {
    let mut found = Vec::new();
    let mut next = (parent, child_started_ns);
    while found.len() < CHAIN_MAX
        && let Some(stat) = look(next.0, next.1)
    {
        found.push(Parent {
            pid: next.0,
            started_ns: stat.started_ns,
            comm: stat.comm,
        });
        next = (stat.parent, stat.started_ns);
    }
    found
}

/// `None` above process 1, and for a process that is younger than its child: the number was given away.
fn look(pid: u32, child_started_ns: TimeNs) -> Option<proc::Stat> {
    if pid == 0 {
        return None;
    }
    let stat = proc::stat(pid).ok()?;
    (stat.started_ns <= child_started_ns).then_some(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process() {
        let own = proc::stat(std::process::id()).unwrap();
        let mut ancestors = Ancestors::new(true);
        let parents = above(own.parent, own.started_ns);
        let chain = ancestors.of(&parents);
        assert_eq!(chain[0].pid, own.parent);
        assert_eq!(chain[0].comm, proc::comm(own.parent).unwrap());
        assert_eq!(chain[0].exe, proc::exe(own.parent).ok());
        for pair in chain.windows(2) {
            assert_eq!(proc::stat(pair[0].pid).unwrap().parent, pair[1].pid);
        }
        assert!(
            chain.len() == CHAIN_MAX || proc::stat(chain.last().unwrap().pid).unwrap().parent == 0
        );
        let again = ancestors.of(&parents);
        assert!(Arc::ptr_eq(&chain, &again));
        let mut other = parents.clone();
        other[0].comm = "another".to_owned();
        assert_eq!(ancestors.of(&other)[0].comm, "another");
    }

    #[test]
    fn nobody() {
        let own = proc::stat(std::process::id()).unwrap();
        assert!(above(0, u64::MAX).is_empty());
        assert!(above(own.parent, 0).is_empty(), "younger than its child");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        assert!(above(gone, u64::MAX).is_empty());
        assert!(Ancestors::new(true).of(&[]).is_empty());
    }

    #[test]
    fn who_is_gone_is_known_by_what_the_kernel_gave() {
        // The number is that of another by now.
        let gone = Parent {
            pid: std::process::id(),
            started_ns: 1,
            comm: "starter".to_owned(),
        };
        let chain = Ancestors::new(true).of(&[gone]);
        assert_eq!((chain[0].comm.as_str(), &chain[0].exe), ("starter", &None));
    }
}
