//! What the kernel tells of this process, under the names that all programs use for it.

use super::Families;

pub(super) fn write(families: &mut Families<'_>) -> std::fmt::Result {
    // Absent where /proc is not there to ask.
    let Ok(process) = procfs::process::Process::myself() else {
        return Ok(());
    };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second();
        let cpu = (stat.utime + stat.stime) as f64 / ticks as f64;
        families.seconds_counter(
            "process_cpu_seconds",
            "Processor time of the agent, user and system",
            cpu,
        )?;
        families.gauge(
            "process_resident_memory_bytes",
            "Memory of the agent that is in RAM",
            stat.rss * procfs::page_size(),
        )?;
        families.gauge(
            "process_threads",
            "Threads of the agent",
            u64::try_from(stat.num_threads).unwrap_or(0),
        )?;
    }
    if let Ok(open) = process.fd_count() {
        families.gauge(
            "process_open_fds",
            "Open file descriptors of the agent",
            open as u64,
        )?;
    }
    Ok(())
}
