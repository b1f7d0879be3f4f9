//! Request payload to the packet ring, in full, and through the gate. Hook: cgroup_skb ingress on the cgroup v2 root (Linux 4.10; ring
//! buffer 5.8), where a packet has passed the IP layer and not yet reached TCP; GRO may have made it up to 64 KiB.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_TCP_LISTEN, BPF_TCP_SYN_RECV},
    helpers::generated::{
        bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_skb_load_bytes,
        bpf_tcp_sock,
    },
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use aya_log_ebpf::debug;
use dbgov_common::{
    ConnState, FLAG_RST, FLAG_SHARED, Header, KIND_FIN, KIND_LISTENER_REQUEST, KIND_REQUEST,
    KIND_SEEN, ListenerSegment, Opened, REQUEST_CLASS_BYTES, conn,
};

use crate::{
    bound::length,
    chunks::Chunks,
    counters::count,
    gate,
    loops::{Loops, Ungated, WithHelper},
    maps::{CONNS, PACKETS, governed, skb_has_netns_cookie},
    packet::{Packet, Parsed, TCP_FIN, TCP_RST, TCP_URG, parse, tuple},
    ring::{filling, quietly_if_held, wake},
    shared::shared,
};

const BPF_NOEXIST: u64 = 1;

#[cgroup_skb(ingress)]
pub fn dbgov_ingress(ctx: SkBuffContext) -> i32 {
    i32::from(ingress::<WithHelper>(&ctx))
}

/// As `dbgov_ingress`, for kernels without bpf_loop (before Linux 5.17): it only observes.
#[cgroup_skb(ingress)]
pub fn dbgov_ingress_ungated(ctx: SkBuffContext) -> i32 {
    i32::from(ingress::<Ungated>(&ctx))
}

#[repr(C)]
struct Segment<const N: usize> {
    header: Header,
    data: [MaybeUninit<u8>; N],
}

#[repr(C)]
struct FirstSegment {
    listener: ListenerSegment,
    data: [MaybeUninit<u8>; REQUEST_CLASS_BYTES[4]],
}

/// Whether the packet passes.
#[inline(always)]
fn ingress<L: Loops>(ctx: &SkBuffContext) -> bool {
    // SAFETY: context access; the socket pointer is checked before it is followed.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return true;
    }
    // SAFETY: not null; a bpf_sock field the verifier knows (Linux 5.1).
    let port = unsafe { (*sk).src_port };
    if !governed(port) {
        return true;
    }
    let packet = match parse(ctx) {
        Parsed::Tcp(packet) => packet,
        Parsed::NotTcp => return true,
        Parsed::Unknown => {
            count(|c| c.unparsed_packets += 1);
            // SAFETY: the socket of the packet; only TCP's is a TCP socket (Linux 5.1).
            return unsafe { bpf_tcp_sock(sk) }.is_null() || !(L::GATE && gate::enforcing());
        }
    };
    let payload = packet.payload_at != packet.end;
    if !payload && packet.flags & (TCP_FIN | TCP_RST | TCP_URG) == 0 {
        return true;
    }
    // SAFETY: as above; the cookie's helper takes the context.
    let (tcp_state, cookie) = unsafe { ((*sk).state, bpf_get_socket_cookie(ctx.as_ptr())) };
    // Before the connection has opened: on the listening socket, or on its own while another CPU is about to open it.
    if tcp_state == BPF_TCP_LISTEN
        || tcp_state == BPF_TCP_SYN_RECV && CONNS.get_ptr(&cookie).is_none()
    {
        // The client sends it again to the connection's own socket, where the gate knows what to do with it.
        if L::GATE && payload && gate::holds() {
            count(|c| c.gate_dropped += 1);
            return false;
        }
        first_segment(ctx, &packet);
        return true;
    }
    let Some(state) = state_of(ctx, &packet, cookie, true) else {
        // Nobody would know of the connection what passes on it.
        if L::GATE && payload && gate::holds() {
            count(|c| c.gate_dropped += 1);
            return false;
        }
        return true;
    };
    // SAFETY: an entry of a preallocated map stays readable, whatever happens to the key.
    let state = unsafe { &mut *state };
    if L::GATE
        && let Some(config) = gate::in_force()
        && let Some(passes) = gate::gated::<L>(ctx, &packet, cookie, state, &config, sk)
    {
        return passes;
    }
    request::<L>(ctx, &packet, cookie, state);
    true
}

/// The state of the packet's connection; made here for one that is older than the programs.
#[inline(always)]
pub fn state_of(
    ctx: &SkBuffContext,
    packet: &Packet,
    cookie: u64,
    ingress: bool,
) -> Option<*mut ConnState> {
    if let Some(state) = CONNS.get_ptr_mut(&cookie) {
        return Some(state);
    }
    if packet.payload_at == packet.end {
        return None;
    }
    let fresh = ConnState {
        response_seq: if ingress { packet.ack } else { packet.seq },
        mode: conn::MODE_UNSYNCED,
        ..ConnState::default()
    };
    if CONNS.insert(&cookie, &fresh, BPF_NOEXIST).is_err() {
        // Full, or the other direction's packet was quicker on another CPU.
        let state = CONNS.get_ptr_mut(&cookie);
        if state.is_none() {
            count(|c| c.conns_full += 1);
        }
        return state;
    }
    debug!(ctx, "connection {} joined mid-stream", cookie);
    match (PACKETS.reserve::<Opened>(0), tuple(ctx, ingress)) {
        (Some(mut record), Some(tuple)) => {
            // SAFETY: helpers that take the context or nothing.
            let (time_boot_ns, netns_cookie) = unsafe {
                (
                    bpf_ktime_get_boot_ns(),
                    if skb_has_netns_cookie() {
                        bpf_get_netns_cookie(ctx.as_ptr())
                    } else {
                        0
                    },
                )
            };
            record.write(Opened {
                header: Header {
                    kind: KIND_SEEN,
                    cookie,
                    time_boot_ns,
                    ..Header::default()
                },
                tuple,
                netns_cookie,
                request_seq: 0,
                response_seq: 0,
            });
            record.submit(0);
            CONNS.get_ptr_mut(&cookie)
        }
        (record, _) => {
            if let Some(record) = record {
                record.discard(0);
            } else {
                count(|c| c.ring_full += 1);
            }
            // The next packet tries again.
            let _ = CONNS.remove(&cookie);
            None
        }
    }
}

/// Records the packet as one that passes.
#[inline(always)]
fn request<L: Loops>(ctx: &SkBuffContext, packet: &Packet, cookie: u64, state: &mut ConnState) {
    let bytes = packet.end - packet.payload_at;
    add(&mut state.request_bytes, u64::from(bytes));
    if state.mode >= conn::MODE_OPAQUE {
        return;
    }
    if bytes == 0 && packet.flags & (TCP_FIN | TCP_RST) == 0 {
        return;
    }
    let mut header = header_of(packet, cookie);
    if bytes > 0 {
        header.flags = shared(ctx.skb.skb);
        count(|c| c.shared_packets += u64::from(header.flags / FLAG_SHARED));
        copy::<L>(ctx, packet, &header, state);
    }
    if packet.flags & (TCP_FIN | TCP_RST) != 0 {
        finished(packet, &header, 0);
    }
}

/// The header of the packet's records; counts the packet.
#[inline(always)]
pub fn header_of(packet: &Packet, cookie: u64) -> Header {
    count(|c| {
        c.request_packets += 1;
        c.request_bytes += u64::from(packet.bytes());
    });
    // SAFETY: takes nothing.
    let time_boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    Header {
        kind: KIND_REQUEST,
        cookie,
        time_boot_ns,
        seq: packet.seq,
        ack: packet.ack,
        ..Header::default()
    }
}

/// A FIN or RST, with the sequence number behind the payload.
#[inline(always)]
pub fn finished(packet: &Packet, header: &Header, flags: u8) {
    let Some(mut record) = PACKETS.reserve::<Header>(0) else {
        count(|c| c.ring_full += 1);
        return;
    };
    record.write(Header {
        kind: KIND_FIN,
        flags: if packet.flags & TCP_RST != 0 {
            flags | FLAG_RST
        } else {
            flags
        },
        seq: packet.seq.wrapping_add(packet.end - packet.payload_at),
        len: 0,
        ..*header
    });
    record.submit(0);
}

/// Copies the payload, into one record where one holds it.
#[inline(always)]
fn copy<L: Loops>(ctx: &SkBuffContext, packet: &Packet, header: &Header, state: &mut ConnState) {
    let (at, bytes) = (packet.payload_at, packet.end - packet.payload_at);
    if bytes <= REQUEST_CLASS_BYTES[0] as u32 {
        chunk::<{ REQUEST_CLASS_BYTES[0] }>(ctx, at, bytes, header, state);
    } else if bytes <= REQUEST_CLASS_BYTES[1] as u32 {
        chunk::<{ REQUEST_CLASS_BYTES[1] }>(ctx, at, bytes, header, state);
    } else if bytes <= REQUEST_CLASS_BYTES[2] as u32 {
        chunk::<{ REQUEST_CLASS_BYTES[2] }>(ctx, at, bytes, header, state);
    } else if bytes <= REQUEST_CLASS_BYTES[3] as u32 {
        chunk::<{ REQUEST_CLASS_BYTES[3] }>(ctx, at, bytes, header, state);
    } else {
        copy_large::<L>(ctx, packet, header, state);
    }
}

/// In several records, up to the first for which the ring has no room.
#[inline(always)]
fn copy_large<L: Loops>(
    ctx: &SkBuffContext,
    packet: &Packet,
    header: &Header,
    state: &mut ConnState,
) {
    if filling() {
        wake(header);
    }
    let bytes = packet.bytes();
    let copied = L::chunks(&mut Chunks {
        skb: ctx.skb.skb,
        conn: state,
        header: *header,
        at: packet.payload_at,
        end: packet.end,
    });
    if copied < bytes {
        lose(state, bytes - copied);
    }
}

#[inline(always)]
pub fn lose(state: &mut ConnState, bytes: u32) {
    add(&mut state.request_lost_bytes, u64::from(bytes));
    count(|c| {
        c.ring_full += 1;
        c.ring_full_bytes += u64::from(bytes);
    });
}

/// One record of the class with room for `N` bytes; where the ring has none, the bytes are counted as lost.
#[inline(always)]
fn chunk<const N: usize>(
    ctx: &SkBuffContext,
    at: u32,
    bytes: u32,
    header: &Header,
    state: &mut ConnState,
) {
    if !put::<N>(ctx, at, bytes, header, state) {
        lose(state, bytes);
    }
}

/// One record of the class with room for `N` bytes; false where the ring has none.
#[inline(always)]
pub fn put<const N: usize>(
    ctx: &SkBuffContext,
    at: u32,
    bytes: u32,
    header: &Header,
    state: &ConnState,
) -> bool {
    let Some(mut record) = PACKETS.reserve::<Segment<N>>(0) else {
        return false;
    };
    let segment = record.as_mut_ptr();
    let bytes = length::<N>(bytes);
    // SAFETY: `segment` is a reserved record of this type, written here before it is submitted.
    let failed = unsafe {
        (*segment).header = *header;
        (*segment).header.len = bytes;
        (*segment).header.lost_bytes = (&raw const state.request_lost_bytes).read_volatile();
        bpf_skb_load_bytes(ctx.as_ptr(), at, (*segment).data.as_mut_ptr().cast(), bytes)
    };
    if failed != 0 {
        record.discard(0);
        return false;
    }
    record.submit(quietly_if_held(header.flags));
    true
}

/// The packet that completes the handshake runs the hook on the listening socket, and the next one may overtake it on
/// another CPU; if it carries data, the agent ties it to the connection by its two ends, when that opens.
#[inline(always)]
fn first_segment(ctx: &SkBuffContext, packet: &Packet) {
    let left = packet.end - packet.payload_at;
    if left == 0 {
        return;
    }
    let Some(tuple) = tuple(ctx, true) else {
        return;
    };
    let Some(mut record) = PACKETS.reserve::<FirstSegment>(0) else {
        count(|c| {
            c.ring_full += 1;
            c.ring_full_bytes += u64::from(left);
        });
        return;
    };
    let flags = shared(ctx.skb.skb);
    count(|c| c.shared_packets += u64::from(flags / FLAG_SHARED));
    const CAP: usize = REQUEST_CLASS_BYTES[4];
    let bytes = length::<CAP>(if left < CAP as u32 { left } else { CAP as u32 });
    let segment = record.as_mut_ptr();
    // SAFETY: `segment` is a reserved record of this type, written here before it is submitted.
    let failed = unsafe {
        (*segment).listener = ListenerSegment {
            header: Header {
                kind: KIND_LISTENER_REQUEST,
                flags,
                len: bytes,
                time_boot_ns: bpf_ktime_get_boot_ns(),
                seq: packet.seq,
                ack: packet.ack,
                lost_bytes: u64::from(left - bytes),
                ..Header::default()
            },
            tuple,
        };
        bpf_skb_load_bytes(
            ctx.as_ptr(),
            packet.payload_at,
            (*segment).data.as_mut_ptr().cast(),
            bytes,
        )
    };
    if failed != 0 {
        record.discard(0);
        return;
    }
    record.submit(0);
}

/// Adds to a counter that programs on several CPUs may change at once. (The target has no `AtomicU64::fetch_add` in
/// core; the instruction is in every kernel that has maps.)
#[inline(always)]
pub fn add(counter: &mut u64, amount: u64) {
    // SAFETY: a valid, aligned u64 of a map value.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) amount) };
}
