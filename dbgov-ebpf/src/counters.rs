//! Per-CPU counters.

use dbgov_common::KernelCounters;

use crate::maps::COUNTERS;

/// Runs `change` on this CPU's counters. A program that another one interrupts between load and store may lose a
/// count; losses of payload are counted per connection as well, atomically.
#[inline(always)]
pub fn count(change: impl FnOnce(&mut KernelCounters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: a per-CPU array value stays valid, and only programs on this CPU write it.
        change(unsafe { &mut *counters })
    }
}
