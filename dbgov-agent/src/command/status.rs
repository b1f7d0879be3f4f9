//! `dbgov status`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::table::visible;
use crate::agent::status::{GateStatus, PolicyStatus, Status};
use crate::audit::live::text::count;
use crate::chars::head;
use crate::config::Config;
use crate::control;
use crate::sink::SinkStatus;
use crate::sink::status::State;

/// Of what a receiver said.
const ERROR_COLUMNS_MAX: usize = 300;

/// Exit code 0 only when the agent is capturing.
pub fn run(config: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let (config, _) = Config::load(config)?;
    let status = match control::status(&config.agent.control_socket) {
        Ok(status) => status,
        Err(error) if json => {
            println!(
                "{}",
                serde_json::json!({ "ready": false, "error": error.to_string() })
            );
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        print!("{}", readable(&status));
    }
    Ok(if status.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn readable(status: &Status) -> String {
    let mut out = String::new();
    let state = if status.ready {
        "capturing"
    } else {
        "NOT capturing"
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "dbgov {} on {} (pid {}): {state}",
        status.version, status.node, status.pid
    );
    let _ = writeln!(out, "  ports      {}", list(status.ports.iter()));
    for server in &status.servers {
        let version = server.version.as_deref().unwrap_or("");
        let note = if server.decoded {
            ""
        } else {
            "  (not decoded by this version)"
        };
        let _ = writeln!(
            out,
            "  server     {} {version} on {} (pid {}){note}",
            server.protocol, server.addr, server.pid
        );
        if let Some(pod) = &server.pod {
            let _ = writeln!(out, "             in pod {pod}");
        } else if let Some(container) = &server.container {
            let runtime = server.runtime.as_deref().unwrap_or("container");
            let _ = writeln!(out, "             in {runtime} {}", head(container, 12));
        }
    }
    for path in &status.unix_sockets_unseen {
        let _ = writeln!(out, "  NOT SEEN   connections over the UNIX socket {path}");
    }
    let _ = writeln!(
        out,
        "  sessions   {} open, {} since start, {} statements",
        status.sessions, status.connections, status.statements
    );
    if let Some(policy) = &status.policy {
        push_policy(&mut out, policy);
    }
    if let Some(gate) = &status.gate {
        push_gate(&mut out, gate);
    }
    if let Some(kubernetes) = &status.kubernetes {
        let state = match kubernetes.connected {
            true => "connected",
            false => "NOT connected",
        };
        let _ = writeln!(
            out,
            "  kubernetes {state}, {} of node {}",
            count(kubernetes.pods, "pod"),
            kubernetes.node
        );
    }
    let kernel = &status.kernel;
    let _ = writeln!(
        out,
        "  kernel     {} request and {} response packets, {} of {} response bytes copied",
        kernel.request_packets,
        kernel.response_packets,
        kernel.response_copied_bytes,
        kernel.response_bytes
    );
    let losses = [
        ("segments lost (ring full)", kernel.lost_segments),
        ("bytes lost", kernel.lost_bytes),
        ("connects lost", kernel.control_lost),
        ("connections without room", kernel.connections_refused),
        ("packets not parsed", kernel.unparsed_packets),
        ("packets others could write to", kernel.shared_packets),
        ("response boundaries lost", kernel.unframed),
        ("records dropped", status.journal.dropped),
    ];
    let lost: Vec<String> = losses
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    let _ = writeln!(
        out,
        "  losses     {}",
        if lost.is_empty() {
            "none".to_owned()
        } else {
            lost.join(", ")
        }
    );
    let journal = &status.journal;
    let _ = writeln!(
        out,
        "  journal    {} records, {} bytes, {}",
        journal.records, journal.bytes, journal.segment
    );
    if journal.degraded {
        let error = journal.last_error.as_deref().unwrap_or("unknown error");
        let _ = writeln!(
            out,
            "  JOURNAL    cannot be written: {error}; {} records wait",
            journal.unflushed
        );
    }
    for sink in &status.sinks {
        push_sink(&mut out, sink);
    }
    for problem in &status.problems {
        let _ = writeln!(out, "  problem    {problem}");
    }
    out
}

fn push_policy(out: &mut String, policy: &PolicyStatus) {
    // As above.
    let _ = writeln!(
        out,
        "  policy     {}, {}, generation {}",
        count(policy.rules, "rule"),
        policy.mode,
        policy.generation
    );
    if let Some(why) = &policy.refused {
        let _ = writeln!(out, "  POLICY     the newer file was refused: {why}");
    }
}

fn push_gate(out: &mut String, gate: &GateStatus) {
    let _ = writeln!(
        out,
        "  gate       {} held, {} released, {} refused, {} waiting for approval",
        count(gate.held_packets, "packet"),
        gate.released_packets,
        count(gate.refused_connections, "connection"),
        count(gate.approvals_pending, "statement")
    );
    let troubles = [
        ("packets dropped without a copy", gate.dropped_packets),
        ("locks missed", gate.lock_missed),
        ("passed while no agent beat", gate.down_passed),
        ("held while no agent beat", gate.down_held),
        ("releases failed", gate.failed_releases),
        ("refusals failed", gate.failed_refusals),
    ];
    for (what, count) in troubles.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(out, "             {count} {what}");
    }
}

fn push_sink(out: &mut String, sink: &SinkStatus) {
    let _ = writeln!(
        out,
        "  sink       {} ({}): {}, up to record {}, {} behind ({})",
        sink.name,
        sink.kind,
        sink.state.name(),
        sink.delivered_seq,
        count(sink.lag_records, "record"),
        count(sink.lag_seconds, "second"),
    );
    let troubles = [
        ("attempts failed", sink.retries),
        ("records refused by the receiver", sink.refused),
        ("records gone before they could be sent", sink.skipped),
        ("times the journal was another one", sink.journal_replaced),
        ("times started again", sink.restarts),
    ];
    for (what, count) in troubles.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(out, "             {count} {what}");
    }
    let fails = matches!(sink.state, State::Retrying | State::Blocked);
    if let (true, Some(error)) = (fails, &sink.last_error) {
        let _ = writeln!(
            out,
            "  SINK       {}: {}",
            sink.name,
            visible(error, ERROR_COLUMNS_MAX)
        );
    }
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::status::ServerStatus;
    use crate::identity::pods::PodsStatus;

    #[test]
    fn losses_and_what_is_not_seen_are_said() {
        let mut status = Status {
            ready: true,
            ports: vec![5432, 6000],
            ..Status::default()
        };
        assert!(readable(&status).contains("losses     none"));
        assert!(!readable(&status).contains("policy"));
        status.policy = Some(PolicyStatus {
            generation: 2,
            rules: 3,
            mode: "enforce".to_owned(),
            refused: Some("line 4: no".to_owned()),
            ..PolicyStatus::default()
        });
        status.gate = Some(GateStatus {
            held_packets: 7,
            dropped_packets: 5,
            ..GateStatus::default()
        });
        status.kernel.lost_segments = 3;
        status.unix_sockets_unseen = vec!["/run/postgresql/.s.PGSQL.5432".to_owned()];
        status.journal.degraded = true;
        status.ready = false;
        status.servers = vec![ServerStatus {
            pod: Some("shop-db/postgres-0".to_owned()),
            ..ServerStatus::default()
        }];
        status.kubernetes = Some(PodsStatus {
            node: "node-7".to_owned(),
            pods: 1,
            ..PodsStatus::default()
        });
        status.sinks = vec![SinkStatus {
            name: "siem".to_owned(),
            kind: "syslog".to_owned(),
            state: State::Retrying,
            delivered_seq: 41,
            lag_records: 1,
            lag_seconds: 5,
            retries: 2,
            last_error: Some("connection refused".to_owned()),
            ..SinkStatus::default()
        }];
        let text = readable(&status);
        for expected in [
            "NOT capturing",
            "3 segments lost",
            "NOT SEEN",
            "cannot be written",
            "5432, 6000",
            "policy     3 rules, enforce, generation 2",
            "refused: line 4: no",
            "gate       7 packets held",
            "5 packets dropped without a copy",
            "in pod shop-db/postgres-0",
            "kubernetes NOT connected, 1 pod of node node-7",
            "sink       siem (syslog): retrying, up to record 41, 1 record behind (5 seconds)",
            "2 attempts failed",
            "SINK       siem: connection refused",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
