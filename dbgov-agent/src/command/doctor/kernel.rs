//! What the kernel offers, and what it lets this process do.

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::utsname::uname;

use super::Check;
use crate::capture::kernel::{OLDEST_KERNEL, has_gate, kernel_memory_is_known};
use crate::capture::proc;

/// These files hold a word or a few lines.
const KERNEL_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The oldest kernel dbgov is tested on.
const SUPPORTED: KernelVersion = KernelVersion(OLDEST_KERNEL.0, OLDEST_KERNEL.1);

/// From here on BPF memory is accounted to the cgroup and no longer to RLIMIT_MEMLOCK.
const MEMCG_ACCOUNTING: KernelVersion = KernelVersion(5, 11);

/// Locked memory the maps and the ring buffer want with ample room, bytes.
const LOCKED_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

fn read(path: &str) -> Option<String> {
    let bytes = proc::read_bounded(path, KERNEL_FILE_BYTES_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl KernelVersion {
    /// `6.18.44-fc-v669`, `5.10.0-32-amd64`, `6.1-rc3`.
    pub fn parse(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some(KernelVersion(
            major.parse().ok()?,
            rest[..end].parse().ok()?,
        ))
    }
}

/// The release of the running kernel.
pub(super) fn running_version() -> Option<String> {
    Some(uname().ok()?.release().to_string_lossy().into_owned())
}

pub(super) fn version(release: Option<&str>) -> Check {
    let release = release.unwrap_or("unknown");
    let check = Check::ok("kernel", "the kernel programs", release);
    match KernelVersion::parse(release) {
        Some(version) if version >= SUPPORTED => check,
        Some(_) => check.fail(format!("boot Linux {SUPPORTED} or newer")),
        None => check.warn(format!(
            "dbgov cannot read this version; it wants Linux {SUPPORTED} or newer"
        )),
    }
}

/// Whether a policy can be enforced here.
pub(super) fn gate(capabilities: u64) -> Check {
    let check = |found| Check::ok("gate", "holding back what a policy does not allow", found);
    if !has_gate() {
        check("this kernel cannot hold packets back")
            .warn("boot Linux 5.17 or newer; until then [policy] mode = \"observe\" works")
    } else if !Capability::NetRaw.is_in(capabilities) {
        check("what is held cannot be let go").warn(
            "give dbgov CAP_NET_RAW, which raw sockets need; until then [policy] mode = \"observe\" works",
        )
    } else {
        check("packets can be held back and let go")
    }
}

/// Capabilities dbgov makes use of, by their number (linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    DacReadSearch = 2,
    NetAdmin = 12,
    NetRaw = 13,
    SysPtrace = 19,
    SysAdmin = 21,
    SysResource = 24,
    Perfmon = 38,
    Bpf = 39,
}

impl Capability {
    const ALL: [Capability; 8] = [
        Capability::Bpf,
        Capability::Perfmon,
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::SysAdmin,
        Capability::SysPtrace,
        Capability::DacReadSearch,
        Capability::SysResource,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Capability::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Capability::NetAdmin => "CAP_NET_ADMIN",
            Capability::NetRaw => "CAP_NET_RAW",
            Capability::SysPtrace => "CAP_SYS_PTRACE",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::SysResource => "CAP_SYS_RESOURCE",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
        }
    }

    /// Whether it is in a set as `/proc/<pid>/status` writes it.
    pub fn is_in(self, set: u64) -> bool {
        set & (1 << self as u8) != 0
    }
}

/// The effective set of this process; empty where it cannot be read.
pub(super) fn own_capabilities() -> u64 {
    read("/proc/self/status")
        .and_then(|status| parse_effective(&status))
        .unwrap_or(0)
}

/// `CapEff:` and sixteen hexadecimal digits.
fn parse_effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

pub(super) fn capabilities(set: u64) -> Check {
    use Capability::{Bpf, DacReadSearch, NetAdmin, Perfmon, SysAdmin, SysPtrace};
    let held: Vec<&str> = Capability::ALL
        .into_iter()
        .filter(|c| c.is_in(set))
        .map(Capability::name)
        .collect();
    let found = if held.is_empty() {
        "none".to_owned()
    } else {
        held.join(" ")
    };
    let check = Check::ok(
        "capabilities",
        "loading the programs, entering network namespaces, seeing whose a connection is",
        found,
    );
    // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
    let has = |c: Capability| c.is_in(set) || (matches!(c, Bpf | Perfmon) && SysAdmin.is_in(set));
    let missing = |wanted: &[Capability]| -> Vec<&str> {
        let missing = wanted.iter().filter(|c| !has(**c));
        missing.map(|c| c.name()).collect()
    };
    let required = missing(&[Bpf, Perfmon, NetAdmin]);
    let wanted = missing(&[SysAdmin, SysPtrace, DacReadSearch]);
    if !required.is_empty() {
        let missing = required.join(", ");
        check.fail(format!("run dbgov as root, or give it {missing}"))
    } else if !wanted.is_empty() {
        let missing = wanted.join(", ");
        check.warn(format!(
            "give it {missing}: without, processes, cgroups or servers in other namespaces stay unknown"
        ))
    } else {
        check
    }
}

/// Whether the programs can look at what no stable interface tells.
pub(super) fn types() -> Check {
    let check = |found| {
        Check::ok(
            "kernel types",
            "naming processes that end at once, noticing pages that others can write to",
            found,
        )
    };
    match kernel_memory_is_known() {
        true => check("described in /sys/kernel/btf/vmlinux"),
        false => check("not described, or not to be read").warn(
            "use a kernel with CONFIG_DEBUG_INFO_BTF, not in lockdown confidentiality; until then a client that ends \
             within milliseconds has no program and no command line",
        ),
    }
}

pub(super) fn bpf_syscall() -> Check {
    let name = "bpf system call";
    let needed_for = "the kernel programs";
    // The file is there where the kernel has CONFIG_BPF_SYSCALL.
    let Some(value) = read("/proc/sys/kernel/unprivileged_bpf_disabled") else {
        return Check::ok(name, needed_for, "not found")
            .fail("use a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF");
    };
    let found = match value.as_str() {
        "0" => "there, open to every user",
        _ => "there, for privileged users",
    };
    Check::ok(name, needed_for, found)
}

pub(super) fn jit() -> Check {
    let path = "/proc/sys/net/core/bpf_jit_enable";
    let check = |found| Check::ok("bpf jit", "programs that cost little per packet", found);
    match read(path).as_deref() {
        Some("1" | "2") => check("on"),
        Some(_) => check("off").warn("sysctl -w net.core.bpf_jit_enable=1"),
        None if std::path::Path::new(path).exists() => {
            check("not readable by this user").warn("run dbgov doctor as root to know")
        }
        None => check("not found").warn("use a kernel with CONFIG_BPF_JIT"),
    }
}

pub(super) fn lockdown() -> Check {
    let state = read("/sys/kernel/security/lockdown");
    let mode = state.as_deref().map_or("none", lockdown_mode);
    let check = Check::ok(
        "lockdown",
        "TLS sessions (a later version)",
        mode.to_owned(),
    );
    match mode {
        "confidentiality" => check.warn(
            "with lockdown=confidentiality programs may not read user memory; boot with lockdown=integrity",
        ),
        _ => check,
    }
}

/// The mode in brackets: `none [integrity] confidentiality`.
fn lockdown_mode(state: &str) -> &str {
    let inside = state
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or("unknown", |(mode, _)| mode)
}

pub(super) fn memlock(release: Option<&str>, capabilities: u64) -> Check {
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    let accounted = release
        .and_then(KernelVersion::parse)
        .is_some_and(|version| version >= MEMCG_ACCOUNTING);
    let check = |found: String| Check::ok("locked memory", "maps and the ring buffer", found);
    if accounted {
        check("accounted to the cgroup, no limit to raise".into())
    } else if limit >= LOCKED_MEMORY_BYTES || Capability::SysResource.is_in(capabilities) {
        check(format!("limit {limit} bytes"))
    } else {
        check(format!("limit {limit} bytes"))
            .fail("LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited")
    }
}

pub(super) fn uprobes() -> Check {
    let needed_for = "TLS sessions and UNIX sockets (a later version)";
    match read("/sys/bus/event_source/devices/uprobe/type") {
        Some(_) => Check::ok("uprobes", needed_for, "there"),
        None => Check::ok("uprobes", needed_for, "not found")
            .warn("use a kernel with CONFIG_UPROBE_EVENTS to see these sessions later"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn kernel_versions() {
        for (release, expected) in [
            ("6.18.44-fc-v669", Some(KernelVersion(6, 18))),
            ("5.10.0-32-amd64", Some(KernelVersion(5, 10))),
            ("6.1-rc3", Some(KernelVersion(6, 1))),
            ("6.1", Some(KernelVersion(6, 1))),
            (
                "5.15.153.1-microsoft-standard-WSL2",
                Some(KernelVersion(5, 15)),
            ),
            ("6", None),
            ("", None),
            ("six.one", None),
            ("6.x", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(KernelVersion::parse(release), expected, "{release}");
        }
        assert!(KernelVersion(5, 9) < KernelVersion(5, 10));
        for (release, status) in [
            ("6.1.0", Status::Ok),
            ("5.15.0", Status::Ok),
            ("5.14.21-suse", Status::Ok),
            ("5.10.0", Status::Ok),
            ("5.9.16", Status::Fail),
            ("5.4.0", Status::Fail),
            ("4.18.0-553.el8", Status::Fail),
            ("strange", Status::Warn),
        ] {
            assert_eq!(version(Some(release)).status, status, "{release}");
        }
    }

    #[test]
    fn capability_sets() {
        let status = "Name:\tdbgov\nCapInh:\t0000000000000000\nCapEff:\t000001fffeffffff\n";
        let set = parse_effective(status).unwrap();
        assert!(Capability::Bpf.is_in(set) && Capability::SysAdmin.is_in(set));
        assert!(!Capability::SysResource.is_in(set));
        assert_eq!(parse_effective("CapEff:\tzz\n"), None);
        assert_eq!(parse_effective("Name:\tx\n"), None);

        let of = |list: &[Capability]| list.iter().fold(0u64, |set, c| set | 1 << *c as u8);
        use Capability::*;
        for (set, status) in [
            (u64::MAX, Status::Ok),
            (0, Status::Fail),
            (of(&[Bpf, Perfmon]), Status::Fail),
            (of(&[Bpf, Perfmon, NetAdmin]), Status::Warn),
            (of(&[SysAdmin, NetAdmin]), Status::Warn),
            (
                of(&[SysAdmin, NetAdmin, SysPtrace, DacReadSearch]),
                Status::Ok,
            ),
        ] {
            assert_eq!(capabilities(set).status, status, "{set:x}");
        }
        assert!(capabilities(0).fix.unwrap().contains("as root"));
        assert_eq!(gate(0).status, Status::Warn);
    }

    #[test]
    fn lockdown_modes() {
        for (state, mode) in [
            ("[none] integrity confidentiality", "none"),
            ("none [integrity] confidentiality", "integrity"),
            ("none integrity [confidentiality]", "confidentiality"),
            ("", "unknown"),
        ] {
            assert_eq!(lockdown_mode(state), mode);
        }
    }

    #[test]
    fn locked_memory_matters_on_old_kernels_only() {
        assert_eq!(memlock(Some("5.11.0"), 0).status, Status::Ok);
        let all = u64::MAX;
        assert_eq!(memlock(Some("5.10.0"), all).status, Status::Ok);
    }
}
