//! The kernel's boot clock, on which events are stamped, and the time of day.

use std::sync::LazyLock;

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
        Clock {
            ahead_ns: ahead_ns(boot_ns, unix_ns),
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

/// When a process started, nanoseconds since the Unix epoch, in whole hundredths of a second as proc(5) tells it.
/// Measured once for as long as the agent runs: the time of day is adjusted by nanoseconds all the time, and the same
/// process must have the same start in each of its records.
pub fn process_start_unix_ns(at: TimeNs) -> u64 {
    const RESOLUTION_NS: u64 = 10_000_000;
    static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::boot);
    let unix_ns = CLOCK.unix_ns(at);
    unix_ns - unix_ns % RESOLUTION_NS
}

/// A thread that another one interrupts between reading the two clocks would misdate records by that time, and the next
/// measurement would turn time back. So the boot clock is read before and after, and the closest of a few readings counts.
fn ahead_ns(mut boot_ns: impl FnMut() -> u64, mut unix_ns: impl FnMut() -> u64) -> i128 {
    const READINGS: usize = 5;
    let readings = std::iter::repeat_with(|| {
        let (before, unix, after) = (boot_ns(), unix_ns(), boot_ns());
        let took = after.saturating_sub(before);
        (took, i128::from(unix) - i128::from(before + took / 2))
    });
    readings
        .take(READINGS)
        .min_by_key(|(took, _)| *took)
        .map_or(0, |(_, ahead)| ahead)
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_process_has_one_start() {
        const AT: TimeNs = 1_230_000_000;
        let once = process_start_unix_ns(AT);
        assert_eq!(once % 10_000_000, 0);
        assert!(once.abs_diff(Clock::boot().unix_ns(AT)) < 1_000_000_000);
        for _ in 0..1000 {
            std::hint::black_box(Clock::boot());
            assert_eq!(process_start_unix_ns(AT), once);
        }
    }

    #[test]
    fn an_interruption_between_the_clocks_does_not_misdate() {
        const AHEAD_NS: u64 = 1_000_000_000_000;
        const INTERRUPTION_NS: u64 = 8_000_000;
        let now = Cell::new(0u64);
        let reads = Cell::new(0u32);
        let tick = || {
            reads.set(reads.get() + 1);
            // Between the first reading of one clock and of the other.
            let pause = if reads.get() == 2 {
                INTERRUPTION_NS
            } else {
                40
            };
            now.set(now.get() + pause);
            now.get()
        };
        let ahead = ahead_ns(tick, || tick() + AHEAD_NS);
        assert!(ahead.abs_diff(i128::from(AHEAD_NS)) < 1_000, "{ahead}");
    }
}
