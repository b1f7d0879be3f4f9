//! connect(2) towards a governed port, in the context of the process that calls it.
//! Hooks: cgroup/connect4 and connect6 (Linux 4.17; the helpers from 5.10).

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_RB_FORCE_WAKEUP, bpf_sock_addr},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{
            bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_netns_cookie,
            bpf_get_socket_cookie, bpf_ktime_get_boot_ns,
        },
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use dbgov_common::{
    CONNECT_TAG_DEEPER, CONNECT_TOLD, ConnectInfo, Connecting, Header, KIND_CONNECT, TAG_LEVELS_MAX,
};

use crate::{
    counters::count,
    maps::{CONNECTS, CONTROL, TAGS, governed},
    task,
};

const SOCK_STREAM: u32 = 1;

#[cgroup_sock_addr(connect4)]
pub fn dbgov_connect4(ctx: SockAddrContext) -> i32 {
    connect(&ctx);
    1
}

#[cgroup_sock_addr(connect6)]
pub fn dbgov_connect6(ctx: SockAddrContext) -> i32 {
    connect(&ctx);
    1
}

/// The tag of the nearest tagged cgroup above the process, and [`CONNECT_TAG_DEEPER`] or 0. The root,
/// which is every process's, has none.
#[inline(always)]
fn tag() -> (u32, u32) {
    let mut tag = 0;
    for level in 1..=TAG_LEVELS_MAX {
        // SAFETY: takes a number; 0 below the process's own cgroup.
        let cgroup_id = unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
        if cgroup_id == 0 {
            return (tag, 0);
        }
        // SAFETY: the value is copied at once.
        if let Some(found) = unsafe { TAGS.get(&cgroup_id) } {
            tag = *found;
        }
    }
    (tag, CONNECT_TAG_DEEPER)
}

#[inline(always)]
fn connect(ctx: &SockAddrContext) {
    let addr: *const bpf_sock_addr = ctx.sock_addr;
    // SAFETY: the context is valid for the run of the program; the verifier checks the fields.
    let (port, kind) = unsafe { ((*addr).user_port, (*addr).type_) };
    if kind != SOCK_STREAM || !governed(u32::from(u16::from_be(port as u16))) {
        return;
    }
    // SAFETY: helpers that take the context or nothing.
    let (cookie, time_boot_ns, cgroup_id, netns_cookie) = unsafe {
        (
            bpf_get_socket_cookie(ctx.as_ptr()),
            bpf_ktime_get_boot_ns(),
            bpf_get_current_cgroup_id(),
            bpf_get_netns_cookie(ctx.as_ptr()),
        )
    };
    let pid_tgid = bpf_get_current_pid_tgid();
    let uid_gid = bpf_get_current_uid_gid();
    let (tag, flags) = tag();
    let mut info = ConnectInfo {
        time_boot_ns,
        cgroup_id,
        netns_cookie,
        pid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        uid: uid_gid as u32,
        gid: (uid_gid >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or_default(),
        tag,
        flags,
    };
    let Some(mut record) = CONTROL.reserve::<Connecting>(0) else {
        let _ = CONNECTS.insert(&cookie, &info, 0);
        count(|c| c.control_ring_full += 1);
        return;
    };
    info.flags |= CONNECT_TOLD;
    let _ = CONNECTS.insert(&cookie, &info, 0);
    let at = record.as_mut_ptr();
    // SAFETY: `at` is room for a `Connecting`, which is written field by field, since it is larger than the stack.
    unsafe {
        (&raw mut (*at).header).write(Header {
            kind: KIND_CONNECT,
            cookie,
            time_boot_ns,
            ..Header::default()
        });
        (&raw mut (*at).connect).write(info);
        task::read(&raw mut (*at).task);
    }
    // At once: what the programs could not read the agent looks up while the process waits for the server.
    record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
}
