//! What the control socket is asked, on the thread of each client: what needs the file system or takes time is done
//! here, what the capture thread has to know goes there through its queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use nix::unistd::{Gid, Group};

use super::lock;
use super::status::{Shared, Status};
use crate::audit::record::{ControlBlock, Kind, Record};
use crate::capture::cgroup::{self, CgroupFs};
use crate::capture::proc;
use crate::clock::unix_ns;
use crate::config::{Config, ExecRule};
use crate::control::{Handler, Job, NewRun, Peer, Queue, Reply, Request, Started, TagTarget};
use crate::glob::Glob;
use crate::identity::pods::Pods;
use crate::identity::tags::{Labels, NewTag, Origin, Run, Setter, TagName, check_run};
use crate::sink::Boards;

/// Users whose refused requests are counted until they are recorded, four times a second.
const REFUSED_USERS_MAX: usize = 64;

/// Steps from a process up to its first ancestor: far more than there are on any host.
const PARENTS_MAX: usize = 256;

/// Answers the control socket.
pub(super) struct Answers {
    pub shared: Arc<Shared>,
    pub sinks: Boards,
    pub queue: Queue,
    pub refusals: Arc<Refusals>,
    pub rules: Vec<ExecRule>,
    /// Below this cgroup those of the runs are made.
    pub root: String,
    pub cgroups: Option<CgroupFs>,
    /// Of this node, where a Kubernetes API is asked.
    pub pods: Option<Arc<Pods>>,
}

impl Answers {
    pub(super) fn new(
        config: &Config,
        shared: Arc<Shared>,
        sinks: Boards,
        queue: Queue,
        refusals: Arc<Refusals>,
        pods: Option<Arc<Pods>>,
    ) -> Self {
        Answers {
            shared,
            sinks,
            queue,
            refusals,
            rules: config.exec.clone(),
            root: format!("/{}", config.identity.cgroup.trim_matches('/')),
            cgroups: CgroupFs::open().ok().flatten(),
            pods,
        }
    }
}

impl Handler for Answers {
    fn handle(&self, peer: &Peer, request: Request) -> Reply {
        let name = request.name();
        let answer = match request {
            Request::Exec {
                name,
                purpose,
                labels,
            } => self.exec(peer, name, purpose, labels),
            _ if !peer.permitted => Err(Refusal::NotAllowed(peer.refusal())),
            Request::Status => Ok(Reply::of(&Status {
                sinks: self.sinks.shown(),
                ..self.shared.get()
            })),
            Request::TagSet { name, target } => self.tag(peer, name, &target),
            request => Ok(self.queue.ask(peer, Job::Request(request))),
        };
        match answer {
            Ok(reply) => reply,
            Err(Refusal::NotAllowed(words)) => {
                self.refusals.note(peer, name, &words);
                Reply::Error(words)
            }
            Err(Refusal::Impossible(words)) => Reply::Error(words),
        }
    }
}

/// Why something was not done.
enum Refusal {
    /// To be recorded.
    NotAllowed(String),
    Impossible(String),
}

fn impossible(words: impl ToString) -> Refusal {
    Refusal::Impossible(words.to_string())
}

impl Answers {
    fn cgroups(&self) -> Result<&CgroupFs, Refusal> {
        let none = || impossible("no cgroup v2 hierarchy is mounted for the agent");
        self.cgroups.as_ref().ok_or_else(none)
    }

    fn tag(&self, peer: &Peer, name: TagName, target: &TagTarget) -> Result<Reply, Refusal> {
        let fs = self.cgroups()?;
        let cgroup = match target {
            TagTarget::Cgroup(written) => fs.path_of(written),
            TagTarget::Pid(pid) => of_pid(fs, *pid)?,
            TagTarget::Unit(unit) => of_unit(fs, unit)?,
            TagTarget::Pod(name) => self.of_pod(fs, name)?,
        };
        let cgroup_id = fs.id(&cgroup).map_err(|error| {
            impossible(format!(
                "there is no cgroup {cgroup} below {} ({error}); /proc/PID/cgroup shows that of a process",
                fs.mount_point().display()
            ))
        })?;
        let new = NewTag {
            name,
            cgroup,
            cgroup_id,
            origin: Origin::Command,
            by: Some(setter(peer)),
            run: None,
        };
        Ok(self.queue.ask(peer, Job::Tag(new)))
    }

    fn of_pod(&self, fs: &CgroupFs, full_name: &str) -> Result<String, Refusal> {
        let pods = self.pods.as_ref().ok_or_else(|| {
            impossible(
                "this agent does not ask a Kubernetes API: see [kubernetes] in its configuration",
            )
        })?;
        let uid = full_name
            .split_once('/')
            .and_then(|(namespace, name)| pods.find(namespace, name))
            .ok_or_else(|| {
                impossible(format!(
                    "no pod {full_name} runs on this node; give NAMESPACE/NAME, as `kubectl get pods -A` shows them"
                ))
            })?;
        // The pod's own, above those of its containers.
        let found = fs.find(|path| cgroup::pod_uid(path).as_deref() == Some(&uid));
        found.into_iter().next().ok_or_else(|| {
            impossible(format!(
                "pod {full_name} ({uid}) has no cgroup on this node"
            ))
        })
    }

    /// Gives the process that asks a cgroup of its own, tagged before it gets there.
    fn exec(
        &self,
        peer: &Peer,
        name: TagName,
        purpose: Option<String>,
        labels: Labels,
    ) -> Result<Reply, Refusal> {
        let from = self.may_run(peer, &name)?;
        check_run(purpose.as_deref(), &labels).map_err(impossible)?;
        let process = peer
            .process
            .as_ref()
            .filter(|_| peer.pid != 0)
            .ok_or_else(|| impossible("the agent does not see the process that asks"))?;
        let fs = self.cgroups()?;
        let run = Run {
            id: uuid::Uuid::now_v7().simple().to_string(),
            purpose,
            labels,
        };
        let cgroup = format!("{}/{}", self.root, run.id);
        let cgroup_id = fs.make(&cgroup).map_err(|error| {
            impossible(format!(
                "the agent cannot make the cgroup {cgroup} ({error}); it needs the host's cgroup file system, writable"
            ))
        })?;
        let started = Started {
            cgroup: cgroup.clone(),
            run: run.id.clone(),
        };
        let tag = NewTag {
            name,
            cgroup: cgroup.clone(),
            cgroup_id,
            origin: Origin::Exec,
            by: Some(setter(peer)),
            run: Some(run),
        };
        let began = self
            .queue
            .ask(peer, Job::Run(Box::new(NewRun { tag, from })));
        let id = match began {
            Reply::Ok(id) => id.as_u64().unwrap_or_default() as u32,
            refused => {
                fs.remove_if_empty(&cgroup);
                return Ok(refused);
            }
        };
        let moved = fs.move_in(&cgroup, peer.pid);
        // Alive still, so that the number was its own all the while.
        if moved.is_ok() && !process.has_ended() {
            self.queue.ask(peer, Job::Moved(id));
            return Ok(Reply::of(&started));
        }
        self.queue.ask(peer, Job::NotMoved(id));
        let why = match moved {
            Ok(()) => "it has ended".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(impossible(format!(
            "process {} could not be moved to the cgroup {cgroup}: {why}",
            peer.pid
        )))
    }

    /// Which tags a user may exchange for this one, if it may be taken at all.
    fn may_run(&self, peer: &Peer, name: &TagName) -> Result<Vec<Glob>, Refusal> {
        let mut rules = self
            .rules
            .iter()
            .filter(|rule| {
                rule.names.iter().any(|glob| glob.0.matches(name.as_str()))
                    && (peer.uid == 0 || is_for(rule, peer))
            })
            .peekable();
        if peer.uid != 0 && rules.peek().is_none() {
            return Err(Refusal::NotAllowed(format!(
                "{} may not run anything as {name}: no [[exec]] of the agent's configuration lets them; have root add one with names = [\"{name}\"]",
                peer.who()
            )));
        }
        let from = rules.flat_map(|rule| rule.from.iter().map(|glob| glob.0.clone()));
        Ok(from.collect())
    }
}

fn is_for(rule: &ExecRule, peer: &Peer) -> bool {
    let is_user = |name: &String| peer.user.as_ref() == Some(name);
    let is_member = |name: &String| {
        let group = Group::from_name(name).ok().flatten();
        group.is_some_and(|group| peer.groups.contains(&Gid::as_raw(group.gid)))
    };
    rule.users.iter().any(is_user) || rule.groups.iter().any(is_member)
}

fn setter(peer: &Peer) -> Setter {
    Setter {
        uid: peer.uid,
        user: peer.user.clone(),
        pid: peer.pid,
    }
}

/// The cgroup of a process, if it can be tagged without naming others: those that the process did not start.
fn of_pid(fs: &CgroupFs, pid: u32) -> Result<String, Refusal> {
    let cgroup = cgroup::of_process(pid)
        .ok()
        .and_then(|cgroups| cgroups.v2)
        .ok_or_else(|| impossible(format!("there is no process {pid}, or it has no cgroup v2")))?;
    if cgroup == "/" {
        return Err(impossible(format!(
            "process {pid} is in the root cgroup, as every other is: run it with `dbgov exec`, or move it to a cgroup of its own"
        )));
    }
    let others: Vec<u32> = fs
        .processes(&cgroup)
        .map_err(impossible)?
        .into_iter()
        .filter(|other| !descends(*other, pid))
        .collect();
    match others.first() {
        None => Ok(cgroup),
        Some(other) => Err(impossible(format!(
            "the cgroup {cgroup} of process {pid} is also that of processes it did not start ({} of them, such as {other}, {}): tag all of it with --cgroup {cgroup}, or run the program with `dbgov exec`",
            others.len(),
            proc::comm(*other).unwrap_or_default()
        ))),
    }
}

/// Whether a process is `ancestor`, or below it.
fn descends(mut pid: u32, ancestor: u32) -> bool {
    for _ in 0..PARENTS_MAX {
        if pid == ancestor {
            return true;
        }
        match proc::stat(pid) {
            Ok(stat) if stat.parent != 0 => pid = stat.parent,
            _ => return false,
        }
    }
    false
}

fn of_unit(fs: &CgroupFs, unit: &str) -> Result<String, Refusal> {
    let is_it = |path: &str| path.rsplit('/').next() == Some(unit);
    match &fs.find(is_it)[..] {
        [one] => Ok(one.clone()),
        [] => Err(impossible(format!(
            "no cgroup is that of {unit}: is the unit running? Give its whole name, such as sync.service; a tag for each start of it goes into the configuration as [[tag]] unit = {unit:?}"
        ))),
        many => Err(impossible(format!(
            "{unit} is the name of several cgroups ({}): say which with --cgroup",
            many.join(", ")
        ))),
    }
}

/// Requests that were refused, until they are recorded: a user who asks without end makes four records a second.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<u32, ControlBlock>>);

impl Refusals {
    pub(super) fn note(&self, peer: &Peer, request: &str, reason: &str) {
        tracing::warn!(
            uid = peer.uid,
            request,
            refusal = reason,
            "the control socket was asked"
        );
        let mut refused = lock(&self.0);
        if refused.len() >= REFUSED_USERS_MAX && !refused.contains_key(&peer.uid) {
            return;
        }
        let before = refused.get(&peer.uid).map_or(0, |block| block.attempts);
        let block = ControlBlock {
            attempts: before + 1,
            by: peer.into(),
            pid: peer.pid,
            reason: reason.to_owned(),
            request: request.to_owned(),
        };
        refused.insert(peer.uid, block);
    }

    /// As records.
    pub(super) fn take(&self) -> Vec<Record> {
        let refused = std::mem::take(&mut *lock(&self.0));
        refused
            .into_values()
            .map(|block| Record {
                control: Some(Box::new(block)),
                ..Record::new(Kind::Control, unix_ns())
            })
            .collect()
    }
}
