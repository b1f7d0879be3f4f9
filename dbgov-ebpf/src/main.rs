//! dbgov's kernel programs: hooks on connect, established, packet.
//!
//! ```text
//! connect4/6  who is connecting, in its own context        connect.rs, task.rs
//! sock_ops    listen, established on both ends, closed     sock_ops.rs
//! ingress     request payload, copied in full              ingress.rs
//!             what of it is held back                      gate.rs, scan.rs, frames.rs, lock.rs
//! egress      response messages, result rows left out      egress/
//! ```
//!
//! Only hooks with a UAPI-stable context are used, so one object loads on every kernel from 5.10.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "map helpers take keys and values by address; moved in, they would be copied to the stack once more"
)]

mod baseline;
mod bound;
mod chunks;
mod connect;
mod counters;
mod egress;
mod frames;
mod gate;
mod ingress;
mod lock;
mod loops;
mod maps;
mod packet;
mod ring;
mod scan;
mod shared;
mod sock_ops;
mod task;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Never reached: the verifier refuses a program with a path to it.
    loop {}
}

// The helpers dbgov calls are for GPL-compatible programs only in part; "Dual MIT/GPL" is what the kernel accepts.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
