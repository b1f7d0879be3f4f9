//! The kernel's boot clock, on which events are stamped, and the time of day.

use nix::time::{ClockId, clock_gettime};

use crate::protocol::TimeNs;

/// How far the time of day is ahead of an event's clock. Measured anew now and then: the time of day is adjusted.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    ahead_ns: i128,
}

impl Clock {
    /// For events stamped on the boot clock.
    pub fn boot() -> Self {
        let boot = now_ns(ClockId::CLOCK_BOOTTIME);
        let unix = now_ns(ClockId::CLOCK_REALTIME);
        Clock {
            ahead_ns: i128::from(unix) - i128::from(boot),
        }
    }

    /// For events stamped with the time of day (a capture file).
    pub fn unix() -> Self {
        Clock { ahead_ns: 0 }
    }

    /// Nanoseconds since the Unix epoch.
    pub fn unix_ns(self, at: TimeNs) -> u64 {
        u64::try_from(i128::from(at) + self.ahead_ns).unwrap_or_default()
    }
}

/// Now, on the boot clock.
pub fn boot_ns() -> TimeNs {
    now_ns(ClockId::CLOCK_BOOTTIME)
}

/// Now, nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    now_ns(ClockId::CLOCK_REALTIME)
}

fn now_ns(clock: ClockId) -> u64 {
    // Both clocks are in every kernel dbgov runs on; zero would only misdate records.
    let Ok(time) = clock_gettime(clock) else {
        return 0;
    };
    (time.tv_sec() as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec() as u64)
}
