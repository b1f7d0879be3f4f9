//! A record as the receiver wants it.

mod severity;

use serde::Deserialize;

use crate::audit::view::{View, ViewError};
use crate::sink::deliver::Item;

pub use severity::severity;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The line of the journal, as it is.
    #[default]
    Native,
    /// Open Cybersecurity Schema Framework 1.8, class 6005 Datastore Activity.
    Ocsf,
    /// Elastic Common Schema.
    Ecs,
    /// ArcSight Common Event Format.
    Cef,
    /// IBM QRadar Log Event Extended Format 2.0.
    Leef,
}

impl Format {
    pub const ALL: [Format; 5] = [
        Format::Native,
        Format::Ocsf,
        Format::Ecs,
        Format::Cef,
        Format::Leef,
    ];
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("record {seq} has a time that is none: {time:?}")]
    Time { seq: u64, time: String },
    #[error("record {seq} has a block that is no JSON: {source}")]
    Block { seq: u64, source: serde_json::Error },
}

/// Appends what `format` makes of a record: one line, without its newline. Nothing is appended where there is an error.
/// `line` and `view` are of the same record; the line is without its newline.
///
/// # Errors
/// The record is none that dbgov writes.
pub fn encode(
    format: Format,
    line: &[u8],
    _view: &View,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let encoded = match format {
        // Until the others are there.
        Format::Native | Format::Ocsf | Format::Ecs | Format::Cef | Format::Leef => {
            out.extend_from_slice(line);
            Ok(())
        }
    };
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

/// A record on its way out, encoded.
///
/// # Errors
/// The record is none that dbgov writes.
pub fn item(format: Format, line: &[u8], view: &View) -> Result<Item, EncodeError> {
    let mut body = Vec::new();
    encode(format, line, view, &mut body)?;
    Ok(Item {
        seq: view.seq,
        id: view.chain.hash.as_str().into(),
        session: view.session.id.some().map(Into::into),
        kind: view.kind.as_str().into(),
        time_unix_ns: time_unix_ns(view)?,
        severity: severity(view),
        body,
    })
}

fn time_unix_ns(view: &View) -> Result<u64, EncodeError> {
    view.time_unix_ns().ok_or_else(|| EncodeError::Time {
        seq: view.seq,
        time: view.time.to_string(),
    })
}
