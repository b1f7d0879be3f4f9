//! From what the kernel gives at connect(2) to the process behind it.
//!
//! Where the kernel programs could read the process itself ([`Facts`]), that is what counts: an exec or the end of the
//! process right after it changes nothing. `/proc` is asked for the rest, and for all of it where they could not.
//!
//! The pid is that of the initial pid namespace. The agent therefore needs the host's `/proc` (in a pod:
//! `hostPID: true`); where `/proc` is another one, its numbers mean other processes, and only the kernel's own facts
//! are kept.

use std::io;
use std::sync::Arc;

use hashlink::LruCache;

use super::ancestors::{self, Ancestor, Ancestors};
use super::tags::Tag;
use super::users::Users;
use crate::capture::cgroup::{self, CgroupFs, ProcessCgroups, Workload};
use crate::capture::event::{Exe, Facts};
use crate::capture::proc;
use crate::protocol::TimeNs;

/// Processes remembered, so that the connections of one process share its facts. About 500 bytes each, and its command
/// line.
const PROCESSES_MAX: usize = 8192;

/// What is kept of a command line, bytes.
const COMMAND_LINE_BYTES_MAX: usize = dbgov_common::COMMAND_BYTES;

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
    /// What else the program could read.
    pub facts: Option<&'a Facts>,
}

/// A client's process. What the kernel gave is always there; the rest is absent where the process had ended, or the
/// agent may not look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub uid: u32,
    pub comm: String,
    pub cgroup_id: Option<u64>,
    /// With ` (deleted)` where the file was replaced, and `…` in place of directories that did not fit.
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
    command: (Vec<String>, bool),
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
        let proc_is_the_hosts = proc::is_initial_pid_namespace();
        Ok(Resolver {
            // A mount that cannot be opened costs paths, not the agent.
            cgroups: CgroupFs::open().ok().flatten(),
            hybrid: mounts.iter().any(|mount| mount.fs_type == "cgroup"),
            proc_is_the_hosts,
            users: Users::new(),
            command_lines,
            ancestors: Ancestors::new(proc_is_the_hosts),
            paths: LruCache::new(CGROUPS_MAX),
            processes: LruCache::new(PROCESSES_MAX),
        })
    }

    /// The process of a task, to be called as soon as the kernel reports it: a short-lived client is soon gone.
    pub fn resolve(&mut self, task: &Task<'_>) -> Arc<Process> {
        let known = self.processes.get(&task.pid);
        if let Some((known, facts)) = known.zip(task.facts)
            && is_as_read(known, task, facts)
        {
            return known.clone();
        }
        let living = self.living(task.pid, task.at);
        let living = match task.facts {
            // The number is another's by now.
            Some(facts) => living.filter(|living| living.started_ns == facts.started_ns),
            None => living,
        };
        if task.facts.is_none()
            && let Some(known) = self.processes.get(&task.pid)
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
            facts: None,
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

    /// Whether a process has ended, as far as this agent can tell.
    pub fn has_ended(&self, pid: u32, started_ns: TimeNs) -> bool {
        self.proc_is_the_hosts
            && proc::stat(pid).map_or_else(
                |error| error.kind() == io::ErrorKind::NotFound,
                |stat| stat.started_ns != started_ns || stat.is_zombie,
            )
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
        let command = match self.command_lines {
            true => proc::command_line(pid, COMMAND_LINE_BYTES_MAX).unwrap_or_default(),
            false => Default::default(),
        };
        Some(Living {
            exe: proc::exe(pid).ok(),
            started_ns: stat.started_ns,
            parent: stat.parent,
            command,
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
        match (task.facts, living) {
            (Some(facts), living) => self.read(facts, living, seen),
            (None, Some(living)) => {
                let parents = ancestors::above(living.parent, living.started_ns);
                let (command, command_truncated) = living.command;
                Process {
                    exe: living.exe,
                    started_ns: Some(living.started_ns),
                    login_uid: proc::login_uid(task.pid),
                    command,
                    command_truncated,
                    parents: self.ancestors.of(&parents),
                    ..seen
                }
            }
            (None, None) => seen,
        }
    }

    /// With what the kernel programs read; what they could not from `/proc`, as long as the process runs the same
    /// program.
    fn read(&mut self, facts: &Facts, living: Option<Living>, seen: Process) -> Process {
        let (runs, now) = living
            .map(|living| (living.exe, living.command))
            .unwrap_or_default();
        let exe = match &facts.exe {
            Some(exe) => Some(whole(exe, runs.as_deref())),
            None => runs.clone(),
        };
        let (command, command_truncated) = match &facts.command {
            Some(command) => command.clone(),
            None if exe == runs => now,
            None => Default::default(),
        };
        Process {
            exe,
            started_ns: Some(facts.started_ns),
            login_uid: facts.login_uid,
            command,
            command_truncated,
            parents: self.ancestors.of(&facts.parents),
            ..seen
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

/// The path of a program. One whose beginning was left out is completed where the process still runs it.
fn whole(exe: &Exe, runs: Option<&str>) -> String {
    match runs {
        _ if !exe.cut => exe.path.clone(),
        Some(runs) if runs.ends_with(&exe.path) => runs.to_owned(),
        _ => format!("…{}", exe.path),
    }
}

/// Whether a remembered process is the one the kernel programs have read: not another one with its number, and not the
/// same one after it became another program, user or member of another cgroup.
fn is_as_read(known: &Process, task: &Task<'_>, facts: &Facts) -> bool {
    let is_exe = |exe: &Exe| {
        known.exe.as_ref().is_some_and(|known| match exe.cut {
            true => known.ends_with(&exe.path),
            false => *known == exe.path,
        })
    };
    let is_command = |(command, truncated): &(Vec<String>, bool)| {
        known.command == *command && known.command_truncated == *truncated
    };
    known.started_ns == Some(facts.started_ns)
        && facts.exe.as_ref().is_none_or(is_exe)
        && facts.command.as_ref().is_none_or(is_command)
        && known.login_uid == facts.login_uid
        && ancestors::are(&known.parents, &facts.parents)
        && is_same_task(known, task)
}

/// The same by what `/proc` says.
fn is_same(known: &Process, task: &Task<'_>, living: Option<&Living>) -> bool {
    living.is_some_and(|living| {
        known.started_ns == Some(living.started_ns)
            && known.exe == living.exe
            && known.command == living.command.0
            && known
                .parents
                .first()
                .is_none_or(|parent| parent.pid == living.parent)
            && is_same_task(known, task)
    })
}

fn is_same_task(known: &Process, task: &Task<'_>) -> bool {
    known.comm == task.comm && known.uid == task.uid && known.cgroup_id == Some(task.cgroup_id)
}

#[cfg(test)]
mod tests;
