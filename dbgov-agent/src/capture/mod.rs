//! Ring buffer -> typed events.

pub mod event;
pub mod kernel;
