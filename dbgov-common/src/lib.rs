//! Records and map values shared by the kernel programs and the agent.
//!
//! Everything here is plain old data in C layout: fixed-width integers, explicit padding, no `bool`. The sizes and
//! offsets are asserted at compile time, since both sides are compiled by different compilers for different targets.
#![cfg_attr(not(feature = "user"), no_std)]

pub mod conn;
pub mod event;
pub mod gate;
pub mod limits;
pub mod task;

pub use conn::{CONNECT_TAG_DEEPER, CONNECT_TOLD, ConnState, ConnectInfo, KernelCounters};
pub use event::*;
pub use limits::*;
pub use task::*;
