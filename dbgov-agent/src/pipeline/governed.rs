//! Which sockets are a governed server's.

use std::collections::HashSet;

/// Configured ports and found servers.
#[derive(Debug, Clone, Default)]
pub struct Governed {
    /// Configured: in whatever network namespace.
    pub ports: HashSet<u16>,
    /// Found on the host: with the namespace's cookie, where the kernel has one.
    pub found: HashSet<(Option<u64>, u16)>,
}

impl Governed {
    pub(super) fn has(&self, netns_cookie: Option<u64>, port: u16) -> bool {
        self.ports.contains(&port)
            || self.found.contains(&(None, port))
            || match netns_cookie {
                Some(_) => self.found.contains(&(netns_cookie, port)),
                // The kernel cannot tell the namespace: better one connection too many than one unseen.
                None => self.found.iter().any(|(_, found)| *found == port),
            }
    }

    pub fn all_ports(&self) -> HashSet<u16> {
        self.ports
            .iter()
            .copied()
            .chain(self.found.iter().map(|(_, port)| *port))
            .collect()
    }
}
