use anyhow::Result;

use super::ledger::account;
use super::python::{Outages, Receiver};
use super::stand::Stand;

/// Stopped, killed, failing, resetting, hanging; each request is signed.
#[test]
fn lines_arrive_signed() -> Result<()> {
    let stand = Stand::new()?;
    let receiver = Receiver::http("webhook", &stand.path(""))?.arg("--token", "s3cr3t-key");
    let keys = format!(
        "type = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook?key=abc\"\nsignature_secret = \"s3cr3t-key\"\n\
         timeout_ms = 1000",
        receiver.port
    );
    let faults = [
        r#"{"2": {"status": 502}, "3": {"reset": true}, "5": {"hang": 30}, "7": {"take_and_reset": true},
            "9": {"status": 413}, "12": {"status": 429, "headers": {"Retry-After": "1"}}}"#,
        "{}",
        "{}",
    ];
    let status = receiver.through_outages(&stand, &keys, faults)?;
    let account = account(stand.expected(), &receiver.arrived()?);
    account.settle("webhook");
    assert!(
        account.duplicates >= 1_000,
        "an answer that was lost makes a batch come twice"
    );
    assert!(status.retries >= 5, "{status:?}");
    Ok(())
}
