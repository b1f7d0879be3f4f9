//! Moments as RFC 3339 text.

use jiff::{Timestamp, tz::TimeZone};

const NS_PER_S: u64 = 1_000_000_000;

/// Writes moments as `2026-11-22T23:59:59.123456789Z`. Neighbouring records mostly fall into the same second, so its
/// text is kept and only the nanoseconds are made anew.
#[derive(Debug)]
pub(crate) struct TimeFormatter {
    second: u64,
    /// `2026-11-22T23:59:59.`
    prefix: String,
}

impl TimeFormatter {
    pub(crate) fn new() -> Self {
        TimeFormatter {
            second: 0,
            prefix: prefix(0),
        }
    }

    pub(crate) fn write(&mut self, unix_ns: u64, out: &mut Vec<u8>) {
        let second = unix_ns / NS_PER_S;
        if second != self.second {
            self.second = second;
            self.prefix = prefix(second);
        }
        out.extend_from_slice(self.prefix.as_bytes());
        let mut rest = unix_ns % NS_PER_S;
        let mut digits = *b"000000000Z";
        for digit in digits[..9].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

fn prefix(second: u64) -> String {
    let time = utc(second);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// `20261122T235959Z`, as the name of a segment has it.
pub(super) fn compact(unix_ns: u64) -> String {
    let time = utc(unix_ns / NS_PER_S);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// A count of nanoseconds in 64 bits ends in the year 2554, well before a [`Timestamp`] does.
fn utc(second: u64) -> jiff::civil::DateTime {
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    let moment = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    TimeZone::UTC.to_datetime(moment)
}

/// The wall clock, nanoseconds since the Unix epoch.
pub(super) fn unix_now_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(formatter: &mut TimeFormatter, unix_ns: u64) -> String {
        let mut out = Vec::new();
        formatter.write(unix_ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nanoseconds_always_nine_digits() {
        let mut formatter = TimeFormatter::new();
        for (unix_ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (1_795_391_999_123_456_789, "2026-11-22T23:59:59.123456789Z"),
            (1_795_391_999_999_999_999, "2026-11-22T23:59:59.999999999Z"),
            (1_795_392_000_000_000_000, "2026-11-23T00:00:00.000000000Z"),
            (1_709_164_800_500_000_000, "2024-02-29T00:00:00.500000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(format(&mut formatter, unix_ns), text);
            assert_eq!(format(&mut TimeFormatter::new(), unix_ns), text);
        }
    }

    #[test]
    fn compact_for_file_names() {
        assert_eq!(compact(1_795_391_999_123_456_789), "20261122T235959Z");
    }
}
