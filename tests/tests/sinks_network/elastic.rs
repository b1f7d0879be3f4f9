use anyhow::Result;

use super::ledger::account;
use super::python::{Outages, Receiver};
use super::stand::Stand;

/// Each record is there once, also where the answer to a request was lost: the second time its id is known.
#[test]
fn each_record_is_created_once() -> Result<()> {
    let stand = Stand::new()?;
    let receiver = Receiver::http("elasticsearch", &stand.path(""))?.arg("--token", "s3cr3t-key");
    let keys = format!(
        "type = \"elasticsearch\"\nurl = \"http://127.0.0.1:{}\"\napi_key_token = \"s3cr3t-key\"\n\
         index = \"dbgov-%Y.%m\"\nformat = \"native\"\ntimeout_ms = 1000",
        receiver.port
    );
    let faults = [
        r#"{"2": {"status": 503}, "4": {"take_and_reset": true}, "6": {"busy_each": 7}, "8": {"hang": 30},
            "10": {"status": 429, "headers": {"Retry-After": "1"}}, "12": {"status": 413}}"#,
        r#"{"3": {"take_and_reset": true}}"#,
        r#"{"5": {"busy_each": 2}}"#,
    ];
    let status = receiver.through_outages(&stand, &keys, faults)?;
    let mut arrived = receiver.arrived()?;
    // A record that was busy alone comes behind others of its session: an index orders by number.
    arrived.sort_by_key(|entry| entry.seq);
    let account = account(stand.expected(), &arrived);
    account.settle("elasticsearch");
    assert_eq!(account.duplicates, 0, "created twice under one id");
    assert!(status.retries >= 5, "{status:?}");
    assert_eq!(status.refused, 0);
    Ok(())
}

/// What does not fit the mapping is refused and kept; what is around it arrives.
#[test]
fn a_record_that_does_not_fit_is_refused_alone() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 'mapping-error'", "SELECT 3"])?;
    let receiver = Receiver::http("elasticsearch", &stand.path(""))?.arg("--token", "s3cr3t-key");
    let keys = format!(
        "type = \"elasticsearch\"\nurl = \"http://127.0.0.1:{}\"\napi_key_token = \"s3cr3t-key\"\n\
         index = \"dbgov-%Y\"\nformat = \"native\"",
        receiver.port
    );
    let status = stand.deliver(&keys, || receiver.start("{}"))?;
    assert_eq!(status.refused, 1);
    let refused = stand.refused()?;
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].contains("mapper_parsing_exception"),
        "{refused:?}"
    );
    let arrived = receiver.arrived()?;
    let missing = account(stand.expected(), &arrived).missing;
    assert_eq!(missing.len(), 1, "{missing:?}");
    Ok(())
}
