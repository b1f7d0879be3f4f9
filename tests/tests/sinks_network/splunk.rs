use anyhow::Result;

use super::ledger::account;
use super::python::{Outages, Receiver};
use super::stand::Stand;

/// The collector is stopped and killed with events in its memory; it fails, hangs, resets, throttles; it loses events it
/// has taken, and forgets that it has written some.
#[test]
fn acknowledged_events_are_all_there() -> Result<()> {
    let stand = Stand::new()?;
    let receiver = Receiver::http("splunk", &stand.path(""))?
        .arg("--token", "s3cr3t-token")
        .arg("--acknowledge-after", "0.05");
    let keys = format!(
        "type = \"splunk\"\nurl = \"http://127.0.0.1:{}\"\ntoken = \"s3cr3t-token\"\ntimeout_ms = 3000\n\
         acknowledge_timeout_ms = 2000\nbatch_records_max = 2000",
        receiver.port
    );
    let faults = [
        r#"{"2": {"status": 500}, "4": {"reset": true}, "6": {"hang": 30},
            "8": {"status": 429, "headers": {"Retry-After": "1"}}, "9": {"lose": true},
            "11": {"keep_and_forget": true}, "12": {"take_and_reset": true}}"#,
        "{}",
        r#"{"2": {"status": 413}, "6": {"status": 503}}"#,
    ];
    let status = receiver.through_outages(&stand, &keys, faults)?;
    let account = account(stand.expected(), &receiver.arrived()?);
    account.settle("splunk");
    assert!(account.duplicates >= 500, "forgotten batches come twice");
    assert!(status.retries >= 5, "{status:?}");
    assert_eq!(status.refused, 0);
    Ok(())
}
