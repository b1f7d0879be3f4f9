//! Work that nobody waits for.

/// Added to the nice value: of a processor that others want too, a tenth is left (sched(7), "The nice value and group
/// scheduling": weight 110 of 1024).
const NICE: libc::c_int = 10;

/// The database, its clients and the capture go before this thread and before those it starts.
pub(crate) fn give_way() {
    // SAFETY: takes a number. It is of the calling thread (setpriority(2), "C library/kernel differences"), and a higher
    // value is never refused.
    let _ = unsafe { libc::nice(NICE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice_value() -> libc::c_int {
        // SAFETY: takes numbers; 0 is the calling thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn only_this_thread_and_those_it_starts() {
        let before = nice_value();
        let inner = std::thread::spawn(|| {
            give_way();
            std::thread::spawn(nice_value).join().unwrap()
        });
        assert_eq!(inner.join().unwrap(), (before + NICE).min(19));
        assert_eq!(nice_value(), before);
    }
}
