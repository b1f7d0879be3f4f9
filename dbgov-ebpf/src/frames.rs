//! Where the next request message begins (documentation, section 55.7), so that an agent that starts anew can read a
//! connection on from there.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_loop, programs::SkBuffContext};
use dbgov_common::gate::{FRAMED_NOT, FRAMED_STARTUP, FRAMED_TYPED, GateState};

use crate::{bound::masked, packet::load};

/// Type byte and length.
const TYPED_HEADER_BYTES: u32 = 5;
/// Length and protocol version or request code.
const STARTUP_HEADER_BYTES: u32 = 8;
/// A length above is not PostgreSQL's (MaxAllocSize; MAX_STARTUP_PACKET_LENGTH).
const MESSAGE_BYTES_MAX: u32 = 0x4000_0000;
const STARTUP_BYTES_MAX: u32 = 10_000;
/// Request codes after which another start-up packet comes: SSLRequest, GSSENCRequest.
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// Messages of the smallest kind in 64 KiB. A packet with more loses the boundaries.
const MESSAGES_MAX: u32 = 16 << 10;

/// A walk over the bytes of a packet that pass.
pub struct Frames {
    pub skb: *mut __sk_buff,
    /// An entry of GATES, locked.
    pub gate: *mut GateState,
    /// What a sequence number and its byte's offset in the packet differ by.
    pub base: u32,
    /// Sequence number behind the packet.
    pub end: u32,
}

#[inline(always)]
pub fn with_helper(frames: &mut Frames) {
    // SAFETY: `step` has the callback's type, and `frames` outlives the call.
    unsafe {
        bpf_loop(
            MESSAGES_MAX,
            step as *mut c_void,
            core::ptr::from_mut(frames).cast(),
            0,
        );
    }
    frames.finish();
}

unsafe extern "C" fn step(_index: u32, frames: *mut c_void) -> i64 {
    // SAFETY: the pointer `with_helper` passed.
    let frames = unsafe { &mut *frames.cast::<Frames>() };
    i64::from(!frames.next())
}

/// `a` is before `b` in the stream.
#[inline(always)]
pub fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Frames {
    #[inline(always)]
    fn gate(&mut self) -> &mut GateState {
        // SAFETY: an entry of a preallocated map stays readable; its lock is ours.
        unsafe { &mut *self.gate }
    }

    fn finish(&mut self) {
        let end = self.end;
        let gate = self.gate();
        let reached = gate.boundary.wrapping_add(u32::from(gate.header_have));
        if before(reached, end) {
            gate.framed = FRAMED_NOT;
        }
    }

    /// One message; false behind the last.
    #[inline(always)]
    fn next(&mut self) -> bool {
        let (skb, base, end) = (self.skb, self.base, self.end);
        let gate = self.gate();
        if gate.framed == FRAMED_NOT {
            return false;
        }
        let need = if gate.framed == FRAMED_STARTUP {
            STARTUP_HEADER_BYTES
        } else {
            TYPED_HEADER_BYTES
        };
        let at = gate.boundary.wrapping_add(u32::from(gate.header_have));
        if !before(at, end) {
            return false;
        }
        let ctx = SkBuffContext::new(skb);
        let offset = at.wrapping_sub(base);
        if gate.header_have == 0 && end.wrapping_sub(at) >= STARTUP_HEADER_BYTES {
            let Some(header) = load::<8>(&ctx, offset) else {
                gate.framed = FRAMED_NOT;
                return false;
            };
            gate.header = header;
        } else {
            let Some(byte) = load::<1>(&ctx, offset) else {
                gate.framed = FRAMED_NOT;
                return false;
            };
            let index = masked::<7>(u32::from(gate.header_have));
            // SAFETY: the mask keeps the index inside the array.
            unsafe { gate.header.as_mut_ptr().add(index as usize).write(byte[0]) };
            gate.header_have += 1;
            if u32::from(gate.header_have) < need {
                return true;
            }
        }
        gate.header_have = 0;
        advance(gate);
        true
    }
}

/// Past the message whose header is complete.
#[inline(always)]
fn advance(gate: &mut GateState) {
    let header = gate.header;
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    if gate.framed == FRAMED_STARTUP {
        let code = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        gate.framed = if !(STARTUP_HEADER_BYTES..=STARTUP_BYTES_MAX).contains(&first) {
            FRAMED_NOT
        } else if code == SSL_REQUEST || code == GSSENC_REQUEST {
            FRAMED_STARTUP
        } else {
            FRAMED_TYPED
        };
        gate.boundary = gate.boundary.wrapping_add(first);
        return;
    }
    let length = (first << 8) | u32::from(header[4]);
    if !(4..MESSAGE_BYTES_MAX).contains(&length) {
        gate.framed = FRAMED_NOT;
    }
    gate.boundary = gate.boundary.wrapping_add(1 + length);
}
