//! One step over the messages of a packet: a message or a piece of one is copied, put off or left out.

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_skb_load_bytes, programs::SkBuffContext};
use dbgov_common::{
    ConnState, FLAG_BOUNDARY, Mark, RESPONSE_COPY_BYTES, RESPONSE_DATA_BYTES, RESPONSE_MARKS_MAX,
    Response,
};

use super::message::{Crosses, HEADER_BYTES, read};
use crate::{
    bound::{length, masked},
    packet::load,
};

const OUT_MASK: i32 = RESPONSE_COPY_BYTES as i32 - 1;
/// Bytes of a packet looked at at once; a power of two.
const WINDOW_BYTES: usize = 128;
const WINDOW_MASK: i32 = WINDOW_BYTES as i32 - 1;
/// Behind the window, so that a header at its last byte is still inside; a multiple of the stack's slots.
const HEADER_SLOT_BYTES: usize = 8;
/// The window as words: they are cleared by as many stores, where bytes would be a loop in a call of its own.
pub const WINDOW_WORDS: usize = (WINDOW_BYTES + HEADER_SLOT_BYTES) / 8;
pub type Window = [u64; WINDOW_WORDS];
const MARK_MASK: i32 = RESPONSE_MARKS_MAX as i32 - 1;

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

pub(super) use get;

/// The state of the walk stands in the map value, and every access is volatile: a number read from there is unknown to
/// the verifier, so that all passes of the loop look alike to it and it checks the body a few times, not once for each
/// history of the counters.
pub struct Walker {
    pub state: *mut ConnState,
    pub response: *mut Response,
}

pub enum Step {
    On,
    /// End of the packet, or no room left in the record.
    Stop,
    Invalid,
}

impl Walker {
    /// Flags of the record.
    #[inline(always)]
    pub fn begin(&self, at: u32) -> u8 {
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
    pub fn step(&self, ctx: &SkBuffContext, end: u32, window: &mut Window) -> Step {
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
    pub fn copy_run(&self, ctx: &SkBuffContext) -> bool {
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
    pub fn mark(&self) {
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

const _: () = {
    assert!(RESPONSE_COPY_BYTES * 2 == RESPONSE_DATA_BYTES);
    assert!(RESPONSE_COPY_BYTES.is_power_of_two() && RESPONSE_MARKS_MAX.is_power_of_two());
};
