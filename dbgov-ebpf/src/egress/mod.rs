//! Response messages to the packet ring, result rows left out. Hook: cgroup_skb egress on the cgroup v2 root.
//!
//! The program follows the message boundaries of PostgreSQL's backend messages (documentation, section 55.7: a type
//! byte, a length that counts itself) from packet to packet, copies the messages that tell how a statement ended, and
//! counts the others. TCP sends every byte for the first time in order, so the stream needs no reassembly here; what
//! is sent again is known by its sequence number.
//!
//! ```text
//! message.rs   what of a backend message crosses
//! short.rs     the common response, in one go
//! walk.rs      any other: one run fills one record, a tail call the next
//! walker.rs    one step of a run
//! ```

mod message;
mod short;
mod walk;
mod walker;

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use aya_log_ebpf::debug;
use dbgov_common::{ConnState, FLAG_FROM_SERVER, FLAG_RESYNC, FLAG_RING_FULL, Header, conn};

use self::{
    message::{First, first_byte, ready_for_query},
    short::short,
    walk::{each_bounded, each_with_helper, walk_on, walk_rest},
};
use crate::{
    counters::count,
    ingress::{add, finished, state_of},
    maps::{EGRESS, governed},
    packet::{Packet, Parsed, TCP_FIN, TCP_RST, parse},
};

#[cgroup_skb(egress)]
pub fn dbgov_egress(ctx: SkBuffContext) -> i32 {
    egress(&ctx, |ctx, packet, cookie, state| {
        walk_on(ctx, packet, cookie, state, each_with_helper)
    });
    1
}

/// The rest of a packet that filled one record; only ever tail-called.
#[cgroup_skb(egress)]
pub fn dbgov_egress_walk(ctx: SkBuffContext) -> i32 {
    walk_rest(&ctx, each_with_helper);
    1
}

/// As `dbgov_egress`, for kernels without bpf_loop (before Linux 5.17). The walk is a program of its own: the verifier
/// follows every pass of its loop, and does so once here, not once for each way that leads to it.
#[cgroup_skb(egress)]
pub fn dbgov_egress_bounded(ctx: SkBuffContext) -> i32 {
    egress(&ctx, |ctx, packet, cookie, state| {
        // SAFETY: the map holds a program of this type; on success the call does not return.
        unsafe { EGRESS.tail_call(ctx, 0) };
        give_up(ctx, packet, cookie, state);
    });
    1
}

#[cgroup_skb(egress)]
pub fn dbgov_egress_walk_bounded(ctx: SkBuffContext) -> i32 {
    walk_rest(&ctx, each_bounded);
    1
}

#[inline(always)]
fn egress(ctx: &SkBuffContext, walk: impl Fn(&SkBuffContext, &Packet, u64, &mut ConnState)) {
    // SAFETY: context access; the socket pointer is checked before it is followed.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: not null; a bpf_sock field the verifier knows (Linux 5.1).
    if !governed(unsafe { (*sk).src_port }) {
        return;
    }
    let packet = match parse(ctx) {
        Parsed::Tcp(packet) => packet,
        Parsed::NotTcp => return,
        Parsed::Unknown => {
            count(|c| c.unparsed_packets += 1);
            return;
        }
    };
    let finishing = packet.flags & (TCP_FIN | TCP_RST) != 0;
    if packet.payload_at == packet.end && !finishing {
        return;
    }
    // SAFETY: takes the context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let Some(state) = state_of(ctx, &packet, cookie, false) else {
        return;
    };
    // SAFETY: an entry of a preallocated map stays readable; the socket's lock keeps its egress runs apart.
    let state = unsafe { &mut *state };
    if finishing && state.mode < conn::MODE_OPAQUE {
        // SAFETY: takes nothing.
        let time_boot_ns = unsafe { bpf_ktime_get_boot_ns() };
        // Ahead of the payload's record: the agent orders the two by their sequence numbers.
        finished(
            &packet,
            &Header {
                cookie,
                time_boot_ns,
                ack: packet.ack,
                ..Header::default()
            },
            FLAG_FROM_SERVER,
        );
    }
    if packet.payload_at < packet.end
        && response(ctx, &packet, state)
        && !short(ctx, &packet, cookie, state)
    {
        walk(ctx, &packet, cookie, state);
    }
}

/// Where the packet stands in the stream, and from where to where it is to be walked; false where there is nothing.
#[inline(always)]
fn response(ctx: &SkBuffContext, packet: &Packet, state: &mut ConnState) -> bool {
    let end_seq = end_seq(packet);
    let mut at = packet.payload_at;
    let behind = packet.seq.wrapping_sub(state.response_seq) as i32;
    if behind < 0 {
        // Sent again, in whole or in part.
        if end_seq.wrapping_sub(state.response_seq) as i32 <= 0 {
            return false;
        }
        at += behind.unsigned_abs();
        if at >= packet.end {
            return false;
        }
    } else if behind > 0 && state.mode < conn::MODE_OPAQUE {
        state.mode = conn::MODE_UNSYNCED;
        add(&mut state.response_lost_bytes, u64::from(behind as u32));
    }
    let bytes = u64::from(packet.end - at);
    state.response_bytes += bytes;
    count(|c| {
        c.response_packets += 1;
        c.response_bytes += bytes;
    });
    // Said with the next record that finds room.
    state.flags &= FLAG_RING_FULL;
    state.end = packet.end;
    match state.mode {
        conn::MODE_FRAMED => {}
        conn::MODE_START => match first_byte(ctx, at, packet.end) {
            // The answer to SSLRequest or GSSENCRequest: one byte, and encrypted from there on.
            First::Encrypted => {
                (state.keep_left, state.end, state.mode) = (1, at + 1, conn::MODE_OPAQUE);
            }
            First::Refused => (state.keep_left, state.end) = (1, at + 1),
            First::Message => state.mode = conn::MODE_FRAMED,
        },
        conn::MODE_UNSYNCED => match ready_for_query(ctx, at, packet.end) {
            Some(boundary) => {
                add(&mut state.response_lost_bytes, u64::from(boundary - at));
                (state.header_have, state.keep_left, state.skip_left) = (0, 0, 0);
                (at, state.mode) = (boundary, conn::MODE_FRAMED);
                state.flags |= FLAG_RESYNC;
                state.resynced = 1;
            }
            None => {
                add(&mut state.response_lost_bytes, bytes);
                state.response_seq = end_seq;
                return false;
            }
        },
        _ => {
            state.response_seq = end_seq;
            return false;
        }
    }
    state.offset = at;
    state.response_seq = packet.seq.wrapping_add(at - packet.payload_at);
    true
}

#[inline(always)]
fn end_seq(packet: &Packet) -> u32 {
    packet.seq.wrapping_add(packet.end - packet.payload_at)
}

/// No room in the ring, not PostgreSQL's framing, or more messages than the runs allowed for one packet.
#[inline(always)]
fn give_up(ctx: &SkBuffContext, packet: &Packet, cookie: u64, state: &mut ConnState) {
    let end_seq = end_seq(packet);
    let left = end_seq.wrapping_sub(state.response_seq);
    add(&mut state.response_lost_bytes, u64::from(left));
    state.response_seq = end_seq;
    state.mode = conn::MODE_UNSYNCED;
    count(|c| c.unframed += 1);
    debug!(
        ctx,
        "connection {}: response boundaries lost, {} bytes", cookie, left
    );
}
