//! The tags in force: kept in step with the kernel's table, with the cgroups that end, with the state file, and with the
//! sessions that are open. Every change is a record. `jobs` is what the capture thread does about them.

mod jobs;

use std::collections::HashSet;
use std::sync::Arc;

use dbgov_common::{CONNECT_TAG_DEEPER, ConnectInfo};

use crate::agent::AgentError;
use crate::audit::record::{ApproverBlock, Kind, Record, TagBlock};
use crate::capture::cgroup::CgroupFs;
use crate::capture::kernel::Kernel;
use crate::clock::unix_ns;
use crate::config::Config;
use crate::control::{ListedTag, Peer};
use crate::identity::Process;
use crate::identity::pods::Pods;
use crate::identity::tags::{
    NewTag, Origin, StateFile, Tag, TagError, TagName, TagRule, Tags, depth, nearest_rule,
};

/// Tagged cgroups looked at in one tick (whether they are still there): a few microseconds each.
const SWEEP_MAX: usize = 256;

/// How long a cgroup of a run may stand empty that no agent knows, seconds.
const ORPHAN_AGE_S: u64 = 60;

/// What the kernel saw at connect(2).
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) enum Noted {
    /// The id of the nearest tag; 0 where there was none.
    Tag(u32),
    /// The connection is older than the programs, or the process is deeper than they look.
    Nothing,
}

impl Noted {
    pub(super) fn of(connect: &ConnectInfo) -> Self {
        match connect.flags & CONNECT_TAG_DEEPER {
            0 => Noted::Tag(connect.tag),
            _ => Noted::Nothing,
        }
    }
}

/// What is still to be told to kernel, journal and state file.
#[derive(Debug)]
struct Change {
    tag: Arc<Tag>,
    event: &'static str,
    by: Option<ApproverBlock>,
    pid: Option<u32>,
}

#[derive(Debug)]
pub(in crate::agent) struct TagKeeper {
    tags: Tags,
    rules: Vec<TagRule>,
    /// Absent where no cgroup v2 can be opened: then nothing can be tagged.
    cgroups: Option<CgroupFs>,
    file: StateFile,
    /// Of this node, where a Kubernetes API is asked.
    pods: Option<Arc<Pods>>,
    /// Where runs get their cgroups.
    root: String,
    changes: Vec<Change>,
    /// Runs whose process is not in its cgroup yet.
    starting: HashSet<u32>,
    /// The id after which the sweep goes on.
    swept: u32,
}

impl TagKeeper {
    /// Takes over what an earlier agent left, and tags what is there already of the configuration's cgroups.
    pub(in crate::agent) fn start(
        config: &Config,
        kernel: &mut Kernel,
        pods: Option<Arc<Pods>>,
    ) -> Result<Self, AgentError> {
        let file = StateFile::beside(&config.agent.control_socket);
        let tags = file.read().unwrap_or_else(|error| {
            tracing::error!(%error, "the tags of the agent before");
            Tags::default()
        });
        let mut keeper = TagKeeper {
            tags,
            rules: config.tags.clone(),
            cgroups: CgroupFs::open().ok().flatten(),
            file,
            pods,
            root: format!("/{}", config.identity.cgroup.trim_matches('/')),
            changes: Vec::new(),
            starting: HashSet::new(),
            swept: 0,
        };
        keeper.sweep_all();
        keeper.remove_orphans();
        keeper.find_configured();
        let live = keeper.tags.list();
        kernel.keep_tags(|cgroup_id, id| {
            live.iter()
                .any(|tag| (tag.cgroup_id, tag.id) == (cgroup_id, id))
        });
        for tag in live {
            kernel.set_tag(tag.cgroup_id, tag.id)?;
        }
        Ok(keeper)
    }

    /// The process as its tag calls it, which may be the one that is given.
    pub(in crate::agent) fn name(&mut self, process: Arc<Process>, noted: Noted) -> Arc<Process> {
        let path = process.cgroup.as_deref();
        let by_path = |tags: &Tags| path.and_then(|path| tags.nearest(path)).cloned();
        let explicit = match noted {
            Noted::Tag(0) => None,
            // An id of an agent before, whose tags are gone: what there is now.
            Noted::Tag(id) => self.tags.noted(id).or_else(|| by_path(&self.tags)),
            Noted::Nothing => by_path(&self.tags),
        };
        let tag = match path.and_then(|path| nearest_rule(&self.rules, path, self.pods.as_deref()))
        {
            Some((at, rule))
                if explicit
                    .as_ref()
                    .is_none_or(|tag| depth(at) > depth(&tag.cgroup)) =>
            {
                let cgroup_id = process.cgroup_id.filter(|_| path == Some(at));
                let name = rule.name.clone();
                self.configured(name, at, cgroup_id)
            }
            _ => explicit,
        };
        if process.tag == tag {
            return process;
        }
        Arc::new(Process {
            tag,
            ..Process::clone(&process)
        })
    }

    /// The tag of a cgroup that a rule of the configuration is for, set now if it is not yet.
    fn configured(
        &mut self,
        name: TagName,
        cgroup: &str,
        cgroup_id: Option<u64>,
    ) -> Option<Arc<Tag>> {
        if let Some(known) = self.tags.nearest(cgroup)
            && known.cgroup == cgroup
        {
            return Some(Arc::clone(known));
        }
        let cgroups = self.cgroups.as_ref()?;
        // One that has ended since still names its process, and its end is the next change.
        let cgroup_id = cgroups.id(cgroup).ok().or(cgroup_id).unwrap_or_default();
        let new = NewTag {
            name,
            cgroup: cgroup.to_owned(),
            cgroup_id,
            origin: Origin::Config,
            by: None,
            run: None,
        };
        match self.insert(new) {
            Ok((tag, _)) => Some(tag),
            Err(error) => {
                tracing::error!(%error, cgroup, "a cgroup of the configuration is not tagged");
                None
            }
        }
    }

    /// Names that rest on what the Kubernetes API has told since; pairs of before and after.
    pub(super) fn name_anew(
        &mut self,
        clients: Vec<Arc<Process>>,
    ) -> Vec<(Arc<Process>, Arc<Process>)> {
        if !self.rules.iter().any(TagRule::is_of_pods) {
            return Vec::new();
        }
        let named = clients.into_iter().map(|client| {
            let named = self.name(Arc::clone(&client), Noted::Nothing);
            (client, named)
        });
        named
            .filter(|(before, after)| !Arc::ptr_eq(before, after))
            .collect()
    }

    fn find_configured(&mut self) {
        let (Some(cgroups), rules) = (&self.cgroups, &self.rules) else {
            return;
        };
        let pods = self.pods.as_deref();
        if rules.is_empty() {
            return;
        }
        let found =
            cgroups.find(|path| nearest_rule(rules, path, pods).is_some_and(|(at, _)| at == path));
        for path in found {
            if let Some((_, rule)) = nearest_rule(&self.rules, &path, self.pods.as_deref()) {
                let name = rule.name.clone();
                self.configured(name, &path, None);
            }
        }
    }

    fn insert(&mut self, new: NewTag) -> Result<(Arc<Tag>, Option<Arc<Tag>>), TagError> {
        let (tag, before) = self.tags.insert(new)?;
        if let Some(before) = &before {
            self.change(before, "replaced", None);
        }
        let by = tag.by.as_ref();
        self.changes.push(Change {
            tag: Arc::clone(&tag),
            event: "set",
            by: by.map(|by| ApproverBlock {
                uid: by.uid,
                user: by.user.clone(),
            }),
            pid: by.map(|by| by.pid),
        });
        Ok((tag, before))
    }

    fn change(&mut self, tag: &Arc<Tag>, event: &'static str, by: Option<&Peer>) {
        self.changes.push(Change {
            tag: Arc::clone(tag),
            event,
            by: by.map(ApproverBlock::from),
            pid: by.map(|by| by.pid),
        });
    }

    fn end(&mut self, id: u32, event: &'static str, by: Option<&Peer>) {
        self.starting.remove(&id);
        if let Some(tag) = self.tags.end(id) {
            self.change(&tag, event, by);
        }
    }

    pub(super) fn list(&self) -> Vec<ListedTag> {
        let processes = |tag: &Tag| {
            let cgroups = self.cgroups.as_ref()?;
            cgroups.processes(&tag.cgroup).ok()
        };
        self.tags
            .list()
            .into_iter()
            .map(|tag| ListedTag {
                processes: processes(&tag).map_or(0, |pids| pids.len() as u64),
                tag: Tag::clone(&tag),
            })
            .collect()
    }

    /// The next so many tags whose cgroups may have ended.
    pub(super) fn sweep(&mut self) {
        let tags = self.tags.list();
        let next = tags.iter().position(|tag| tag.id > self.swept).unwrap_or(0);
        let turn: Vec<Arc<Tag>> = tags.into_iter().skip(next).take(SWEEP_MAX).collect();
        self.swept = turn.last().map_or(0, |tag| tag.id);
        self.look_at(&turn);
    }

    pub(super) fn sweep_all(&mut self) {
        let tags = self.tags.list();
        self.look_at(&tags);
    }

    fn look_at(&mut self, tags: &[Arc<Tag>]) {
        for tag in tags {
            let Some(cgroups) = &self.cgroups else { return };
            if !cgroups.is(&tag.cgroup, tag.cgroup_id) {
                self.end(tag.id, "ended", None);
            } else if tag.origin == Origin::Exec
                && !self.starting.contains(&tag.id)
                && !cgroups.is_populated(&tag.cgroup).unwrap_or(true)
            {
                // Busy where something was moved there meanwhile; then the next look finds it populated.
                if cgroups.remove(&tag.cgroup).is_ok() {
                    self.end(tag.id, "ended", None);
                }
            }
        }
    }

    /// Cgroups of runs that are over and that no state file knows any more. A run that is just being started, by another
    /// agent with the same root, is younger.
    fn remove_orphans(&self) {
        let Some(cgroups) = &self.cgroups else { return };
        let now_s = unix_ns() / 1_000_000_000;
        for name in cgroups.below(&self.root) {
            // The run's id has the time in it.
            let made_s = uuid::Uuid::try_parse(&name)
                .ok()
                .and_then(|id| Some(id.get_timestamp()?.to_unix().0));
            let path = format!("{}/{name}", self.root);
            if made_s.is_some_and(|made_s| made_s + ORPHAN_AGE_S < now_s)
                && self.tags.nearest(&path).is_none()
                && !cgroups.is_populated(&path).unwrap_or(true)
            {
                let _ = cgroups.remove(&path);
            }
        }
    }

    /// At the agent's end: live runs go on, and the next agent finds them in the state file.
    pub(super) fn leave(&mut self) {
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove_if_empty(&self.root);
        }
        let tags = self.tags.list();
        if tags.iter().all(|tag| tag.origin == Origin::Config) {
            self.file.remove();
        }
    }

    /// Whether this very cgroup is tagged.
    fn has(&self, cgroup_id: u64, path: &str) -> bool {
        let tag = self.tags.nearest(path);
        tag.is_some_and(|tag| tag.cgroup == path && tag.cgroup_id == cgroup_id)
    }

    /// The tag a path goes by, set or configured.
    fn of_path(&self, path: &str) -> Option<&TagName> {
        let set = self.tags.nearest(path);
        match nearest_rule(&self.rules, path, self.pods.as_deref()) {
            Some((at, rule)) if set.is_none_or(|tag| depth(at) > depth(&tag.cgroup)) => {
                Some(&rule.name)
            }
            _ => set.map(|tag| &tag.name),
        }
    }
}

impl Change {
    fn record(self) -> Record {
        let tag = &self.tag;
        let run = tag.run.clone();
        let (run, purpose, labels) = match run {
            Some(run) => (Some(run.id), run.purpose, run.labels),
            None => Default::default(),
        };
        let block = TagBlock {
            by: self.by,
            cgroup: tag.cgroup.clone(),
            event: self.event,
            labels,
            name: tag.name.as_str().to_owned(),
            origin: tag.origin.name(),
            pid: self.pid,
            purpose,
            run,
        };
        Record {
            tag: Some(Box::new(block)),
            ..Record::new(Kind::Tag, unix_ns())
        }
    }
}
