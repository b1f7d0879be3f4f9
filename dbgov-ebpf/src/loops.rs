//! Loops without a bound the verifier can see: by bpf_loop (Linux 5.17), or not at all.

use dbgov_common::gate::{AUTOMATON_HIT, GateState};

use crate::{
    chunks::{self, Chunks},
    frames::{self, Frames},
    lock,
    scan::{self, Scan},
};

/// What the kernel can do. The gate needs bpf_loop (Linux 5.17), and an atomic exchange for its lock (5.12); with bounded
/// loops instead, the verifiers of 5.15 and 6.1 find the program too large.
pub trait Loops {
    const GATE: bool = true;
    /// [`scan::with_helper`].
    fn scan(scan: &mut Scan) -> u16;
    /// [`chunks::with_helper`].
    fn chunks(chunks: &mut Chunks) -> u32;
    /// [`frames::with_helper`].
    fn frames(frames: &mut Frames);
    /// [`lock::lock`].
    fn lock(gate: *mut GateState) -> bool;
}

pub struct WithHelper;
/// No gate: everything passes.
pub struct Ungated;

impl Loops for WithHelper {
    #[inline(always)]
    fn scan(scan: &mut Scan) -> u16 {
        scan::with_helper(scan)
    }
    #[inline(always)]
    fn chunks(chunks: &mut Chunks) -> u32 {
        chunks::with_helper(chunks)
    }
    #[inline(always)]
    fn frames(frames: &mut Frames) {
        frames::with_helper(frames);
    }
    #[inline(always)]
    fn lock(gate: *mut GateState) -> bool {
        lock::lock(gate)
    }
}

impl Loops for Ungated {
    const GATE: bool = false;
    #[inline(always)]
    fn scan(_scan: &mut Scan) -> u16 {
        AUTOMATON_HIT
    }
    #[inline(always)]
    fn chunks(chunks: &mut Chunks) -> u32 {
        chunks::bounded(chunks)
    }
    #[inline(always)]
    fn frames(_frames: &mut Frames) {}
    #[inline(always)]
    fn lock(_gate: *mut GateState) -> bool {
        false
    }
}
