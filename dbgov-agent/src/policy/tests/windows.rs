//! Times.

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::policy;
use crate::policy::TimeWindow;

fn window(fields: &str) -> TimeWindow {
    let text = format!("[[rule]]\nname = \"r\"\naction = \"hold\"\ntime = {{ {fields} }}");
    policy(&text).rules[0].time.clone().unwrap()
}

/// A time of November 2026 (the 23rd is a Monday) on Berlin's clocks.
fn berlin(day: i8, hour: i8, minute: i8) -> i128 {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let time = date(2026, 11, day).at(hour, minute, 0, 0);
    time.to_zoned(zone).unwrap().timestamp().as_nanosecond()
}

#[test]
fn office_hours() {
    let office =
        window("days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\", zone = \"Europe/Berlin\"");
    let outside = window(
        "days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\", zone = \"Europe/Berlin\", outside = true",
    );
    for (day, hour, minute, expected) in [
        (23, 8, 59, false),
        (23, 9, 0, true),
        (23, 16, 59, true),
        (23, 17, 0, false),
        (28, 12, 0, false),
        (29, 12, 0, false),
    ] {
        let time = berlin(day, hour, minute);
        assert_eq!(office.holds(time), expected, "{day} {hour}:{minute}");
        assert_eq!(outside.holds(time), !expected, "{day} {hour}:{minute}");
    }
}

#[test]
fn over_midnight_it_belongs_to_the_day_it_begins() {
    let night =
        window("days = [\"fri\"], from = \"22:00\", to = \"06:00\", zone = \"Europe/Berlin\"");
    for (day, hour, expected) in [
        (26, 23, false),
        (27, 5, false),
        (27, 22, true),
        (28, 5, true),
        (28, 6, false),
        (28, 23, false),
    ] {
        assert_eq!(night.holds(berlin(day, hour, 0)), expected, "{day} {hour}");
    }
    let sunday =
        window("days = [\"sun\"], from = \"22:00\", to = \"06:00\", zone = \"Europe/Berlin\"");
    assert!(sunday.holds(berlin(30, 1, 0)));
}

#[test]
fn ranges_of_days_go_round() {
    let weekend = window("days = [\"sat-mon\"], zone = \"Europe/Berlin\"");
    assert!(weekend.holds(berlin(28, 0, 0)));
    assert!(weekend.holds(berlin(30, 23, 59)));
    assert!(!weekend.holds(berlin(24, 0, 0)));
}

/// 2026-10-25, 03:00 CEST becomes 02:00 CET; 2026-03-29, 02:00 becomes 03:00.
#[test]
fn clocks_that_change() {
    let early = window("from = \"02:00\", to = \"03:00\", zone = \"Europe/Berlin\"");
    let utc = |month, day, hour, minute| {
        let time = date(2026, month, day).at(hour, minute, 0, 0);
        time.to_zoned(TimeZone::UTC)
            .unwrap()
            .timestamp()
            .as_nanosecond()
    };
    assert!(early.holds(utc(10, 25, 0, 30)));
    assert!(early.holds(utc(10, 25, 1, 30)));
    assert!(!early.holds(utc(10, 25, 2, 0)));
    assert!(!early.holds(utc(3, 29, 0, 59)));
    assert!(!early.holds(utc(3, 29, 1, 0)));
    assert!(early.holds(utc(3, 30, 0, 30)));
}

#[test]
fn a_time_out_of_range_is_no_time() {
    assert!(!window("zone = \"UTC\"").holds(i128::MAX));
}
