//! Listen, established and closed. Hook: sock_ops on the cgroup v2 root (Linux 4.13; state callback 4.16, listen 4.18).

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_RB_FORCE_WAKEUP, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_LISTEN_CB, BPF_TCP_CLOSE,
    },
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::sock_ops,
    programs::SockOpsContext,
};
use aya_log_ebpf::debug;
use dbgov_common::{
    ClientEstablished, Closed, ConnState, Header, KIND_CLIENT, KIND_CLOSE, KIND_LISTEN, KIND_OPEN,
    Listening, Opened, Tuple, conn,
};

use crate::{
    counters::count,
    gate,
    maps::{CONNECTS, CONNS, CONTROL, PACKETS, governed, sock_ops_has_netns_cookie},
};

const AF_INET: u32 = 2;
const BPF_ANY: u64 = 0;

#[sock_ops]
pub fn dbgov_sock_ops(ctx: SockOpsContext) -> u32 {
    sock_ops::<true>(&ctx)
}

/// As `dbgov_sock_ops`, for kernels without the gate (before Linux 5.17).
#[sock_ops]
pub fn dbgov_sock_ops_ungated(ctx: SockOpsContext) -> u32 {
    sock_ops::<false>(&ctx)
}

#[inline(always)]
fn sock_ops<const GATE: bool>(ctx: &SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted::<GATE>(ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => connected(ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == BPF_TCP_CLOSE => closed::<GATE>(ctx),
        _ => {}
    }
    1
}

#[inline(always)]
fn netns_cookie(ctx: &SockOpsContext) -> u64 {
    if sock_ops_has_netns_cookie() {
        // SAFETY: takes the context.
        unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
    } else {
        0
    }
}

#[inline(always)]
fn remote_port(ctx: &SockOpsContext) -> u16 {
    u32::from_be(ctx.remote_port()) as u16
}

#[inline(always)]
fn header(ctx: &SockOpsContext, kind: u8) -> Header {
    // SAFETY: helpers that take the context or nothing.
    let (cookie, time_boot_ns) =
        unsafe { (bpf_get_socket_cookie(ctx.as_ptr()), bpf_ktime_get_boot_ns()) };
    Header {
        kind,
        cookie,
        time_boot_ns,
        ..Header::default()
    }
}

/// The two ends. Every address field is read, volatile, before the family decides: the verifier refuses a context
/// pointer that was moved, which is what a compiler makes of reads in two branches.
#[inline(always)]
fn tuple(ctx: &SockOpsContext) -> Tuple {
    let ops = ctx.ops;
    // SAFETY: fields of a context that is valid for the run of the program.
    let (local4, remote4, local6, remote6) = unsafe {
        (
            (&raw const (*ops).local_ip4).read_volatile(),
            (&raw const (*ops).remote_ip4).read_volatile(),
            [0, 1, 2, 3].map(|word| (&raw const (*ops).local_ip6[word]).read_volatile()),
            [0, 1, 2, 3].map(|word| (&raw const (*ops).remote_ip6[word]).read_volatile()),
        )
    };
    let mapped = 0xffff_u32.to_be();
    let v4 = ctx.family() == AF_INET;
    Tuple {
        local_addr: bytes(if v4 { [0, 0, mapped, local4] } else { local6 }),
        remote_addr: bytes(if v4 { [0, 0, mapped, remote4] } else { remote6 }),
        local_port: ctx.local_port() as u16,
        remote_port: remote_port(ctx),
        pad: 0,
    }
}

#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: the same 16 bytes.
    unsafe { core::mem::transmute(words) }
}

/// In the context of the process that calls listen(2): the agent looks whether a database has come up.
#[inline(always)]
fn listening(ctx: &SockOpsContext) {
    let Some(mut record) = CONTROL.reserve::<Listening>(0) else {
        count(|c| c.control_ring_full += 1);
        return;
    };
    record.write(Listening {
        header: header(ctx, KIND_LISTEN),
        port: ctx.local_port(),
        pad: 0,
        netns_cookie: netns_cookie(ctx),
    });
    record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
}

/// A server's end: before the first payload byte is handed to the socket.
#[inline(always)]
fn accepted<const GATE: bool>(ctx: &SockOpsContext) {
    if !governed(ctx.local_port()) {
        return;
    }
    let header = header(ctx, KIND_OPEN);
    // SAFETY: the context is valid for the run of the program.
    let (request_seq, response_seq) = unsafe { ((*ctx.ops).rcv_nxt, (*ctx.ops).snd_nxt) };
    let state = ConnState {
        response_seq,
        mode: conn::MODE_START,
        ..ConnState::default()
    };
    if CONNS.insert(&header.cookie, &state, BPF_ANY).is_err() {
        // No session without its state: nothing of it would come, and nobody would tell its end.
        count(|c| c.conns_full += 1);
        return;
    }
    if GATE {
        gate::accepted(header.cookie, request_seq);
    }
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    debug!(
        ctx,
        "connection {} opened, port {}",
        header.cookie,
        ctx.local_port()
    );
    let Some(mut record) = PACKETS.reserve::<Opened>(0) else {
        // Its packets will come as those of an unknown connection, which reads as joined mid-stream: never as complete.
        let _ = CONNS.remove(&header.cookie);
        count(|c| c.ring_full += 1);
        return;
    };
    record.write(Opened {
        header,
        tuple: tuple(ctx),
        netns_cookie: netns_cookie(ctx),
        request_seq,
        response_seq,
    });
    record.submit(0);
}

/// A client's end, on this host.
#[inline(always)]
fn connected(ctx: &SockOpsContext) {
    if governed(ctx.local_port()) {
        // A client whose own port happens to be a governed number: not a server, and not to be read as one.
        let cookie = header(ctx, 0).cookie;
        let state = ConnState {
            mode: conn::MODE_IGNORED,
            ..ConnState::default()
        };
        let _ = CONNS.insert(&cookie, &state, BPF_ANY);
        let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    }
    if !governed(u32::from(remote_port(ctx))) {
        return;
    }
    let header = header(ctx, KIND_CLIENT);
    let Some(mut record) = PACKETS.reserve::<ClientEstablished>(0) else {
        let _ = CONNECTS.remove(&header.cookie);
        count(|c| c.ring_full += 1);
        return;
    };
    let at = record.as_mut_ptr();
    // SAFETY: `at` is room for a `ClientEstablished`, which is written field by field: with all of it on the stack the
    // verifiers of 5.10 and 5.15 find the program's too large. An entry that is replaced meanwhile is that of another,
    // older socket.
    unsafe {
        (&raw mut (*at).header).write(header);
        (&raw mut (*at).tuple).write(tuple(ctx));
        let connect = &raw mut (*at).connect;
        match CONNECTS.get_ptr(&header.cookie) {
            Some(known) => connect.write(*known),
            None => connect.write_bytes(0, 1),
        }
    }
    let _ = CONNECTS.remove(&header.cookie);
    record.submit(0);
}

#[inline(always)]
fn closed<const GATE: bool>(ctx: &SockOpsContext) {
    let header = header(ctx, KIND_CLOSE);
    if GATE {
        gate::closed(header.cookie);
    }
    let Some(state) = CONNS.get_ptr_mut(&header.cookie) else {
        return;
    };
    // SAFETY: an entry of a preallocated map stays readable; this socket's packets are over.
    let state = unsafe { *state };
    let _ = CONNS.remove(&header.cookie);
    if state.mode == conn::MODE_IGNORED {
        return;
    }
    debug!(ctx, "connection {} closed", header.cookie);
    let Some(mut record) = PACKETS.reserve::<Closed>(0) else {
        // The agent finds out by itself: it compares its sessions with the sockets of the host.
        count(|c| c.ring_full += 1);
        return;
    };
    record.write(Closed {
        header,
        request_bytes: state.request_bytes,
        request_lost_bytes: state.request_lost_bytes,
        response_bytes: state.response_bytes,
        response_copied_bytes: state.response_copied_bytes,
        response_lost_bytes: state.response_lost_bytes,
    });
    record.submit(0);
}
