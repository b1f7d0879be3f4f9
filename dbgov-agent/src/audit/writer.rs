//! The thread that owns the journal. Records reach it in batches through a bounded channel, as the JSON they will be on
//! disk but for their place in the chain: their many small pieces are freed by the thread that made them, and two threads
//! share the work.
//!
//! A disk that refuses is the journal's business and stops nobody. A disk that *hangs* (a write call that does not come
//! back) fills the channel, and then [`JournalHandle::send`] waits. That is intended where dbgov observes: the wait goes
//! up the pipeline to the kernel's ring buffer, which counts per connection what it cannot take, so the loss has a name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::body::Renderer;
use super::journal::{Journal, JournalStats};
use super::keeper::{Bell, Keeper, KeeperConfig};
use super::record::Record;
use super::storage::Storage;

/// Batches that may wait: some 5,000 records, which bridges a slow fdatasync (tens of milliseconds) at full rate.
pub const CHANNEL_BATCHES: usize = 64;
/// A batch of so many bytes is sent at once: about a hundred records, so that both threads find it in their caches.
const BATCH_BYTES: usize = 64 * 1024;
/// Written batches whose memory waits for the next ones.
const USED_BATCHES: usize = 4;
/// How long the thread sleeps when nothing is due; a new batch or the end wakes it at once.
const IDLE: Duration = Duration::from_secs(3600);

/// The writer thread has ended (it does so only after [`JournalHandle::close`] or a panic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit writer has ended; restart dbgov")]
pub struct WriterEnded;

/// The way to the journal. Dropping it writes and closes the journal, as [`close`](Self::close) does.
#[derive(Debug)]
pub struct JournalHandle {
    renderer: Renderer,
    batch: Batch,
    inlet: Option<Inlet>,
    used: Receiver<Batch>,
    stats: Arc<Mutex<JournalStats>>,
    thread: Option<JoinHandle<()>>,
    keeper: Option<Keeper>,
}

/// The way of batches to the thread.
#[derive(Debug, Clone)]
pub(super) struct Inlet {
    sender: SyncSender<Batch>,
    /// How many are on it.
    waiting: Arc<AtomicU64>,
}

impl Inlet {
    /// Waits while the channel is full.
    pub(super) fn send(&self, batch: Batch) -> Result<(), WriterEnded> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(batch).map_err(|_| WriterEnded)
    }
}

impl JournalHandle {
    /// Starts the thread. An observer for the display belongs into the journal before
    /// ([`Journal::set_observer`]); it runs on this thread.
    pub fn start<S>(journal: Journal<S>) -> std::io::Result<Self>
    where
        S: Storage + Send + 'static,
        S::File: Send,
    {
        let (sender, receiver) = sync_channel(CHANNEL_BATCHES);
        let (give_back, used) = sync_channel(USED_BATCHES);
        let stats = Arc::new(Mutex::new(journal.stats()));
        let shared = Arc::clone(&stats);
        let renderer = journal.renderer();
        let waiting = Arc::new(AtomicU64::new(0));
        let taken = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || run(journal, &receiver, &taken, &give_back, &shared))?;
        Ok(JournalHandle {
            renderer,
            batch: Batch::default(),
            inlet: Some(Inlet { sender, waiting }),
            used,
            stats,
            thread: Some(thread),
            keeper: None,
        })
    }

    /// As [`start`](Self::start), with a thread beside it that keeps the journal's directory in order.
    pub fn start_with_keeper<S>(
        mut journal: Journal<S>,
        config: KeeperConfig,
    ) -> std::io::Result<Self>
    where
        S: Storage + Send + 'static,
        S::File: Send,
    {
        let bell = Bell::default();
        journal.set_bell(bell.clone());
        let mut handle = JournalHandle::start(journal)?;
        if let Some(inlet) = &handle.inlet {
            handle.keeper = Some(Keeper::start(config, bell, inlet.clone())?);
        }
        Ok(handle)
    }

    /// Hands records over, in order. Waits while the channel is full.
    pub fn send(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), WriterEnded> {
        self.add(records)?;
        self.flush()
    }

    /// As [`send`](Self::send), but a batch that is not full yet may stay here until the next [`flush`](Self::flush).
    pub fn add(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), WriterEnded> {
        for record in records {
            self.batch.push(&record, &mut self.renderer);
            if self.batch.bytes() >= BATCH_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Hands over what was added.
    pub fn flush(&mut self) -> Result<(), WriterEnded> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let next = self.used.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        self.inlet.as_ref().ok_or(WriterEnded)?.send(batch)
    }

    /// The figures after the last batch or tick.
    pub fn stats(&self) -> JournalStats {
        let inlet = self.inlet.as_ref();
        JournalStats {
            waiting_batches: inlet.map_or(0, |inlet| inlet.waiting.load(Ordering::Relaxed)),
            ..lock(&self.stats).clone()
        }
    }

    /// Writes what was sent, makes it durable and ends the thread.
    pub fn close(mut self) -> JournalStats {
        self.end();
        self.stats()
    }

    fn end(&mut self) {
        // An ended writer is told of below.
        let _ = self.flush();
        // Before the writer: what it has done is recorded.
        self.keeper = None;
        self.inlet = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit writer panicked; its last records are lost");
        }
    }
}

impl Drop for JournalHandle {
    fn drop(&mut self) {
        self.end();
    }
}

fn run<S: Storage>(
    mut journal: Journal<S>,
    receiver: &Receiver<Batch>,
    waiting: &AtomicU64,
    give_back: &SyncSender<Batch>,
    shared: &Mutex<JournalStats>,
) {
    loop {
        let now = Instant::now();
        journal.tick(now);
        *lock(shared) = journal.stats();
        let wait = journal
            .next_tick()
            .map_or(IDLE, |at| at.saturating_duration_since(now));
        match receiver.recv_timeout(wait) {
            Ok(mut batch) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                journal.tick(Instant::now());
                batch
                    .iter()
                    .for_each(|(body, bytes)| journal.append_body(body, bytes));
                batch.clear();
                if batch.is_worth_keeping() {
                    // Where enough of them wait already, this one is freed.
                    let _ = give_back.try_send(batch);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    *lock(shared) = journal.close();
}

/// Plain figures are right also when their last writer panicked.
fn lock(stats: &Mutex<JournalStats>) -> std::sync::MutexGuard<'_, JournalStats> {
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::journal::{FLUSH_INTERVAL, JournalConfig};
    use super::super::samples;
    use super::*;

    fn statements(texts: std::ops::Range<u32>) -> Vec<Record> {
        texts
            .map(|number| samples::statement(&format!("SELECT {number}")))
            .collect()
    }

    #[test]
    fn everything_sent_is_on_disk_after_close() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(JournalConfig::new(dir.path(), "n")).unwrap();
        let seen = Arc::new(AtomicU64::new(0));
        let observed = Arc::clone(&seen);
        journal.set_observer(Box::new(move |lines| {
            assert!(lines.ends_with(b"}\n"));
            let count = lines.split_inclusive(|byte| *byte == b'\n').count();
            observed.fetch_add(count as u64, Ordering::Relaxed);
        }));
        let mut handle = JournalHandle::start(journal).unwrap();
        // More batches than the channel holds.
        for batch in 0..CHANNEL_BATCHES as u32 * 2 {
            handle
                .send(statements(batch * 10..batch * 10 + 10))
                .unwrap();
        }
        let stats = handle.close();
        assert_eq!(
            (stats.records, stats.unflushed, stats.dropped),
            (1280, 0, 0)
        );
        assert_eq!(seen.load(Ordering::Relaxed), 1280);
        let content = std::fs::read_to_string(dir.path().join(&*stats.segment)).unwrap();
        let mut lines = content.lines();
        for number in 0..1280 {
            let line = lines.next().expect("a line for each");
            assert!(
                line.contains(&format!("\"SELECT {number}\"")),
                "in order: {line}"
            );
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn what_was_added_is_on_disk_after_close() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalConfig::new(dir.path(), "n")).unwrap();
        let mut handle = JournalHandle::start(journal).unwrap();
        // More than a batch takes, and less than another.
        handle.add(statements(0..200)).unwrap();
        assert!(!handle.batch.is_empty() && handle.batch.bytes() < BATCH_BYTES);
        let stats = handle.close();
        assert_eq!((stats.records, stats.unflushed), (200, 0));
    }

    #[test]
    fn a_lone_record_is_written_by_the_flush_interval() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalConfig::new(dir.path(), "n")).unwrap();
        let mut handle = JournalHandle::start(journal).unwrap();
        handle.send(statements(0..1)).unwrap();
        let deadline = Instant::now() + FLUSH_INTERVAL * 50;
        while handle.stats().bytes == 0 || handle.stats().unflushed > 0 {
            assert!(Instant::now() < deadline, "not flushed");
            std::thread::sleep(FLUSH_INTERVAL / 10);
        }
        let segment = dir.path().join(&*handle.stats().segment);
        assert!(std::fs::metadata(segment).unwrap().len() > 0);
    }

    #[test]
    fn dropping_the_handle_closes_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig::new(dir.path(), "n");
        let (journal, _) = Journal::open(config.clone()).unwrap();
        let mut handle = JournalHandle::start(journal).unwrap();
        handle.send(statements(0..3)).unwrap();
        drop(handle);
        let (journal, _) = Journal::open(config).expect("the lock is free again");
        assert_eq!(journal.stats().last_seq, 3);
    }
}
