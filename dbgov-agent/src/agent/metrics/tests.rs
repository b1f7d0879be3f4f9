use super::*;
use crate::agent::status::{GateStatus, PolicyStatus};
use crate::audit::samples;
use crate::sink::SinkStatus;

fn full() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.figures.count(&samples::statement("SELECT 1"));
    snapshot.figures.count(&samples::gap("ring_full", None));
    snapshot.status.gate = Some(GateStatus::default());
    snapshot.status.policy = Some(PolicyStatus::default());
    snapshot.status.node = "db\"1\\\n".to_owned();
    snapshot.status.sinks = vec![SinkStatus {
        name: "siem".to_owned(),
        kind: "syslog".to_owned(),
        lag_records: 7,
        ..SinkStatus::default()
    }];
    snapshot.programs = vec![ProgramTimes {
        program: "dbgov_ingress".to_owned(),
        runs: 4,
        seconds: 0.5,
    }];
    snapshot
}

#[test]
fn the_text_is_openmetrics() {
    let text = text(full()).unwrap();
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "# TYPE dbgov_statements counter",
        "dbgov_statements_total{protocol=\"postgresql\",verb=\"select\",verdict=\"none\",status=\"ok\"} 1",
        "dbgov_gaps_total{cause=\"ring_full\"} 1",
        "dbgov_sink_lag_records{sink=\"siem\",type=\"syslog\"} 7",
        "dbgov_program_run_seconds_total{program=\"dbgov_ingress\"} 0.5",
        "dbgov_held_seconds_bucket{le=\"+Inf\"} 0",
        "dbgov_up 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nis not in\n{text}"
        );
    }
    // What comes from the host is quoted.
    assert!(text.contains(r#"node="db\"1\\\n""#), "{text}");
}

/// A line has a family of its own, told before it, and each family is told once.
#[test]
fn families_are_whole() {
    let text = text(full()).unwrap();
    let mut families: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(!families.contains(&name), "{name} twice");
            families.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let last = families.last().unwrap();
            assert!(name.starts_with(last), "{line} stands in {last}");
        }
    }
    assert!(families.len() > 50, "{}", families.len());
}
