//! Receivers written in Python, below `tests/receivers`, that go and come back.

use std::time::Duration;

use anyhow::Result;
use dbgov_agent::sink::SinkStatus;
pub(crate) use dbgov_tests::postgres::free_port;
pub(crate) use dbgov_tests::receivers::Receiver;

use super::stand::Stand;

pub(crate) trait Outages {
    /// Delivers everything while this receiver is stopped, comes back, is killed with records under way, and comes back.
    /// Each time something else is wrong with it (`faults`).
    fn through_outages(&self, stand: &Stand, keys: &str, faults: [&str; 3]) -> Result<SinkStatus>;
}

impl Outages for Receiver {
    fn through_outages(&self, stand: &Stand, keys: &str, faults: [&str; 3]) -> Result<SinkStatus> {
        const AWAY: Duration = Duration::from_millis(500);
        let first = self.start(faults[0])?;
        stand.deliver(keys, || {
            self.wait_for(30_000)?;
            first.stop()?;
            std::thread::sleep(AWAY);
            let second = self.start(faults[1])?;
            self.wait_for(60_000)?;
            second.kill()?;
            std::thread::sleep(AWAY);
            self.start(faults[2])
        })
    }
}
