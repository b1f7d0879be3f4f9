//! Records for the tests of the sinks.

use std::future::Future;

use super::deliver::{Item, Severity};

/// Records 1 to `count`, of three sessions.
pub(crate) fn items(count: u64) -> Vec<Item> {
    (1..=count).map(item).collect()
}

pub(crate) fn item(seq: u64) -> Item {
    Item {
        seq,
        id: format!("{seq:064x}").into(),
        session: Some(format!("s-{}", seq % 3).into()),
        kind: "statement".into(),
        time_unix_ns: 1_795_391_999_123_456_789 + seq,
        severity: Severity::Informational,
        body: format!(r#"{{"kind":"statement","seq":{seq}}}"#).into_bytes(),
    }
}

/// Runs what waits for nothing but timers and sockets of its own.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
