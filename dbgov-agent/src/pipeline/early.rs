//! Request bytes that came with the handshake, which the kernel knows by their ends only: they wait for the event that
//! says which connection opened, or come just behind it.

use hashlink::LinkedHashMap;

use crate::capture::event::Ends;
use crate::protocol::TimeNs;

/// Packets that came before their connection opened: a handful, for the microseconds between the two events.
const WAITING_MAX: usize = 256;
/// How long such a packet waits.
const TIMEOUT_NS: TimeNs = 2_000_000_000;

pub(super) struct FirstRequest {
    pub(super) at: TimeNs,
    pub(super) seq: u32,
    pub(super) missing_bytes: u64,
    /// Others could still write to its pages.
    pub(super) shared: bool,
    pub(super) payload: Box<[u8]>,
}

#[derive(Default)]
pub(super) struct Early {
    waiting: LinkedHashMap<Ends, FirstRequest>,
    /// The newest connections.
    opened: LinkedHashMap<Ends, u64>,
}

impl Early {
    /// A connection opened; what waited for it.
    pub(super) fn opened(&mut self, ends: Ends, cookie: u64) -> Option<FirstRequest> {
        self.opened.insert(ends, cookie);
        if self.opened.len() > WAITING_MAX {
            self.opened.pop_front();
        }
        self.waiting.remove(&ends)
    }

    /// The connection between these ends, where it has just opened.
    pub(super) fn connection(&self, ends: &Ends) -> Option<u64> {
        self.opened.get(ends).copied()
    }

    pub(super) fn wait(&mut self, ends: Ends, first: FirstRequest) {
        self.waiting.insert(ends, first);
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
    }

    /// Forgets what nothing opened for.
    pub(super) fn expire(&mut self, now: TimeNs) {
        while let Some((_, first)) = self.waiting.front()
            && now.saturating_sub(first.at) > TIMEOUT_NS
        {
            self.waiting.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
