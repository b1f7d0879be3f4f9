//! The end of the agent, as sinks are told of it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Tells the sinks to end.
#[derive(Debug)]
pub(super) struct Stopper(watch::Sender<Option<Instant>>);

/// Knows whether the sinks are to end, and by when.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Option<Instant>>);

pub(super) fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// What is in the journal may still be delivered within this time.
    pub(super) fn stop(&self, within: Duration) {
        self.0.send_replace(Some(Instant::now() + within));
    }
}

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) async fn asked(&self) {
        // Who could ask is gone: that is the end too.
        let _ = self.0.clone().wait_for(Option::is_some).await;
    }

    pub(super) async fn deadline(&self) {
        self.asked().await;
        let deadline = *self.0.borrow();
        if let Some(deadline) = deadline {
            tokio::time::sleep_until(deadline).await;
        }
    }
}
