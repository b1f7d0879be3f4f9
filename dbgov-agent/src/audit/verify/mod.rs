//! `dbgov audit verify`: whether a journal is what dbgov wrote. Needs nothing but the directory, and the public key to say
//! who wrote it.
//!
//! ```text
//! listing    what lies in the directory
//! pass       one segment, line by line; several at once
//! join       segments, tombstone and expectations put together
//! indexes    what searches use beside the chain
//! report     what was found
//! ```
//!
//! The files may be anybody's: memory is bounded, nothing but regular files is opened, and what does not fit is named and
//! passed over.

mod indexes;
mod join;
mod listing;
mod pass;
mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use report::{Break, KeySeen, Report, Stretch};

use self::join::Join;
use self::listing::Listing;
use self::pass::{Context, Pass};
use super::header::ReadHeader;
use super::key::PublicKey;
use super::lines::Lines;

/// Threads that read; each takes some MiB.
const THREADS_MAX: usize = 8;
/// Keys a journal may name: more than anybody changes them.
const KEYS_MAX: usize = 1000;

/// What the reader of the journal knows beside it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only what these keys signed counts. None: any key that the journal names.
    pub keys: Vec<PublicKey>,
    /// A record that must be there, and its `chain.hash`, as a SIEM may hold it.
    pub expected: Option<(u64, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("cannot read the journal in {dir}: {source}")]
    Dir { dir: PathBuf, source: io::Error },
    #[error(
        "there is no journal in {dir}: none of its files is a segment (audit-….jsonl or .jsonl.zst)"
    )]
    NoSegments { dir: PathBuf },
}

pub fn verify(dir: &Path, options: &Options) -> Result<Report, VerifyError> {
    let start = Instant::now();
    let listing = Listing::read(dir).map_err(|source| VerifyError::Dir {
        dir: dir.to_owned(),
        source,
    })?;
    if listing.segments.is_empty() {
        return Err(VerifyError::NoSegments {
            dir: dir.to_owned(),
        });
    }
    let named = named_keys(dir, &listing.segments);
    let tombstone = listing
        .tombstone
        .as_ref()
        .map(|_| join::read_tombstone(dir));
    let mut watched: Vec<u64> = options.expected.iter().map(|(seq, _)| *seq).collect();
    if let Some(Ok(tombstone)) = &tombstone {
        watched.push(tombstone.last_seq);
    }
    let context = Context {
        dir,
        keys: if options.keys.is_empty() {
            &named
        } else {
            &options.keys
        },
        watched: &watched,
    };
    let passes = read_all(&context, &listing.segments);
    let indexes = indexes::look_at(dir, &listing.segments);
    let mut report = Join::new(&context, options, &named).report(listing, tombstone, passes);
    report.indexes = indexes.usable;
    report.indexes_bad = indexes.bad;
    report.notes.extend(indexes.notes);
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// The keys in the segments' headers, each once.
fn named_keys(dir: &Path, segments: &[String]) -> Vec<PublicKey> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for name in segments {
        let Ok(mut lines) = Lines::open(&dir.join(name)) else {
            continue;
        };
        let Ok(true) = lines.advance() else {
            continue;
        };
        let key = ReadHeader::of_line(lines.line()).and_then(|header| header.public_key());
        if let Some(key) = key
            && !keys.contains(&key)
            && keys.len() < KEYS_MAX
        {
            keys.push(key);
        }
    }
    keys
}

/// Reads every segment, as many at once as there are processors.
fn read_all(context: &Context<'_>, segments: &[String]) -> Vec<Pass> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(THREADS_MAX).min(segments.len());
    let next = AtomicUsize::new(0);
    let passes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = segments.get(at) else {
                        return;
                    };
                    let pass = Pass::read(context, name, at + 1 == segments.len());
                    let mut passes = passes.lock().unwrap_or_else(|e| e.into_inner());
                    passes.push((at, pass));
                }
            });
        }
    });
    let mut passes = passes.into_inner().unwrap_or_else(|e| e.into_inner());
    passes.sort_unstable_by_key(|(at, _)| *at);
    passes.into_iter().map(|(_, pass)| pass).collect()
}

#[cfg(test)]
mod tests;
