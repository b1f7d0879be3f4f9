//! Counts by what they are of, in bounded memory.

use std::collections::BTreeMap;

use serde::Serialize;

/// Rows of one table. Whoever invents names without end gets one row for the rest.
const ROWS_MAX: usize = 1000;
/// Stretches of numbers kept of one row; a search shows all.
const STRETCHES_MAX: usize = 8;
/// Of a text that comes from the wire.
const CELL_BYTES_MAX: usize = 256;

/// The records behind a row.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Records {
    pub count: u64,
    /// Their first and last time.
    pub first: String,
    pub last: String,
    /// Numbers of the first of them, from and to.
    pub seqs: Vec<(u64, u64)>,
    /// There are more than `seqs` has.
    pub more: bool,
}

impl Records {
    pub(super) fn add(&mut self, seq: u64, time: &str) {
        self.count += 1;
        // Times of records are not in order; RFC 3339 in UTC compares as text.
        if self.first.is_empty() || time < self.first.as_str() {
            self.first = time.to_owned();
        }
        if time > self.last.as_str() {
            self.last = time.to_owned();
        }
        if self.more {
            return;
        }
        let stretches = self.seqs.len();
        match self.seqs.last_mut() {
            Some((_, to)) if seq == to.saturating_add(1) => *to = seq,
            _ if stretches == STRETCHES_MAX => self.more = true,
            _ => self.seqs.push((seq, seq)),
        }
    }

    /// `4, 7-9 and more`.
    pub(super) fn shown(&self) -> String {
        let stretches = self.seqs.iter().map(|(from, to)| match from == to {
            true => from.to_string(),
            false => format!("{from}-{to}"),
        });
        let mut text = stretches.collect::<Vec<_>>().join(", ");
        if self.more {
            text.push_str(" and more");
        }
        text
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub cells: Vec<String>,
    #[serde(flatten)]
    pub records: Records,
    /// Arguments of `dbgov audit search` that find all of them.
    pub search: String,
}

/// What the report says of one question.
#[derive(Debug, Serialize)]
pub struct Table {
    pub title: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<Row>,
    /// Records that would have made more rows.
    pub left_out: Records,
}

#[derive(Debug)]
pub(super) struct Counts {
    title: &'static str,
    columns: &'static [&'static str],
    rows: BTreeMap<Vec<String>, (Records, String)>,
    left_out: Records,
}

impl Counts {
    pub(super) fn new(title: &'static str, columns: &'static [&'static str]) -> Self {
        Counts {
            title,
            columns,
            rows: BTreeMap::new(),
            left_out: Records::default(),
        }
    }

    /// One more record of a row; `search` is asked for the arguments once.
    pub(super) fn add(
        &mut self,
        cells: &[&str],
        seq: u64,
        time: &str,
        search: impl Fn() -> String,
    ) {
        debug_assert_eq!(cells.len(), self.columns.len());
        let cells: Vec<String> = cells
            .iter()
            .map(|cell| crate::chars::head(cell, CELL_BYTES_MAX).to_owned())
            .collect();
        if let Some((records, _)) = self.rows.get_mut(&cells) {
            return records.add(seq, time);
        }
        if self.rows.len() == ROWS_MAX {
            return self.left_out.add(seq, time);
        }
        let mut records = Records::default();
        records.add(seq, time);
        self.rows.insert(cells, (records, search()));
    }

    pub(super) fn finish(self) -> Table {
        let rows = self.rows.into_iter().map(|(cells, (records, search))| Row {
            cells,
            records,
            search,
        });
        Table {
            title: self.title,
            columns: self.columns,
            rows: rows.collect(),
            left_out: self.left_out,
        }
    }
}

/// Arguments of a search, quoted for a shell.
pub(super) fn arguments(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (option, value) in pairs {
        if value.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        // A pattern's signs are meant as they are.
        let value = match *option {
            "identity" => escape_glob(value),
            _ => (*value).to_owned(),
        };
        text.push_str(&format!("--{option}={}", quote(&value)));
    }
    text
}

fn escape_glob(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+,".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded() {
        let mut counts = Counts::new("t", &["c"]);
        for number in 0..5000u64 {
            counts.add(&[&number.to_string()], number, "2026", String::new);
            counts.add(&["0"], number, "2026", String::new);
        }
        let table = counts.finish();
        assert_eq!(table.rows.len(), ROWS_MAX);
        assert_eq!(table.left_out.count, 5000 - ROWS_MAX as u64);
        let row = &table.rows[0].records;
        assert_eq!(row.count, 5001);
        assert!(row.seqs.len() <= STRETCHES_MAX);
    }

    #[test]
    fn stretches() {
        let mut records = Records::default();
        for seq in [1, 2, 3, 7, 9, 10] {
            records.add(seq, "2026-01-01T00:00:00Z");
        }
        assert_eq!(records.shown(), "1-3, 7, 9-10");
        for seq in (100..130).step_by(2) {
            records.add(seq, "2026-01-01T00:00:00Z");
        }
        assert!(records.shown().ends_with(" and more"));
        assert_eq!(records.count, 21);
    }

    #[test]
    fn arguments_for_a_shell() {
        let pairs = [
            ("identity", "agent:*"),
            ("user", ""),
            ("rule", "it's"),
            ("verb", "select"),
        ];
        assert_eq!(
            arguments(&pairs),
            r"--identity='agent:\*' --rule='it'\''s' --verb=select"
        );
    }
}
