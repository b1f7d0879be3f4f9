//! How far the journal is safe from a power loss: what is sent elsewhere must not be a record that the journal may lose,
//! since another one would get its number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of the newest record that is synced to the disk; 0 while nothing is known. Cheap to look at.
#[derive(Debug, Clone, Default)]
pub struct Durable(Arc<AtomicU64>);

impl Durable {
    /// Of a journal that nobody writes to: all of it.
    pub fn whole() -> Self {
        Durable(Arc::new(AtomicU64::new(u64::MAX)))
    }

    pub fn seq(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, seq: u64) {
        self.0.store(seq, Ordering::Release);
    }
}
