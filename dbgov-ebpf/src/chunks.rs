//! The payload of a large packet to the agent, in records of 16 KiB: where nothing is held, of any above 4 KiB; under the
//! gate, which wants a packet whole, only of those above 64 KiB (BIG TCP).

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_loop, programs::SkBuffContext};
use dbgov_common::{ConnState, Header, REQUEST_CHUNKS_MAX, REQUEST_CLASS_BYTES};

use crate::{bound::forgotten, ingress::put};

const CHUNK_BYTES: usize = REQUEST_CLASS_BYTES[4];

/// A copy under way.
pub struct Chunks {
    pub skb: *mut __sk_buff,
    /// An entry of CONNS.
    pub conn: *const ConnState,
    pub header: Header,
    /// Offsets in the packet: of the next byte, and behind the last.
    pub at: u32,
    pub end: u32,
}

impl Chunks {
    /// Whether there is more to copy, and room.
    #[inline(always)]
    fn step(&mut self) -> bool {
        let left = self.end.wrapping_sub(self.at);
        if left == 0 {
            return false;
        }
        let bytes = if left < CHUNK_BYTES as u32 {
            left
        } else {
            CHUNK_BYTES as u32
        };
        let ctx = SkBuffContext::new(self.skb);
        // SAFETY: an entry of a preallocated map stays readable.
        let conn = unsafe { &*self.conn };
        if !put::<CHUNK_BYTES>(&ctx, self.at, bytes, &self.header, conn) {
            return false;
        }
        self.at = self.at.wrapping_add(bytes);
        self.header.seq = self.header.seq.wrapping_add(bytes);
        true
    }
}

/// Copies until the ring has no more room; the bytes that were copied.
#[inline(always)]
pub fn with_helper(chunks: &mut Chunks) -> u32 {
    let begin = chunks.at;
    // SAFETY: `step` has the callback's type, and `chunks` outlives the call.
    unsafe {
        bpf_loop(
            REQUEST_CHUNKS_MAX,
            step as *mut c_void,
            core::ptr::from_mut(chunks).cast(),
            0,
        );
    }
    chunks.at.wrapping_sub(begin)
}

unsafe extern "C" fn step(_index: u32, chunks: *mut c_void) -> i64 {
    // SAFETY: the pointer `with_helper` passed.
    let chunks = unsafe { &mut *chunks.cast::<Chunks>() };
    i64::from(!chunks.step())
}

/// As [`with_helper`], for kernels without bpf_loop (before Linux 5.17).
#[inline(always)]
pub fn bounded(chunks: &mut Chunks) -> u32 {
    // Once for all the ways that lead here, with IP options and extension headers, not once for each.
    let unknown = chunks.header.time_boot_ns;
    chunks.at = forgotten(chunks.at, unknown);
    chunks.end = forgotten(chunks.end, unknown);
    let begin = chunks.at;
    for _ in 0..REQUEST_CHUNKS_MAX {
        if !chunks.step() {
            break;
        }
    }
    chunks.at.wrapping_sub(begin)
}
