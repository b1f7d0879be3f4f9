//! The dbgov agent. The order of the directories is the path of the data:
//!
//! ```text
//! capture    ring buffer (or a capture file) -> typed events
//! stream     TCP segments -> ordered bytes per direction, gaps named
//! protocol   bytes -> sessions, statements, results (sans-IO)
//! sql        statement text -> facts
//! identity   who is behind the connection
//! audit      record -> hash-chained journal on disk
//! ```
//!
//! `pipeline` wires the stages; a stage imports only the output types of earlier ones.

pub mod audit;
pub mod capture;
pub mod command;
pub mod identity;
pub mod protocol;
pub mod sql;
pub mod stream;
