//! The report for people.

use std::fmt::Write as _;

use super::controls::Part;
use super::table::Table;
use super::{Integrity, Report};
use crate::audit::live::text::push_visible;

/// Columns of one cell.
const CELL_COLUMNS_MAX: usize = 120;

impl Report {
    /// CommonMark with tables. What comes from the wire cannot end a cell, nor speak to a terminal.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "# Database activity: {}\n", self.title)?;
        writeln!(text, "| | |\n| --- | --- |")?;
        writeln!(text, "| Period | {} to {} |", self.since, self.until)?;
        writeln!(text, "| Nodes | {} |", cell(&self.nodes.join(", ")))?;
        let records = match (self.first_seq, self.last_seq) {
            (Some(first), Some(last)) => format!("{}, numbers {first} to {last}", self.records),
            _ => "none".to_owned(),
        };
        writeln!(text, "| Records | {records} |")?;
        for problem in &self.problems {
            writeln!(text, "| NOT READ | {} |", cell(problem))?;
        }
        writeln!(
            text,
            "\nEach line has the numbers of the records behind it and what finds all of them, as arguments of `dbgov audit search`. What follows is what the records show; whether a control is met is for the auditor to say.\n"
        )?;
        self.write_controls(text)?;
        for section in &self.sections {
            writeln!(text, "## {}\n", title(section.part))?;
            for table in &section.tables {
                write_table(text, table)?;
            }
        }
        self.integrity.write(text)
    }

    fn write_controls(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "## Controls\n\n| Control | | Sections |\n| --- | --- | --- |"
        )?;
        for control in self.controls {
            let parts: Vec<&str> = control.parts.iter().map(|part| title(*part)).collect();
            writeln!(
                text,
                "| {} | {} | {} |",
                control.id,
                control.name,
                parts.join("; ")
            )?;
        }
        writeln!(text)
    }
}

fn title(part: Part) -> &'static str {
    match part {
        Part::Access => "Access to data",
        Part::Privileged => "Privileged actions",
        Part::Denials => "Denials and alerts",
        Part::Approvals => "Approvals",
        Part::Changes => "Changes of policy and identities",
        Part::Coverage => "Coverage",
        Part::Integrity => "Integrity of the journal",
    }
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(text, "### {}\n", table.title)?;
    if table.rows.is_empty() {
        return writeln!(text, "None.\n");
    }
    writeln!(
        text,
        "| {} | Count | First | Last | Records | Search |",
        table.columns.join(" | ")
    )?;
    writeln!(text, "|{}", " --- |".repeat(table.columns.len() + 5))?;
    for row in &table.rows {
        for value in &row.cells {
            write!(text, "| {} ", cell(value))?;
        }
        let records = &row.records;
        writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            records.count,
            cell(&records.first),
            cell(&records.last),
            records.shown(),
            code(&row.search)
        )?;
    }
    if table.left_out.count > 0 {
        let left_out = &table.left_out;
        writeln!(
            text,
            "\nAnd {} more records, of further values: {}.",
            left_out.count,
            left_out.shown()
        )?;
    }
    writeln!(text)
}

fn cell(value: &str) -> String {
    if value.is_empty() {
        return "-".to_owned();
    }
    let mut shown = String::new();
    push_visible(&mut shown, value, CELL_COLUMNS_MAX);
    let mut escaped = String::new();
    for character in shown.chars() {
        if matches!(
            character,
            '|' | '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '&'
        ) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// In a cell, where a bar ends even code.
fn code(arguments: &str) -> String {
    let mut shown = String::new();
    push_visible(&mut shown, arguments, usize::MAX);
    if shown.contains('`') || shown.contains('|') {
        return cell(&shown);
    }
    format!("`{shown}`")
}

impl Integrity {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "## {}\n", title(Part::Integrity))?;
        writeln!(text, "{}\n", self.summary.replace('\n', "  \n"))
    }
}
