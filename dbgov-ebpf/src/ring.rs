//! When the agent is woken. It lets packets gather, and a wake-up is an interrupt, which costs the packet that causes it
//! some microseconds: the more so where the agent keeps up and every record would wake it (kernel/bpf/ringbuf.c,
//! `bpf_ringbuf_commit`).

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use dbgov_common::{FLAG_HELD, Header, KIND_WAKE};

use crate::maps::{CONTROL, PACKETS};

/// Width of the mark at an eighth of the ring, bytes: a few packets of 64 KiB.
const FILLING_BYTES: u64 = 256 << 10;

/// Flag for a record that the agent finds when it next looks, because something else wakes it or nothing has to.
pub const QUIETLY: u64 = BPF_RB_NO_WAKEUP as u64;

/// Flag for the record of a request: what is held is told by a record of its own, when the gate is done with it. No
/// branch: the verifier would follow both ways for each of many records.
#[inline(always)]
pub fn quietly_if_held(flags: u8) -> u64 {
    u64::from(flags & FLAG_HELD) / (FLAG_HELD as u64 / QUIETLY)
}

/// Bytes of the packet ring that wait for the agent, and all it has.
#[inline(always)]
fn ring() -> (u64, u64) {
    (
        PACKETS.query(u64::from(BPF_RB_AVAIL_DATA)),
        PACKETS.query(u64::from(BPF_RB_RING_SIZE)),
    )
}

/// The packet ring has just been filled to an eighth: the agent is to read it now.
#[inline(always)]
pub fn filling() -> bool {
    let (filled, size) = ring();
    // Some packets in a row say so: the record of one may find no room.
    filled.wrapping_sub(size / 8) < FILLING_BYTES
}

/// What is left of the packet ring is for what does not come again: connections that open and close, and results.
#[inline(always)]
pub fn nearly_full() -> bool {
    let (filled, size) = ring();
    filled > size - size / 8
}

/// Wakes the agent; not where it has not read the last such record yet, for then it is awake.
#[inline(always)]
pub fn wake(header: &Header) {
    if let Some(mut record) = CONTROL.reserve::<Header>(0) {
        record.write(Header {
            kind: KIND_WAKE,
            flags: 0,
            ..*header
        });
        record.submit(0);
    }
}
