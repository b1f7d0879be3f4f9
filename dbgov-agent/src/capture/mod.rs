//! Ring buffer -> typed events.

pub mod kernel;
