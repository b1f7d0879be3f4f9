//! Moments as people give them: `2026-11-22T10:00:00Z`, `2026-11-22 10:00`, `2026-11-22`, `yesterday`, `2h`.

use jiff::civil::DateTime;
use jiff::{Span, Zoned};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time; write one like 2026-11-22T10:00:00Z, 2026-11-22 10:00, 2026-11-22, today, yesterday, or how long ago: 2h, 30m, 7d"
)]
pub struct NoTime(pub String);

/// Nanoseconds since the Unix epoch. What has no zone is in that of `now`; a day is its beginning; a length of time is so
/// long before `now`.
pub fn parse(text: &str, now: &Zoned) -> Result<u64, NoTime> {
    let no_time = || NoTime(text.to_owned());
    let moment = zoned(text.trim(), now).ok_or_else(no_time)?;
    u64::try_from(moment.timestamp().as_nanosecond()).map_err(|_| no_time())
}

fn zoned(text: &str, now: &Zoned) -> Option<Zoned> {
    let zone = now.time_zone().clone();
    match text {
        "now" => return Some(now.clone()),
        "today" => return now.start_of_day().ok(),
        "yesterday" => return now.yesterday().ok()?.start_of_day().ok(),
        _ => {}
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.to_zoned(zone));
    }
    if let Ok(local) = text.parse::<DateTime>() {
        return local.to_zoned(zone).ok();
    }
    let ago: Span = text.parse().ok()?;
    // "2h" and "-2h" are the same to whoever asks what was.
    now.checked_sub(ago.abs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_the_ways() {
        let now: Zoned = "2026-11-23T15:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let at = |text: &str| {
            parse(text, &now).map(|ns| {
                jiff::Timestamp::from_nanosecond(ns.into())
                    .unwrap()
                    .to_string()
            })
        };
        for (text, moment) in [
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:00:00.5+02:00", "2026-11-22T08:00:00.5Z"),
            ("2026-11-22T10:00", "2026-11-22T09:00:00Z"),
            ("2026-11-22 10:00", "2026-11-22T09:00:00Z"),
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("today", "2026-11-22T23:00:00Z"),
            ("yesterday", "2026-11-21T23:00:00Z"),
            ("now", "2026-11-23T14:00:00Z"),
            ("2h", "2026-11-23T12:00:00Z"),
            ("-2h", "2026-11-23T12:00:00Z"),
            ("90m", "2026-11-23T12:30:00Z"),
            ("7d", "2026-11-16T14:00:00Z"),
            ("1 day 1 hour", "2026-11-22T13:00:00Z"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(moment), "{text}");
        }
        for text in ["", "noon", "2026-13-01", "1960-01-01", "2x"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
