//! The lock of a connection's gate: two packets of one connection may be on two CPUs at once, and the order of their
//! records must be the order of the decisions.

use dbgov_common::gate::GateState;

/// Tries to get the lock before the packet is dropped (TCP sends it again, after 200 ms and more); some microseconds.
/// Who holds it copies a packet to the ring meanwhile, and only a hardware interrupt can keep him from that: ingress
/// runs with bottom halves disabled.
const TRIES: u32 = 2048;

/// `gate` is an entry of GATES.
#[inline(always)]
pub fn lock(gate: *mut GateState) -> bool {
    for _ in 0..TRIES {
        // SAFETY: a field of a map value, which stays readable.
        let taken = unsafe { (&raw const (*gate).lock).read_volatile() };
        if taken == 0 && exchange(gate, 1) == 0 {
            return true;
        }
    }
    false
}

#[inline(always)]
pub fn unlock(gate: *mut GateState) {
    // An exchange, not a store: it keeps the order of what was written before.
    exchange(gate, 0);
}

/// Atomic exchange (Linux 5.12).
#[inline(always)]
fn exchange(gate: *mut GateState, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: `lock` is the entry's first field, an aligned u64 of a map value.
    unsafe {
        core::arch::asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) gate);
    }
    value
}

const _: () = assert!(core::mem::offset_of!(GateState, lock) == 0);
