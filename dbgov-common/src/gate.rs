//! The gate: what kernel and agent share to hold packets back and to let them go.
//!
//! A connection of a governed server has a *class*: how its request packets are looked at before TCP gets them.
//! A packet that is held does not reach TCP; the agent has its copy and releases it by sending the same bytes from a
//! raw socket with the secret mark.

/// Everything passes.
pub const CLASS_PASS: u8 = 0;
/// The automaton of the connection's slot runs over the request bytes; a packet in which it hits is held.
pub const CLASS_TRIGGER: u8 = 1;
/// Every packet with payload is held.
pub const CLASS_STRICT: u8 = 2;

/// Automata in the kernel at once. A policy with more sets of rules than this shares the last one, which is the union.
pub const AUTOMATON_SLOTS: u32 = 8;
/// States of one automaton; a power of two. A policy with more words than fit is held strictly.
pub const AUTOMATON_STATES_MAX: usize = 1024;
/// The state before a message, and after one that was released.
pub const AUTOMATON_START: u16 = 0;
/// The state that is never left but by a release: something was hit.
pub const AUTOMATON_HIT: u16 = 1;

/// A byte automaton: `next[state * 256 + byte]` is the state after `byte`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Automaton {
    pub next: [u16; AUTOMATON_STATES_MAX * 256],
}

/// Settings of the gate, written by the agent (one entry).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// A heartbeat older than this means that the agent is down, nanoseconds.
    pub heartbeat_timeout_ns: u64,
    /// SO_MARK of released packets: this, or with [`MARK_RESUME`] set where a message ends with the packet and the
    /// automaton starts anew. Never zero.
    pub mark: u32,
    /// Class of connections the agent has not classified yet; [`CLASS_PASS`] when nothing is enforced.
    pub class: u8,
    /// What passes while the agent is down: 0 everything (`open`), 1 what does not trigger (`closed`).
    pub closed: u8,
    /// Hold a packet for which the ring has no room, on every governed connection.
    pub lossless: u8,
    /// The gate is on. Zero: no look-up by connection is made.
    pub enforcing: u8,
}

/// Bit of the mark that says: a message ends here.
pub const MARK_RESUME: u32 = 1;

/// [`GateState::framed`]: where the next request message begins is not known.
pub const FRAMED_NOT: u8 = 0;
/// [`GateState::framed`]: a message with a type byte begins at `boundary`.
pub const FRAMED_TYPED: u8 = 1;
/// [`GateState::framed`]: a start-up packet, which has no type byte (StartupMessage, SSLRequest and their like,
/// documentation 55.7), begins at `boundary`.
pub const FRAMED_STARTUP: u8 = 2;

/// How far beyond what has passed a packet may begin, bytes. TCP's receive window is smaller (`tcp_rmem`, 6 MiB unless
/// configured otherwise); a forged packet from beyond must not hold a connection for ever.
pub const GATE_AHEAD_MAX: u32 = 64 << 20;

/// How one connection is gated, by the cookie of the server's socket; only the agent writes it.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct GateControl {
    pub class: u8,
    /// Of the automaton, for [`CLASS_TRIGGER`].
    pub slot: u8,
    pub pad: u16,
    /// Changes whenever the class, the slot or the slot's automaton does: what is under way is held then.
    pub generation: u32,
}

/// What the gate knows of one connection, by the cookie of the server's socket; only the kernel writes it.
///
/// `passed` and `seen` are sequence numbers of the request stream. Everything before `passed` went to TCP, each byte
/// with one content only. The agent was given a copy of everything before `seen`. While they differ the connection is
/// held: only marked packets pass. While the gate does not look (class `PASS`, agent down and `open`) nothing of this
/// moves; `passed` then follows TCP's own `rcv_nxt` at the next packet that is looked at.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct GateState {
    /// Held for the few instructions a program changes this entry.
    pub lock: u64,
    /// The map's key once more: an entry whose connection ended while a program waited for the lock may be another's.
    pub cookie: u64,
    pub passed: u32,
    pub seen: u32,
    /// Where the next request message begins, as far as the headers that passed tell: what is between `passed` and
    /// here belongs to a message whose beginning has passed.
    pub boundary: u32,
    pub generation: u32,
    /// Of the automaton, after `passed`.
    pub state: u16,
    /// `passed` and `seen` are known.
    pub synced: u8,
    /// [`FRAMED_NOT`], [`FRAMED_TYPED`] or [`FRAMED_STARTUP`].
    pub framed: u8,
    /// Bytes of a message header at `boundary` that have passed, where a packet ended inside it.
    pub header_have: u8,
    pub pad: [u8; 3],
    pub header: [u8; 8],
}

const _: () = {
    assert!(AUTOMATON_STATES_MAX.is_power_of_two());
    assert!(size_of::<GateConfig>() == 16);
    assert!(size_of::<GateControl>() == 8);
    assert!(size_of::<GateState>() == 48);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Automaton, GateConfig, GateControl, GateState};

    // SAFETY: `repr(C)`, integers and arrays of them only, no padding (sizes asserted above), any bit pattern is valid.
    unsafe impl aya::Pod for GateConfig {}
    // SAFETY: as above.
    unsafe impl aya::Pod for GateControl {}
    // SAFETY: as above.
    unsafe impl aya::Pod for GateState {}
    // SAFETY: an array of integers.
    unsafe impl aya::Pod for Automaton {}
}
