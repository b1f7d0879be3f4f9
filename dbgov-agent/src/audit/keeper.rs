//! The thread that keeps the journal's directory in order: what is done with each segment once it is complete (see
//! [`SegmentJob`]), and retention. It sleeps until a segment is complete, rests as long as it works, gives way to
//! others, and never touches the newest segment, which is the writer's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::body::Renderer;
use super::compress::{self, Compress};
use super::index::BuildIndex;
use super::key::PrivateKey;
use super::record::Record;
use super::retention::{Retention, RetentionConfig};
use super::writer::Inlet;
use super::{segment, storage};
use crate::background;

/// How often it looks without being told to: what failed is tried again, and records come of age.
const WAKE_INTERVAL: Duration = Duration::from_secs(60);

/// Something that is done once with each segment that is complete. Interrupted anywhere, it is begun anew.
pub(super) trait SegmentJob: Send {
    /// For the log.
    fn name(&self) -> &'static str;
    /// Whether it is still to be done with this one. `segment` is its name as it is now.
    fn is_due(&self, dir: &Path, segment: &str) -> bool;
    /// Does it, or gives up where it is to stop.
    fn run(&mut self, dir: &Path, segment: &str, stop: &Stop) -> io::Result<()>;
}

#[derive(Debug, Clone)]
pub struct KeeperConfig {
    pub dir: PathBuf,
    pub node: String,
    pub compress: bool,
    pub retention: RetentionConfig,
    /// Signs the tombstone.
    pub key: Arc<PrivateKey>,
}

/// Tells the keeper's work to end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    state: Mutex<StopState>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct StopState {
    is_set: bool,
    /// A segment is complete.
    has_work: bool,
}

impl Stop {
    pub(super) fn set(&self) {
        self.lock().is_set = true;
        self.woken.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        self.lock().is_set
    }

    /// Leaves the processor to others for so long; says whether to stop.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .woken
            .wait_timeout_while(state, time, |state| !state.is_set);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_set
    }

    /// Until there is work or some time has passed; says whether to stop.
    fn sleep(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .woken
            .wait_timeout_while(state, time, |state| !state.is_set && !state.has_work);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.has_work = false;
        state.is_set
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StopState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the keeper; for the writer.
#[derive(Debug, Clone, Default)]
pub(super) struct Bell(Arc<Stop>);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.lock().has_work = true;
        self.0.woken.notify_all();
    }
}

/// The running keeper. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// What it has to record goes the way of all records.
    pub(super) fn start(config: KeeperConfig, bell: Bell, records: Inlet) -> io::Result<Self> {
        let stop = bell.0;
        let shared = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("audit-keeper".to_owned())
            .spawn(move || {
                background::give_way();
                let mut work = Work::new(config);
                loop {
                    for record in work.run(&shared) {
                        send(&work.renderer_node, &records, &record);
                    }
                    if shared.sleep(WAKE_INTERVAL) {
                        return;
                    }
                }
            })?;
        Ok(Keeper {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit keeper panicked");
        }
    }
}

fn send(node: &str, records: &Inlet, record: &Record) {
    let mut batch = Batch::default();
    batch.push(record, &mut Renderer::new(node));
    // A writer that has ended takes none any more; the tombstone says the same.
    let _ = records.send(batch);
}

/// What the keeper does, apart from its thread.
pub(super) struct Work {
    dir: PathBuf,
    renderer_node: String,
    jobs: Vec<Box<dyn SegmentJob>>,
    retention: Retention,
    is_clean: bool,
    /// What failed last, so that it is not told every minute.
    last_error: String,
}

impl Work {
    pub(super) fn new(config: KeeperConfig) -> Self {
        let mut jobs: Vec<Box<dyn SegmentJob>> = Vec::new();
        if config.compress {
            jobs.push(Box::new(Compress));
        }
        // Behind it: an index is of the form the segment stays in.
        jobs.push(Box::new(BuildIndex::new(Arc::clone(&config.key))));
        Work {
            retention: Retention::new(&config),
            dir: config.dir,
            renderer_node: config.node,
            jobs,
            is_clean: false,
            last_error: String::new(),
        }
    }

    /// Does all there is to do. Gives what is to be recorded.
    pub(super) fn run(&mut self, stop: &Stop) -> Vec<Record> {
        let result = self.try_run(stop);
        let mut records = Vec::new();
        let error = match result {
            Ok(record) => {
                records.extend(record);
                String::new()
            }
            Err(error) => error.to_string(),
        };
        if !error.is_empty() && error != self.last_error {
            tracing::error!(dir = %self.dir.display(), error, "the journal's directory cannot be kept in order; it is tried again");
        }
        self.last_error = error;
        records
    }

    fn try_run(&mut self, stop: &Stop) -> io::Result<Option<Record>> {
        if !self.is_clean {
            compress::clean_up(&self.dir)?;
            self.is_clean = true;
        }
        let done = self.jobs(stop);
        // Also where that failed: the disk may be full. What is removed is told in any case.
        match self.retention.run(&self.dir)? {
            Some(record) => Ok(Some(record)),
            None => done.map(|()| None),
        }
    }

    fn jobs(&mut self, stop: &Stop) -> io::Result<()> {
        let mut segments = complete_segments(&self.dir)?;
        for job in &mut self.jobs {
            for segment in &segments {
                if stop.is_set() {
                    return Ok(());
                }
                if job.is_due(&self.dir, segment) {
                    let start = Instant::now();
                    job.run(&self.dir, segment, stop).map_err(|error| {
                        io::Error::new(error.kind(), format!("{} {segment}: {error}", job.name()))
                    })?;
                    tracing::debug!(
                        segment,
                        job = job.name(),
                        ms = start.elapsed().as_millis() as u64,
                        "done"
                    );
                }
            }
            segments = complete_segments(&self.dir)?;
        }
        Ok(())
    }
}

/// All segments but the newest, oldest first.
pub(super) fn complete_segments(dir: &Path) -> io::Result<Vec<String>> {
    let mut segments = segment::sorted(storage::names(dir)?);
    segments.pop();
    Ok(segments)
}

#[cfg(test)]
mod tests;
