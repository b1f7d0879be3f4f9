//! Every family, in the order of docs/metrics.md.

use super::files::JournalFiles;
use super::{Families, Snapshot, process};
use crate::agent::health::is_capturing;
use crate::agent::status::{GateStatus, JournalStatus, KernelStatus};
use crate::session::{Figures, HELD_BOUNDS_US};
use crate::sink::SinkStatus;
use crate::sink::status::State;

/// What this version decodes.
const PROTOCOL: &str = "postgresql";

pub(super) fn write(snapshot: &Snapshot, families: &mut Families<'_>) -> std::fmt::Result {
    agent(snapshot, families)?;
    statements(&snapshot.figures, families)?;
    losses(&snapshot.status.kernel, families)?;
    journal(&snapshot.status.journal, families)?;
    if let Some(found) = &snapshot.files {
        files(found, families)?;
    }
    if let Some(gate) = &snapshot.status.gate {
        self::gate(gate, families)?;
    }
    sinks(snapshot, families)?;
    programs(snapshot, families)?;
    process::write(families)
}

fn agent(snapshot: &Snapshot, families: &mut Families<'_>) -> std::fmt::Result {
    let status = &snapshot.status;
    let build = [
        ("version", status.version.as_str()),
        ("node", &status.node),
        ("kernel", &status.kernel_release),
    ];
    families.info("dbgov_build", "What runs here", &build)?;
    families.gauge(
        "dbgov_up",
        "1 while it captures, as /healthz says; 0 while it starts or its capture thread stands still",
        u64::from(is_capturing(snapshot).is_ok()),
    )?;
    families.seconds(
        "dbgov_start_time_seconds",
        "When the agent started, since 1970",
        status.started_unix_ns as f64 / 1e9,
    )?;
    families.gauge(
        "dbgov_problems",
        "Problems that `dbgov status` names",
        status.problems.len() as u64,
    )?;
    families.gauge(
        "dbgov_servers",
        "Database servers found on this host",
        status.servers.len() as u64,
    )?;
    families.gauge("dbgov_sessions", "Open sessions", status.sessions)?;
    families.counter(
        "dbgov_sessions_opened",
        "Sessions since start",
        status.connections,
    )?;
    let policy = status.policy.as_ref();
    families.gauge(
        "dbgov_policy_generation",
        "Policies put in force since start; 0 without a policy",
        policy.map_or(0, |policy| policy.generation),
    )?;
    families.gauge(
        "dbgov_policy_refused",
        "1 while a newer policy file is not taken",
        u64::from(policy.is_some_and(|policy| policy.refused.is_some())),
    )
}

fn statements(figures: &Figures, families: &mut Families<'_>) -> std::fmt::Result {
    let mut counted: Vec<_> = figures.statements.iter().collect();
    counted.sort_unstable();
    families.counters(
        "dbgov_statements",
        "Statements by their first verb, the policy's verdict and the server's answer",
        counted.into_iter().map(|(of, count)| {
            let labels = [
                ("protocol", PROTOCOL),
                ("verb", of.verb),
                ("verdict", of.verdict),
                ("status", of.status),
            ];
            (labels, *count)
        }),
    )?;
    families.counter(
        "dbgov_statements_redacted",
        "Statements from whose record something was taken out",
        figures.redacted,
    )?;
    families.counters(
        "dbgov_records",
        "Audit records by kind",
        sorted("kind", &figures.records),
    )?;
    families.counters(
        "dbgov_gaps",
        "Records that say something was not seen, by cause",
        sorted("cause", &figures.gaps),
    )?;
    let bounds = HELD_BOUNDS_US
        .iter()
        .map(|us| *us as f64 / 1e6)
        .chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(figures.held.buckets).collect();
    families.histogram(
        "dbgov_held_seconds",
        "How long the gate held statements",
        figures.held.sum_us as f64 / 1e6,
        &buckets,
    )
}

fn sorted<'a>(
    label: &'static str,
    counts: &'a std::collections::HashMap<&'static str, u64, foldhash::fast::RandomState>,
) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> + use<'a> {
    let mut counts: Vec<_> = counts
        .iter()
        .map(|(name, count)| ([(label, *name)], *count))
        .collect();
    counts.sort_unstable();
    counts.into_iter()
}

fn losses(kernel: &KernelStatus, families: &mut Families<'_>) -> std::fmt::Result {
    let direction = |request, response| {
        [
            ([("direction", "request")], request),
            ([("direction", "response")], response),
        ]
    };
    families.counters(
        "dbgov_packets",
        "Packets of governed connections",
        direction(kernel.request_packets, kernel.response_packets),
    )?;
    families.counters(
        "dbgov_packet_bytes",
        "Their payload",
        direction(kernel.request_bytes, kernel.response_bytes),
    )?;
    families.counter(
        "dbgov_response_copied_bytes",
        "Of the responses, what was copied to the agent",
        kernel.response_copied_bytes,
    )?;
    families.gauge(
        "dbgov_ring_bytes",
        "Size of the ring buffer between kernel and agent",
        kernel.ring_bytes,
    )?;
    families.gauge(
        "dbgov_ring_used_bytes",
        "The most of it that was in use in the last quarter of a second",
        kernel.ring_used_bytes,
    )?;
    families.counter(
        "dbgov_ring_lost_records",
        "Packets the ring buffer had no room for",
        kernel.lost_segments,
    )?;
    families.counter("dbgov_ring_lost_bytes", "Their payload", kernel.lost_bytes)?;
    families.counter(
        "dbgov_control_lost",
        "Connects and listens the control ring had no room for",
        kernel.control_lost,
    )?;
    families.counter(
        "dbgov_connections_refused",
        "Connections the kernel's table had no room for",
        kernel.connections_refused,
    )?;
    families.counter(
        "dbgov_unparsed_packets",
        "Packets with headers the programs do not walk",
        kernel.unparsed_packets,
    )?;
    families.counter(
        "dbgov_shared_packets",
        "Request packets to whose pages others could still write",
        kernel.shared_packets,
    )?;
    families.counter(
        "dbgov_unframed",
        "Responses whose message boundaries were lost",
        kernel.unframed,
    )?;
    families.counter(
        "dbgov_malformed_events",
        "Ring records that were not what they said: a fault of dbgov",
        kernel.malformed_events,
    )
}

fn journal(journal: &JournalStatus, families: &mut Families<'_>) -> std::fmt::Result {
    families.counter(
        "dbgov_journal_records",
        "Records written since start",
        journal.records,
    )?;
    families.counter("dbgov_journal_bytes", "Bytes of their lines", journal.bytes)?;
    families.gauge(
        "dbgov_journal_last_seq",
        "Number of the newest record",
        journal.last_seq,
    )?;
    families.gauge(
        "dbgov_journal_waiting_batches",
        "Batches of records on their way to the journal's thread; at 64 the capture thread waits",
        journal.waiting_batches,
    )?;
    families.gauge(
        "dbgov_journal_unsigned_records",
        "Records behind the last checkpoint",
        journal.unsigned_records,
    )?;
    families.gauge(
        "dbgov_journal_unsigned_seconds",
        "How long the oldest of them has waited for the next one",
        journal.unsigned_seconds,
    )?;
    families.gauge(
        "dbgov_journal_unflushed_records",
        "Records that are in memory only",
        journal.unflushed,
    )?;
    families.counter(
        "dbgov_journal_dropped_records",
        "Records the disk refused",
        journal.dropped,
    )?;
    families.counter(
        "dbgov_journal_write_errors",
        "Writes that failed",
        journal.write_errors,
    )?;
    families.gauge(
        "dbgov_journal_degraded",
        "1 while the disk refuses",
        u64::from(journal.degraded),
    )
}

fn files(found: &JournalFiles, families: &mut Families<'_>) -> std::fmt::Result {
    families.gauge(
        "dbgov_journal_files",
        "Files in the journal's directory",
        found.files,
    )?;
    families.gauge("dbgov_journal_files_bytes", "Their sizes", found.bytes)?;
    families.gauge(
        "dbgov_journal_free_bytes",
        "Room on their file system",
        found.free_bytes,
    )
}

fn gate(gate: &GateStatus, families: &mut Families<'_>) -> std::fmt::Result {
    for (name, help, value) in [
        ("dbgov_gate_held_packets", "Packets held", gate.held_packets),
        (
            "dbgov_gate_released_packets",
            "Packets let go",
            gate.released_packets,
        ),
        (
            "dbgov_gate_dropped_packets",
            "Packets dropped without a copy, which TCP sends again",
            gate.dropped_packets,
        ),
        (
            "dbgov_gate_lock_missed",
            "Packets held because another CPU had the connection",
            gate.lock_missed,
        ),
        (
            "dbgov_gate_down_passed_packets",
            "Packets that passed while no agent ran",
            gate.down_passed,
        ),
        (
            "dbgov_gate_down_held_packets",
            "Packets held while no agent ran",
            gate.down_held,
        ),
        (
            "dbgov_gate_refused_connections",
            "Connections ended",
            gate.refused_connections,
        ),
        (
            "dbgov_gate_failed_releases",
            "Packets that could not be let go at once",
            gate.failed_releases,
        ),
        (
            "dbgov_gate_failed_refusals",
            "Connections that could not be ended",
            gate.failed_refusals,
        ),
    ] {
        families.counter(name, help, value)?;
    }
    families.gauge(
        "dbgov_approvals_pending",
        "Statements that wait for a person",
        gate.approvals_pending,
    )
}

fn programs(snapshot: &Snapshot, families: &mut Families<'_>) -> std::fmt::Result {
    let label = |program: &str| [("program", program.to_owned())];
    families.counters(
        "dbgov_program_runs",
        "Runs of a kernel program while they were counted: a second in thirty",
        snapshot
            .programs
            .iter()
            .map(|times| (label(&times.program), times.runs)),
    )?;
    families.seconds_counters(
        "dbgov_program_run_seconds",
        "What these runs took",
        snapshot
            .programs
            .iter()
            .map(|times| (label(&times.program), times.seconds)),
    )
}

fn sinks(snapshot: &Snapshot, families: &mut Families<'_>) -> std::fmt::Result {
    let sinks = &snapshot.status.sinks;
    let of = |value: fn(&SinkStatus) -> u64| {
        sinks.iter().map(move |sink| {
            let labels = [("sink", sink.name.clone()), ("type", sink.kind.clone())];
            (labels, value(sink))
        })
    };
    families.gauges(
        "dbgov_sink_lag_records",
        "Durable records a sink is not past",
        of(|sink| sink.lag_records),
    )?;
    families.gauges(
        "dbgov_sink_lag_seconds",
        "Age of the oldest of them that is for it",
        of(|sink| sink.lag_seconds),
    )?;
    families.gauges(
        "dbgov_sink_delivered_seq",
        "Number of the newest record the receiver has, and with it all before",
        of(|sink| sink.delivered_seq),
    )?;
    families.gauges(
        "dbgov_sink_failing",
        "1 while the receiver or the disk does not take the last batch",
        of(|sink| u64::from(matches!(sink.state, State::Retrying | State::Blocked))),
    )?;
    families.counters(
        "dbgov_sink_delivered_records",
        "Records delivered, with repetitions",
        of(|sink| sink.delivered),
    )?;
    families.counters(
        "dbgov_sink_delivered_bytes",
        "Their bytes",
        of(|sink| sink.delivered_bytes),
    )?;
    families.counters(
        "dbgov_sink_retries",
        "Attempts that failed",
        of(|sink| sink.retries),
    )?;
    families.counters(
        "dbgov_sink_refused_records",
        "Records the receiver will never take",
        of(|sink| sink.refused),
    )?;
    families.counters(
        "dbgov_sink_skipped_records",
        "Records that were gone from the journal before they could be sent",
        of(|sink| sink.skipped),
    )?;
    families.counters(
        "dbgov_sink_restarts",
        "Times a sink ended by a fault of its own",
        of(|sink| sink.restarts),
    )
}
