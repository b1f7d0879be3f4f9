//! The journal's files, looked at when somebody asks.

use std::path::Path;

/// What they are at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct JournalFiles {
    /// All in its directory; the cursors of the sinks, one below, are not among them.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Of the file system they are on, for dbgov.
    pub(crate) free_bytes: u64,
}

/// Errors: those of reading the directory. A file that goes meanwhile is not counted.
pub(crate) fn look(dir: &Path) -> std::io::Result<JournalFiles> {
    let mut found = JournalFiles::default();
    for entry in std::fs::read_dir(dir)? {
        let Ok(metadata) = entry.and_then(|entry| entry.metadata()) else {
            continue;
        };
        if metadata.is_file() {
            found.files += 1;
            found.bytes += metadata.len();
        }
    }
    let disk = nix::sys::statvfs::statvfs(dir)?;
    found.free_bytes = disk.blocks_available().saturating_mul(disk.fragment_size());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_directories_are_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [0; 100]).unwrap();
        std::fs::write(dir.path().join("b"), [0; 23]).unwrap();
        std::fs::create_dir(dir.path().join("sinks")).unwrap();
        let found = look(dir.path()).unwrap();
        assert_eq!((found.files, found.bytes), (2, 123));
        assert!(found.free_bytes > 0);
        assert!(look(&dir.path().join("none")).is_err());
    }
}
