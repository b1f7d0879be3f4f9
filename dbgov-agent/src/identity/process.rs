//! From what the kernel gives at connect(2) to the process behind it.
//!
//! The pid is that of the initial pid namespace. The agent therefore needs the host's `/proc` (in a pod:
//! `hostPID: true`); where `/proc` is another one, its numbers mean other processes, and only the kernel's own facts
//! are kept.

use std::io;
use std::sync::Arc;

use hashlink::LruCache;

use super::ancestors::{Ancestor, Ancestors};
use super::tags::Tag;
use super::users::Users;
use crate::capture::cgroup::{self, CgroupFs, ProcessCgroups, Workload};
use crate::capture::proc;
use crate::protocol::TimeNs;

/// Processes remembered, so that the connections of one process share its facts. About 500 bytes each, and its command
/// line.
const PROCESSES_MAX: usize = 8192;

/// What is kept of a command line, bytes.
const COMMAND_LINE_BYTES_MAX: usize = 1024;

/// Cgroup paths remembered; a cgroup has one path for as long as it lives and its id is never used again.
const CGROUPS_MAX: usize = 8192;

/// A thread in connect(2), as the kernel program saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task<'a> {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    pub uid: u32,
    /// Of the thread, which may have a name of its own.
    pub comm: &'a str,
    /// Of cgroup v2.
    pub cgroup_id: u64,
    /// When it called connect(2), on the boot clock.
    pub at: TimeNs,
}

/// A client's process. What the kernel gave is always there; the rest is absent where the process had ended, or the
/// agent may not look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub uid: u32,
    pub comm: String,
    pub cgroup_id: Option<u64>,
    /// With ` (deleted)` where the file was replaced.
    pub exe: Option<String>,
    /// On the boot clock.
    pub started_ns: Option<TimeNs>,
    /// cgroup v2 path.
    pub cgroup: Option<String>,
    pub container: Option<String>,
    /// Of the container, where its cgroup tells.
    pub runtime: Option<&'static str>,
    /// The Kubernetes pod it runs in.
    pub pod_uid: Option<String>,
    /// The systemd unit that names the workload, see [`cgroup::workload_unit`].
    pub unit: Option<String>,
    /// Name of the OS user. Absent for an unknown one, and inside a container, whose users are not the host's (but
    /// root is).
    pub user: Option<String>,
    /// Uid of the log-in behind it, see [`proc::login_uid`].
    pub login_uid: Option<u32>,
    /// Its arguments; empty where they are not to be recorded.
    pub command: Vec<String>,
    pub command_truncated: bool,
    /// The processes above it, the nearest first.
    pub parents: Arc<[Ancestor]>,
    /// Of the nearest tagged cgroup, as it was when the process connected.
    pub tag: Option<Arc<Tag>>,
}

/// What `/proc` tells of a living process.
struct Living {
    exe: Option<String>,
    started_ns: TimeNs,
    parent: u32,
    command: Vec<String>,
    command_truncated: bool,
}

/// Finds out what is behind a task.
#[derive(Debug)]
pub struct Resolver {
    cgroups: Option<CgroupFs>,
    /// A host with v1 hierarchies beside v2: containers may be seen in these only.
    hybrid: bool,
    /// `/proc` numbers processes as the kernel's helpers do.
    proc_is_the_hosts: bool,
    users: Users,
    /// Whether command lines are looked at.
    command_lines: bool,
    ancestors: Ancestors,
    paths: LruCache<u64, String>,
    processes: LruCache<u32, Arc<Process>>,
}

impl Resolver {
    /// `command_lines`: whether they are looked at; there may be secrets in them.
    pub fn new(command_lines: bool) -> io::Result<Self> {
        let mounts = cgroup::mounts()?;
        Ok(Resolver {
            // A mount that cannot be opened costs paths, not the agent.
            cgroups: CgroupFs::open().ok().flatten(),
            hybrid: mounts.iter().any(|mount| mount.fs_type == "cgroup"),
            proc_is_the_hosts: proc::is_initial_pid_namespace(),
            users: Users::new(),
            command_lines,
            ancestors: Ancestors::new(),
            paths: LruCache::new(CGROUPS_MAX),
            processes: LruCache::new(PROCESSES_MAX),
        })
    }

    /// The process of a task, to be called as soon as the kernel reports it: a short-lived client is soon gone.
    pub fn resolve(&mut self, task: &Task<'_>) -> Arc<Process> {
        let living = self.living(task.pid, task.at);
        if let Some(known) = self.processes.get(&task.pid)
            && is_same(known, task, living.as_ref())
        {
            return known.clone();
        }
        let cgroups = match &living {
            Some(_) => cgroup::of_process(task.pid).unwrap_or_default(),
            None => ProcessCgroups::default(),
        };
        let path = self.cgroup_path(task.cgroup_id, &cgroups);
        let process = Arc::new(self.process(task, living, path, &cgroups));
        if process.started_ns.is_some() {
            self.processes.insert(task.pid, process.clone());
        }
        process
    }

    /// A process that no hook saw (the client of a connection older than the agent). `None` where it has ended, and
    /// where `/proc` is not the host's.
    pub fn by_pid(&mut self, pid: u32, now: TimeNs) -> Option<Arc<Process>> {
        if !self.proc_is_the_hosts {
            return None;
        }
        let uid = proc::real_uid(pid).ok()?;
        let comm = proc::comm(pid).ok()?;
        let living = self.living(pid, now)?;
        let cgroups = cgroup::of_process(pid).unwrap_or_default();
        let path = cgroups.v2.clone();
        let id = self
            .cgroups
            .as_ref()
            .and_then(|fs| fs.id(path.as_deref()?).ok());
        let task = Task {
            pid,
            uid,
            comm: &comm,
            cgroup_id: id.unwrap_or(0),
            at: now,
        };
        let mut process = self.process(&task, Some(living), path, &cgroups);
        process.cgroup_id = id;
        Some(Arc::new(process))
    }

    /// Remembers what was found out about a process after it was resolved.
    pub fn remember(&mut self, process: &Arc<Process>) {
        if process.started_ns.is_some() {
            self.processes.insert(process.pid, Arc::clone(process));
        }
    }

    /// `None` if the process has ended, also if its number is by now that of a process younger than the connection.
    fn living(&self, pid: u32, at: TimeNs) -> Option<Living> {
        if !self.proc_is_the_hosts {
            return None;
        }
        let stat = proc::stat(pid).ok()?;
        if stat.started_ns > at {
            return None;
        }
        let (command, command_truncated) = match self.command_lines {
            true => proc::command_line(pid, COMMAND_LINE_BYTES_MAX).unwrap_or_default(),
            false => Default::default(),
        };
        Some(Living {
            exe: proc::exe(pid).ok(),
            started_ns: stat.started_ns,
            parent: stat.parent,
            command,
            command_truncated,
        })
    }

    fn process(
        &mut self,
        task: &Task<'_>,
        living: Option<Living>,
        path: Option<String>,
        cgroups: &ProcessCgroups,
    ) -> Process {
        let in_v2 = |find: fn(&str) -> Option<&str>| path.as_deref().and_then(find);
        let v1 = if self.hybrid { &cgroups.v1[..] } else { &[] };
        let in_v1 = |find: fn(&str) -> Option<&str>| v1.iter().find_map(|path| find(path));
        let find = |find| in_v2(find).or_else(|| in_v1(find)).map(str::to_owned);
        let paths = path.iter().chain(v1).map(String::as_str);
        let workload = Workload::of_paths(paths);
        let user_is_the_hosts = workload.container.is_none() || task.uid == 0;
        let user = user_is_the_hosts
            .then(|| self.users.name(task.uid, task.at))
            .flatten();
        let unit = find(cgroup::workload_unit);
        let seen = Process {
            pid: task.pid,
            uid: task.uid,
            comm: task.comm.to_owned(),
            cgroup_id: Some(task.cgroup_id),
            container: workload.container,
            runtime: workload.runtime,
            pod_uid: workload.pod_uid,
            cgroup: path,
            unit,
            user,
            ..Process::default()
        };
        match living {
            Some(living) => Process {
                exe: living.exe,
                started_ns: Some(living.started_ns),
                login_uid: proc::login_uid(task.pid),
                command: living.command,
                command_truncated: living.command_truncated,
                parents: self.ancestors.of(living.parent, living.started_ns),
                ..seen
            },
            None => seen,
        }
    }

    /// By the kernel's id, which also works for a process that is gone; else what `/proc` says now, if that is still
    /// the same cgroup.
    fn cgroup_path(&mut self, id: u64, cgroups: &ProcessCgroups) -> Option<String> {
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        let Some(fs) = self.cgroups.as_ref() else {
            return cgroups.v2.clone();
        };
        let path = fs.path(id).ok().or_else(|| {
            let path = cgroups.v2.clone()?;
            fs.id(&path).is_ok_and(|now| now == id).then_some(path)
        })?;
        self.paths.insert(id, path.clone());
        Some(path)
    }
}

/// Whether a remembered process is the one in front of us: not another one with its number, and not the same one
/// after it became another program, user or member of another cgroup.
fn is_same(known: &Process, task: &Task<'_>, living: Option<&Living>) -> bool {
    living.is_some_and(|living| {
        known.started_ns == Some(living.started_ns)
            && known.exe == living.exe
            && known.command == living.command
            && known
                .parents
                .first()
                .is_none_or(|parent| parent.pid == living.parent)
            && known.comm == task.comm
            && known.uid == task.uid
            && known.cgroup_id == Some(task.cgroup_id)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn resolver() -> Resolver {
        Resolver::new(true).unwrap()
    }

    fn own_cgroup_id() -> u64 {
        let path = cgroup::of_process(std::process::id()).unwrap().v2;
        let fs = CgroupFs::open().unwrap();
        fs.zip(path)
            .and_then(|(fs, path)| fs.id(&path).ok())
            .unwrap_or(0)
    }

    fn task(pid: u32, at: TimeNs) -> Task<'static> {
        Task {
            pid,
            uid: nix::unistd::getuid().as_raw(),
            comm: "tester",
            cgroup_id: own_cgroup_id(),
            at,
        }
    }

    #[test]
    fn this_process() {
        let pid = std::process::id();
        let mut resolver = resolver();
        if !resolver.proc_is_the_hosts {
            return;
        }
        let process = resolver.resolve(&task(pid, u64::MAX));
        let exe = std::env::current_exe().unwrap();
        assert_eq!(process.exe.as_deref(), exe.to_str());
        assert_eq!((process.pid, process.comm.as_str()), (pid, "tester"));
        assert_eq!(
            process.started_ns,
            Some(proc::stat(pid).unwrap().started_ns)
        );
        assert_eq!(process.cgroup, cgroup::of_process(pid).unwrap().v2);
        let arguments: Vec<_> = std::env::args().collect();
        assert_eq!(process.command, arguments);
        assert_eq!(process.parents[0].pid, proc::stat(pid).unwrap().parent);
        resolver.command_lines = false;
        resolver.processes.clear();
        assert!(resolver.resolve(&task(pid, u64::MAX)).command.is_empty());
        let process = resolver.resolve(&task(pid, u64::MAX));
        let again = resolver.resolve(&task(pid, u64::MAX));
        assert!(Arc::ptr_eq(&process, &again), "shared by its connections");
        let renamed = Task {
            comm: "other",
            ..task(pid, u64::MAX)
        };
        assert_eq!(resolver.resolve(&renamed).comm, "other");

        let by_pid = resolver.by_pid(pid, u64::MAX).unwrap();
        assert_eq!(
            (by_pid.exe.as_ref(), by_pid.uid),
            (process.exe.as_ref(), process.uid)
        );
        assert_eq!(by_pid.cgroup, process.cgroup);
    }

    #[test]
    fn a_process_that_ended_keeps_what_the_kernel_gave() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let mut resolver = resolver();
        let process = resolver.resolve(&task(pid, u64::MAX));
        assert_eq!(
            (process.pid, process.exe.as_ref(), process.started_ns),
            (pid, None, None)
        );
        assert_eq!(process.comm, "tester");
        assert_eq!(process.cgroup_id, Some(own_cgroup_id()));
        if nix::unistd::geteuid().is_root() && resolver.cgroups.is_some() {
            assert!(process.cgroup.is_some(), "found by the cgroup's id");
        }
        assert_eq!(resolver.by_pid(pid, 0), None);
        assert!(resolver.processes.is_empty());
    }

    #[test]
    fn a_number_given_away_since_is_not_the_client() {
        let pid = std::process::id();
        let before_it_started = proc::stat(pid).unwrap().started_ns - 1;
        let process = resolver().resolve(&task(pid, before_it_started));
        assert_eq!(process.exe, None);
    }

    #[test]
    fn an_exec_is_noticed() {
        let mut resolver = resolver();
        if !resolver.proc_is_the_hosts {
            return;
        }
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shell = resolver.resolve(&task(child.id(), u64::MAX));
        // cat answers, so the exec is over.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        std::io::Write::write_all(&mut input, b"go\n").unwrap();
        std::io::Write::write_all(&mut input, b"x").unwrap();
        std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
        let cat = resolver.resolve(&task(child.id(), u64::MAX));
        drop(input);
        child.wait().unwrap();
        assert_eq!(shell.started_ns, cat.started_ns);
        assert_ne!(shell.exe, cat.exe);
        assert!(cat.exe.as_ref().unwrap().ends_with("cat"));
    }

    #[test]
    fn units_and_containers_of_paths() {
        let id = "0123456789abcdef".repeat(4);
        let mut resolver = resolver();
        resolver.hybrid = true;
        let nobody = ProcessCgroups::default();
        let of = |resolver: &mut Resolver, path: &str, cgroups: &ProcessCgroups| {
            let task = Task {
                uid: 65_000,
                ..task(1, 0)
            };
            resolver.process(&task, None, Some(path.into()), cgroups)
        };
        let service = of(&mut resolver, "/system.slice/app.service", &nobody);
        assert_eq!(
            (service.unit.as_deref(), service.container),
            (Some("app.service"), None)
        );
        let container = of(&mut resolver, &format!("/docker/{id}"), &nobody);
        assert_eq!(
            (container.unit, container.container),
            (None, Some(id.clone()))
        );
        let v1 = ProcessCgroups {
            v2: Some("/".into()),
            v1: vec![format!("/docker/{id}")],
        };
        assert_eq!(of(&mut resolver, "/", &v1).container, Some(id));
    }

    #[test]
    fn users_of_containers_are_not_the_hosts() {
        let mut resolver = resolver();
        let path = format!("/docker/{}", "0123456789abcdef".repeat(4));
        let none = ProcessCgroups::default();
        // Uid 1 is "daemon" or "bin" on the host, and somebody else in a container.
        let host_name = resolver.users.name(1, 0).unwrap();
        for (uid, path, user) in [
            (1, path.as_str(), None),
            (0, path.as_str(), Some("root")),
            (1, "/", Some(host_name.as_str())),
        ] {
            let task = Task { uid, ..task(1, 0) };
            let process = resolver.process(&task, None, Some(path.into()), &none);
            assert_eq!(process.user.as_deref(), user, "uid {uid} in {path}");
        }
    }
}
