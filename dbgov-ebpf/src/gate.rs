//! The gate: which request packets TCP gets. `dbgov_common::gate` says what agent and programs share.
//!
//! A packet for which 0 is returned looks lost to both ends: the sender keeps its bytes and sends them again. The agent
//! has the copy and sends the same bytes itself, with the mark. Each byte of a gated connection passes with one content
//! only: what TCP may still take of a retransmission (it dropped the first, behind the gate) is the agent's to send.

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_tcp_sock},
    programs::SkBuffContext,
};
use dbgov_common::{
    ConnState, FLAG_HELD, FLAG_RELEASED, FLAG_SHARED, Header, REQUEST_CLASS_BYTES, conn,
    gate::{
        AUTOMATON_HIT, AUTOMATON_START, CLASS_PASS, CLASS_STRICT, CLASS_TRIGGER, FRAMED_NOT,
        FRAMED_STARTUP, FRAMED_TYPED, GATE_AHEAD_MAX, GateConfig, GateControl, GateState,
        MARK_RESUME,
    },
};

use crate::{
    bound::forgotten,
    chunks::Chunks,
    counters::count,
    frames::{Frames, before},
    ingress::{add, finished, header_of, lose, put},
    lock::{lock, unlock},
    loops::Loops,
    maps::{AUTOMATA, GATE_CONFIG, GATE_CONTROL, GATES, HEARTBEAT, PACKETS},
    packet::{Packet, TCP_FIN, TCP_RST, TCP_URG},
    ring::{QUIETLY, filling, nearly_full, wake},
    scan::Scan,
    shared::shared,
};

/// Payload that gets one record, so that the agent has all of a packet or nothing: GRO makes packets no larger. Those of
/// BIG TCP are held, in several records.
const WHOLE_BYTES: usize = 64 << 10;

/// The settings, where a packet has to be looked at: the one look-up that observing costs.
#[inline(always)]
pub fn in_force() -> Option<GateConfig> {
    match GATE_CONFIG.get(0) {
        Some(config) if config.enforcing | config.lossless != 0 => Some(*config),
        _ => None,
    }
}

#[inline(always)]
pub fn enforcing() -> bool {
    GATE_CONFIG
        .get(0)
        .is_some_and(|config| config.enforcing != 0)
}

/// What finds no place in a map or the ring is held, until it does. Not while nobody is there to make room, unless the
/// gate is to stay closed then.
#[inline(always)]
pub fn holds() -> bool {
    match in_force() {
        Some(config) => config.closed != 0 || !down(&config),
        None => false,
    }
}

/// A server accepted a connection: from here on the gate knows every byte of it.
#[inline(always)]
pub fn accepted(cookie: u64, request_seq: u32) {
    if !enforcing() {
        return;
    }
    let gate = GateState {
        cookie,
        passed: request_seq,
        seen: request_seq,
        boundary: request_seq,
        state: AUTOMATON_START,
        synced: 1,
        framed: FRAMED_STARTUP,
        ..GateState::default()
    };
    // Without room its first packet tries again, and is dropped until there is.
    let _ = GATES.insert(&cookie, &gate, 0);
}

/// The connection's socket is closed.
#[inline(always)]
pub fn closed(cookie: u64) {
    let Some(gate) = GATES.get_ptr_mut(&cookie) else {
        return;
    };
    // Whoever waits for the lock finds another connection's cookie, or none, when he has it.
    let locked = lock(gate);
    let _ = GATES.remove(&cookie);
    let _ = GATE_CONTROL.remove(&cookie);
    if locked {
        unlock(gate);
    }
}

// What becomes of an unmarked packet.
/// It is dropped and nothing remembered of it.
const DROP: u32 = 0;
/// TCP has it already.
const OLD: u32 = 1;
/// It was looked at and passes.
const PASS: u32 = 2;
/// It passes if it can be recorded, whatever is in it.
const RECORD: u32 = 3;
/// It is held; also the flag of its record.
const HOLD: u32 = FLAG_HELD as u32;

/// A packet under the gate. Numbers that the verifier would follow one by one are [`forgotten`].
struct Gated<'a> {
    ctx: &'a SkBuffContext,
    packet: Packet,
    conn: &'a mut ConnState,
    header: Header,
    class: u32,
    slot: u32,
    generation: u32,
    /// The agent has not said for too long that it is alive; not zero.
    down: u32,
    lossless: u32,
    /// The agent has to be woken; not zero.
    wakes: u32,
}

/// Whether the packet passes; None where it does and is to be recorded as far as there is room.
#[inline(always)]
pub fn gated<L: Loops>(
    ctx: &SkBuffContext,
    packet: &Packet,
    cookie: u64,
    conn: &mut ConnState,
    config: &GateConfig,
    sk: *mut bpf_sock,
) -> Option<bool> {
    // SAFETY: context access.
    let mark = unsafe { (*ctx.skb.skb).mark };
    let marked = config.enforcing != 0 && config.mark != 0 && mark & !MARK_RESUME == config.mark;
    let control = control(cookie, config);
    let down = down(config);
    let open = down && config.closed == 0;
    let mut class = control.class;
    if conn.mode >= conn::MODE_OPAQUE {
        // Encrypted, or no server's: there are no words to look for. Whether it may go on is the agent's to say.
        if class == CLASS_PASS || config.enforcing == 0 {
            return None;
        }
        class = CLASS_STRICT;
    }
    if config.enforcing == 0 || open || packet.flags & TCP_RST != 0 {
        if config.enforcing != 0 && open && class != CLASS_PASS {
            count(|c| c.gate_down_passed += 1);
        }
        class = CLASS_PASS;
    }
    let lossless = config.lossless != 0 && !open;
    if class == CLASS_PASS && !marked && !lossless {
        return None;
    }
    let header = header_of(packet, cookie);
    let forget = |value: u32| forgotten(value, header.time_boot_ns);
    let gated = Gated {
        ctx,
        packet: Packet {
            payload_at: forget(packet.payload_at),
            end: forget(packet.end),
            ..*packet
        },
        conn,
        class: forget(class.into()),
        slot: forget(control.slot.into()),
        generation: forget(control.generation),
        down: forget(down.into()),
        lossless: forget(lossless.into()),
        wakes: 0,
        header,
    };
    Some(gated.look::<L>(cookie, sk, mark, forget(marked.into()) != 0))
}

#[inline(always)]
fn control(cookie: u64, config: &GateConfig) -> GateControl {
    // SAFETY: the value is copied at once.
    match unsafe { GATE_CONTROL.get(&cookie) } {
        Some(control) => *control,
        None => GateControl {
            class: config.class,
            ..GateControl::default()
        },
    }
}

#[inline(always)]
fn down(config: &GateConfig) -> bool {
    let beat = HEARTBEAT.get(0).copied().unwrap_or(0);
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    now > beat && now - beat > config.heartbeat_timeout_ns
}

#[inline(always)]
fn entry(cookie: u64) -> Option<*mut GateState> {
    if let Some(gate) = GATES.get_ptr_mut(&cookie) {
        return Some(gate);
    }
    let fresh = GateState {
        cookie,
        ..GateState::default()
    };
    // Not replaced where another CPU was quicker.
    let _ = GATES.insert(&cookie, &fresh, 1);
    GATES.get_ptr_mut(&cookie)
}

#[inline(always)]
fn dropped() -> bool {
    count(|c| c.gate_dropped += 1);
    false
}

impl Gated<'_> {
    #[inline(always)]
    fn look<L: Loops>(mut self, cookie: u64, sk: *mut bpf_sock, mark: u32, marked: bool) -> bool {
        // SAFETY: the socket of the packet; the verifier has seen that it is not null.
        let tcp = unsafe { bpf_tcp_sock(sk) };
        if tcp.is_null() {
            return dropped();
        }
        // SAFETY: not null.
        let rcv_nxt = unsafe { (*tcp).rcv_nxt };
        let Some(gate) = entry(cookie) else {
            return marked || dropped();
        };
        if !L::lock(gate) {
            count(|c| c.gate_lock_missed += 1);
            return dropped();
        }
        // SAFETY: an entry of a preallocated map stays readable; its lock is ours.
        let state = unsafe { &mut *gate };
        let passes = if state.cookie != cookie {
            // The connection ended meanwhile.
            dropped()
        } else {
            sync(state, rcv_nxt, self.generation);
            if marked {
                self.release::<L>(state, mark & MARK_RESUME != 0);
                true
            } else {
                self.decide::<L>(state, rcv_nxt)
            }
        };
        unlock(gate);
        // Not before: an interrupt on this CPU does the waking, and the agent's answer would not wait for the lock.
        if self.wakes != 0 {
            wake(&self.header);
        }
        passes
    }

    #[inline(always)]
    fn forget(&self, value: u32) -> u32 {
        forgotten(value, self.header.time_boot_ns)
    }

    /// An unmarked packet.
    #[inline(always)]
    fn decide<L: Loops>(&mut self, gate: &mut GateState, rcv_nxt: u32) -> bool {
        let bytes = self.packet.bytes();
        add(&mut self.conn.request_bytes, u64::from(bytes));
        let mut next = AUTOMATON_HIT;
        let mut verdict = self.forget(self.verdict(gate, rcv_nxt));
        let shared = if bytes > 0 {
            shared(self.ctx.skb.skb)
        } else {
            0
        };
        count(|c| c.shared_packets += u64::from(shared / FLAG_SHARED));
        if verdict == PASS && bytes > 0 {
            // What is held the server gets from the agent's copy, to which nobody writes.
            if shared == 0 {
                next = self.scan::<L>(gate.state);
            }
            if next == AUTOMATON_HIT {
                verdict = HOLD;
            }
            verdict = self.forget(verdict);
        }
        if verdict == DROP {
            return dropped();
        }
        if verdict == OLD {
            return true;
        }
        self.header.flags = verdict as u8 & FLAG_HELD | shared;
        self.header.seq_end = self.packet.window.into();
        // Not `gate.passed`: what TCP dropped behind the gate it still wants.
        self.header.passed = rcv_nxt;
        let copied = self.copy::<L>();
        let copied = self.forget(copied);
        self.header.seq = self.packet.seq;
        if verdict == HOLD {
            if bytes > 0 && copied == 0 {
                // As if it had not come.
                return dropped();
            }
            self.held(gate, copied);
        } else {
            if copied != bytes {
                if self.down == 0 || self.lossless != 0 {
                    return dropped();
                }
                lose(self.conn, bytes);
            }
            if verdict == PASS && bytes > 0 {
                gate.state = next;
                self.advance::<L>(gate);
                gate.seen = gate.passed;
            }
        }
        if bytes > REQUEST_CLASS_BYTES[2] as u32 && filling() {
            self.wakes = 1;
        }
        if self.packet.flags & (TCP_FIN | TCP_RST) != 0 && copied == bytes {
            finished(&self.packet, &self.header, self.header.flags);
        }
        verdict != HOLD
    }

    /// What becomes of the packet, but for the words in it.
    #[inline(always)]
    fn verdict(&self, gate: &GateState, rcv_nxt: u32) -> u32 {
        if self.class == CLASS_PASS.into() {
            return RECORD;
        }
        let (seq, end) = (self.packet.seq, self.packet.end_seq());
        let fin = u32::from(self.packet.flags & TCP_FIN != 0);
        // Urgent data is taken out of the stream the server reads (RFC 6093): what it would read is not what we saw.
        // The pointer alone does it, on a packet without data or with old data too.
        let urgent = self.packet.flags & TCP_URG != 0;
        if urgent && end == seq && fin == 0 {
            return DROP;
        }
        // It only acknowledges once more.
        if !urgent && !before(rcv_nxt, end.wrapping_add(fin)) {
            return OLD;
        }
        if before(gate.passed.wrapping_add(GATE_AHEAD_MAX), end) {
            return DROP;
        }
        let in_order = seq == gate.passed && gate.seen == gate.passed;
        if in_order && !urgent { PASS } else { HOLD }
    }

    /// The automaton's state behind the packet.
    #[inline(always)]
    fn scan<L: Loops>(&self, state: u16) -> u16 {
        if self.class != CLASS_TRIGGER.into() || self.packet.bytes() > WHOLE_BYTES as u32 {
            return AUTOMATON_HIT;
        }
        let Some(automaton) = AUTOMATA.get_ptr(self.slot) else {
            return AUTOMATON_HIT;
        };
        // SAFETY: inside the table. One that was never loaded is all zero and would let everything pass.
        if unsafe { (*automaton).next[AUTOMATON_HIT as usize * 256] } != AUTOMATON_HIT {
            return AUTOMATON_HIT;
        }
        L::scan(&mut Scan {
            skb: self.ctx.skb.skb,
            automaton,
            at: self.packet.payload_at,
            end: self.packet.end,
            state: u32::from(state),
        })
    }

    /// The packet passes: so do its bytes from `passed` on.
    #[inline(always)]
    fn advance<L: Loops>(&mut self, gate: &mut GateState) {
        let end = self.packet.end_seq();
        if !before(gate.passed, end) {
            return;
        }
        if before(gate.passed, self.packet.seq) {
            gate.framed = FRAMED_NOT;
            gate.header_have = 0;
        } else if gate.framed != FRAMED_NOT && before(gate.boundary, end) {
            L::frames(&mut Frames {
                skb: self.ctx.skb.skb,
                gate,
                base: self.packet.seq.wrapping_sub(self.packet.payload_at),
                end,
            });
        }
        gate.passed = end;
    }

    /// A packet of the agent's passes. It has these bytes: no copy.
    #[inline(always)]
    fn release<L: Loops>(&mut self, gate: &mut GateState, resume: bool) {
        self.advance::<L>(gate);
        if before(gate.seen, gate.passed) {
            gate.seen = gate.passed;
        }
        if gate.passed == gate.seen {
            gate.state = AUTOMATON_HIT;
            if resume {
                gate.state = AUTOMATON_START;
                if gate.framed == FRAMED_NOT {
                    (gate.framed, gate.boundary) = (FRAMED_TYPED, gate.passed);
                }
            }
        }
        count(|c| c.gate_released += 1);
        if let Some(mut record) = PACKETS.reserve::<Header>(0) {
            record.write(Header {
                flags: FLAG_RELEASED,
                seq_end: self.packet.end_seq(),
                passed: gate.passed,
                ..self.header
            });
            // The agent itself has sent the packet, just now.
            record.submit(QUIETLY);
        }
    }

    /// The packet does not pass, and the agent has `copied` bytes of it.
    #[inline(always)]
    fn held(&mut self, gate: &mut GateState, copied: u32) {
        let seen = self.packet.seq.wrapping_add(copied);
        if before(gate.seen, seen) {
            gate.seen = seen;
        }
        gate.state = AUTOMATON_HIT;
        count(|c| {
            c.gate_held += 1;
            c.gate_down_held += u64::from(self.down);
        });
        self.wakes = u32::from(self.down == 0);
    }

    /// Copies the payload: all of it or nothing, but for packets above [`WHOLE_BYTES`]. The bytes that were copied.
    #[inline(always)]
    fn copy<L: Loops>(&mut self) -> u32 {
        let bytes = self.packet.bytes();
        if bytes == 0 || self.lossless != 0 && nearly_full() {
            return 0;
        }
        let whole = if bytes <= REQUEST_CLASS_BYTES[0] as u32 {
            self.put::<{ REQUEST_CLASS_BYTES[0] }>(bytes)
        } else if bytes <= REQUEST_CLASS_BYTES[1] as u32 {
            self.put::<{ REQUEST_CLASS_BYTES[1] }>(bytes)
        } else if bytes <= REQUEST_CLASS_BYTES[2] as u32 {
            self.put::<{ REQUEST_CLASS_BYTES[2] }>(bytes)
        } else if bytes <= REQUEST_CLASS_BYTES[3] as u32 {
            self.put::<{ REQUEST_CLASS_BYTES[3] }>(bytes)
        } else if bytes <= WHOLE_BYTES as u32 {
            self.put::<WHOLE_BYTES>(bytes)
        } else {
            return L::chunks(&mut Chunks {
                skb: self.ctx.skb.skb,
                conn: self.conn,
                header: self.header,
                at: self.packet.payload_at,
                end: self.packet.end,
            });
        };
        if whole { bytes } else { 0 }
    }

    #[inline(always)]
    fn put<const N: usize>(&self, bytes: u32) -> bool {
        put::<N>(
            self.ctx,
            self.packet.payload_at,
            bytes,
            &self.header,
            self.conn,
        )
    }
}

/// What happened to the connection while the gate did not look, and what the agent has changed.
#[inline(always)]
fn sync(gate: &mut GateState, rcv_nxt: u32, generation: u32) {
    let fresh = gate.synced == 0;
    if fresh || before(gate.passed, rcv_nxt) {
        gate.passed = rcv_nxt;
        if fresh || before(gate.seen, rcv_nxt) {
            gate.seen = rcv_nxt;
        }
        (gate.state, gate.synced) = (AUTOMATON_HIT, 1);
        (gate.framed, gate.header_have) = (FRAMED_NOT, 0);
    }
    if gate.generation != generation {
        gate.generation = generation;
        let between = gate.framed != FRAMED_NOT
            && gate.header_have == 0
            && gate.boundary == gate.passed
            && gate.seen == gate.passed;
        gate.state = if between {
            AUTOMATON_START
        } else {
            AUTOMATON_HIT
        };
    }
}
