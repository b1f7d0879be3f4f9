//! The policy file: read at the start, and again when it changes or somebody asks. A file that cannot be read keeps the
//! policy that is in force.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::record::{Kind, Record};
use crate::clock::unix_ns;
use crate::config::PolicyMode;
use crate::policy::Policy;

/// What tells one version of a file from another. An editor that replaces the file changes the inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Version {
    inode: u64,
    bytes: u64,
    changed_ns: i128,
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Version {
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed_ns: i128::from(metadata.ctime()) * 1_000_000_000
                + i128::from(metadata.ctime_nsec()),
        }
    }
}

#[derive(Debug)]
pub(super) struct PolicyWatch {
    path: PathBuf,
    pub mode: PolicyMode,
    /// Of the newest attempt, whatever came of it.
    seen: Option<Version>,
    /// Of the policy in force.
    pub generation: u64,
    asked: Arc<AtomicBool>,
}

impl PolicyWatch {
    /// `asked` is set by whoever wants the file read again (SIGHUP).
    pub(super) fn new(path: PathBuf, mode: PolicyMode, asked: Arc<AtomicBool>) -> Self {
        PolicyWatch {
            path,
            mode,
            seen: None,
            generation: 0,
            asked,
        }
    }

    /// Reads the file. Errors: in words for a person.
    pub(super) fn read(&mut self) -> Result<Policy, String> {
        let metadata = std::fs::metadata(&self.path);
        self.seen = metadata.as_ref().ok().map(Version::of);
        let text = metadata
            .and_then(|_| std::fs::read_to_string(&self.path))
            .map_err(|error| {
                format!(
                    "cannot read the policy {}: {error}; [policy] file names it",
                    self.path.display()
                )
            })?;
        Policy::parse(&text, &self.path).map_err(|error| error.to_string())
    }

    /// The file as it is now, if it has changed or was asked for.
    pub(super) fn poll(&mut self) -> Option<Result<Policy, String>> {
        let asked = self.asked.swap(false, Ordering::AcqRel);
        let now = std::fs::metadata(&self.path).ok().as_ref().map(Version::of);
        (asked || now != self.seen).then(|| self.read())
    }

    /// The record of an attempt. `by`: the UNIX user who asked for it.
    pub(super) fn record(&self, read: Result<&Policy, &str>, by: Option<&str>) -> Record {
        let mut record = Record::new(Kind::Policy, unix_ns());
        let facts = &mut record.policy;
        facts.insert("file", self.path.display().to_string().into());
        facts.insert("generation", self.generation.into());
        facts.insert("mode", self.mode.name().into());
        if let Some(by) = by {
            facts.insert("by", by.into());
        }
        match read {
            Ok(policy) => {
                facts.insert("event", "loaded".into());
                facts.insert("rules", policy.rules.len().into());
                facts.insert("sha256", policy.sha256.to_string().into());
            }
            Err(why) => {
                facts.insert("event", "refused".into());
                facts.insert("error", why.into());
            }
        }
        record
    }
}
