//! The records for one sink: read from the journal behind its cursor, filtered, encoded, in batches.

use std::path::Path;

use super::config::{Batch as Limits, Filter, Start, Traits};
use super::cursor::Cursor;
use super::deliver::Item;
use super::encode::{self, Format};
use crate::audit::Durable;
use crate::audit::reader::{Missed, ReadError, Reader};
use crate::audit::tail::{Tail, TailError};
use crate::audit::view::View;

/// Records looked at in one go, of which a filter may leave none: some hundredths of a second, so that the end of the
/// agent is not missed.
const LOOKED_AT_MAX: usize = 10_000;

/// Records on their way, and the place in the journal behind them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub items: Vec<Item>,
    pub bytes: usize,
    /// Lines that could not be made items: number, line, reason.
    pub unfit: Vec<(u64, String, String)>,
    /// The newest record read, whether it is for the receiver or not.
    pub last: Option<Cursor>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.unfit.is_empty()
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.items.len() + self.unfit.len() >= limits.records_max || self.bytes >= limits.bytes_max
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// No record more would fit.
    Full,
    /// There are more records to look at.
    More,
    /// There are none now.
    Drained,
}

/// Where the reading begins, and what was found out there.
pub(super) struct Opened {
    pub source: Source,
    /// Records behind the cursor that are gone.
    pub skipped: u64,
    /// The cursor is of another journal.
    pub replaced: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Tail(#[from] TailError),
}

pub(super) struct Source {
    reader: Reader,
    durable: Durable,
    filter: Filter,
    format: Format,
    /// What was read but did not fit the last batch.
    held: Option<(Item, Cursor)>,
}

impl Source {
    pub(super) fn open(
        dir: &Path,
        cursor: Option<&Cursor>,
        durable: Durable,
        filter: &Filter,
        format: Format,
    ) -> Result<Opened, SourceError> {
        let (after, skipped, replaced) = match cursor {
            None => (0, 0, false),
            Some(cursor) => match look_up(dir, cursor)? {
                Found::Fits { skipped } => (cursor.seq + skipped, skipped, false),
                Found::Another => (0, 0, true),
            },
        };
        let source = Source {
            reader: Reader::open_after(dir, after)?,
            durable,
            filter: filter.clone(),
            format,
            held: None,
        };
        Ok(Opened {
            source,
            skipped,
            replaced,
        })
    }

    /// Adds what fits. An error is told once; then it goes on with what can be read.
    pub(super) fn fill(&mut self, batch: &mut Batch, limits: &Limits) -> Result<Filled, ReadError> {
        for _ in 0..LOOKED_AT_MAX {
            if batch.is_full(limits) {
                return Ok(Filled::Full);
            }
            if let Some((item, cursor)) = self.held.take()
                && let Some(rest) = add(batch, limits, item, cursor)
            {
                self.held = Some(rest);
                return Ok(Filled::Full);
            }
            if self.reader.next_seq() > self.durable.seq() {
                return Ok(Filled::Drained);
            }
            let next_seq = self.reader.next_seq();
            let Some(line) = self.reader.next_line()? else {
                return Ok(Filled::Drained);
            };
            match read(line, &self.filter, self.format) {
                Ok((None, cursor)) => batch.last = Some(cursor),
                Ok((Some(item), cursor)) => {
                    if let Some(rest) = add(batch, limits, item, cursor) {
                        self.held = Some(rest);
                        return Ok(Filled::Full);
                    }
                }
                // Verification tells what became of the journal; here it must neither be lost nor stop the others.
                Err(why) => {
                    let line = String::from_utf8_lossy(line).into_owned();
                    batch.bytes += line.len();
                    batch.unfit.push((next_seq, line, why));
                }
            }
        }
        Ok(Filled::More)
    }

    /// How many records were passed over since the last call, since they are gone.
    pub(super) fn take_missed(&mut self) -> u64 {
        let count = |missed: Missed| missed.to.saturating_sub(missed.from).saturating_add(1);
        self.reader.take_missed().map_or(0, count)
    }

    /// Of a record that was read and is in no batch.
    pub(super) fn held_time_unix_ns(&self) -> Option<u64> {
        self.held.as_ref().map(|(item, _)| item.time_unix_ns)
    }
}

/// Gives back what does not fit. A record larger than a batch goes alone.
fn add(batch: &mut Batch, limits: &Limits, item: Item, cursor: Cursor) -> Option<(Item, Cursor)> {
    if !batch.is_empty() && batch.bytes + item.body.len() > limits.bytes_max {
        return Some((item, cursor));
    }
    batch.bytes += item.body.len();
    batch.items.push(item);
    batch.last = Some(cursor);
    None
}

fn read(line: &[u8], filter: &Filter, format: Format) -> Result<(Option<Item>, Cursor), String> {
    let view = View::parse(line).map_err(|error| error.to_string())?;
    let cursor = cursor_of(&view);
    let traits = Traits {
        kind: &view.kind,
        verdict: view.verdict.action.some(),
        identity: view.identity.name.some(),
        database: view.session.database.some(),
    };
    if !filter.passes(&traits) {
        return Ok((None, cursor));
    }
    let item = encode::item(format, line, &view).map_err(|error| error.to_string())?;
    Ok((Some(item), cursor))
}

fn cursor_of(view: &View<'_>) -> Cursor {
    Cursor::new(view.seq, &view.chain.hash, &view.time)
}

enum Found {
    /// `skipped` records behind the cursor are gone.
    Fits { skipped: u64 },
    /// The journal has another record of that number, or never had so many.
    Another,
}

fn look_up(dir: &Path, cursor: &Cursor) -> Result<Found, SourceError> {
    let mut reader = Reader::open_after(dir, cursor.seq - 1)?;
    let Some(line) = reader.next_line()? else {
        return Ok(Found::Another);
    };
    // What is no record is the business of those who read on.
    let Ok(view) = View::parse(line) else {
        return Ok(Found::Fits { skipped: 0 });
    };
    let fits = match view.seq.checked_sub(cursor.seq) {
        None => false,
        Some(0) => *view.chain.hash == *cursor.hash,
        Some(1) => *view.chain.prev == *cursor.hash,
        Some(_) => true,
    };
    Ok(match fits {
        true => Found::Fits {
            skipped: view.seq.saturating_sub(cursor.seq + 1),
        },
        false => Found::Another,
    })
}

/// Where a sink without a cursor begins.
pub(super) fn start(dir: &Path, start: Start) -> Result<Option<Cursor>, SourceError> {
    if start == Start::Oldest {
        return Ok(None);
    }
    let mut tail = Tail::open(dir, 1)?;
    let newest = tail.next_line()?;
    Ok(newest.and_then(|line| View::parse(line).ok().map(|view| cursor_of(&view))))
}
