//! Finds records in a journal, oldest or newest first, in bounded memory: one block at a time. Closed segments that have
//! an index give only the blocks that may hold what is wanted. Reads the files alone; the agent need not run.

mod query;
pub mod when;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::blocks::{self, Blocks, Span};
use super::index::Index;
use super::reader::ReadError;
use super::segment;
use super::view::View;

pub use query::{Filters, Query};

/// What could not be read is told of so many segments, the rest is counted.
const PROBLEMS_MAX: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// What a search cost, and what it could not do.
#[derive(Debug, Default)]
pub struct Stats {
    pub segments: u64,
    /// Of these segments, searched with their index.
    pub indexed: u64,
    /// Blocks of the segments that were looked at, and those among them that were read.
    pub blocks: u64,
    pub blocks_read: u64,
    /// Records in the blocks that were read.
    pub records: u64,
    pub matches: u64,
    /// Number of the last record there was, as far as the search went.
    pub last_seq: u64,
    /// Segments and lines that could not be read; the answer may lack their records.
    pub problems: Vec<String>,
    /// As many more.
    pub more_problems: u64,
}

impl Stats {
    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        } else {
            self.more_problems += 1;
        }
    }
}

/// What the caller does with a record: its line without the newline, and what it says.
pub trait Found: FnMut(&[u8], &View) -> ControlFlow<()> {}
impl<F: FnMut(&[u8], &View) -> ControlFlow<()>> Found for F {}

/// Gives every record that matches to `found`, until that breaks off.
///
/// # Errors
/// The directory cannot be read. What else cannot be read stands in [`Stats::problems`].
pub fn search(
    dir: &Path,
    query: &mut Query,
    order: Order,
    mut found: impl Found,
) -> Result<Stats, ReadError> {
    let mut names = segment::list(dir)?;
    if order == Order::NewestFirst {
        names.reverse();
    }
    let mut search = Search {
        dir,
        query,
        order,
        found: &mut found,
        stats: Stats::default(),
        content: Vec::new(),
        path: PathBuf::new(),
    };
    for name in names {
        if search.segment(&name).is_break() {
            break;
        }
    }
    Ok(search.stats)
}

struct Search<'a, F> {
    dir: &'a Path,
    query: &'a mut Query,
    order: Order,
    found: &'a mut F,
    stats: Stats,
    /// Of one block.
    content: Vec<u8>,
    /// Of the segment.
    path: PathBuf,
}

impl<F: Found> Search<'_, F> {
    fn segment(&mut self, name: &str) -> ControlFlow<()> {
        match self.open(name) {
            Ok(Some((path, blocks))) => {
                self.path = path;
                self.opened(blocks)
            }
            // Removed by retention since it was listed.
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => {
                self.stats.problem(format!("cannot read {name}: {error}"));
                ControlFlow::Continue(())
            }
        }
    }

    /// A segment that is being compressed is there in the other form a moment later.
    fn open(&self, name: &str) -> io::Result<Option<(PathBuf, Blocks)>> {
        let other = format!("{name}{}", segment::COMPRESSED_SUFFIX);
        for name in [name, &other] {
            let path = self.dir.join(name);
            match Blocks::open(&path) {
                Ok(blocks) => return Ok(Some((path, blocks))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn opened(&mut self, mut blocks: Blocks) -> ControlFlow<()> {
        self.stats.segments += 1;
        let name = self.path.file_name().and_then(|name| name.to_str());
        let index = name.and_then(|name| Index::load(self.dir, name).ok());
        let result = match (&index, self.order) {
            (Some(index), _) => self.indexed(&mut blocks, index),
            (None, Order::OldestFirst) => self.forward(&mut blocks),
            (None, Order::NewestFirst) => self.backward(&mut blocks),
        };
        result.unwrap_or_else(|error| {
            let path = self.path.display();
            self.stats
                .problem(format!("cannot read on in {path}: {error}"));
            ControlFlow::Continue(())
        })
    }

    fn indexed(&mut self, blocks: &mut Blocks, index: &Index) -> io::Result<ControlFlow<()>> {
        self.stats.indexed += 1;
        self.stats.blocks += index.blocks.len() as u64;
        self.stats.last_seq = self.stats.last_seq.max(index.last_seq());
        let wanted = index
            .blocks
            .iter()
            .filter(|block| self.query.may_be_in(block));
        let mut wanted: Vec<_> = wanted.collect();
        if self.order == Order::NewestFirst {
            wanted.reverse();
        }
        let mut content = std::mem::take(&mut self.content);
        let mut flow = ControlFlow::Continue(());
        for block in wanted {
            blocks.read(block.span, &mut content)?;
            self.stats.blocks_read += 1;
            let records = self.stats.records;
            flow = self.block(&content);
            if flow.is_break() {
                break;
            }
            if self.stats.records - records != block.records {
                self.stats.problem(format!(
                    "the records from {} on are not those of the index: dbgov audit verify tells more",
                    block.first_seq
                ));
            }
        }
        self.content = content;
        Ok(flow)
    }

    fn forward(&mut self, blocks: &mut Blocks) -> io::Result<ControlFlow<()>> {
        let mut content = std::mem::take(&mut self.content);
        while blocks.next(&mut content)?.is_some() {
            self.stats.blocks += 1;
            self.stats.blocks_read += 1;
            self.note_last(&content);
            if self.block(&content).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.content = content;
        Ok(ControlFlow::Continue(()))
    }

    /// Without an index: once through, to see where its blocks are. What is behind a damaged one stays out of reach.
    fn backward(&mut self, blocks: &mut Blocks) -> io::Result<ControlFlow<()>> {
        let mut content = std::mem::take(&mut self.content);
        let mut spans: Vec<Span> = Vec::new();
        let damage = loop {
            match blocks.next(&mut content) {
                Ok(Some(span)) => spans.push(span),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        self.stats.blocks += spans.len() as u64;
        for span in spans.into_iter().rev() {
            blocks.read(span, &mut content)?;
            self.stats.blocks_read += 1;
            if self.block(&content).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.content = content;
        damage.map_or(Ok(ControlFlow::Continue(())), Err)
    }

    /// The rest may be passed over without being read as JSON.
    fn note_last(&mut self, content: &[u8]) {
        let last = blocks::lines(content).next_back().map(View::parse);
        if let Some(Ok(view)) = last {
            self.stats.last_seq = self.stats.last_seq.max(view.seq);
        }
    }

    fn block(&mut self, content: &[u8]) -> ControlFlow<()> {
        let lines = blocks::lines(content);
        match self.order {
            Order::OldestFirst => self.lines(lines),
            Order::NewestFirst => self.lines(lines.rev()),
        }
    }

    fn lines<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) -> ControlFlow<()> {
        for line in lines {
            self.stats.records += 1;
            if !self.query.may_match(line) {
                continue;
            }
            let view = match View::parse(line) {
                Ok(view) => view,
                Err(error) => {
                    let path = self.path.display();
                    self.stats.problem(format!("{path}: {error}"));
                    continue;
                }
            };
            if self.query.matches(&view) {
                self.stats.matches += 1;
                (self.found)(line, &view)?;
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
