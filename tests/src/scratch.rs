//! Temporary directories that outlive nothing: removed with their owner, or by the next run if this one is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// `/tmp/dbgov-<kind>-<pid>-<n>`, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    pub fn new(kind: &str) -> Result<Self> {
        let prefix = format!("dbgov-{kind}-");
        let parent = std::env::temp_dir();
        for name in names_in(&parent) {
            if is_stale(&name, &prefix) {
                // Best effort: another run may be removing the same leftovers.
                let _ = fs::remove_dir_all(parent.join(&name));
            }
        }
        let path = parent.join(unique(&prefix));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Scratch { path, keep: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory behind for a person to look at.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// `<prefix><pid>-<n>`: unique on this host as long as the process lives.
pub fn unique(prefix: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{}-{n}", std::process::id())
}

/// Whether `name` was made by [`unique`] in a process that is gone.
pub fn is_stale(name: &str, prefix: &str) -> bool {
    let owner = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(pid, _)| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_stale() {
        // The largest pid Linux can give is 4194304.
        assert!(is_stale("dbgov-pg-4194399-0", "dbgov-pg-"));
        assert!(!is_stale(&unique("dbgov-pg-"), "dbgov-pg-"));
        assert!(!is_stale("dbgov-pg-backup", "dbgov-pg-"));
        assert!(!is_stale("dbgov-pg-my-files", "dbgov-pg-"));
    }

    #[test]
    fn a_directory_goes_with_its_owner() {
        let scratch = Scratch::new("scratch-test").unwrap();
        let path = scratch.path().to_path_buf();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
    }
}
