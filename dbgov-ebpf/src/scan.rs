//! The automaton over the request bytes of a packet.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_loop, bpf_skb_load_bytes},
};
use dbgov_common::gate::{AUTOMATON_HIT, AUTOMATON_STATES_MAX, Automaton};

use crate::bound::{length, masked, masked_wide};

/// Bytes looked at at once; a power of two.
const WINDOW_BYTES: usize = 64;
const WINDOW_WORDS: usize = WINDOW_BYTES / 8;
/// Windows of the largest packet that gets one record, 64 KiB.
const WINDOWS_MAX: u32 = 1024;
/// Offsets in a packet are below: BIG TCP ends at 512 KiB.
const OFFSET_MASK: i32 = (1 << 20) - 1;
const INDEX_MASK: i32 = (AUTOMATON_STATES_MAX * 256 - 1) as i32;

/// A scan under way.
pub struct Scan {
    pub skb: *mut __sk_buff,
    /// An entry of AUTOMATA.
    pub automaton: *const Automaton,
    /// Offsets in the packet: of the next byte, and behind the last.
    pub at: u32,
    pub end: u32,
    pub state: u32,
}

/// Runs the scan; the state behind the last byte, or [`AUTOMATON_HIT`] where it did not get there.
#[inline(always)]
pub fn with_helper(scan: &mut Scan) -> u16 {
    // SAFETY: `step` has the callback's type, and `scan` outlives the call.
    unsafe {
        bpf_loop(
            WINDOWS_MAX,
            step as *mut c_void,
            core::ptr::from_mut(scan).cast(),
            0,
        );
    }
    scan.outcome()
}

unsafe extern "C" fn step(_index: u32, scan: *mut c_void) -> i64 {
    // SAFETY: the pointer `with_helper` passed.
    let scan = unsafe { &mut *scan.cast::<Scan>() };
    i64::from(!scan.next())
}

impl Scan {
    fn outcome(&self) -> u16 {
        if self.at == self.end {
            self.state as u16
        } else {
            AUTOMATON_HIT
        }
    }

    /// One window; false behind the last byte and after a hit.
    #[inline(always)]
    fn next(&mut self) -> bool {
        let left = masked::<OFFSET_MASK>(self.end.wrapping_sub(self.at));
        if left == 0 || self.state == u32::from(AUTOMATON_HIT) {
            return false;
        }
        let mut window = [0u64; WINDOW_WORDS];
        let bytes = if left < WINDOW_BYTES as u32 {
            left
        } else {
            WINDOW_BYTES as u32
        };
        // SAFETY: the context the program was given, and a window with room for as many bytes as are asked for.
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast(),
                self.at,
                window.as_mut_ptr().cast(),
                length::<WINDOW_BYTES>(bytes),
            )
        };
        if failed != 0 {
            self.state = u32::from(AUTOMATON_HIT);
            return false;
        }
        let window = window.as_ptr().cast::<u8>();
        // In whole registers: each byte waits for the state behind the one before.
        let (automaton, bytes_wide) = (self.automaton.cast::<u16>(), u64::from(bytes));
        let mut state = u64::from(self.state);
        for index in 0..WINDOW_BYTES as u64 {
            if index >= bytes_wide {
                break;
            }
            // SAFETY: inside the window.
            let byte = unsafe { window.add(index as usize).read() };
            let at = masked_wide::<INDEX_MASK>((state << 8) | u64::from(byte));
            // SAFETY: the mask keeps the index inside the table.
            state = u64::from(unsafe { automaton.add(at as usize).read() });
        }
        self.state = state as u32;
        // Below 1 MiB as it was; the mask makes all passes look alike to the verifier.
        self.at = masked::<OFFSET_MASK>(self.at.wrapping_add(bytes));
        true
    }
}
