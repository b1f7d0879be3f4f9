//! The dbgov agent. The order of the directories is the path of the data:
//!
//! ```text
//! capture    ring buffer (or a capture file) -> typed events
//! stream     TCP segments -> ordered bytes per direction, gaps named
//! protocol   bytes -> sessions, statements, results (sans-IO)
//! sql        statement text -> facts
//! identity   who is behind the connection
//! policy     (facts, identity) -> verdict
//! gate       verdict -> release, rewrite, reset, wait for approval
//! redact     what of a statement its record keeps
//! audit      record -> hash-chained journal on disk
//! sink       journal -> SIEM
//! ```
//!
//! `pipeline` wires the stages for live traffic, `replay` for a capture file; `session` makes records of what a decoder
//! found. `agent` is the running program: its threads, its control socket. A stage imports only the output types of
//! earlier ones.

pub mod agent;
pub mod audit;
mod background;
pub mod capture;
mod chars;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod gate;
pub mod glob;
mod heap;
pub mod identity;
pub mod judge;
pub mod pipeline;
pub mod policy;
pub mod protocol;
pub mod redact;
pub mod replay;
pub mod session;
pub mod sink;
pub mod sql;
pub mod stream;
