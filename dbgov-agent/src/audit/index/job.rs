//! The index of each segment that is complete, made by the keeper once the segment has the form it stays in.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::build::{BuildError, build_within};
use super::file;
use crate::audit::keeper::{SegmentJob, Stop};
use crate::audit::key::PrivateKey;

pub(in crate::audit) struct BuildIndex {
    key: Arc<PrivateKey>,
    /// Segments that have one, or never will: of another key, of an older dbgov, with what is no record in them. Some
    /// hundred bytes for each segment there is.
    settled: HashSet<String>,
}

impl BuildIndex {
    pub(in crate::audit) fn new(key: Arc<PrivateKey>) -> Self {
        BuildIndex {
            key,
            settled: HashSet::new(),
        }
    }
}

impl SegmentJob for BuildIndex {
    fn name(&self) -> &'static str {
        "index"
    }

    fn is_due(&self, dir: &Path, segment: &str) -> bool {
        !self.settled.contains(segment) && !file::names(dir, segment)
    }

    fn run(&mut self, dir: &Path, segment: &str, stop: &Stop) -> io::Result<()> {
        if file::is_key_of(dir, segment, &self.key.public().to_hex()) {
            let sign = |message: &[u8]| self.key.sign(message);
            match build_within(dir, segment, sign, |time| !stop.rest(time)) {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                Err(error @ BuildError::NotARecord { .. }) => {
                    tracing::warn!(%error, "a search will read all of this segment; dbgov audit verify tells more");
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        self.settled.insert(segment.to_owned());
        Ok(())
    }
}
