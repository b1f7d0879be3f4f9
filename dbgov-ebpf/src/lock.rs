//! The lock of a connection's gate: two packets of one connection may be on two CPUs at once, and the order of their
//! records must be the order of the decisions.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_loop};
use dbgov_common::gate::GateState;

/// Tries to get the lock at once, less than a microsecond. Who holds it looks at a packet meanwhile; ingress runs with
/// bottom halves disabled, so that only a hardware interrupt, or the host of a virtual machine, can keep him from that.
const TRIES: u32 = 128;

/// What is waited for a lock at the most, nanoseconds. A packet that does not get it is dropped, and the client sends it
/// again after 200 ms and more: to wait is cheaper, even while the holder's virtual CPU does not run.
const PATIENCE_NS: u64 = 3_000_000;
/// Steps of the wait: more than fit into the time.
const STEPS_MAX: u32 = 1 << 20;

#[inline(always)]
fn taken(gate: *mut GateState) -> bool {
    // SAFETY: a field of a map value, which stays readable.
    let lock = unsafe { (&raw const (*gate).lock).read_volatile() };
    lock == 0 && exchange(gate, 1) == 0
}

/// A wait under way.
struct Wait {
    gate: *mut GateState,
    since_boot_ns: u64,
    taken: u64,
}

/// `gate` is an entry of GATES. Waits by bpf_loop (Linux 5.17).
#[inline(always)]
pub fn lock(gate: *mut GateState) -> bool {
    for _ in 0..TRIES {
        if taken(gate) {
            return true;
        }
    }
    let mut wait = Wait {
        gate,
        // SAFETY: takes nothing.
        since_boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        taken: 0,
    };
    // SAFETY: `step` has the callback's type, and `wait` outlives the call.
    unsafe {
        let wait = (&raw mut wait).cast();
        bpf_loop(STEPS_MAX, step as *mut c_void, wait, 0);
    }
    wait.taken != 0
}

unsafe extern "C" fn step(_index: u32, wait: *mut c_void) -> i64 {
    // SAFETY: the pointer `lock` passed.
    let wait = unsafe { &mut *wait.cast::<Wait>() };
    if taken(wait.gate) {
        wait.taken = 1;
        return 1;
    }
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    i64::from(now.wrapping_sub(wait.since_boot_ns) > PATIENCE_NS)
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
