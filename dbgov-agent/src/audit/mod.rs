//! Record -> hash-chained journal on disk.
//!
//! ```text
//! record     what is recorded, field by field
//! body       record -> canonical JSON, but for its place in the chain
//! block      ... the blocks of a statement's record
//! json       ... by hand
//! batch      bodies on their way to the journal's thread
//! line       body -> one line, linked to the line before by its hash
//! journal    lines -> segment files: batches, rotation, disks that are full or fail; headers and checkpoints
//! durable    how far it is safe from a power loss
//! key        what signs and what checks
//! checkpoint what a signature says
//! header     the first record of a segment
//! recover    where the journal goes on after a stop, a crash or a power loss
//! keeper     complete segments: compression, retention
//! tombstone  what stands for segments that were removed
//! verify     whether a journal is what was written
//! writer     the thread that owns the journal
//! lines      the lines of one segment, compressed or not
//! reader     the lines of a journal from a record on, while it is written
//! tail       the newest lines of a journal, and those to come
//! view       a line read back, field by field
//! blocks     a segment in pieces that can be read one by one
//! index      what a search needs to pass over most of them
//! search     the records that are wanted, oldest or newest first
//! report     what an auditor asks
//! live       a line as a person wants to read it on a terminal
//! ```

mod backwards;
mod batch;
mod block;
mod blocks;
mod body;
mod canonical;
mod checkpoint;
mod compress;
mod compressed;
mod durable;
mod header;
pub mod index;
pub mod journal;
pub(crate) mod json;
pub mod keeper;
pub mod key;
pub mod line;
mod lines;
pub mod live;
pub mod reader;
pub mod record;
mod recover;
pub mod report;
pub mod retention;
pub mod search;
pub mod segment;
pub mod storage;
pub mod tail;
pub(crate) mod time;
pub mod tombstone;
pub mod verify;
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
