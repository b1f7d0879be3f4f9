//! Verdict -> release, rewrite, reset, wait for approval.
//!
//! ```text
//! classes     which rules can be about a connection, and how the kernel looks at it for them (pure)
//! gated       one connection under the gate (pure)
//! flow        the request bytes of a connection: which may go, which wait (pure)
//! packet      bytes of a TCP segment -> IP packets (pure)
//! inject      packets into the server's network namespace, or out to the client
//! destroy     end a connection at the server's socket (SOCK_DESTROY)
//! refusal     what a refused client is told, in PostgreSQL's words (pure)
//! approvals   statements that wait for a person's decision (pure)
//! ```

pub mod approvals;
pub mod classes;
pub mod destroy;
pub mod flow;
pub mod gated;
pub mod inject;
pub mod packet;
pub mod refusal;
