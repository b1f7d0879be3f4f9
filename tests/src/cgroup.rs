//! Control groups for processes under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait_for;

/// How long the kernel may take to let the last process of a cgroup go.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// A cgroup v2; removed on drop, with those above it that were made for it. What runs in it has to be ended first.
#[derive(Debug)]
pub struct Cgroup {
    path: String,
    dir: PathBuf,
    /// The outermost first.
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the cgroup with this path, as `/proc/PID/cgroup` writes it.
    pub fn new(path: &str) -> Result<Self> {
        let root = mount_point()?;
        let mut cgroup = Cgroup {
            path: path.to_string(),
            dir: root.clone(),
            made: Vec::new(),
        };
        for component in path.split('/').filter(|component| !component.is_empty()) {
            cgroup.dir.push(component);
            if !cgroup.dir.exists() {
                fs::create_dir(&cgroup.dir)
                    .with_context(|| format!("cannot make {}", cgroup.dir.display()))?;
                cgroup.made.push(cgroup.dir.clone());
            }
        }
        Ok(cgroup)
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for dir in self.made.iter().rev() {
            let gone = wait_for("the cgroup is empty", EMPTY_WITHIN, || {
                Ok(fs::remove_dir(dir).is_ok().then_some(()))
            });
            if let Err(error) = gone {
                eprintln!("{}: {error}", dir.display());
            }
        }
    }
}

/// Where cgroup v2 is mounted.
pub fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let point = line.and_then(|line| line.split(' ').nth(4));
    Ok(PathBuf::from(point.context("no cgroup v2 is mounted")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, Place};

    #[test]
    fn what_runs_in_it_is_there_and_it_goes_with_its_owner() {
        let name = crate::scratch::unique("/dbgov-test-");
        let cgroup = Cgroup::new(&format!("{name}/inner")).unwrap();
        let place = Place {
            cgroup: Some(cgroup.dir().to_path_buf()),
            ..Place::default()
        };
        let mut command = place.command("sleep");
        command.arg("30");
        let mut child = process::spawn(command).unwrap();
        wait_for("it is in the cgroup", EMPTY_WITHIN, || {
            let own = fs::read_to_string(format!("/proc/{}/cgroup", child.id()))?;
            Ok(own
                .contains(&format!("0::{}\n", cgroup.path()))
                .then_some(()))
        })
        .unwrap();
        process::stop(&mut child, &[]).unwrap();
        let outer = cgroup.made[0].clone();
        drop(cgroup);
        assert!(!outer.exists());
    }
}
