//! Times of the week at which a rule holds.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

/// Days of the week, a bit each, Monday the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Weekdays(u8);

/// As a rule names them, Monday first.
pub const WEEKDAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Seconds of a day by the clock on the wall.
pub const DAY_S: u32 = 24 * 60 * 60;

impl Weekdays {
    pub const ALL: Weekdays = Weekdays(0x7f);

    /// `day` counts from Monday, 0.
    pub fn with(self, day: u8) -> Weekdays {
        Weekdays(self.0 | 1 << (day % 7))
    }

    pub fn union(self, other: Weekdays) -> Weekdays {
        Weekdays(self.0 | other.0)
    }

    pub fn contains(self, day: Weekday) -> bool {
        self.0 & 1 << day.to_monday_zero_offset() != 0
    }
}

/// From one time of the day to another, on some days, by the clock of a zone. Where `to_s` is not later than `from_s`, it
/// ends on the day after; the day is the one on which it begins. The clock counts, not the time that passes: what lies
/// in an hour that is skipped does not come that day, what lies in one that is repeated comes twice.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeWindow {
    pub days: Weekdays,
    /// Seconds since midnight; in the window.
    pub from_s: u32,
    /// Seconds since midnight, up to [`DAY_S`]; not in the window.
    pub to_s: u32,
    pub zone: TimeZone,
    /// The rule holds outside the window instead.
    pub outside: bool,
}

impl TimeWindow {
    /// Whether the rule holds at this time. A time that no calendar has is at no time.
    pub fn holds(&self, unix_ns: i128) -> bool {
        let Ok(time) = Timestamp::from_nanosecond(unix_ns) else {
            return false;
        };
        let clock = self.zone.to_datetime(time);
        let (today, yesterday) = (
            clock.date().weekday(),
            clock.date().weekday().wrapping_sub(1),
        );
        let now_s = u32::try_from(
            i32::from(clock.hour()) * 3600
                + i32::from(clock.minute()) * 60
                + i32::from(clock.second()),
        )
        .unwrap_or(0);
        let inside = if self.from_s < self.to_s {
            self.days.contains(today) && (self.from_s..self.to_s).contains(&now_s)
        } else {
            (self.days.contains(today) && now_s >= self.from_s)
                || (self.days.contains(yesterday) && now_s < self.to_s)
        };
        inside != self.outside
    }
}
