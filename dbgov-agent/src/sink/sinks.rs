//! All sinks of the agent: a thread each, which nobody waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::config::{SinkConfig, SinkKind};
use super::elastic::Elastic;
use super::file::File;
use super::kafka::Kafka;
use super::nats::Nats;
use super::otlp::Otlp;
use super::run::{Job, run};
use super::splunk::Splunk;
use super::status::{Board, SinkStatus};
use super::stdout::Stdout;
use super::stop::{self, Stop, Stopper};
use super::syslog::Syslog;
use super::webhook::Webhook;
use crate::audit::Durable;
use crate::background;

/// A sink that ended by a fault of its own is started again after so long.
const RESTART_DELAY: Duration = Duration::from_secs(10);
/// How much longer than they were given the sinks are waited for: those in the middle of a system call are left alone.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("sink {name:?}: {what}")]
    Config { name: String, what: String },
    #[error("sink {name:?}: cannot start a thread: {source}")]
    Thread {
        name: String,
        source: std::io::Error,
    },
}

/// Finds what can be wrong without asking the receiver: files that cannot be read, secrets that are not there.
pub fn check(sinks: &[SinkConfig]) -> Result<(), SinkError> {
    for sink in sinks {
        let checked = match &sink.kind {
            SinkKind::Elasticsearch(config) => config.check(),
            SinkKind::File(config) => config.check(),
            SinkKind::Kafka(config) => config.check(),
            SinkKind::Nats(config) => config.check(),
            SinkKind::Otlp(config) => config.check(),
            SinkKind::Splunk(config) => config.check(),
            SinkKind::Stdout(_) => Ok(()),
            SinkKind::Syslog(config) => config.check(),
            SinkKind::Webhook(config) => config.check(),
        };
        checked.map_err(|what| SinkError::Config {
            name: sink.name.as_str().to_owned(),
            what,
        })?;
    }
    Ok(())
}

/// The running sinks.
#[derive(Debug)]
pub struct Sinks {
    running: Vec<Running>,
    durable: Durable,
    stopper: Stopper,
}

#[derive(Debug)]
struct Running {
    board: Board,
    thread: JoinHandle<()>,
}

/// To ask how the sinks are doing, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Boards {
    boards: Vec<Board>,
    durable: Durable,
}

impl Boards {
    pub fn shown(&self) -> Vec<SinkStatus> {
        let shown = |board: &Board| board.shown(&self.durable);
        self.boards.iter().map(shown).collect()
    }
}

impl Sinks {
    /// Starts them on the journal in `audit_dir`, which another thread may write.
    pub fn start(
        sinks: &[SinkConfig],
        audit_dir: &Path,
        node: &str,
        durable: Durable,
    ) -> Result<Sinks, SinkError> {
        Sinks::start_with(sinks, audit_dir, node, durable, false)
    }

    /// Delivers what is in a journal that nobody writes, and waits until all of it is delivered. Receivers that are away
    /// are waited for.
    pub fn run_once(
        sinks: &[SinkConfig],
        audit_dir: &Path,
        node: &str,
    ) -> Result<Vec<SinkStatus>, SinkError> {
        let sinks = Sinks::start_with(sinks, audit_dir, node, Durable::whole(), true)?;
        let boards = sinks.boards();
        for running in sinks.running {
            // A panic was told of and the sink started again; the thread itself has none.
            let _ = running.thread.join();
        }
        Ok(boards.shown())
    }

    fn start_with(
        sinks: &[SinkConfig],
        audit_dir: &Path,
        node: &str,
        durable: Durable,
        once: bool,
    ) -> Result<Sinks, SinkError> {
        check(sinks)?;
        let (stopper, stop) = stop::pair();
        let mut running = Vec::new();
        for config in sinks {
            let board = Board::new(config.name.as_str(), config.kind.name());
            let job = Job {
                config: config.clone(),
                audit_dir: audit_dir.to_owned(),
                node: node.to_owned(),
                durable: durable.clone(),
                board: board.clone(),
                stop: stop.clone(),
                once,
            };
            let thread = std::thread::Builder::new()
                .name(format!("sink-{}", config.name))
                .spawn(move || supervise(&job))
                .map_err(|source| SinkError::Thread {
                    name: config.name.to_string(),
                    source,
                })?;
            running.push(Running { board, thread });
        }
        Ok(Sinks {
            running,
            durable,
            stopper,
        })
    }

    pub fn boards(&self) -> Boards {
        Boards {
            boards: self.running.iter().map(|sink| sink.board.clone()).collect(),
            durable: self.durable.clone(),
        }
    }

    /// Gives the sinks this time for what is in the journal. What is not delivered then is delivered after the next
    /// start.
    pub fn stop(self, within: Duration) {
        self.stopper.stop(within);
        let deadline = Instant::now() + within + GRACE;
        while Instant::now() < deadline
            && self.running.iter().any(|sink| !sink.thread.is_finished())
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn supervise(job: &Job) {
    background::give_way();
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| work(job)));
        let why = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked; please report this".to_owned(),
        };
        tracing::error!(sink = %job.config.name, "the sink ended and is started again: {why}");
        job.board.update(|status| {
            status.restarts += 1;
            status.last_error = Some(why);
        });
        if !pause(&job.stop) {
            return;
        }
    }
}

/// Before a restart; false where the agent ends.
fn pause(stop: &Stop) -> bool {
    let end = Instant::now() + RESTART_DELAY;
    while Instant::now() < end {
        if stop.is_asked() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}

fn work(job: &Job) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (node, format) = (&job.node, job.config.format);
        match &job.config.kind {
            SinkKind::Elasticsearch(config) => run(job, &mut Elastic::new(config)).await,
            SinkKind::File(config) => run(job, &mut File::new(config)).await,
            SinkKind::Kafka(config) => run(job, &mut Kafka::new(config, node)).await,
            SinkKind::Nats(config) => run(job, &mut Nats::new(config, node)).await,
            SinkKind::Otlp(config) => run(job, &mut Otlp::new(config, format, node)).await,
            SinkKind::Splunk(config) => run(job, &mut Splunk::new(config, node)).await,
            SinkKind::Stdout(_) => run(job, &mut Stdout).await,
            SinkKind::Syslog(config) => run(job, &mut Syslog::new(config, node)).await,
            SinkKind::Webhook(config) => run(job, &mut Webhook::new(config, format)).await,
        }
    });
    // A name that is being looked up is not waited for.
    runtime.shutdown_background();
    Ok(())
}
