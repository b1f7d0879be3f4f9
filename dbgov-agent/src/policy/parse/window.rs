//! `time = { days = ["mon-fri"], from = "09:00", to = "17:00", zone = "Europe/Berlin" }`

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::reader::{Reader, Section, did_you_mean};
use crate::policy::time::{DAY_S, TimeWindow, WEEKDAY_NAMES, Weekdays};

const KEYS: &[&str] = &["days", "from", "to", "zone", "outside"];

pub(super) fn read(reader: &mut Reader<'_>, rule: Section<'_>) -> Option<TimeWindow> {
    let value = rule.table.get("time")?;
    let Some(table) = value.get_ref().as_table() else {
        return reader.expected(
            "time",
            "a table such as `{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\", zone = \"Europe/Berlin\" }`",
            value,
        );
    };
    let section = Section {
        table,
        span: (value.span().start, value.span().end),
    };
    reader.known_keys(section, "`time`", KEYS);
    let days = reader
        .list(section, "days", days)
        .into_iter()
        .reduce(Weekdays::union)
        .unwrap_or(Weekdays::ALL);
    let from_s = clock(reader, section, "from").unwrap_or(0);
    let to_s = clock(reader, section, "to").unwrap_or(DAY_S);
    if from_s == to_s || from_s == DAY_S {
        reader.problem(
            value.span(),
            "`time` is empty: `from` is not before `to`; leave both out for whole days",
        );
    }
    Some(TimeWindow {
        days,
        from_s,
        to_s,
        outside: reader.boolean(section, "outside").unwrap_or(false),
        zone: zone(reader, section)?,
    })
}

/// `mon`, or `mon-fri`.
fn days(text: &str) -> Result<Weekdays, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |name: &str| {
        let position = WEEKDAY_NAMES.iter().position(|day| *day == name);
        position.and_then(|at| u8::try_from(at).ok())
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) => {
            let count = (last + 7 - first) % 7 + 1;
            Ok((first..first + count).fold(Weekdays::default(), Weekdays::with))
        }
        _ => Err(format!(
            "expected one of {}, or a range such as mon-fri",
            WEEKDAY_NAMES.join(", ")
        )),
    }
}

/// `09:00`, `09:00:30`, `24:00`; in seconds since midnight.
fn clock(reader: &mut Reader<'_>, section: Section<'_>, key: &str) -> Option<u32> {
    let (text, span) = reader.string(section, key)?;
    let seconds = seconds(text);
    if seconds.is_none() {
        reader.problem(
            span,
            format!("`{key}` cannot be {text:?}; expected a time from `00:00` to `24:00`"),
        );
    }
    seconds
}

fn seconds(text: &str) -> Option<u32> {
    let mut total = 0;
    let mut units = [3600, 60, 1].into_iter();
    let mut count = 0;
    for digits in text.split(':') {
        let unit = units.next()?;
        let number: u32 = digits.parse().ok()?;
        if digits.len() != 2 || (unit < 3600 && number > 59) {
            return None;
        }
        total += number * unit;
        count += 1;
    }
    (count >= 2 && total <= DAY_S).then_some(total)
}

/// From the database that is part of the program, so that a policy means the same everywhere.
fn zone(reader: &mut Reader<'_>, section: Section<'_>) -> Option<TimeZone> {
    let Some((name, span)) = reader.string(section, "zone") else {
        if !section.table.contains_key("zone") {
            let (start, end) = section.span;
            reader.problem(
                start..end,
                "`time` has no `zone`; give one such as `Europe/Berlin`, or `UTC`",
            );
        }
        return None;
    };
    let zones = TimeZoneDatabase::bundled();
    match zones.get(name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            let names: Vec<String> = zones.available().map(|zone| zone.to_string()).collect();
            let slip = did_you_mean(name, names.iter().map(String::as_str));
            reader.problem(
                span,
                format!("there is no time zone {name:?}{slip}; expected a name such as `Europe/Berlin`, or `UTC`"),
            );
            None
        }
    }
}
