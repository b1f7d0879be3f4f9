//! Tags: names that an operator gives to cgroups. A process goes by the nearest tagged cgroup above it.
//!
//! ```text
//! name    what a tag may be called, what a run may say of itself
//! rule    tags of the configuration: which cgroups they are for
//! state   the tags on disk, for the next agent
//! ```
//!
//! The kernel programs have the tags by the ids of the cgroups (map `TAGS`) and note at connect(2) which one is the
//! nearest. So a process that has moved or ended since still goes by the tag it had then.

mod name;
mod rule;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use hashlink::LruCache;
use serde::{Deserialize, Serialize};

pub use name::{Labels, NameError, TagName, check_run, label};
pub use rule::{TagRule, nearest as nearest_rule};
pub use state::{StateError, StateFile};

/// Tags that are kept after their end: a connect(2) under one may still be on its way from the kernel.
const ENDED_MAX: usize = 4096;

/// A tagged cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// As the kernel programs know it; never used twice while the host is up.
    pub id: u32,
    pub name: TagName,
    /// cgroup v2 path.
    pub cgroup: String,
    /// A cgroup that is made anew at the same path has another.
    pub cgroup_id: u64,
    pub origin: Origin,
    /// Who set it; absent for the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Setter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// Where a tag comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `dbgov tag set`
    Command,
    /// `[[tag]]`
    Config,
    /// `dbgov exec`
    Exec,
}

impl Origin {
    /// As in the record.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Command => "command",
            Origin::Config => "config",
            Origin::Exec => "exec",
        }
    }
}

/// A UNIX user, by the kernel's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setter {
    pub uid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The process that asked.
    pub pid: u32,
}

/// One `dbgov exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What a new tag is made of.
#[derive(Debug, Clone)]
pub struct NewTag {
    pub name: TagName,
    pub cgroup: String,
    pub cgroup_id: u64,
    pub origin: Origin,
    pub by: Option<Setter>,
    pub run: Option<Run>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("every process is below the root cgroup: tag a cgroup below it")]
    Root,
    #[error(
        "{0} cgroups are tagged, more than the kernel's table holds: remove some with `dbgov tag rm`"
    )]
    Full(usize),
}

/// The tags of the host.
#[derive(Debug)]
pub struct Tags {
    live: HashMap<u32, Arc<Tag>>,
    /// By the cgroup's path.
    by_path: HashMap<String, u32>,
    ended: LruCache<u32, Arc<Tag>>,
    last_id: u32,
}

impl Default for Tags {
    fn default() -> Self {
        Tags {
            live: HashMap::new(),
            by_path: HashMap::new(),
            ended: LruCache::new(ENDED_MAX),
            last_id: 0,
        }
    }
}

impl Tags {
    /// Those of an earlier agent; ids go on behind `last_id`.
    pub fn restored(tags: Vec<Tag>, last_id: u32) -> Self {
        let mut restored = Tags {
            last_id: tags.iter().map(|tag| tag.id).fold(last_id, u32::max),
            ..Tags::default()
        };
        for tag in tags {
            restored.by_path.insert(tag.cgroup.clone(), tag.id);
            restored.live.insert(tag.id, Arc::new(tag));
        }
        restored
    }

    /// Adds a tag. The second one of a cgroup takes the place of the first, which is returned.
    pub fn insert(&mut self, new: NewTag) -> Result<(Arc<Tag>, Option<Arc<Tag>>), TagError> {
        if new.cgroup.trim_matches('/').is_empty() {
            return Err(TagError::Root);
        }
        let before = self.by_path.get(&new.cgroup).copied();
        if before.is_none() && self.live.len() >= dbgov_common::TAGS_MAX as usize {
            return Err(TagError::Full(self.live.len()));
        }
        let before = before.and_then(|id| self.end(id));
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let tag = Arc::new(Tag {
            id: self.last_id,
            name: new.name,
            cgroup: new.cgroup,
            cgroup_id: new.cgroup_id,
            origin: new.origin,
            by: new.by,
            run: new.run,
        });
        self.by_path.insert(tag.cgroup.clone(), tag.id);
        self.live.insert(tag.id, Arc::clone(&tag));
        Ok((tag, before))
    }

    /// Takes a tag out. What the kernel has already noted under it still finds it.
    pub fn end(&mut self, id: u32) -> Option<Arc<Tag>> {
        let tag = self.live.remove(&id)?;
        self.by_path.remove(&tag.cgroup);
        self.ended.insert(id, Arc::clone(&tag));
        Some(tag)
    }

    /// The tag the kernel noted.
    pub fn noted(&mut self, id: u32) -> Option<Arc<Tag>> {
        match self.live.get(&id) {
            Some(tag) => Some(Arc::clone(tag)),
            None => self.ended.get(&id).cloned(),
        }
    }

    /// The tag of the nearest tagged cgroup at or above a path.
    pub fn nearest(&self, path: &str) -> Option<&Arc<Tag>> {
        if self.by_path.is_empty() {
            return None;
        }
        ancestors(path).find_map(|path| self.live.get(self.by_path.get(path)?))
    }

    /// In the order in which they were set.
    pub fn list(&self) -> Vec<Arc<Tag>> {
        let mut tags: Vec<_> = self.live.values().cloned().collect();
        tags.sort_unstable_by_key(|tag| tag.id);
        tags
    }

    pub fn last_id(&self) -> u32 {
        self.last_id
    }
}

/// A cgroup path and those above it, the deepest first, without the root.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    std::iter::successors((!path.is_empty()).then_some(path), |path| {
        let above = &path[..path.rfind('/')?];
        (!above.is_empty()).then_some(above)
    })
}

/// How deep a cgroup lies.
pub fn depth(path: &str) -> usize {
    ancestors(path).count()
}
