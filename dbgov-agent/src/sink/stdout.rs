//! The records on stdout, for whoever collects the output of processes.

use std::io::Write;

use serde::Deserialize;

use super::deliver::{Deliver, DeliverError, Item};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdoutConfig {}

/// Nobody else writes there: `dbgov run --quiet`.
#[derive(Debug)]
pub struct Stdout;

impl Deliver for Stdout {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        // A reader that stands still makes this wait, and nobody but this sink's thread.
        let mut out = std::io::stdout().lock();
        let mut lines = Vec::with_capacity(batch.iter().map(|item| item.body.len() + 1).sum());
        for item in batch {
            lines.extend_from_slice(&item.body);
            lines.push(b'\n');
        }
        out.write_all(&lines)
            .and_then(|()| out.flush())
            .map_err(|error| DeliverError::retry(format!("cannot write to stdout: {error}")))
    }
}
