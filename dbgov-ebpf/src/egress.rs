//! Response messages to the packet ring, result rows left out. Hook: cgroup_skb egress on the cgroup v2 root.
//!
//! The program follows the message boundaries of PostgreSQL's backend messages (documentation, section 55.7: a type
//! byte, a length that counts itself) from packet to packet, copies the messages that tell how a statement ended, and
//! counts the others. TCP sends every byte for the first time in order, so the stream needs no reassembly here; what
//! is sent again is known by its sequence number. One run walks a bounded number of messages and fills one record,
//! then calls itself for the rest of the packet.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    helpers::generated::{
        bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_loop, bpf_skb_load_bytes,
    },
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use aya_log_ebpf::debug;
use dbgov_common::{
    ConnState, FLAG_BOUNDARY, FLAG_FROM_SERVER, FLAG_RESYNC, FLAG_RING_FULL, Header, KIND_RESPONSE,
    Mark, RESPONSE_BODY_BYTES_MAX, RESPONSE_COPY_BYTES, RESPONSE_DATA_BYTES, RESPONSE_MARKS_MAX,
    RESPONSE_STEPS_BOUNDED, RESPONSE_STEPS_MAX, Response, conn,
};

use crate::{
    bound::{length, masked},
    counters::count,
    ingress::{add, finished, state_of},
    maps::{CONNS, EGRESS, PACKETS, governed},
    packet::{Packet, Parsed, TCP_FIN, TCP_RST, load, parse},
};

/// Type byte and length.
const HEADER_BYTES: u32 = 5;
/// A length above is not PostgreSQL's (its largest message is 1 GiB - 1, MaxAllocSize).
const MESSAGE_BYTES_MAX: u32 = 0x4000_0000;
const READY_FOR_QUERY_BYTES: u32 = 6;
const OUT_MASK: i32 = RESPONSE_COPY_BYTES as i32 - 1;
/// Bytes of a packet looked at at once; a power of two.
const WINDOW_BYTES: usize = 128;
const WINDOW_MASK: i32 = WINDOW_BYTES as i32 - 1;
/// Behind the window, so that a header at its last byte is still inside; a multiple of the stack's slots.
const HEADER_SLOT_BYTES: usize = 8;
/// The window as words: they are cleared by as many stores, where bytes would be a loop in a call of its own.
const WINDOW_WORDS: usize = (WINDOW_BYTES + HEADER_SLOT_BYTES) / 8;
type Window = [u64; WINDOW_WORDS];
const MARK_MASK: i32 = RESPONSE_MARKS_MAX as i32 - 1;

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
    if packet.payload_at < packet.end && response(ctx, &packet, state) {
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
fn walk_rest(ctx: &SkBuffContext, each: impl Fn(&mut Steps)) {
    let Parsed::Tcp(packet) = parse(ctx) else {
        return;
    };
    // SAFETY: takes the context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if let Some(state) = CONNS.get_ptr_mut(&cookie) {
        // SAFETY: as in `egress`.
        walk_on(ctx, &packet, cookie, unsafe { &mut *state }, each);
    }
}

#[inline(always)]
fn walk_on(
    ctx: &SkBuffContext,
    packet: &Packet,
    cookie: u64,
    state: &mut ConnState,
    each: impl Fn(&mut Steps),
) {
    let (at, end) = (state.offset, state.end);
    if at < packet.payload_at || at >= end || end > packet.end {
        return;
    }
    if let Some(reached) = walk(ctx, packet, cookie, state, at, each) {
        if reached >= end {
            // Behind an answer byte nothing else of its packet can be read.
            state.response_seq = end_seq(packet);
            return;
        }
        state.response_seq = packet.seq.wrapping_add(reached - packet.payload_at);
        // SAFETY: the map holds a program of this type; on success the call does not return.
        unsafe { EGRESS.tail_call(ctx, 0) };
    }
    give_up(ctx, packet, cookie, state);
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

/// Reads a field of the walk's state.
macro_rules! get {
    ($walker:ident . $field:ident) => {{
        // SAFETY: a field of a map value that stays readable.
        unsafe { (&raw const (*$walker.state).$field).read_volatile() }
    }};
}

/// Writes a field of the walk's state.
macro_rules! set {
    ($walker:ident . $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: a field of a map value that stays writable.
        unsafe { (&raw mut (*$walker.state).$field).write_volatile(value) }
    }};
}

enum First {
    Message,
    Encrypted,
    Refused,
}

/// PostgreSQL documentation, 55.2.10 and 55.2.11. A server's first message is Authentication, Error or
/// NegotiateProtocolVersion, so `S` and `G` can only be the answer; `N` could be a Notice, whose length begins with 0.
#[inline(always)]
fn first_byte(ctx: &SkBuffContext, at: u32, end: u32) -> First {
    match load::<1>(ctx, at) {
        Some([b'S' | b'G' | 0x16]) => First::Encrypted,
        Some([b'N']) if end - at == 1 || load::<1>(ctx, at + 1) != Some([0]) => First::Refused,
        _ => First::Message,
    }
}

/// Where a ReadyForQuery ends the packet, its offset: the next packet begins with a message.
#[inline(always)]
fn ready_for_query(ctx: &SkBuffContext, at: u32, end: u32) -> Option<u32> {
    if end - at < READY_FOR_QUERY_BYTES {
        return None;
    }
    let boundary = end - READY_FOR_QUERY_BYTES;
    match load::<6>(ctx, boundary)? {
        [b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E'] => Some(boundary),
        _ => None,
    }
}

/// What crosses of a message.
enum Crosses {
    /// Header and so many bytes of the body.
    Head(u32),
    /// Nothing; it counts as a row.
    Row,
    Nothing,
    /// No backend message begins like that.
    Invalid,
}

#[inline(always)]
fn crosses(kind: u8, body: u32) -> Crosses {
    let max = match kind {
        b'Z' | b'C' | b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'G' | b'H' | b'W' | b'c'
        | b'E' | b'S' | b't' | b'v' => RESPONSE_BODY_BYTES_MAX,
        // The kind of authentication, never its data; the backend's process id, never its cancel key.
        b'R' | b'K' => 4,
        b'V' => 0,
        b'D' | b'd' => return Crosses::Row,
        b'T' | b'N' | b'A' => return Crosses::Nothing,
        _ => return Crosses::Invalid,
    };
    Crosses::Head(if body < max { body } else { max })
}

/// Walks messages from `at`, fills one record, returns how far it came: `end`, or before where the record or the
/// messages of one run are used up. None: nothing could be sent or followed.
#[inline(always)]
fn walk(
    ctx: &SkBuffContext,
    packet: &Packet,
    cookie: u64,
    state: &mut ConnState,
    at: u32,
    each: impl Fn(&mut Steps),
) -> Option<u32> {
    let end = state.end;
    let Some(mut record) = PACKETS.reserve::<Response>(0) else {
        state.flags |= FLAG_RING_FULL;
        count(|c| {
            c.ring_full += 1;
            c.ring_full_bytes += u64::from(end - at);
        });
        return None;
    };
    let walker = Walker {
        state,
        response: record.as_mut_ptr(),
    };
    let boundary = walker.begin(at);
    let mut steps = MaybeUninit::<Steps>::uninit();
    let steps = Steps::begin(&mut steps, ctx, walker, end);
    each(steps);
    let (walker, mut valid) = (&steps.walker, steps.valid);
    if !walker.copy_run(ctx) {
        valid = 0;
    }
    walker.mark();
    let reached = get!(walker.offset);
    let out = get!(walker.out);
    let marks = get!(walker.marks);
    state.response_copied_bytes += u64::from(out);
    count(|c| {
        c.response_copied_bytes += u64::from(out);
        c.response_records += 1;
    });
    // SAFETY: a reserved record of this type; header and data[..out] are written before it is submitted.
    unsafe {
        (*walker.response).header = Header {
            kind: KIND_RESPONSE,
            flags: state.flags | boundary,
            marks: marks as u8,
            pad: 0,
            len: out,
            cookie,
            time_boot_ns: bpf_ktime_get_boot_ns(),
            seq: packet.seq.wrapping_add(at - packet.payload_at),
            seq_end: packet.seq.wrapping_add(reached - packet.payload_at),
            ack: packet.ack,
            passed: 0,
            lost_bytes: state.response_lost_bytes,
        };
    }
    record.submit(0);
    state.flags = 0;
    if valid == 0 {
        // The record accounts for what came before the message that is none.
        state.response_seq = packet.seq.wrapping_add(reached - packet.payload_at);
        return None;
    }
    Some(reached)
}

/// What a run hands to its steps.
struct Steps {
    skb: *mut __sk_buff,
    walker: Walker,
    end: u32,
    valid: u32,
    /// The packet's next bytes, so that a header need not be fetched by a call of its own.
    window: Window,
}

impl Steps {
    /// Written field by field: a struct literal would clear the window through a byte loop in a call of its own.
    #[inline(always)]
    fn begin<'a>(
        steps: &'a mut MaybeUninit<Steps>,
        ctx: &SkBuffContext,
        walker: Walker,
        end: u32,
    ) -> &'a mut Steps {
        let to = steps.as_mut_ptr();
        // SAFETY: every field is written before the reference is made.
        unsafe {
            (&raw mut (*to).skb).write(ctx.skb.skb);
            (&raw mut (*to).walker).write(walker);
            (&raw mut (*to).end).write(end);
            (&raw mut (*to).valid).write(1);
            let window = (&raw mut (*to).window).cast::<u64>();
            for word in 0..WINDOW_WORDS {
                window.add(word).write_volatile(0);
            }
            &mut *to
        }
    }

    /// One step; false at the end of the run.
    #[inline(always)]
    fn next(&mut self) -> bool {
        match self
            .walker
            .step(&SkBuffContext::new(self.skb), self.end, &mut self.window)
        {
            Step::On => true,
            Step::Stop => false,
            Step::Invalid => {
                self.valid = 0;
                false
            }
        }
    }
}

/// With bpf_loop the verifier checks the body once.
#[inline(always)]
fn each_with_helper(steps: &mut Steps) {
    // SAFETY: `step` has the callback's type, and `steps` outlives the call.
    unsafe {
        bpf_loop(
            RESPONSE_STEPS_MAX,
            step as *mut c_void,
            core::ptr::from_mut(steps).cast(),
            0,
        );
    }
}

/// Never inlined: at its return the verifier forgets how it got there, so that the ways through a step join again.
#[inline(never)]
unsafe extern "C" fn step(_index: u32, steps: *mut c_void) -> i64 {
    // SAFETY: the pointer `each_with_helper` passed.
    let steps = unsafe { &mut *steps.cast::<Steps>() };
    i64::from(!steps.next())
}

#[inline(always)]
fn each_bounded(steps: &mut Steps) {
    let steps: *mut c_void = core::ptr::from_mut(steps).cast();
    for index in 0..RESPONSE_STEPS_BOUNDED {
        // SAFETY: as in `each_with_helper`.
        if unsafe { step(index, steps) } != 0 {
            return;
        }
    }
}

/// The state of the walk stands in the map value, and every access is volatile: a number read from there is unknown to
/// the verifier, so that all passes of the loop look alike to it and it checks the body a few times, not once for each
/// history of the counters.
struct Walker {
    state: *mut ConnState,
    response: *mut Response,
}

enum Step {
    On,
    /// End of the packet, or no room left in the record.
    Stop,
    Invalid,
}

impl Walker {
    /// Flags of the record.
    #[inline(always)]
    fn begin(&self, at: u32) -> u8 {
        set!(self.offset, at);
        set!(self.out, 0);
        set!(self.marks, 0);
        set!(self.elided_bytes, 0);
        set!(self.elided_rows, 0);
        set!(self.run_len, 0);
        set!(self.window_len, 0);
        let inside =
            get!(self.keep_left) | get!(self.skip_left) | u32::from(get!(self.header_have));
        if inside == 0 { FLAG_BOUNDARY } else { 0 }
    }

    #[inline(always)]
    fn step(&self, ctx: &SkBuffContext, end: u32, window: &mut Window) -> Step {
        let at = get!(self.offset);
        if at >= end {
            return Step::Stop;
        }
        let left = end - at;
        let keep_left = get!(self.keep_left);
        if keep_left > 0 {
            return self.keep(ctx, at, left, keep_left);
        }
        let skip_left = get!(self.skip_left);
        if skip_left > 0 {
            let bytes = if skip_left < left { skip_left } else { left };
            set!(self.skip_left, skip_left - bytes);
            self.elide(at, bytes);
            return Step::On;
        }
        if get!(self.header_have) == 0 && left >= HEADER_BYTES {
            let Some(header) = self.header(ctx, at, left, window) else {
                return Step::Invalid;
            };
            return self.message(ctx, at, left, &header);
        }
        if !self.copy_run(ctx) {
            return Step::Invalid;
        }
        self.cut_header(ctx, at)
    }

    /// The header at `at`, through the window.
    #[inline(always)]
    fn header(
        &self,
        ctx: &SkBuffContext,
        at: u32,
        left: u32,
        window: &mut Window,
    ) -> Option<[u8; 5]> {
        let mut inside = at.wrapping_sub(get!(self.window_at));
        if inside.wrapping_add(HEADER_BYTES) > get!(self.window_len) {
            let bytes = length::<WINDOW_BYTES>(if left < WINDOW_BYTES as u32 {
                left
            } else {
                WINDOW_BYTES as u32
            });
            // SAFETY: `window` has WINDOW_BYTES and more.
            if unsafe { bpf_skb_load_bytes(ctx.as_ptr(), at, window.as_mut_ptr().cast(), bytes) }
                != 0
            {
                return None;
            }
            set!(self.window_at, at);
            set!(self.window_len, bytes);
            inside = 0;
        }
        let inside = masked::<WINDOW_MASK>(inside) as usize;
        // SAFETY: the masked offset is below WINDOW_BYTES, and HEADER_SLOT_BYTES follow those.
        Some(unsafe {
            window
                .as_ptr()
                .cast::<u8>()
                .add(inside)
                .cast::<[u8; 5]>()
                .read_volatile()
        })
    }

    /// Copies the messages that wait to be copied.
    #[inline(always)]
    fn copy_run(&self, ctx: &SkBuffContext) -> bool {
        let bytes = get!(self.run_len);
        if bytes == 0 {
            return true;
        }
        set!(self.run_len, 0);
        self.copy(ctx, get!(self.run_at), bytes)
    }

    /// Copies up to half a record behind what the record has; the callers have made sure of the room.
    #[inline(always)]
    fn copy(&self, ctx: &SkBuffContext, at: u32, bytes: u32) -> bool {
        let bytes = length::<RESPONSE_COPY_BYTES>(bytes);
        let out = get!(self.out);
        // SAFETY: out < half, bytes <= half of the record's data.
        let failed = unsafe {
            let data = (&raw mut (*self.response).data)
                .cast::<u8>()
                .add(masked::<OUT_MASK>(out) as usize);
            bpf_skb_load_bytes(ctx.as_ptr(), at, data.cast(), bytes)
        };
        set!(self.out, out + bytes);
        failed == 0
    }

    #[inline(always)]
    fn elide(&self, at: u32, bytes: u32) {
        set!(self.elided_bytes, get!(self.elided_bytes) + bytes);
        set!(self.offset, at + bytes);
    }

    /// A message whose whole header stands at `at`.
    #[inline(always)]
    fn message(&self, ctx: &SkBuffContext, at: u32, left: u32, header: &[u8; 5]) -> Step {
        let (crosses, body) = read(header);
        if let Crosses::Head(bytes) = crosses {
            let total = HEADER_BYTES + bytes;
            let run = get!(self.run_len);
            if bytes == body && total <= left && run + total <= RESPONSE_COPY_BYTES as u32 {
                return self.extend_run(at, run, total);
            }
        }
        if !self.copy_run(ctx) {
            return Step::Invalid;
        }
        match crosses {
            Crosses::Head(bytes) => {
                set!(self.keep_left, HEADER_BYTES + bytes);
                set!(self.skip_left, body - bytes);
                return Step::On;
            }
            Crosses::Row => set!(self.elided_rows, get!(self.elided_rows) + 1),
            Crosses::Nothing => {}
            Crosses::Invalid => return self.refuse(ctx, at),
        }
        set!(self.skip_left, body);
        self.elide(at, HEADER_BYTES);
        Step::On
    }

    /// A header that is none crosses too, so that the decoder sees what ended the stream. Not where the boundaries were
    /// lost once and found again: there it is more likely that they were found wrong.
    #[inline(always)]
    fn refuse(&self, ctx: &SkBuffContext, at: u32) -> Step {
        if get!(self.resynced) != 0 {
            return Step::Invalid;
        }
        if !self.room() {
            return Step::Stop;
        }
        self.mark();
        if self.copy(ctx, at, HEADER_BYTES) {
            set!(self.offset, at + HEADER_BYTES);
        }
        Step::Invalid
    }

    /// A message that crosses whole joins those before it.
    #[inline(always)]
    fn extend_run(&self, at: u32, run: u32, total: u32) -> Step {
        if run == 0 {
            if !self.room() {
                return Step::Stop;
            }
            self.mark();
            set!(self.run_at, at);
        }
        set!(self.run_len, run + total);
        set!(self.offset, at + total);
        Step::On
    }

    /// One byte of a header that a packet boundary cuts.
    #[inline(always)]
    fn cut_header(&self, ctx: &SkBuffContext, at: u32) -> Step {
        if !self.room() {
            return Step::Stop;
        }
        let Some([byte]) = load::<1>(ctx, at) else {
            return Step::Invalid;
        };
        let have = get!(self.header_have);
        let slot = masked::<7>(u32::from(have)) as usize;
        // SAFETY: `header` has 8 bytes, `slot` is below.
        unsafe {
            (&raw mut (*self.state).header)
                .cast::<u8>()
                .add(slot)
                .write_volatile(byte)
        };
        set!(self.offset, at + 1);
        if have < 4 {
            set!(self.header_have, have + 1);
            return Step::On;
        }
        set!(self.header_have, 0);
        // SAFETY: within the map value.
        let header = unsafe {
            (&raw const (*self.state).header)
                .cast::<[u8; 5]>()
                .read_volatile()
        };
        let (crosses, body) = read(&header);
        match crosses {
            Crosses::Head(bytes) => {
                self.mark();
                let out = get!(self.out);
                // SAFETY: `room` left half the record free: out + 5 is inside.
                unsafe {
                    let data = (&raw mut (*self.response).data)
                        .cast::<u8>()
                        .add(masked::<OUT_MASK>(out) as usize);
                    data.cast::<[u8; 5]>().write_volatile(header);
                }
                set!(self.out, out + HEADER_BYTES);
                set!(self.keep_left, bytes);
                set!(self.skip_left, body - bytes);
                return Step::On;
            }
            Crosses::Row => set!(self.elided_rows, get!(self.elided_rows) + 1),
            Crosses::Nothing => {}
            Crosses::Invalid => return Step::Invalid,
        }
        set!(self.elided_bytes, get!(self.elided_bytes) + HEADER_BYTES);
        set!(self.skip_left, body);
        Step::On
    }

    /// Half of the data and two marks are free.
    #[inline(always)]
    fn room(&self) -> bool {
        get!(self.out) < RESPONSE_COPY_BYTES as u32
            && get!(self.marks) + 1 < RESPONSE_MARKS_MAX as u32
    }

    #[inline(always)]
    fn keep(&self, ctx: &SkBuffContext, at: u32, left: u32, keep_left: u32) -> Step {
        if !self.room() {
            return Step::Stop;
        }
        self.mark();
        let mut bytes = if keep_left < left { keep_left } else { left };
        if bytes > RESPONSE_COPY_BYTES as u32 {
            bytes = RESPONSE_COPY_BYTES as u32;
        }
        if !self.copy(ctx, at, bytes) {
            return Step::Invalid;
        }
        set!(self.offset, at + bytes);
        set!(self.keep_left, keep_left - bytes);
        Step::On
    }

    /// Writes down what was left out since the last mark.
    #[inline(always)]
    fn mark(&self) {
        let bytes = get!(self.elided_bytes);
        if bytes == 0 {
            return;
        }
        let marks = get!(self.marks);
        let mark = Mark {
            at: get!(self.out),
            rows: get!(self.elided_rows),
            bytes,
        };
        // SAFETY: the masked index is below RESPONSE_MARKS_MAX, a power of two.
        unsafe {
            (&raw mut (*self.response).marks)
                .cast::<Mark>()
                .add(masked::<MARK_MASK>(marks) as usize)
                .write_volatile(mark);
        }
        set!(self.marks, marks + 1);
        set!(self.elided_bytes, 0);
        set!(self.elided_rows, 0);
    }
}

/// What crosses of the message with this header, and the length of its body.
#[inline(always)]
fn read(header: &[u8; 5]) -> (Crosses, u32) {
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    if !(4..MESSAGE_BYTES_MAX).contains(&length) {
        return (Crosses::Invalid, 0);
    }
    let body = length - 4;
    (crosses(header[0], body), body)
}

const _: () = {
    assert!(RESPONSE_COPY_BYTES * 2 == RESPONSE_DATA_BYTES);
    assert!(RESPONSE_COPY_BYTES.is_power_of_two() && RESPONSE_MARKS_MAX.is_power_of_two());
};
