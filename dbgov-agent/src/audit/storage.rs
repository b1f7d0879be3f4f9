//! The file system as the journal needs it: small, so that the tests can put a failing one in its place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};

use super::recover::OpenError;

/// Holds the process that writes the journal, by flock.
const LOCK_NAME: &str = "audit.lock";
/// The audit trail is for root's eyes: statements carry personal data, and parameters passwords.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// One directory of segments.
pub trait Storage {
    type File: SegmentFile;

    fn names(&self) -> io::Result<Vec<String>>;
    /// A new file; one that is there is an error.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// A file that is there, to read and write.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created and removed names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file, with its places named by the caller: a write that failed half-way is simply made again at its place.
pub trait SegmentFile {
    fn size(&self) -> io::Result<u64>;
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    fn set_size(&mut self, bytes: u64) -> io::Result<()>;
    /// Makes the content and the length durable (fdatasync).
    fn sync(&mut self) -> io::Result<()>;
    /// Somebody removed the file while it was open.
    fn is_removed(&self) -> io::Result<bool>;
}

/// A real directory, locked for one writer for as long as this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
    _lock: Flock<File>,
}

impl Directory {
    /// Opens the directory, making it (and what leads to it) where it is not there.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(path)
            .map_err(|source| OpenError::unusable(path, "create", source))?;
        let handle = File::open(path).map_err(|e| OpenError::unusable(path, "open", e))?;
        access(
            path,
            AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
        )
        .map_err(|errno| OpenError::unusable(path, "write to", errno.into()))?;
        let lock = lock(path)?;
        Ok(Directory {
            path: path.to_owned(),
            handle,
            _lock: lock,
        })
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, OpenError> {
    let path = dir.join(LOCK_NAME);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|source| OpenError::unusable(&path, "open", source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => OpenError::Locked {
            dir: dir.to_owned(),
        },
        errno => OpenError::unusable(&path, "lock", errno.into()),
    })
}

impl Storage for Directory {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        names(&self.path)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

/// The names in a directory; what is not UTF-8 is none of ours.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

impl SegmentFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() == 0)
    }
}

/// Piece by piece from the end, so that no file is read whole.
const BLOCK_BYTES: usize = 64 * 1024;

/// Where the line that holds the byte before `end` begins: behind the last newline in the first `end` bytes, or 0.
pub(super) fn line_start<F: SegmentFile + ?Sized>(file: &F, end: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES as u64);
        let bytes = &mut block[..(end - start) as usize];
        read_exact_at(file, bytes, start)?;
        if let Some(at) = memchr::memrchr(b'\n', bytes) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

pub(super) fn read_exact_at<F: SegmentFile + ?Sized>(
    file: &F,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` from `offset` on; how many were written stands in `done`, also when an error ends it.
pub(super) fn write_all_at<F: SegmentFile + ?Sized>(
    file: &mut F,
    bytes: &[u8],
    offset: u64,
    done: &mut usize,
) -> io::Result<()> {
    while *done < bytes.len() {
        match file.write_at(&bytes[*done..], offset + *done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// No room: the disk, a quota, or the limit on file sizes.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
