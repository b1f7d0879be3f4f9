//! What the allocator keeps of what was freed. A monitor's memory is the server's: it goes back.

/// Of an allocation, bytes, from which it is mapped by itself and goes back when it is freed. It is glibc's own first
/// value; glibc raises it with each large one that is freed, and then keeps megabytes of frames and buffers.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: libc::c_int = 128 * 1024;

/// Before any thread is started. With another allocator nothing is done.
pub(crate) fn return_large_allocations() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers. What it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}

/// Gives back what lies free among the small ones.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number.
    unsafe {
        libc::malloc_trim(0);
    }
}
