//! The records in a file of their own, in whatever format, for a forwarder that reads files.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    pub path: PathBuf,
    /// The file is renamed to `<path>.1`, and so on, before it becomes longer.
    #[serde(default = "bytes_max")]
    pub bytes_max: u64,
    /// Renamed files that are kept; older ones are removed. The journal is kept by its own rules.
    #[serde(default = "files_max")]
    pub files_max: u32,
}

fn bytes_max() -> u64 {
    100 << 20
}

fn files_max() -> u32 {
    10
}
