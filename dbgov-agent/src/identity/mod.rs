//! Who is behind a connection.
//!
//! [`process`] turns what the kernel gave at connect(2) into a [`Process`], [`joiner`] ties it to the server's side of
//! the same connection, [`tags`] has the names operators give, [`pods`] the Kubernetes pods of this node, [`networks`] the
//! names of remote addresses, and [`identity`] makes the record's block of it.
#![forbid(unsafe_code)]

mod ancestors;
mod command;
pub mod joiner;
mod name;
pub mod networks;
pub mod pods;
pub mod process;
pub mod tags;
mod users;

pub use ancestors::Ancestor;
pub use name::{Client, identity, pod_block, process_block};
pub use process::{Process, Resolver, Task};
