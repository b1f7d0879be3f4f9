//! The records in a file of their own, in whatever format, for a forwarder that reads files.
//!
//! The file holds whole lines: what a crash or a full disk left of one is cut off before anything else is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::deliver::{Deliver, DeliverError, Item};

/// Readable by a group: forwarders do not run as root.
const FILE_MODE: u32 = 0o640;
/// Smallest file: a batch or two.
const FILE_BYTES_MIN: u64 = 64 << 10;
/// Most renamed files: a directory stays readable.
const FILES_MAX: u32 = 1000;
/// Read at a time when the end of the last whole line is looked for, bytes.
const TAIL_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct FileConfig {
    pub path: PathBuf,
    /// The file is renamed to `<path>.1`, and so on, before it becomes longer.
    pub bytes_max: u64,
    /// Renamed files that are kept; older ones are removed. The journal is kept by its own rules.
    pub files_max: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: PathBuf,
    #[serde(default = "bytes_max")]
    bytes_max: u64,
    #[serde(default = "files_max")]
    files_max: u32,
}

fn bytes_max() -> u64 {
    100 << 20
}

fn files_max() -> u32 {
    10
}

impl TryFrom<Written> for FileConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.path.file_name().is_none() {
            return Err("path: give the path of a file".to_owned());
        }
        if written.bytes_max < FILE_BYTES_MIN {
            return Err(format!("bytes_max: give {FILE_BYTES_MIN} or more"));
        }
        if !(1..=FILES_MAX).contains(&written.files_max) {
            return Err(format!("files_max: give 1 to {FILES_MAX}"));
        }
        Ok(FileConfig {
            path: written.path,
            bytes_max: written.bytes_max,
            files_max: written.files_max,
        })
    }
}

impl FileConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        match dir.is_dir() {
            true => Ok(()),
            false => Err(format!("path: there is no directory {}", dir.display())),
        }
    }

    fn renamed(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[derive(Debug)]
pub struct File {
    config: FileConfig,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: fs::File,
    len: u64,
}

impl File {
    pub fn new(config: &FileConfig) -> Self {
        File {
            config: config.clone(),
            open: None,
        }
    }

    /// Appends whole lines, durably.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) if self.is_in_place(&open) => open,
            _ => Open::at(&self.config.path)?,
        };
        if open.len > 0 && open.len + lines.len() as u64 > self.config.bytes_max {
            self.rename_all()?;
            open = Open::at(&self.config.path)?;
        }
        let written = open
            .file
            .write_all(lines)
            .and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // The next attempt looks at the file anew, and cuts off what could not be taken back here.
            let _ = open.file.set_len(open.len);
            return Err(error);
        }
        open.len += lines.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Somebody else may have renamed or removed it.
    fn is_in_place(&self, open: &Open) -> bool {
        let named = fs::metadata(&self.config.path);
        let same = |named: fs::Metadata| -> io::Result<bool> {
            let opened = open.file.metadata()?;
            let is_same = (named.dev(), named.ino()) == (opened.dev(), opened.ino());
            Ok(is_same && opened.len() == open.len)
        };
        named.and_then(same).unwrap_or(false)
    }

    fn rename_all(&self) -> io::Result<()> {
        for number in (1..self.config.files_max).rev() {
            rename(
                &self.config.renamed(number),
                &self.config.renamed(number + 1),
            )?;
        }
        rename(&self.config.path, &self.config.renamed(1))
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(path)?;
        let len = file.metadata()?.len();
        let whole = whole_lines(&file, len)?;
        if whole < len {
            file.set_len(whole)?;
        }
        Ok(Open { file, len: whole })
    }
}

/// Length up to the end of the last whole line.
fn whole_lines(file: &fs::File, len: u64) -> io::Result<u64> {
    let mut end = len;
    let mut buffer = vec![0; TAIL_BYTES as usize];
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        let part = &mut buffer[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl Deliver for File {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        let mut lines = Vec::with_capacity(batch.iter().map(|item| item.body.len() + 1).sum());
        for item in batch {
            lines.extend_from_slice(&item.body);
            lines.push(b'\n');
        }
        self.append(&lines).map_err(|error| {
            DeliverError::retry(format!(
                "cannot write {}: {error}",
                self.config.path.display()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(dir: &Path) -> FileConfig {
        FileConfig {
            path: dir.join("out.jsonl"),
            bytes_max: 100,
            files_max: 2,
        }
    }

    fn content(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn lines_are_appended_and_files_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut file = File::new(&config);
        for letter in ["a", "b", "c", "d"] {
            for _ in 0..2 {
                file.append(format!("{}\n", letter.repeat(49)).as_bytes())
                    .unwrap();
            }
        }
        let twice = |letter: &str| format!("{}\n", letter.repeat(49)).repeat(2);
        assert_eq!(content(config.path.clone()), twice("d"));
        assert_eq!(content(config.renamed(1)), twice("c"));
        assert_eq!(content(config.renamed(2)), twice("b"));
        assert!(!config.renamed(3).exists());
        let mode = fs::metadata(&config.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    }

    #[test]
    fn half_a_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        fs::write(&config.path, "whole\nha").unwrap();
        File::new(&config).append(b"next\n").unwrap();
        assert_eq!(content(config.path.clone()), "whole\nnext\n");
        fs::write(&config.path, "x".repeat(TAIL_BYTES as usize * 2 + 5)).unwrap();
        File::new(&config).append(b"next\n").unwrap();
        assert_eq!(content(config.path.clone()), "next\n");
        fs::write(
            &config.path,
            format!("a\n{}", "x".repeat(TAIL_BYTES as usize + 7)),
        )
        .unwrap();
        File::new(&config).append(b"next\n").unwrap();
        assert_eq!(content(config.path), "a\nnext\n");
    }

    #[test]
    fn a_file_that_somebody_else_renamed_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut file = File::new(&config);
        file.append(b"1\n").unwrap();
        fs::rename(&config.path, dir.path().join("elsewhere")).unwrap();
        file.append(b"2\n").unwrap();
        assert_eq!(content(config.path), "2\n");
        assert_eq!(content(dir.path().join("elsewhere")), "1\n");
    }
}
