//! A disk in memory that fills up, fails, writes half of what it is given and loses what was not synced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::storage::{SegmentFile, Storage};

#[derive(Debug, Default)]
pub(super) struct DiskState {
    files: BTreeMap<String, FileState>,
    pub(super) free_bytes: usize,
    /// The next writes fail with this error number.
    pub(super) write_errors: Vec<i32>,
    pub(super) sync_errors: Vec<i32>,
    /// Bytes the next write takes at most.
    pub(super) short_write: Option<usize>,
}

#[derive(Debug, Default, Clone)]
struct FileState {
    data: Vec<u8>,
    synced_bytes: usize,
    name_synced: bool,
}

/// How a power loss treats what was not synced.
#[derive(Debug, Clone, Copy)]
pub(super) struct PowerLoss {
    /// Thousandths of the unsynced tail that are kept.
    pub(super) kept_permille: usize,
    /// Bytes at its end that come back as zeros: the new length was on disk, the data was not.
    pub(super) zero_bytes: usize,
    pub(super) forgets_names: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Disk(Rc<RefCell<DiskState>>);

impl Disk {
    pub(super) fn new(free_bytes: usize) -> Self {
        Disk(Rc::new(RefCell::new(DiskState {
            free_bytes,
            ..DiskState::default()
        })))
    }

    pub(super) fn state(&self) -> std::cell::RefMut<'_, DiskState> {
        self.0.borrow_mut()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        self.0.borrow().files[name].data.clone()
    }

    pub(super) fn put(&self, name: &str, data: Vec<u8>) {
        let file = FileState {
            synced_bytes: data.len(),
            data,
            name_synced: true,
        };
        self.state().files.insert(name.to_owned(), file);
    }

    pub(super) fn lose_power(&self, loss: PowerLoss) {
        let mut state = self.state();
        state.write_errors.clear();
        state.sync_errors.clear();
        state.short_write = None;
        let mut freed = 0;
        state.files.retain(|_, file| {
            if !file.name_synced && loss.forgets_names {
                freed += file.data.len();
                return false;
            }
            let unsynced = file.data.len() - file.synced_bytes;
            let kept = file.synced_bytes + unsynced * loss.kept_permille / 1000;
            freed += file.data.len() - kept;
            file.data.truncate(kept);
            let zeros_from = kept.saturating_sub(loss.zero_bytes).max(file.synced_bytes);
            file.data[zeros_from..].fill(0);
            file.synced_bytes = kept;
            file.name_synced = true;
            true
        });
        state.free_bytes += freed;
    }
}

#[derive(Debug)]
pub(super) struct FakeFile {
    disk: Disk,
    name: String,
}

impl FakeFile {
    fn with<T>(&self, act: impl FnOnce(&mut FileState) -> T) -> io::Result<T> {
        let mut state = self.disk.state();
        match state.files.get_mut(&self.name) {
            Some(file) => Ok(act(file)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Storage for Disk {
    type File = FakeFile;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<FakeFile> {
        let mut state = self.state();
        if let Some(errno) = state.write_errors.pop() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), FileState::default());
        drop(state);
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<FakeFile> {
        let file = FakeFile {
            disk: self.clone(),
            name: name.to_owned(),
        };
        file.with(|_| ())?;
        Ok(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.free_bytes += file.data.len();
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        if let Some(errno) = state.sync_errors.pop() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        for file in state.files.values_mut() {
            file.name_synced = true;
        }
        Ok(())
    }
}

impl SegmentFile for FakeFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|file| file.data.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|file| {
            let rest = file.data.get(offset as usize..).unwrap_or_default();
            let bytes = rest.len().min(buffer.len());
            buffer[..bytes].copy_from_slice(&rest[..bytes]);
            bytes
        })
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        if let Some(errno) = state.write_errors.pop() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let most = state.short_write.take().unwrap_or(usize::MAX);
        let taken = bytes.len().min(most).min(state.free_bytes);
        if taken == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let file = state
            .files
            .get_mut(&self.name)
            .ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(offset as usize, file.data.len(), "no holes, no overwriting");
        file.data.extend_from_slice(&bytes[..taken]);
        state.free_bytes -= taken;
        Ok(taken)
    }

    fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        let freed = self.with(|file| {
            let freed = file.data.len() - bytes as usize;
            file.data.truncate(bytes as usize);
            file.synced_bytes = file.synced_bytes.min(bytes as usize);
            freed
        })?;
        self.disk.state().free_bytes += freed;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(errno) = self.disk.state().sync_errors.pop() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.with(|file| file.synced_bytes = file.data.len())
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.with(|_| ()).is_err())
    }
}
