//! One cgroup of the v2 hierarchy: what is in it, and those that dbgov makes (Linux, Documentation/admin-guide/cgroup-v2.rst).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CgroupFs, proc};

/// Directories looked at for a name: a host with a thousand containers has some ten thousand.
const WALK_MAX: usize = 100_000;

/// Processes of one cgroup that are read, at most seven digits and a newline each.
const PROCS_BYTES_MAX: u64 = 1 << 20;

impl CgroupFs {
    /// Where a cgroup path lies in the file system.
    pub fn dir(&self, path: &str) -> PathBuf {
        self.mount_point().join(path.trim_matches('/'))
    }

    /// The cgroup path of what an operator wrote: a path of the hierarchy, or one of the file system.
    pub fn path_of(&self, written: &str) -> String {
        let below = std::path::Path::new(written)
            .strip_prefix(self.mount_point())
            .map_or(written.to_owned(), |below| below.display().to_string());
        folded(&below)
    }

    /// Whether the cgroup at this path still has this id.
    pub fn is(&self, path: &str, id: u64) -> bool {
        self.id(path).is_ok_and(|now| now == id)
    }

    /// Processes in the cgroup itself.
    pub fn processes(&self, path: &str) -> io::Result<Vec<u32>> {
        let text = proc::read_bounded(self.dir(path).join("cgroup.procs"), PROCS_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Whether a process is in the cgroup or below it (`cgroup.events`).
    pub fn is_populated(&self, path: &str) -> io::Result<bool> {
        let text = fs::read_to_string(self.dir(path).join("cgroup.events"))?;
        Ok(text.lines().any(|line| line == "populated 1"))
    }

    /// Makes a cgroup, and those above it.
    pub fn make(&self, path: &str) -> io::Result<u64> {
        fs::create_dir_all(self.dir(path))?;
        self.id(path)
    }

    /// Moves a process with all its threads.
    pub fn move_in(&self, path: &str, pid: u32) -> io::Result<()> {
        fs::write(self.dir(path).join("cgroup.procs"), pid.to_string())
    }

    /// Removes a cgroup in which nothing runs any more, and those that were made below it.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let mut dirs = vec![self.dir(path)];
        let mut at = 0;
        while at < dirs.len() && dirs.len() < WALK_MAX {
            let below: Vec<PathBuf> = subdirectories(&dirs[at]).collect();
            dirs.extend(below);
            at += 1;
        }
        for dir in dirs.iter().rev() {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes an empty cgroup; one that is not is left.
    pub fn remove_if_empty(&self, path: &str) {
        let _ = fs::remove_dir(self.dir(path));
    }

    /// Names of the cgroups directly below one.
    pub fn below(&self, path: &str) -> Vec<String> {
        subdirectories(&self.dir(path))
            .filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()))
            .collect()
    }

    /// Paths of the cgroups for which `wanted` is true, from the top down. Others change the hierarchy meanwhile: what
    /// goes is left out.
    pub fn find(&self, mut wanted: impl FnMut(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = VecDeque::from([self.mount_point().to_owned()]);
        let mut looked_at = 0;
        while let Some(dir) = dirs.pop_front() {
            for below in subdirectories(&dir) {
                looked_at += 1;
                if looked_at > WALK_MAX {
                    return found;
                }
                if let Ok(path) = below.strip_prefix(self.mount_point()) {
                    let path = format!("/{}", path.to_string_lossy());
                    if wanted(&path) {
                        found.push(path);
                    }
                }
                dirs.push_back(below);
            }
        }
        found
    }
}

fn subdirectories(dir: &std::path::Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

/// A path of the hierarchy without `.`, `..` and empty parts: tags are found by comparing paths. There are no symbolic
/// links in the hierarchy, and nothing is above its root.
fn folded(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_has_one_path() {
        for written in ["/a/b", "a/b/", "//a/./b", "/a/c/../b", "/../a/b"] {
            assert_eq!(folded(written), "/a/b", "{written}");
        }
        assert_eq!(folded("/.."), "/");
    }
}
