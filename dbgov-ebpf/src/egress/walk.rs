//! Walks the messages of a packet and fills one record, then calls itself for the rest. One run walks a bounded number
//! of messages.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_loop},
    programs::SkBuffContext,
};
use dbgov_common::{
    ConnState, FLAG_RING_FULL, Header, KIND_RESPONSE, RESPONSE_STEPS_BOUNDED, RESPONSE_STEPS_MAX,
    Response,
};

use super::{
    end_seq, give_up,
    walker::{Step, WINDOW_WORDS, Walker, Window, get},
};
use crate::{
    counters::count,
    maps::{CONNS, EGRESS, PACKETS},
    packet::{Packet, Parsed, parse},
};

#[inline(always)]
pub fn walk_rest(ctx: &SkBuffContext, each: impl Fn(&mut Steps)) {
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
pub fn walk_on(
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
        c.response_record_bytes += size_of::<Response>() as u64;
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
pub struct Steps {
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
pub fn each_with_helper(steps: &mut Steps) {
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
pub fn each_bounded(steps: &mut Steps) {
    let steps: *mut c_void = core::ptr::from_mut(steps).cast();
    for index in 0..RESPONSE_STEPS_BOUNDED {
        // SAFETY: as in `each_with_helper`.
        if unsafe { step(index, steps) } != 0 {
            return;
        }
    }
}
