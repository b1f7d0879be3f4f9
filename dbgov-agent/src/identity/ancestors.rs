//! The processes above a client: which shell, job or service started it.

use std::sync::Arc;

use hashlink::LruCache;

use crate::capture::proc;
use crate::protocol::TimeNs;

/// Processes named above one, the nearest first.
const CHAIN_MAX: usize = 8;

/// Parents remembered: many clients have the same one.
const PARENTS_MAX: usize = 1024;

/// A process above a client, as it was when the client connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    pub pid: u32,
    pub comm: String,
    /// Absent where the agent may not look.
    pub exe: Option<String>,
}

/// Parents and those above them.
#[derive(Debug)]
pub(super) struct Ancestors {
    known: LruCache<u32, Known>,
}

#[derive(Debug)]
struct Known {
    stat: proc::Stat,
    exe: Option<String>,
    chain: Arc<[Ancestor]>,
}

impl Ancestors {
    pub(super) fn new() -> Self {
        Ancestors {
            known: LruCache::new(PARENTS_MAX),
        }
    }

    /// The process `parent` and those above it. Empty where it has ended: its number may be another's by now, and the
    /// client has another parent. A chain that was read before is taken as long as its first two are the same.
    pub(super) fn of(&mut self, parent: u32, child_started_ns: TimeNs) -> Arc<[Ancestor]> {
        let Some((stat, exe)) = look(parent, child_started_ns) else {
            return Arc::default();
        };
        if let Some(known) = self.known.get(&parent)
            && (&known.stat, &known.exe) == (&stat, &exe)
        {
            return Arc::clone(&known.chain);
        }
        let mut chain = vec![ancestor(parent, &stat, &exe)];
        let mut above = (stat.parent, stat.started_ns);
        while chain.len() < CHAIN_MAX
            && let Some((stat, exe)) = look(above.0, above.1)
        {
            chain.push(ancestor(above.0, &stat, &exe));
            above = (stat.parent, stat.started_ns);
        }
        let chain: Arc<[Ancestor]> = chain.into();
        let known = Known {
            stat,
            exe,
            chain: Arc::clone(&chain),
        };
        self.known.insert(parent, known);
        chain
    }
}

/// `None` above process 1, and for a process that is younger than its child: the number was given away.
fn look(pid: u32, child_started_ns: TimeNs) -> Option<(proc::Stat, Option<String>)> {
    if pid == 0 {
        return None;
    }
    let stat = proc::stat(pid).ok()?;
    (stat.started_ns <= child_started_ns).then(|| (stat, proc::exe(pid).ok()))
}

fn ancestor(pid: u32, stat: &proc::Stat, exe: &Option<String>) -> Ancestor {
    Ancestor {
        pid,
        comm: stat.comm.clone(),
        exe: exe.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process() {
        let own = proc::stat(std::process::id()).unwrap();
        let mut ancestors = Ancestors::new();
        let chain = ancestors.of(own.parent, own.started_ns);
        assert_eq!(chain[0].pid, own.parent);
        assert_eq!(chain[0].comm, proc::comm(own.parent).unwrap());
        for pair in chain.windows(2) {
            assert_eq!(proc::stat(pair[0].pid).unwrap().parent, pair[1].pid);
        }
        assert!(
            chain.len() == CHAIN_MAX || proc::stat(chain.last().unwrap().pid).unwrap().parent == 0
        );
        let again = ancestors.of(own.parent, own.started_ns);
        assert!(Arc::ptr_eq(&chain, &again));
    }

    #[test]
    fn nobody() {
        let own = proc::stat(std::process::id()).unwrap();
        let mut ancestors = Ancestors::new();
        assert!(ancestors.of(0, u64::MAX).is_empty());
        assert!(
            ancestors.of(own.parent, 0).is_empty(),
            "younger than its child"
        );
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        assert!(ancestors.of(gone, u64::MAX).is_empty());
    }
}
