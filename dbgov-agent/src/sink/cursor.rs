//! How far a sink has come, on disk: never ahead of what its receiver has.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::SinkName;

/// Below the directory of the journal.
const DIRECTORY: &str = "sinks";
const CURSOR_VERSION: u32 = 1;
/// A cursor has some 200 bytes.
const CURSOR_BYTES_MAX: u64 = 4096;

/// The files of one sink.
#[derive(Debug, Clone)]
pub(super) struct Place {
    dir: PathBuf,
    name: Box<str>,
}

impl Place {
    pub(super) fn new(audit_dir: &Path, name: &SinkName) -> Self {
        Place {
            dir: audit_dir.join(DIRECTORY),
            name: name.as_str().into(),
        }
    }

    pub(super) fn file(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}.{suffix}", self.name))
    }

    /// Makes the directory where it is not there.
    pub(super) fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
    }
}

/// The newest record that the receiver has, and with it all before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// `chain.hash` of the record: tells a journal that took the place of another one.
    pub hash: Box<str>,
    pub seq: u64,
    /// `time` of the record.
    pub time: Box<str>,
    v: u32,
}

impl Cursor {
    pub(super) fn new(seq: u64, hash: &str, time: &str) -> Self {
        Cursor {
            hash: hash.into(),
            seq,
            time: time.into(),
            v: CURSOR_VERSION,
        }
    }

    /// `None` where there is none yet.
    ///
    /// # Errors
    /// It cannot be read, or is no cursor.
    pub(super) fn load(place: &Place) -> io::Result<Option<Cursor>> {
        let mut text = String::new();
        match File::open(place.file("cursor")) {
            Ok(file) => file.take(CURSOR_BYTES_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let cursor: Cursor = serde_json::from_str(&text)?;
        match cursor.v == CURSOR_VERSION && cursor.seq > 0 {
            true => Ok(Some(cursor)),
            false => Err(io::Error::other("it is of another version of dbgov")),
        }
    }

    /// Durably, in one step: after a crash there is the old one or the new one.
    pub(super) fn save(&self, place: &Place) -> io::Result<()> {
        place.make()?;
        let new = place.file("cursor.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&new, place.file("cursor"))?;
        File::open(&place.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(dir: &Path) -> Place {
        Place::new(dir, &SinkName::try_from("siem".to_owned()).unwrap())
    }

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        assert_eq!(Cursor::load(&place).unwrap(), None);
        for seq in [1, 70_000] {
            let cursor = Cursor::new(seq, "abc", "2026-01-01T00:00:00Z");
            cursor.save(&place).unwrap();
            assert_eq!(Cursor::load(&place).unwrap(), Some(cursor));
        }
        let path = dir.path().join("sinks/siem.cursor");
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names = std::fs::read_dir(dir.path().join("sinks")).unwrap().count();
        assert_eq!(names, 1, "nothing else is left");
    }

    #[test]
    fn what_is_no_cursor_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        place.make().unwrap();
        for text in [
            "",
            "{",
            "{\"seq\":1}",
            "{\"v\":2,\"seq\":1,\"hash\":\"a\",\"time\":\"t\"}",
        ] {
            std::fs::write(place.file("cursor"), text).unwrap();
            assert!(Cursor::load(&place).is_err(), "{text}");
        }
    }
}
