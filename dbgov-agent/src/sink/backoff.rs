//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
/// A receiver that is back is found within a minute.
const LONGEST: Duration = Duration::from_secs(60);
/// What a receiver may ask for; one that names a longer time has made a mistake.
const ASKED_LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Twice as long each time, and not the same for all agents that lost the same receiver at the same moment. Not
    /// before `asked`, which is what the receiver said.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        match asked {
            None => wait,
            Some(asked) => {
                let asked = asked.min(ASKED_LONGEST);
                wait.max(asked.mul_f64(1.0 + fastrand::f64() / 10.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_each_time_up_to_a_minute_and_never_the_same() {
        let mut backoff = Backoff::default();
        let mut bound = FIRST;
        let mut waits = Vec::new();
        for _ in 0..20 {
            let wait = backoff.wait(None);
            assert!(bound / 2 <= wait && wait <= bound, "{wait:?} of {bound:?}");
            bound = (bound * 2).min(LONGEST);
            waits.push(wait);
        }
        waits.dedup();
        assert_eq!(waits.len(), 20);
        backoff.reset();
        assert!(backoff.wait(None) <= FIRST);
    }

    #[test]
    fn the_receiver_is_not_asked_before_it_said() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(90);
        assert!(backoff.wait(Some(asked)) >= asked);
        assert!(backoff.wait(Some(Duration::MAX)) <= ASKED_LONGEST * 2);
    }
}
