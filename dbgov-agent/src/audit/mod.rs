//! Record -> hash-chained journal on disk.
//!
//! ```text
//! record     what is recorded, field by field
//! body       record -> canonical JSON, but for its place in the chain
//! block      ... the blocks of a statement's record
//! json       ... by hand
//! batch      bodies on their way to the journal's thread
//! line       body -> one line, linked to the line before by its hash
//! journal    lines -> segment files: batches, rotation, disks that are full or fail
//! durable    how far it is safe from a power loss
//! recover    where the journal goes on after a stop, a crash or a power loss
//! writer     the thread that owns the journal
//! lines      the lines of one segment, compressed or not
//! reader     the lines of a journal from a record on, while it is written
//! tail       the newest lines of a journal, and those to come
//! view       a line read back, field by field
//! live       a line as a person wants to read it on a terminal
//! ```

mod batch;
mod block;
mod body;
mod durable;
pub mod journal;
pub(crate) mod json;
pub mod line;
mod lines;
pub mod live;
pub mod reader;
pub mod record;
mod recover;
pub mod segment;
pub mod storage;
pub mod tail;
mod time;
pub mod view;
pub mod writer;

#[cfg(test)]
mod jcs;
#[cfg(test)]
mod journal_model;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod storage_fake;

pub use durable::Durable;
pub use journal::{Journal, JournalConfig, JournalStats};
pub use recover::OpenError;
pub use writer::JournalHandle;
