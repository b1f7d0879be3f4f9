//! Reading `/proc` (proc(5)): the few files dbgov wants, each with a bound, because processes choose what stands in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `stat`, `status`, `comm`: some hundred bytes to about 2 KiB.
const PROC_FILE_BYTES_MAX: u64 = 16 * 1024;

/// A PostgreSQL process title: names of 63 bytes, a host name and an activity. Other command lines are cut.
const TITLE_BYTES_MAX: u64 = 4 * 1024;

/// Descriptors looked at per process. The kernel's own default ceiling (`fs.nr_open`) is 1,048,576.
const FDS_PER_PROCESS_MAX: usize = 1 << 20;

/// Processes listed. `pid_max` of 64-bit kernels is 4,194,304; one host seldom has a hundredth of that.
const PROCESSES_MAX: usize = 1 << 18;

/// The unit of times in `/proc/<pid>/stat`: USER_HZ is 100 on every architecture dbgov builds for.
pub const TICK_NS: u64 = 1_000_000_000 / 100;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` in the kernel's proc_ns.h).
const INITIAL_PID_NAMESPACE_INODE: u64 = 0xEFFF_FFFC;

/// Reads at most `max_bytes` of a file; what is beyond is left.
pub fn read_bounded(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Most files of /proc fit a page: one read then gets them, and a second one finds the end.
    let mut content = Vec::with_capacity(4096);
    File::open(path)?
        .take(max_bytes)
        .read_to_end(&mut content)?;
    Ok(content)
}

fn read_text(path: String) -> io::Result<String> {
    let bytes = read_bounded(path, PROC_FILE_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Every process in this `/proc`, in ascending order.
pub fn pids() -> io::Result<Vec<u32>> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .take(PROCESSES_MAX)
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Whether the numbers in this `/proc` are those the kernel's helpers give (the initial pid namespace). An agent in a
/// container without the host's pid namespace would else tie connections to the wrong processes.
pub fn is_initial_pid_namespace() -> bool {
    // Process 1 tells which namespace this /proc was mounted for; reading that link takes CAP_SYS_PTRACE.
    ["/proc/1/ns/pid", "/proc/self/ns/pid"]
        .iter()
        .find_map(|path| fs::metadata(path).ok())
        .is_some_and(|meta| meta.ino() == INITIAL_PID_NAMESPACE_INODE)
}

/// Fields of `/proc/<pid>/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    pub parent: u32,
    /// Start of the process on the boot clock, nanoseconds, in steps of 10 ms.
    pub started_ns: u64,
    /// It has ended, and its parent has not yet asked how.
    pub is_zombie: bool,
}

pub fn stat(pid: u32) -> io::Result<Stat> {
    let text = read_text(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// `pid (comm) state ppid ... num_threads itrealvalue starttime ...`; the name may hold anything, also `) `, so the last `)` ends it.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let comm = head.split_once('(')?.1;
    // Behind the name come fields 3 (state), 4 (ppid), ..., 20 (num_threads), ..., 22 (starttime).
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads: u32 = fields.nth(15)?.parse().ok()?;
    let started_ticks: u64 = fields.nth(1)?.parse().ok()?;
    Some(Stat {
        comm: comm.to_owned(),
        parent,
        started_ns: started_ticks.saturating_mul(TICK_NS),
        // A first thread may end before the others.
        is_zombie: matches!(state, "Z" | "X") && threads <= 1,
    })
}

/// Real user id.
pub fn real_uid(pid: u32) -> io::Result<u32> {
    let text = read_text(format!("/proc/{pid}/status"))?;
    parse_real_uid(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse_real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Target of the `exe` link, with the ` (deleted)` the kernel appends to a file that was replaced.
/// Kernel threads and zombies have none.
pub fn exe(pid: u32) -> io::Result<String> {
    let target = fs::read_link(format!("/proc/{pid}/exe"))?;
    Ok(target.to_string_lossy().into_owned())
}

pub fn comm(pid: u32) -> io::Result<String> {
    let text = read_text(format!("/proc/{pid}/comm"))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// First argument of the command line, which is where PostgreSQL writes a process's title.
pub fn title(pid: u32) -> io::Result<String> {
    let mut bytes = read_bounded(format!("/proc/{pid}/cmdline"), TITLE_BYTES_MAX)?;
    bytes.truncate(bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()));
    String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Arguments of the command line as far as they fit into so many bytes; whether anything was left out. A process may write
/// there what it likes.
pub fn command_line(pid: u32, bytes_max: usize) -> io::Result<(Vec<String>, bool)> {
    let wanted = bytes_max as u64 + 1;
    let mut bytes = read_bounded(format!("/proc/{pid}/cmdline"), wanted)?;
    let cut = bytes.len() > bytes_max;
    bytes.truncate(bytes_max);
    Ok((arguments(&bytes), cut))
}

/// The arguments of a command line. Each ends with a zero byte, but for the last one of a process that wrote over them.
pub fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// Who logged in to start the session that the process belongs to, whatever user it became since (audit_setloginuid(3)).
/// `None` for what no log-in started, and on a kernel without auditing.
pub fn login_uid(pid: u32) -> Option<u32> {
    let text = read_text(format!("/proc/{pid}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

pub fn netns_inode(pid: u32) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/net"))?.ino())
}

/// Inodes of the sockets (of any family) a process holds.
pub fn socket_inodes(pid: u32) -> io::Result<impl Iterator<Item = u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    Ok(entries
        .take(FDS_PER_PROCESS_MAX)
        .filter_map(|entry| socket_inode(&fs::read_link(entry.ok()?.path()).ok()?)))
}

/// `socket:[12345]`.
pub fn socket_inode(link: &Path) -> Option<u64> {
    let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        for (bytes, expected) in [
            (
                &b"psql\0-c\0SELECT 1\0"[..],
                &["psql", "-c", "SELECT 1"][..],
            ),
            (
                b"postgres: app shop 127.0.0.1(5) idle",
                &["postgres: app shop 127.0.0.1(5) idle"],
            ),
            (b"a\0\0", &["a", ""]),
            (b"a\xff\0", &["a\u{fffd}"]),
            (b"", &[]),
        ] {
            assert_eq!(arguments(bytes), expected);
        }
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let wait = std::time::Instant::now();
        // Between fork and exec it has the command line of this process.
        let whole = loop {
            let found = command_line(child.id(), 1024).unwrap();
            if found.0.first().is_some_and(|name| name == "sleep") || wait.elapsed().as_secs() > 10
            {
                break found;
            }
        };
        let cut = command_line(child.id(), 7).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(whole, (vec!["sleep".to_owned(), "1000".to_owned()], false));
        assert_eq!(cut, (vec!["sleep".to_owned(), "1".to_owned()], true));
    }

    #[test]
    fn stat_lines() {
        let tail = "S 42 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 0";
        for comm in ["psql", "a) R 7", "((", ""] {
            let parsed = parse_stat(&format!("7 ({comm}) {tail}")).unwrap();
            assert_eq!(parsed.comm, comm);
            assert_eq!(parsed.parent, 42);
            assert!(!parsed.is_zombie);
            assert_eq!(parsed.started_ns, 123_450_000_000);
        }
        let zombie = tail.replacen('S', "Z", 1);
        assert!(parse_stat(&format!("7 (a) {zombie}")).unwrap().is_zombie);
        let thread_left = zombie.replacen(" 20 0 1 0 12345", " 20 0 2 0 12345", 1);
        assert!(
            !parse_stat(&format!("7 (a) {thread_left}"))
                .unwrap()
                .is_zombie
        );
        for broken in ["", "7", "7 (psql", "7 (psql) S", "7 (psql) S x 1", ")("] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn uid_of_status() {
        assert_eq!(
            parse_real_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n"),
            Some(1000)
        );
        assert_eq!(parse_real_uid("Name:\tx\n"), None);
        assert_eq!(parse_real_uid("Uid:\n"), None);
    }

    #[test]
    fn socket_links() {
        assert_eq!(socket_inode(Path::new("socket:[123]")), Some(123));
        for other in ["socket:[]", "pipe:[1]", "/tmp/socket:[1]", "socket:[1"] {
            assert_eq!(socket_inode(Path::new(other)), None);
        }
    }

    #[test]
    fn this_process() {
        let pid = std::process::id();
        assert!(pids().unwrap().contains(&pid));
        let own = stat(pid).unwrap();
        assert_eq!(own.parent, nix::unistd::getppid().as_raw() as u32);
        assert_eq!(own.comm, comm(pid).unwrap());
        let boot_ns =
            nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(|t| t.tv_sec() as u64);
        let age_s = boot_ns.unwrap() - own.started_ns / 1_000_000_000;
        assert!(age_s < 3600, "started {age_s} s ago");
        assert_eq!(
            exe(pid).unwrap(),
            std::env::current_exe().unwrap().to_str().unwrap()
        );
        assert_eq!(real_uid(pid).unwrap(), nix::unistd::getuid().as_raw());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&listener)
        ));
        let inode = socket_inode(&link.unwrap()).unwrap();
        assert!(socket_inodes(pid).unwrap().any(|found| found == inode));
    }
}
