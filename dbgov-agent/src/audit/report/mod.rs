//! What an auditor asks of a journal, by the controls of a catalogue: who reached which data, privileged actions, denials,
//! approvals, changes, gaps in coverage, and whether the journal is as dbgov wrote it. In one pass over the records, in
//! bounded memory; the same records make the same report.

mod collect;
mod controls;
mod markdown;
mod table;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use super::reader::ReadError;
use super::search::{Filters, Order, Query, search};
use super::verify;

pub use controls::{Catalogue, Control, Part};
pub use table::{Records, Row, Table};

/// Names of nodes that are listed: a journal is one node's, unless journals were put together.
const NODES_MAX: usize = 20;

/// What a report is to be about.
#[derive(Debug, Clone)]
pub struct Scope {
    pub catalogue: Catalogue,
    /// Nanoseconds since the Unix epoch; until is not included.
    pub since: u64,
    pub until: u64,
    /// As they are shown, and as a search takes them.
    pub since_text: String,
    pub until_text: String,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub catalogue: Catalogue,
    pub title: &'static str,
    pub since: String,
    pub until: String,
    pub nodes: Vec<String>,
    /// In the period.
    pub records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<u64>,
    /// What could not be read.
    pub problems: Vec<String>,
    pub controls: &'static [Control],
    pub sections: Vec<Section>,
    pub integrity: Integrity,
}

#[derive(Debug, Serialize)]
pub struct Section {
    pub part: Part,
    pub tables: Vec<Table>,
}

/// The result of `dbgov audit verify` over the whole journal.
#[derive(Debug, Serialize)]
pub struct Integrity {
    pub intact: bool,
    pub summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// # Errors
/// The directory cannot be read. What else cannot be read stands in the report.
pub fn report(dir: &Path, scope: &Scope, keys: verify::Options) -> Result<Report, ReadError> {
    let period = format!(" --since={} --until={}", scope.since_text, scope.until_text);
    let mut collector = collect::Collector::new(period);
    let mut query = Query::new(Filters {
        since: Some(scope.since),
        until: Some(scope.until),
        ..Filters::default()
    });
    let mut nodes = BTreeSet::new();
    let (mut records, mut first_seq, mut last_seq) = (0, None, None);
    let stats = search(dir, &mut query, Order::OldestFirst, |_, view| {
        records += 1;
        first_seq.get_or_insert(view.seq);
        last_seq = Some(view.seq);
        if nodes.len() < NODES_MAX && !nodes.contains(&*view.node) {
            nodes.insert(view.node.to_string());
        }
        collector.add(view);
        ControlFlow::Continue(())
    })?;
    let mut problems = stats.problems;
    if stats.more_problems > 0 {
        problems.push(format!("and {} more", stats.more_problems));
    }
    let sections = collector.finish().into_iter();
    Ok(Report {
        catalogue: scope.catalogue,
        title: scope.catalogue.title(),
        since: scope.since_text.clone(),
        until: scope.until_text.clone(),
        nodes: nodes.into_iter().collect(),
        records,
        first_seq,
        last_seq,
        problems,
        controls: scope.catalogue.controls(),
        sections: sections
            .map(|(part, tables)| Section { part, tables })
            .collect(),
        integrity: integrity(dir, &keys),
    })
}

fn integrity(dir: &Path, options: &verify::Options) -> Integrity {
    match verify::verify(dir, options) {
        Ok(mut report) => {
            // The same journal makes the same report.
            report.seconds = 0.0;
            Integrity {
                intact: report.intact,
                summary: without_rate(report.to_string()),
                details: serde_json::to_value(&report).ok(),
            }
        }
        Err(error) => Integrity {
            intact: false,
            summary: format!("NOT CHECKED: {error}"),
            details: None,
        },
    }
}

/// How fast it was checked is none of the journal's facts.
fn without_rate(mut summary: String) -> String {
    if let Some(end) = summary.find(" records/s)")
        && let Some(start) = summary[..end].rfind("; ")
    {
        summary.replace_range(start..end + " records/s".len(), "");
    }
    summary
}

#[cfg(test)]
mod tests;
