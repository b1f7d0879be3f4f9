//! A disk that fills up.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::scratch::Scratch;

/// A file system of a few MiB; unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    _scratch: Scratch,
}

impl SmallDisk {
    pub fn mount(mib: u32) -> Result<Self> {
        let scratch = Scratch::new("disk")?;
        let path = scratch.path().join("disk");
        fs::create_dir(&path)?;
        let disk = SmallDisk {
            path,
            _scratch: scratch,
        };
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "dbgov-test"])
            .arg(&disk.path)
            .status()?;
        ensure!(status.success(), "mount: {status}");
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes up so much of the room.
    pub fn ballast(&self, mib: usize) -> Result<PathBuf> {
        let path = self.path.join("ballast");
        fs::write(&path, vec![0; mib << 20])?;
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: an agent that a failed test leaves behind has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Appends to the file until there is no room.
pub fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let block = vec![0; 1 << 12];
    while file.write_all(&block).is_ok() {}
    Ok(())
}
