use std::time::Duration;

use anyhow::Result;
use dbgov_tests::receivers::Receiver;

use super::ledger::account;
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
    let first = receiver.start(
        r#"{"2": {"status": 502}, "3": {"reset": true}, "5": {"hang": 30}, "7": {"take_and_reset": true},
            "9": {"status": 413}, "12": {"status": 429, "headers": {"Retry-After": "1"}}}"#,
    )?;
    let status = stand.deliver(&keys, || {
        receiver.wait_for(30_000)?;
        first.stop()?;
        std::thread::sleep(Duration::from_millis(500));
        let second = receiver.start("{}")?;
        receiver.wait_for(60_000)?;
        second.kill()?;
        std::thread::sleep(Duration::from_millis(500));
        receiver.start("{}")
    })?;
    let account = account(stand.expected(), &receiver.arrived()?);
    account.settle("webhook");
    assert!(
        account.duplicates >= 1_000,
        "an answer that was lost makes a batch come twice"
    );
    assert!(status.retries >= 5, "{status:?}");
    Ok(())
}
