//! Dates, times and intervals in DateStyle ISO and IntervalStyle postgres (documentation, 8.5 "Date/Time Types"), time
//! zone UTC: the wire does not tell the session's.

use std::fmt::Write;

use super::reader::Reader;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days from 0000-03-01, where [`write_day`] counts from, to PostgreSQL's epoch 2000-01-01.
const EPOCH_DAYS: i64 = 730_425;
/// Days of 400 Gregorian years.
const CYCLE_DAYS: i64 = 146_097;

/// `datatype/timestamp.h`: 4714-11-24 BC is day 0 of the Julian count, 2,451,545 days before the epoch; a date ends
/// before Julian day 2,147,483,494 and a timestamp before 294277-01-01.
const DATE_DAYS_MIN: i32 = -2_451_545;
const DATE_DAYS_END: i32 = 2_147_483_494 - 2_451_545;
const TIMESTAMP_MICROS_MIN: i64 = -211_813_488_000_000_000;
const TIMESTAMP_MICROS_END: i64 = 9_223_371_331_200_000_000;

/// TZDISP_LIMIT: no zone is 16 hours or more from UTC.
const ZONE_SECONDS_END: i32 = 16 * 3600;

pub(super) fn write_date(days: i32, out: &mut String) -> Option<()> {
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        DATE_DAYS_MIN..DATE_DAYS_END => {
            let is_bc = write_day(days.into(), out)?;
            out.push_str(era(is_bc));
        }
        _ => return None,
    }
    Some(())
}

/// Of a timestamp (`zone` empty) or timestamptz (`+00`).
pub(super) fn write_timestamp(micros: i64, zone: &str, out: &mut String) -> Option<()> {
    match micros {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        TIMESTAMP_MICROS_MIN..TIMESTAMP_MICROS_END => {
            let is_bc = write_day(micros.div_euclid(MICROS_PER_DAY), out)?;
            out.push(' ');
            write_clock(micros.rem_euclid(MICROS_PER_DAY).unsigned_abs(), out)?;
            out.push_str(zone);
            out.push_str(era(is_bc));
        }
        _ => return None,
    }
    Some(())
}

pub(super) fn write_time(micros: i64, out: &mut String) -> Option<()> {
    // 24:00:00 is a time of its own.
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return None;
    }
    write_clock(micros.unsigned_abs(), out)
}

/// The zone is in seconds west of Greenwich, as POSIX has it; it is written the other way.
pub(super) fn write_timetz(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    let micros = reader.i64()?;
    let zone_seconds = reader.i32()?;
    reader.end()?;
    if !(1 - ZONE_SECONDS_END..ZONE_SECONDS_END).contains(&zone_seconds) {
        return None;
    }
    write_time(micros, out)?;
    let sign = if zone_seconds <= 0 { '+' } else { '-' };
    let seconds = zone_seconds.unsigned_abs();
    write!(out, "{sign}{:02}", seconds / 3600).ok()?;
    if seconds % 3600 != 0 {
        write!(out, ":{:02}", seconds / 60 % 60).ok()?;
    }
    if seconds % 60 != 0 {
        write!(out, ":{:02}", seconds % 60).ok()?;
    }
    Some(())
}

pub(super) fn write_interval(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    let micros = reader.i64()?;
    let days = reader.i32()?;
    let months = reader.i32()?;
    reader.end()?;
    match (micros, days, months) {
        // Infinite since version 17.
        (i64::MAX, i32::MAX, i32::MAX) => out.push_str("infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => out.push_str("-infinity"),
        _ => {
            let start = out.len();
            // A positive part right after a negative one gets a plus, as the next one might be taken for negative.
            let mut after_negative = false;
            for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
                if count == 0 {
                    continue;
                }
                let space = if out.len() > start { " " } else { "" };
                let plus = if after_negative && count > 0 { "+" } else { "" };
                let plural = if count == 1 { "" } else { "s" };
                write!(out, "{space}{plus}{count} {unit}{plural}").ok()?;
                after_negative = count < 0;
            }
            let is_empty = out.len() == start;
            if is_empty || micros != 0 {
                out.push_str(if is_empty { "" } else { " " });
                out.push_str(match micros < 0 {
                    true => "-",
                    false if after_negative => "+",
                    false => "",
                });
                write_clock(micros.unsigned_abs(), out)?;
            }
        }
    }
    Some(())
}

fn era(is_bc: bool) -> &'static str {
    if is_bc { " BC" } else { "" }
}

/// `2026-01-02` for a day counted from 2000-01-01; true if it is before Christ. The calendar is the Gregorian one
/// throughout. Counting from a March 1st puts the leap day at the end of the year.
fn write_day(days: i64, out: &mut String) -> Option<bool> {
    let days = days + EPOCH_DAYS;
    let cycle = days.div_euclid(CYCLE_DAYS);
    let day_of_cycle = days.rem_euclid(CYCLE_DAYS);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let is_next_year = month_from_march >= 10;
    let month = if is_next_year {
        month_from_march - 9
    } else {
        month_from_march + 3
    };
    let year = cycle * 400 + year_of_cycle + i64::from(is_next_year);
    // There is no year 0: before 1 came 1 BC.
    let is_bc = year <= 0;
    let year = if is_bc { 1 - year } else { year };
    write!(out, "{year:04}-{month:02}-{day:02}").ok()?;
    Some(is_bc)
}

/// `04:05:06.7`; hours grow beyond two digits in an interval.
fn write_clock(micros: u64, out: &mut String) -> Option<()> {
    let second_micros = MICROS_PER_SECOND.unsigned_abs();
    let seconds = micros / second_micros;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60).ok()?;
    let fraction = micros % second_micros;
    if fraction != 0 {
        write!(out, ".{fraction:06}").ok()?;
        out.truncate(out.trim_end_matches('0').len());
    }
    Some(())
}
