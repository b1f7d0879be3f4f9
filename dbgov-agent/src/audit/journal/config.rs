//! What the journal can be told, and what it tells.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::key::PrivateKey;

/// Large enough that a directory of a busy month stays readable, small enough to ship and to scan in a second.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A write call costs the same as formatting about a dozen records: spread over this many it vanishes.
pub const FLUSH_RECORDS_MAX: u32 = 1024;
/// The same bound for long records; also what the buffer normally takes.
pub const FLUSH_BYTES_MAX: usize = 256 * 1024;
/// The longest a record is only in memory. A person who watches takes this for "at once".
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// What a power loss may take. Once a second costs little even on slow disks; each batch would halve a busy one.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Lines kept while the disk refuses: some ten thousand statements, and an eighth of the memory the agent may use.
pub const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A signature over so many records adds a few hundredths to what they cost, and a verifier that finds one wrong has to
/// name no longer a stretch than this.
pub const CHECKPOINT_RECORDS: u32 = 1000;
/// The most the configuration may set, so that a verifier knows how long a stretch without a signature may be at all.
pub const CHECKPOINT_RECORDS_MAX: u32 = 100_000;
/// What somebody who gets hold of the host could change unseen is what came since the last signature.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct JournalConfig {
    pub dir: PathBuf,
    /// `node` of every record.
    pub node: String,
    /// A segment ends before the record that would make it longer; after a full disk it may be longer by
    /// `pending_bytes_max`.
    pub segment_bytes_max: u64,
    pub flush_records_max: u32,
    pub flush_bytes_max: usize,
    pub flush_interval: Duration,
    /// Longest time between a write and its fdatasync; zero: with every flush.
    pub sync_interval: Duration,
    pub pending_bytes_max: usize,
    /// Signs checkpoints. Without one there are no checkpoints and no headers: a plain chain, as in measurements of what
    /// signing costs.
    pub key: Option<Arc<PrivateKey>>,
    /// Most records between two checkpoints.
    pub checkpoint_records: u32,
    /// Longest time from a record to the next checkpoint.
    pub checkpoint_interval: Duration,
}

impl JournalConfig {
    pub fn new(dir: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        JournalConfig {
            dir: dir.into(),
            node: node.into(),
            segment_bytes_max: SEGMENT_BYTES_MAX,
            flush_records_max: FLUSH_RECORDS_MAX,
            flush_bytes_max: FLUSH_BYTES_MAX,
            flush_interval: FLUSH_INTERVAL,
            sync_interval: SYNC_INTERVAL,
            pending_bytes_max: PENDING_BYTES_MAX,
            key: None,
            checkpoint_records: CHECKPOINT_RECORDS,
            checkpoint_interval: CHECKPOINT_INTERVAL,
        }
    }
}

/// How the journal is doing; the counters begin at open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Records given a place in the chain.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// Number of the newest record, also over restarts.
    pub last_seq: u64,
    /// The file written to; empty before the first write.
    pub segment: Arc<str>,
    /// Records that are not in the journal. A `gap` record counts them once there is room.
    pub dropped: u64,
    pub write_errors: u64,
    pub last_error: Option<Arc<str>>,
    /// Records that are in memory only.
    pub unflushed: u64,
    /// Records behind the last checkpoint, and since when there are some.
    pub unsigned: u64,
    pub unsigned_since: Option<Instant>,
    /// Batches on their way to the journal's thread.
    pub waiting_batches: u64,
    /// Bytes written that a power loss may still take.
    pub unsynced_bytes: u64,
    /// The disk refused the last write; it is tried again.
    pub degraded: bool,
}
