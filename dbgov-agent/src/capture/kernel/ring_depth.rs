//! How full a ring buffer is. Its two positions stand at the beginning of its first two pages (kernel/bpf/ringbuf.c,
//! Linux 5.8), which may be mapped for reading beside the mapping that the reader has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The consumer's position is on the first page, the producer's on the second.
const PAGES: usize = 2;

/// Read-only view of the positions of one ring.
#[derive(Debug)]
pub struct RingDepth {
    pages: NonNull<u8>,
    page_bytes: usize,
}

// SAFETY: the pages are only read, by atomic loads, and belong to this value.
unsafe impl Send for RingDepth {}

impl RingDepth {
    /// Of the ring behind `map`. Errors: those of mmap(2).
    pub fn of(map: impl AsFd) -> io::Result<Self> {
        let page_bytes = procfs::page_size() as usize;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGES * page_bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = NonNull::new(pages.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(RingDepth { pages, page_bytes })
    }

    /// Bytes written and not read yet, headers of records included.
    pub fn used_bytes(&self) -> u64 {
        // In this order: the difference may be too much by what is written meanwhile, and is never below zero.
        let consumed = self.position(0);
        self.position(1).saturating_sub(consumed)
    }

    fn position(&self, page: usize) -> u64 {
        // SAFETY: `page` is 0 or 1, both are mapped, and a page's beginning is aligned. The kernel writes the position as one
        // machine word.
        let position = unsafe {
            &*self
                .pages
                .add(page * self.page_bytes)
                .cast::<AtomicU64>()
                .as_ptr()
        };
        position.load(Ordering::Acquire)
    }
}

impl Drop for RingDepth {
    fn drop(&mut self) {
        // SAFETY: made by `of`, and nothing refers to it any more. A failure would leave the mapping, which harms nobody.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), PAGES * self.page_bytes) };
    }
}
