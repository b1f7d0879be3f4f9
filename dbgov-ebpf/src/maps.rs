//! Maps and load-time constants.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use dbgov_common::gate::{AUTOMATON_SLOTS, Automaton, GateConfig, GateControl, GateState};
use dbgov_common::{
    CONNECTS_MAX, CONNS_MAX, CONTROL_RING_BYTES, ConnState, ConnectInfo, KernelCounters,
    PACKET_RING_BYTES_DEFAULT, PORT_BITMAP_WORDS, TAGS_MAX, TaskLayout,
};

/// Governed TCP ports, one bit each: the one look-up every other packet of the host pays for.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(PORT_BITMAP_WORDS, 0);

#[map]
pub static PACKETS: RingBuf = RingBuf::with_byte_size(PACKET_RING_BYTES_DEFAULT, 0);

#[map]
pub static CONTROL: RingBuf = RingBuf::with_byte_size(CONTROL_RING_BYTES, 0);

/// By the cookie of the server's socket.
#[map]
pub static CONNS: HashMap<u64, ConnState> = HashMap::with_max_entries(CONNS_MAX, 0);

/// By the cookie of the client's socket, from connect(2) to established.
#[map]
pub static CONNECTS: LruHashMap<u64, ConnectInfo> = LruHashMap::with_max_entries(CONNECTS_MAX, 0);

/// The tag's id by the id of the tagged cgroup; written by the agent.
#[map]
pub static TAGS: HashMap<u64, u32> = HashMap::with_max_entries(TAGS_MAX, 0);

#[map]
pub static COUNTERS: PerCpuArray<KernelCounters> = PerCpuArray::with_max_entries(1, 0);

/// The egress program itself, for its tail call.
#[map]
pub static EGRESS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// One entry; all zero, the gate is off.
#[map]
pub static GATE_CONFIG: Array<GateConfig> = Array::with_max_entries(1, 0);

/// When the agent last said that it is alive, bpf_ktime_get_boot_ns.
#[map]
pub static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// By the cookie of the server's socket.
#[map]
pub static GATES: HashMap<u64, GateState> = HashMap::with_max_entries(CONNS_MAX, 0);

/// By the cookie of the server's socket; written by the agent.
#[map]
pub static GATE_CONTROL: HashMap<u64, GateControl> = HashMap::with_max_entries(CONNS_MAX, 0);

#[map]
pub static AUTOMATA: Array<Automaton> = Array::with_max_entries(AUTOMATON_SLOTS, 0);

/// Set at load time: bpf_get_netns_cookie may be called from sock_ops (Linux 6.1).
#[unsafe(no_mangle)]
static SOCK_OPS_HAS_NETNS_COOKIE: u8 = 0;

/// Set at load time: it may be called from cgroup_skb (Linux 6.15).
#[unsafe(no_mangle)]
static SKB_HAS_NETNS_COOKIE: u8 = 0;

/// Set at load time: offsets of `head` and `end` in `struct sk_buff`; 0 where they are not known.
#[unsafe(no_mangle)]
static SKB_HEAD_AT: u32 = 0;
#[unsafe(no_mangle)]
static SKB_END_AT: u32 = 0;

#[inline(always)]
pub fn skb_layout() -> Option<(u32, u32)> {
    // SAFETY: a static's address is valid. Volatile: as below.
    let (head, end) = unsafe {
        (
            core::ptr::read_volatile(&raw const SKB_HEAD_AT),
            core::ptr::read_volatile(&raw const SKB_END_AT),
        )
    };
    if head == 0 || end == 0 {
        return None;
    }
    Some((head, end))
}

/// Set at load time: where the kernel keeps what it knows of processes; zero where that is not known.
#[unsafe(no_mangle)]
pub static TASK: TaskLayout = TaskLayout::UNKNOWN;

/// Set at load time: command lines may be read.
#[unsafe(no_mangle)]
static COMMAND_LINES: u8 = 0;

#[inline(always)]
pub fn command_lines() -> bool {
    load_time(&COMMAND_LINES)
}

#[inline(always)]
fn load_time(flag: &'static u8) -> bool {
    // SAFETY: a static's address is valid. Volatile: the compiler must not fold the value that the loader replaces.
    unsafe { core::ptr::read_volatile(flag) != 0 }
}

#[inline(always)]
pub fn sock_ops_has_netns_cookie() -> bool {
    load_time(&SOCK_OPS_HAS_NETNS_COOKIE)
}

#[inline(always)]
pub fn skb_has_netns_cookie() -> bool {
    load_time(&SKB_HAS_NETNS_COOKIE)
}

#[inline(always)]
pub fn governed(port: u32) -> bool {
    match PORTS.get((port >> 6) & (PORT_BITMAP_WORDS - 1)) {
        Some(word) => word & (1 << (port & 63)) != 0,
        None => false,
    }
}
