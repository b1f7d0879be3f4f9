//! What `dbgov status` shows. Both ends of the control socket share these types.

use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::metrics::Snapshot;
use crate::identity::pods::PodsStatus;
use crate::session::Figures;
use crate::sink::SinkStatus;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Hooks are attached and the rings are being read.
    pub ready: bool,
    pub pid: u32,
    pub version: String,
    pub node: String,
    pub kernel_release: String,
    pub started_unix_ns: u64,
    /// Open sessions, and all since start.
    pub sessions: u64,
    pub connections: u64,
    pub statements: u64,
    /// Governed TCP ports.
    pub ports: Vec<u16>,
    pub servers: Vec<ServerStatus>,
    /// UNIX sockets of database servers: connections over them are not seen by this version.
    pub unix_sockets_unseen: Vec<String>,
    pub hooks: Vec<HookStatus>,
    pub kernel: KernelStatus,
    pub journal: JournalStatus,
    /// The policy in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// Where verdicts are enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateStatus>,
    /// Where the Kubernetes API is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<PodsStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkStatus>,
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ServerStatus {
    pub protocol: String,
    pub addr: String,
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub decoded: bool,
    /// Id of the container it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// `namespace/name` of its pod, or the pod's uid while no more is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HookStatus {
    pub program: String,
    /// Kernel id, as bpftool shows it.
    pub id: u32,
}

/// Counters of the kernel programs since start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KernelStatus {
    pub request_packets: u64,
    pub request_bytes: u64,
    pub response_packets: u64,
    pub response_bytes: u64,
    /// Of the responses, what was copied ...
    pub response_copied_bytes: u64,
    /// ... and that with the headers and the unused room of its records: what crossed to the agent.
    pub response_record_bytes: u64,
    /// Records the ring had no room for, and their payload bytes.
    /// Size of the ring, and the most of it that was in use in the last quarter of a second.
    #[serde(default)]
    pub ring_bytes: u64,
    #[serde(default)]
    pub ring_used_bytes: u64,
    pub lost_segments: u64,
    pub lost_bytes: u64,
    pub control_lost: u64,
    pub connections_refused: u64,
    pub unparsed_packets: u64,
    /// Request packets to whose pages others could still write.
    #[serde(default)]
    pub shared_packets: u64,
    pub unframed: u64,
    /// Ring records that were not what they said; always 0 but for a fault of ours.
    pub malformed_events: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Of policies put in force since start, once the kernel has taken them up.
    pub generation: u64,
    /// Of the file's bytes.
    pub sha256: String,
    pub rules: u64,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Why a newer file was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What the gate did since start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GateStatus {
    pub held_packets: u64,
    pub released_packets: u64,
    /// Dropped without a copy: no room in the ring; TCP sends them again.
    pub dropped_packets: u64,
    pub lock_missed: u64,
    /// While no agent beat.
    pub down_passed: u64,
    pub down_held: u64,
    pub refused_connections: u64,
    pub failed_releases: u64,
    pub failed_refusals: u64,
    pub approvals_pending: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JournalStatus {
    pub records: u64,
    pub bytes: u64,
    pub last_seq: u64,
    pub segment: String,
    pub dropped: u64,
    pub write_errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub unflushed: u64,
    /// Batches that wait for the journal's thread.
    #[serde(default)]
    pub waiting_batches: u64,
    /// Records behind the last checkpoint, and how long the oldest of them has waited for the next.
    #[serde(default)]
    pub unsigned_records: u64,
    #[serde(default)]
    pub unsigned_seconds: u64,
    /// The disk refuses; records are kept or dropped and counted.
    pub degraded: bool,
}

impl Status {
    pub fn starting(node: &str, ports: Vec<u16>) -> Self {
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: node.to_owned(),
            ports,
            kernel_release: crate::capture::kernel::kernel_release(),
            started_unix_ns: crate::clock::unix_ns(),
            ..Status::default()
        }
    }
}

/// The status, written by the capture thread and read by the others.
#[derive(Debug)]
pub struct Shared(Mutex<Told>);

#[derive(Debug)]
struct Told {
    status: Status,
    figures: Figures,
    /// When the capture thread last said something.
    at: Instant,
    /// Why metrics are not served.
    http: Option<String>,
}

impl Told {
    fn status(&self) -> Status {
        let mut status = self.status.clone();
        status.problems.extend(self.http.clone());
        status
    }
}

impl Shared {
    pub fn new(status: Status) -> Self {
        Shared(Mutex::new(Told {
            status,
            figures: Figures::default(),
            at: Instant::now(),
            http: None,
        }))
    }

    pub fn get(&self) -> Status {
        super::lock(&self.0).status()
    }

    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut super::lock(&self.0).status);
    }

    /// What was counted, and the status at the same moment: who reads sees both or neither. The capture thread is alive.
    pub(super) fn tell(&self, figures: &Figures, change: impl FnOnce(&mut Status)) {
        let mut told = super::lock(&self.0);
        told.figures.clone_from(figures);
        change(&mut told.status);
        told.at = Instant::now();
    }

    pub(super) fn set_http_problem(&self, problem: Option<String>) {
        super::lock(&self.0).http = problem;
    }

    /// For the metrics.
    pub(super) fn snapshot(&self) -> Snapshot {
        let told = super::lock(&self.0);
        Snapshot {
            status: told.status(),
            figures: told.figures.clone(),
            told_seconds: told.at.elapsed().as_secs_f64(),
            ..Snapshot::default()
        }
    }
}
