//! A record as the receiver wants it.

use serde::Deserialize;

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
