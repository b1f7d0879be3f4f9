//! cgroups of the tests' own, removed with their owner.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::scratch::{is_stale, names_in, unique};
use crate::wait_for;

/// How long the last process of a cgroup may take to be gone.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(10);
const PREFIX: &str = "dbgov-test-cgroup-";

/// A cgroup of the v2 hierarchy, below one that only this test has.
#[derive(Debug)]
pub struct Cgroup {
    /// To be removed: the one below the root.
    top: PathBuf,
    dir: PathBuf,
    path: String,
}

impl Cgroup {
    /// `/<unique>/<below>`.
    pub fn new(below: &str) -> Result<Self> {
        let root = root()?;
        for name in names_in(&root) {
            if is_stale(&name, PREFIX) {
                remove(&root.join(name));
            }
        }
        let top = unique(PREFIX);
        let path = format!("/{top}/{}", below.trim_matches('/'));
        let path = path.trim_end_matches('/').to_owned();
        let dir = root.join(&path[1..]);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let top = root.join(top);
        Ok(Cgroup { top, dir, path })
    }

    /// The cgroup at exactly this path, which nobody else may have. Of those above it the ones that had to be made go with
    /// it.
    pub fn at(path: &str) -> Result<Self> {
        let (mut dir, mut top) = (root()?, None);
        for component in path.split('/').filter(|component| !component.is_empty()) {
            dir.push(component);
            if !dir.exists() {
                fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
                top.get_or_insert_with(|| dir.clone());
            }
        }
        Ok(Cgroup {
            // Left there by a run that was killed: at least the innermost goes.
            top: top.unwrap_or_else(|| dir.clone()),
            dir,
            path: path.to_owned(),
        })
    }

    /// As `/proc/<pid>/cgroup` shows it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The one at the top, which has no process of its own.
    pub fn top(&self) -> String {
        format!("/{}", self.path[1..].split('/').next().unwrap_or_default())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes one more below this.
    pub fn below(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    pub fn add(&self, pid: u32) -> Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("cannot move {pid} to {}", self.path))
    }

    /// Words that run what follows them in here: `sh -c … sh`.
    pub fn words(&self) -> [String; 4] {
        let procs = self.dir.join("cgroup.procs");
        let script = format!("echo $$ > {} && exec \"$@\"", procs.display());
        ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = wait_for("an empty cgroup", EMPTY_TIMEOUT, || {
            remove(&self.top);
            Ok((!self.top.exists()).then_some(()))
        });
    }
}

/// From the leaves up; what is in use stays.
fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Where the v2 hierarchy is mounted.
pub fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .and_then(|line| line.split(' ').nth(4));
    mount.map(PathBuf::from).context("no cgroup v2 is mounted")
}
