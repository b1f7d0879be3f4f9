use anyhow::Result;

use super::ledger::account;
use super::python::{Outages, Receiver};
use super::stand::Stand;

/// The collector is stopped and killed, says that it is not there, throttles, takes no long requests.
#[test]
fn over_grpc() -> Result<()> {
    let stand = Stand::new()?;
    let receiver = Receiver::grpc(&stand.path(""))?.arg("--token", "s3cr3t-token");
    let keys = format!(
        "type = \"otlp\"\nurl = \"http://127.0.0.1:{}\"\ntoken = \"s3cr3t-token\"\ntimeout_ms = 5000",
        receiver.port
    );
    let faults = [
        r#"{"2": {"code": "UNAVAILABLE"}, "4": {"code": "RESOURCE_EXHAUSTED", "retry_ms": 700},
            "6": {"records_max": 400}, "10": {"code": "ABORTED"}}"#,
        "{}",
        "{}",
    ];
    let status = receiver.through_outages(&stand, &keys, faults)?;
    account(stand.expected(), &receiver.arrived()?).settle("otlp over gRPC");
    assert!(status.retries >= 4, "{status:?}");
    assert_eq!(status.refused, 0, "{status:?}");
    Ok(())
}

#[test]
fn over_http() -> Result<()> {
    let stand = Stand::new()?;
    let receiver = Receiver::http("otlp", &stand.path(""))?;
    let keys = format!(
        "type = \"otlp\"\nprotocol = \"http\"\nbody = \"structured\"\nurl = \"http://127.0.0.1:{}\"\ntimeout_ms = 5000",
        receiver.port
    );
    let faults = [
        r#"{"2": {"status": 503, "headers": {"Retry-After": "1"}}, "4": {"reset": true}, "6": {"status": 413}}"#,
        "{}",
        "{}",
    ];
    let status = receiver.through_outages(&stand, &keys, faults)?;
    account(stand.expected(), &receiver.arrived()?).settle("otlp over HTTP");
    assert!(status.retries >= 3, "{status:?}");
    assert_eq!(status.refused, 0, "{status:?}");
    Ok(())
}

/// A collector that rejects some does not say which: all of that request are kept on disk, and none is sent again.
#[test]
fn partial_success_loses_nothing() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2", "SELECT 3"])?;
    let receiver = Receiver::grpc(&stand.path(""))?;
    let keys = format!(
        "type = \"otlp\"\nurl = \"http://127.0.0.1:{}\"\nbatch_records_max = 1",
        receiver.port
    );
    let status = stand.deliver(&keys, || receiver.start(r#"{"2": {"reject": 1}}"#))?;
    assert_eq!(status.refused, 1);
    assert!(stand.refused()?[0].contains("rejected 1 of these 1"));
    Ok(())
}
