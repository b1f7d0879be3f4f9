//! What is asked of the tags, and what their changes come to.

use std::sync::Arc;

use super::Change;
use crate::agent::AgentError;
use crate::agent::capture::Capture;
use crate::clock::boot_ns;
use crate::control::{Job, NewRun, Peer, Queued, Reply, Tagged};
use crate::identity::Process;
use crate::identity::tags::{Origin, Tag, TagName};

/// Live runs of one user; root has no limit but the table's.
const RUNS_PER_USER_MAX: usize = 256;

impl Capture {
    /// Brings kernel, journal, state file and open sessions up to date.
    pub(in crate::agent::capture) fn tag_changes(&mut self) -> Result<(), AgentError> {
        if self.tags.changes.is_empty() {
            return Ok(());
        }
        let mut to_keep = false;
        for change in std::mem::take(&mut self.tags.changes) {
            to_keep |= change.tag.origin != Origin::Config;
            match change.event {
                "set" => self.kernel.set_tag(change.tag.cgroup_id, change.tag.id)?,
                // The cgroup has the new one when the next change is handled, without a moment in between; one that was
                // made anew at the same path has another id.
                "replaced" if self.tags.has(change.tag.cgroup_id, &change.tag.cgroup) => {}
                _ => self.kernel.remove_tag(change.tag.cgroup_id),
            }
            tracing::info!(name = %change.tag.name, cgroup = change.tag.cgroup, event = change.event, "tag");
            self.rename_sessions(&change);
            self.pipeline.recorder().push(change.record());
        }
        if to_keep && let Err(error) = self.tags.file.write(&self.tags.tags) {
            tracing::error!(%error, "tags");
        }
        Ok(())
    }

    /// Sessions that are open go by a tag that is set or removed from now on; one that ended with its cgroup still says
    /// who they are.
    fn rename_sessions(&mut self, change: &Change) {
        let (tags, changed) = (&self.tags.tags, &change.tag);
        let retagged = |process: &Arc<Process>, tag: Option<Arc<Tag>>| {
            (process.tag != tag).then(|| {
                Arc::new(Process {
                    tag,
                    ..Process::clone(process)
                })
            })
        };
        match change.event {
            "set" => self.pipeline.rename(boot_ns(), |process| {
                let nearest = tags.nearest(process.cgroup.as_deref()?)?;
                (nearest.id == changed.id).then(|| retagged(process, Some(Arc::clone(nearest))))?
            }),
            "removed" => self.pipeline.rename(boot_ns(), |process| {
                let was = process.tag.as_ref()?;
                let nearest = || tags.nearest(process.cgroup.as_deref()?).cloned();
                (was.id == changed.id).then(|| retagged(process, nearest()))?
            }),
            _ => {}
        }
    }

    pub(in crate::agent::capture) fn tag_job(
        &mut self,
        job: &Job,
        peer: &Peer,
    ) -> Result<Reply, AgentError> {
        let reply = match job {
            Job::Tag(new) => match self.tags.insert(new.clone()) {
                Ok((tag, before)) => Reply::of(&Tagged {
                    cgroup: tag.cgroup.clone(),
                    name: tag.name.clone(),
                    replaced: before.map(|before| before.name.clone()),
                }),
                Err(error) => Reply::error(error),
            },
            Job::Run(run) => self.begin(run, peer),
            Job::Moved(id) => {
                self.tags.starting.remove(id);
                Reply::of(&())
            }
            Job::NotMoved(id) => {
                self.tags.starting.remove(id);
                self.tags.sweep_all();
                Reply::of(&())
            }
            Job::Request(_) => Reply::error("no job"),
        };
        // Before anybody relies on it.
        self.tag_changes()?;
        Ok(reply)
    }

    fn begin(&mut self, run: &NewRun, peer: &Peer) -> Reply {
        let now = peer
            .cgroup
            .as_deref()
            .and_then(|path| self.tags.of_path(path));
        if let Some(now) = now
            && peer.uid != 0
            && !run.from.iter().any(|glob| glob.matches(now.as_str()))
        {
            let words = format!(
                "this process goes by {now} and may not exchange that for {}: no [[exec]] of the agent's configuration has it in `from`",
                run.tag.name
            );
            self.refusals.note(peer, "exec", &words);
            return Reply::Error(words);
        }
        let of_user = |tag: &&Arc<Tag>| {
            tag.origin == Origin::Exec && tag.by.as_ref().is_some_and(|by| by.uid == peer.uid)
        };
        let runs = self.tags.tags.list().iter().filter(of_user).count();
        if peer.uid != 0 && runs >= RUNS_PER_USER_MAX {
            return Reply::Error(format!(
                "{} has {runs} runs already; wait for some to end (`dbgov tag list`)",
                peer.who()
            ));
        }
        match self.tags.insert(run.tag.clone()) {
            Ok((tag, _)) => {
                self.tags.starting.insert(tag.id);
                Reply::of(&tag.id)
            }
            Err(error) => Reply::error(error),
        }
    }

    pub(in crate::agent::capture) fn remove_tags(
        &mut self,
        name: &TagName,
        cgroup: Option<&str>,
        peer: &Peer,
    ) -> Result<Reply, AgentError> {
        let cgroup = cgroup.map(|written| match &self.tags.cgroups {
            Some(cgroups) => cgroups.path_of(written),
            None => written.to_owned(),
        });
        let named: Vec<Arc<Tag>> = self
            .tags
            .tags
            .list()
            .into_iter()
            .filter(|tag| tag.name == *name)
            .filter(|tag| cgroup.as_ref().is_none_or(|cgroup| tag.cgroup == *cgroup))
            .collect();
        let (configured, others): (Vec<_>, Vec<_>) = named
            .into_iter()
            .partition(|tag| tag.origin == Origin::Config);
        if others.is_empty() {
            return Ok(Reply::Error(match configured.is_empty() {
                true => format!("no cgroup goes by {name}; `dbgov tag list` shows those that do"),
                false => format!(
                    "{name} is a [[tag]] of the configuration: take it out there and restart the agent"
                ),
            }));
        }
        for tag in &others {
            self.tags.end(tag.id, "removed", Some(peer));
        }
        self.tag_changes()?;
        let removed: Vec<&Tag> = others.iter().map(|tag| &**tag).collect();
        Ok(Reply::of(&removed))
    }

    /// Who goes by a tag may look, but not decide: an agent must not approve its own statements or take its own name
    /// off. (Root may do anything on this host anyway.)
    pub(in crate::agent::capture) fn refused_for_its_tag(
        &mut self,
        queued: &Queued,
    ) -> Option<Reply> {
        let peer = &queued.peer;
        let asked = match &queued.job {
            Job::Request(request) if request.only_looks() => return None,
            Job::Request(request) => request.name(),
            Job::Tag(_) => "tag_set",
            Job::Run(_) | Job::Moved(_) | Job::NotMoved(_) => return None,
        };
        let tag = self.tags.of_path(peer.cgroup.as_deref()?)?;
        if peer.uid == 0 {
            return None;
        }
        let words = format!(
            "this process goes by {tag}: who is tagged may not change what governs them; ask somebody else of the group"
        );
        self.refusals.note(peer, asked, &words);
        Some(Reply::Error(words))
    }

    /// Records what the control socket refused.
    pub(in crate::agent::capture) fn refused(&mut self) {
        for record in self.refusals.take() {
            self.pipeline.recorder().push(record);
        }
    }
}
