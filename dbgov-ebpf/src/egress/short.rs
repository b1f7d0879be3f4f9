//! The common response, without a loop over unknown steps: whole messages in one short packet, of which the first and
//! the last ones cross and those between do not (completions, rows, how the statement ended). All else is for `walk`.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use dbgov_common::{
    ConnState, FLAG_BOUNDARY, Header, KIND_RESPONSE_SHORT, RESPONSE_SHORT_DATA_BYTES,
    RESPONSE_SHORT_MESSAGES_MAX, RESPONSE_SHORT_PACKET_BYTES, ResponseShort, conn,
};

use super::{
    end_seq,
    message::{Crosses, HEADER_BYTES, read},
};
use crate::{
    bound::{length, masked},
    counters::count,
    maps::PACKETS,
    packet::Packet,
};

const WINDOW_BYTES: usize = RESPONSE_SHORT_PACKET_BYTES;
const WINDOW_MASK: i32 = WINDOW_BYTES as i32 - 1;
/// Behind the window, so that a header at its last byte is still inside; a multiple of the stack's slots.
const HEADER_SLOT_BYTES: usize = 8;
const HALF_BYTES: usize = RESPONSE_SHORT_DATA_BYTES / 2;
const BEHIND_MASK: i32 = HALF_BYTES as i32 - 1;
const WINDOW_WORDS: usize = (WINDOW_BYTES + HEADER_SLOT_BYTES) / 8;

/// What a packet holds, offsets from the start of its payload.
struct Found {
    /// So much crosses of the beginning, and from here on to the end.
    first: u32,
    last_at: u32,
    /// Messages between that are rows.
    rows: u32,
}

/// Sends the record of a common response; false where it is none, or where the ring has no room.
#[inline(always)]
pub fn short(ctx: &SkBuffContext, packet: &Packet, cookie: u64, state: &mut ConnState) -> bool {
    let inside = state.keep_left | state.skip_left | u32::from(state.header_have);
    if state.mode != conn::MODE_FRAMED || inside != 0 {
        return false;
    }
    let at = state.offset;
    let bytes = packet.end.wrapping_sub(at);
    if bytes == 0 || bytes > WINDOW_BYTES as u32 {
        return false;
    }
    match find(ctx, at, bytes) {
        Some(found) => send(ctx, packet, cookie, state, (at, bytes), &found),
        None => false,
    }
}

/// Reads the headers of all messages.
#[inline(always)]
fn find(ctx: &SkBuffContext, at: u32, bytes: u32) -> Option<Found> {
    let mut window = [0u64; WINDOW_WORDS];
    for word in &mut window {
        // SAFETY: a word of this stack frame. Volatile: otherwise it would be a byte loop in a call of its own.
        unsafe { (&raw mut *word).write_volatile(0) };
    }
    let size = length::<WINDOW_BYTES>(bytes);
    // SAFETY: `window` has WINDOW_BYTES and more.
    if unsafe { bpf_skb_load_bytes(ctx.as_ptr(), at, window.as_mut_ptr().cast(), size) } != 0 {
        return None;
    }
    let mut found = Found {
        first: 0,
        last_at: bytes,
        rows: 0,
    };
    let mut next = 0;
    for _ in 0..RESPONSE_SHORT_MESSAGES_MAX {
        let start = next;
        if start + HEADER_BYTES > bytes {
            return None;
        }
        let inside = masked::<WINDOW_MASK>(start) as usize;
        // SAFETY: the masked offset is below WINDOW_BYTES, and HEADER_SLOT_BYTES follow those.
        let header = unsafe {
            let window = window.as_ptr().cast::<u8>();
            window.add(inside).cast::<[u8; 5]>().read_volatile()
        };
        let (crosses, body) = read(&header);
        next = start + HEADER_BYTES + body;
        if next > bytes {
            return None;
        }
        let row = match crosses {
            Crosses::Head(crossing) if crossing == body => {
                if found.first == start {
                    found.first = next;
                } else if found.last_at == bytes {
                    found.last_at = start;
                }
                if next == bytes {
                    return Some(found);
                }
                continue;
            }
            Crosses::Row => 1,
            Crosses::Nothing => 0,
            _ => return None,
        };
        if found.last_at < bytes {
            return None;
        }
        found.rows += row;
        if next == bytes {
            return Some(found);
        }
    }
    None
}

#[inline(always)]
fn send(
    ctx: &SkBuffContext,
    packet: &Packet,
    cookie: u64,
    state: &mut ConnState,
    (at, bytes): (u32, u32),
    found: &Found,
) -> bool {
    let last = bytes - found.last_at;
    if found.first >= HALF_BYTES as u32 || last > HALF_BYTES as u32 {
        return false;
    }
    let kept = found.first + last;
    let Some(mut record) = PACKETS.reserve::<ResponseShort>(0) else {
        return false;
    };
    let response = record.as_mut_ptr();
    let end_seq = end_seq(packet);
    // SAFETY: a reserved record of this type; header and data[..kept] are written before it is submitted.
    let failed = unsafe {
        (*response).header = Header {
            kind: KIND_RESPONSE_SHORT,
            flags: state.flags | FLAG_BOUNDARY,
            marks: found.first as u8,
            pad: 0,
            len: kept,
            cookie,
            time_boot_ns: bpf_ktime_get_boot_ns(),
            seq: packet.seq.wrapping_add(at - packet.payload_at),
            seq_end: end_seq,
            ack: packet.ack,
            passed: found.rows,
            lost_bytes: state.response_lost_bytes,
        };
        let data = (&raw mut (*response).data).cast::<u8>();
        let behind = data.add(masked::<BEHIND_MASK>(found.first) as usize);
        !copy(ctx, at, found.first, data) || !copy(ctx, at + found.last_at, last, behind)
    };
    if failed {
        record.discard(0);
        return false;
    }
    record.submit(0);
    state.flags = 0;
    state.response_seq = end_seq;
    state.response_copied_bytes += u64::from(kept);
    count(|c| {
        c.response_copied_bytes += u64::from(kept);
        c.response_record_bytes += size_of::<ResponseShort>() as u64;
    });
    true
}

/// Copies at most half of a record's data.
///
/// # Safety
/// `to` has room for half the data.
#[inline(always)]
unsafe fn copy(ctx: &SkBuffContext, at: u32, bytes: u32, to: *mut u8) -> bool {
    bytes == 0
        // SAFETY: the caller's promise; the length is bounded by half the data.
        || unsafe {
            bpf_skb_load_bytes(ctx.as_ptr(), at, to.cast(), length::<HALF_BYTES>(bytes)) == 0
        }
}

const _: () = {
    assert!(WINDOW_BYTES.is_power_of_two() && RESPONSE_SHORT_DATA_BYTES.is_power_of_two());
};
