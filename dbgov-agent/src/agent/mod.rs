//! The running agent: its threads and how they end.
//!
//! ```text
//! capture       drains the rings, runs the pipeline, sends records     capture.rs, gate.rs, policy.rs
//! host          looks for servers and for who is behind old sockets    host.rs
//! audit-writer  the journal                                            audit::writer
//! audit-keeper  complete segments of it: compression, retention       audit::keeper
//! display       the live statements on stdout                          display.rs
//! kubernetes    asks the API for the pods of this node                 identity::pods
//! sink-NAME     one each, journal -> SIEM                          crate::sink
//! http          /metrics and /healthz                                  http/, metrics/
//! control       answers what the other commands ask                    answers.rs, crate::control
//! main          waits for a signal
//! ```

mod answers;
mod capture;
mod display;
mod gate;
mod health;
mod host;
mod http;
mod metrics;
mod policy;
pub mod status;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::audit::journal::{Journal, JournalConfig};
use crate::audit::keeper::KeeperConfig;
use crate::audit::key::{KeyError, PrivateKey};
use crate::audit::record::{Kind, Record};
use crate::audit::retention::RetentionConfig;
use crate::audit::storage::Directory;
use crate::audit::{Durable, JournalHandle, OpenError};
use crate::capture::kernel::{self, Kernel, KernelError, LoadOptions};
use crate::capture::{cgroup, cgroupns, discover};
use crate::clock::{Clock, boot_ns, unix_ns};
use crate::config::{Config, PolicyMode, hostname};
use crate::control::{Control, ControlError, Queue};
use crate::heap;
use crate::identity::pods::{self, FIRST_LIST_TIMEOUT, Pods};
use crate::judge::Rulebook;
use crate::pipeline::{Governed, Pipeline};
use crate::protocol::postgres::Limits;
use crate::redact;
use crate::sink::config::SinkKind;
use crate::sink::{self, SinkError, Sinks};

use answers::{Answers, Refusals};
pub use display::{Display, terminal};
use gate::Gate;
use host::Looks;
use policy::PolicyWatch;
use status::{JournalStatus, Shared, Status};

/// What the sinks get for the last records of the journal when the agent ends; what is left is delivered after the next
/// start. systemd waits for 90 seconds, a pod for 30.
const SINKS_STOP_TIME: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("dbgov run loads kernel programs and needs root: run it with sudo")]
    NotRoot,
    #[error(
        "no cgroup v2 hierarchy is mounted; mount one with `mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`"
    )]
    NoCgroup2,
    #[error("cannot read /proc/self/mountinfo: {0}")]
    Mounts(std::io::Error),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Journal(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Redaction(#[from] redact::KeyError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(
        "a sink of type \"stdout\" needs stdout for itself: start the agent with `dbgov run --quiet`"
    )]
    StdoutTaken,
    #[error("{0}")]
    Policy(String),
    #[error("cannot {0}: {1}")]
    Os(&'static str, std::io::Error),
    #[error("the audit trail can no longer be written: its thread has ended")]
    WriterEnded,
}

/// Runs until SIGTERM or SIGINT; everything seen by then is in the journal when it returns.
pub fn run(config: &Config, display: Display) -> Result<(), AgentError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(AgentError::NotRoot);
    }
    heap::return_large_allocations();
    // Signals first: one that comes while the hooks are being attached must still drain and end in order.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| AgentError::Os("catch signals", e))?;
    if let Err(error) = cgroupns::enter_host() {
        tracing::warn!(%error, "the host's cgroup namespace cannot be entered; paths of cgroups are as seen from this one");
    }
    let mounts = cgroup::mounts().map_err(AgentError::Mounts)?;
    let cgroup_root = cgroup::cgroup2_mount(&mounts)
        .ok_or(AgentError::NoCgroup2)?
        .mount_point
        .clone();
    let node = config.node();
    let reload = Arc::new(AtomicBool::new(false));
    let mut watch = config
        .policy
        .as_ref()
        .map(|policy| PolicyWatch::new(policy.file.clone(), policy.mode, Arc::clone(&reload)));
    // Before anything is attached: a policy that cannot be read must not leave a host that only seems governed.
    let policy = match &mut watch {
        Some(watch) => Some(watch.read().map_err(AgentError::Policy)?),
        None => None,
    };
    let enforces = watch
        .as_ref()
        .is_some_and(|watch| watch.mode == PolicyMode::Enforce);
    let redactor = Arc::new(config.redactor()?);
    check_sinks(config, display)?;
    let control = Control::bind(&config.agent.control_socket)?;
    let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
        .map_err(|e| AgentError::Os("make an eventfd", e.into()))?;
    let wake = Arc::new(wake);
    // It is asked while the kernel programs are loaded.
    let first_list = Instant::now() + FIRST_LIST_TIMEOUT;
    let pods = match config.kubernetes.access(hostname) {
        Some(access) => Some(
            pods::start(access, Arc::clone(&wake))
                .map_err(|e| AgentError::Os("start a thread", e))?,
        ),
        None => None,
    };
    let (mut journal, durable) = open_journal(config, &node, display)?;
    let options = LoadOptions {
        cgroup_root,
        packet_ring_bytes: config.capture.ring_bytes,
        debug: config.capture.kernel_debug,
        command_lines: config.identity.command_lines,
        bpffs: config.agent.bpffs.clone(),
        // An agent that only observes has nothing that should outlive it.
        pin: enforces,
    };
    let (mut kernel, rings) = Kernel::load(&options)?;
    let governed = Governed {
        ports: config.ports().into_iter().collect(),
        found: Default::default(),
    };
    // Before the first connect(2) is looked at.
    let tags = capture::TagKeeper::start(config, &mut kernel, pods.clone())?;
    kernel.govern(governed.all_ports())?;
    let limits = Limits {
        statement_bytes_max: config.capture.statement_bytes_max,
        param_bytes_max: config.capture.param_bytes_max,
        ..Limits::default()
    };
    let mut pipeline = Pipeline::new(limits, Clock::boot(), kernel::sock_ops_tells_netns());
    pipeline.govern(governed.clone());
    pipeline.started(unix_ns());
    pipeline.set_networks(Arc::clone(&config.networks));
    if let Some(pods) = &pods {
        pipeline.set_pods(Arc::clone(pods));
        pods.wait_until_told(first_list);
    }
    pipeline.recorder().redactor = redactor;
    pipeline.recorder().boot_clock = boot_ns;
    let mut notes = vec![start_record(config, &kernel)];
    let (gate, heart) = match (policy, &mut watch) {
        (Some(policy), Some(watch)) => {
            watch.generation = 1;
            notes.push(watch.record(Ok(&policy), None));
            let started = match enforces {
                true => {
                    pipeline.enforce();
                    let gate = Gate::start(&mut kernel, &policy, config.audit.lossless)?;
                    pipeline.adopt(kernel.gates());
                    Some(gate)
                }
                false => None,
            };
            let generation = watch.generation;
            pipeline.set_rulebook(Rulebook { policy, generation });
            started
        }
        _ => None,
    }
    .unzip();
    let lossless = config.audit.lossless;
    let heart = match heart {
        None if lossless => Some(gate::Heart::lossless(&mut kernel)?),
        heart => heart,
    };
    let shared = Arc::new(Shared::new(Status::starting(&node, config.ports())));
    journal.send(notes).map_err(|_| AgentError::WriterEnded)?;
    pipeline.recorder().journal = Some(journal);

    let (queue, requests) = Queue::new(Arc::clone(&wake));
    let refusals = Arc::new(Refusals::default());
    let stop = Arc::new(AtomicBool::new(false));
    let command_lines = config.identity.command_lines;
    let looks = Looks {
        discovers: config.discovers(),
        command_lines,
        local_addresses: !config.networks.is_empty(),
    };
    let host = host::start(governed, looks, Arc::clone(&wake))
        .map_err(|e| AgentError::Os("start a thread", e))?;
    let sinks = Sinks::start(&config.sinks, &config.audit.dir, &node, durable)?;
    let answers = Answers::new(
        config,
        Arc::clone(&shared),
        sinks.boards(),
        queue,
        Arc::clone(&refusals),
        pods.clone(),
    );
    let capture = capture::Capture {
        kernel,
        rings,
        pipeline,
        gate,
        heart,
        ring_bytes: config.capture.ring_bytes.into(),
        lossless,
        command_lines,
        pods,
        policy: watch,
        requests,
        host,
        tags,
        refusals,
        wake: Arc::clone(&wake),
        stop: Arc::clone(&stop),
        shared: Arc::clone(&shared),
    };
    let thread = std::thread::Builder::new()
        .name("capture".to_owned())
        .spawn(move || capture.run())
        .map_err(|e| AgentError::Os("start a thread", e))?;
    let control = control
        .serve(answers)
        .map_err(|e| AgentError::Os("start a thread", e))?;

    let boards = sinks.boards();
    let http = match config.listen() {
        Some(address) => Some(
            http::start(
                address,
                Arc::clone(&shared),
                boards,
                config.audit.dir.clone(),
            )
            .map_err(|e| AgentError::Os("start a thread", e))?,
        ),
        None => None,
    };

    let ended_early = wait(&mut signals, &thread, &reload);
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    stop.store(true, Ordering::Release);
    let _ = wake.write(1);
    let outcome = thread.join();
    control.stop();
    drop(http);
    // The journal is closed: the sinks see the last record, too.
    sinks.stop(SINKS_STOP_TIME);
    match outcome {
        Ok(result) => result?,
        Err(_) => {
            return Err(AgentError::Os(
                "go on",
                std::io::Error::other("the capture thread panicked"),
            ));
        }
    }
    if ended_early {
        Err(AgentError::WriterEnded)
    } else {
        Ok(())
    }
}

/// Until a signal; true where the capture thread ended before.
fn wait<T>(
    signals: &mut Signals,
    thread: &std::thread::JoinHandle<T>,
    reload: &AtomicBool,
) -> bool {
    loop {
        for signal in signals.pending() {
            match signal {
                SIGHUP => reload.store(true, Ordering::Release),
                _ => return false,
            }
        }
        if thread.is_finished() {
            return true;
        }
        // A signal interrupts the sleep (park does not, nanosleep does), so that the end is not late.
        let pause = nix::sys::time::TimeSpec::from_duration(Duration::from_millis(50));
        let _ = nix::time::clock_nanosleep(
            nix::time::ClockId::CLOCK_MONOTONIC,
            nix::time::ClockNanosleepFlags::empty(),
            &pause,
        );
    }
}

/// Before anything is attached, as the policy is.
fn check_sinks(config: &Config, display: Display) -> Result<(), AgentError> {
    sink::check(&config.sinks)?;
    let is_stdout = |sink: &sink::SinkConfig| matches!(sink.kind, SinkKind::Stdout(_));
    match display != Display::None && config.sinks.iter().any(is_stdout) {
        true => Err(AgentError::StdoutTaken),
        false => Ok(()),
    }
}

fn open_journal(
    config: &Config,
    node: &str,
    display: Display,
) -> Result<(JournalHandle, Durable), AgentError> {
    let mut journal_config = JournalConfig::new(&config.audit.dir, node);
    journal_config.segment_bytes_max = config.audit.segment_bytes_max;
    journal_config.flush_interval = Duration::from_millis(config.audit.flush_interval_ms);
    journal_config.flush_records_max = config.audit.flush_records_max;
    journal_config.checkpoint_records = config.audit.checkpoint_records;
    journal_config.checkpoint_interval = Duration::from_millis(config.audit.checkpoint_interval_ms);
    // Locked before the key is made: of two agents one makes it.
    let storage = Directory::open(&config.audit.dir)?;
    let key = Arc::new(PrivateKey::load_or_create(&config.audit.key_path())?);
    journal_config.key = Some(Arc::clone(&key));
    let (mut journal, notes) = Journal::open_in(storage, journal_config)?;
    if let Some(observer) = display
        .start()
        .map_err(|e| AgentError::Os("start a thread", e))?
    {
        journal.set_observer(observer);
    }
    let durable = journal.durable();
    let retention = &config.audit.retention;
    let wait_for_sinks = match retention.keep_undelivered {
        true => config
            .sinks
            .iter()
            .map(|sink| sink.name.to_string())
            .collect(),
        false => Vec::new(),
    };
    let keeper = KeeperConfig {
        dir: config.audit.dir.clone(),
        node: node.to_owned(),
        compress: config.audit.compress,
        retention: RetentionConfig {
            bytes_max: retention.bytes_max,
            days_max: retention.days_max,
            wait_for_sinks,
        },
        key,
    };
    let mut journal = JournalHandle::start_with_keeper(journal, keeper)
        .map_err(|e| AgentError::Os("start a thread", e))?;
    journal.send(notes).map_err(|_| AgentError::WriterEnded)?;
    Ok((journal, durable))
}

fn start_record(config: &Config, kernel: &Kernel) -> Record {
    let mut record = Record::new(Kind::AgentStart, unix_ns());
    let programs: Vec<String> = kernel
        .programs()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    record.agent.insert("discover", config.discovers().into());
    record
        .agent
        .insert("kernel", kernel::kernel_release().into());
    record.agent.insert("pid", std::process::id().into());
    record.agent.insert("ports", config.ports().into());
    record.agent.insert("programs", programs.into());
    record
        .agent
        .insert("version", env!("CARGO_PKG_VERSION").into());
    record
}

fn stop_record(sessions: usize, opened: u64, statements: u64) -> Record {
    let mut record = Record::new(Kind::AgentStop, unix_ns());
    record.agent.insert("connections", opened.into());
    record.agent.insert("pid", std::process::id().into());
    record.agent.insert("sessions", sessions.into());
    record.agent.insert("statements", statements.into());
    record
        .agent
        .insert("version", env!("CARGO_PKG_VERSION").into());
    record
}

/// Plain figures are right also when their last writer panicked.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Servers for the status: what is found on the host.
fn shown_servers(scan: &discover::Scan, pods: Option<&Pods>) -> Vec<status::ServerStatus> {
    scan.servers
        .iter()
        .map(|server| {
            let workload = &server.process.workload;
            let pod = |uid: &String| {
                let known = pods.and_then(|pods| pods.by_uid(uid));
                known.map_or_else(|| uid.clone(), |pod| pod.full_name())
            };
            status::ServerStatus {
                protocol: server.protocol.name().to_owned(),
                addr: server.addr.to_string(),
                pid: server.process.pid,
                version: server.process.version.clone(),
                decoded: server.protocol.is_decoded(),
                container: workload.container.clone(),
                pod: workload.pod_uid.as_ref().map(pod),
                runtime: workload.runtime.map(str::to_owned),
            }
        })
        .collect()
}

fn journal_status(stats: &crate::audit::JournalStats) -> JournalStatus {
    JournalStatus {
        records: stats.records,
        bytes: stats.bytes,
        last_seq: stats.last_seq,
        segment: stats.segment.to_string(),
        dropped: stats.dropped,
        write_errors: stats.write_errors,
        last_error: stats.last_error.as_deref().map(str::to_owned),
        unflushed: stats.unflushed,
        waiting_batches: stats.waiting_batches,
        unsigned_records: stats.unsigned,
        unsigned_seconds: stats
            .unsigned_since
            .map_or(0, |since| since.elapsed().as_secs()),
        degraded: stats.degraded,
    }
}
