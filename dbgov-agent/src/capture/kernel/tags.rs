//! The tags of cgroups, as the connect programs look them up.

use super::{Kernel, KernelError};

pub(super) const MAP: &str = "TAGS";

impl Kernel {
    /// From the next connect(2) below this cgroup on.
    pub fn set_tag(&mut self, cgroup_id: u64, tag: u32) -> Result<(), KernelError> {
        self.tags
            .insert(cgroup_id, tag, 0)
            .map_err(|source| KernelError::Map { name: MAP, source })
    }

    pub fn remove_tag(&mut self, cgroup_id: u64) {
        let _ = self.tags.remove(&cgroup_id);
    }

    /// Takes those out that a former agent left and that are no more.
    pub fn keep_tags(&mut self, keep: impl Fn(u64, u32) -> bool) {
        let all: Vec<(u64, u32)> = self.tags.iter().filter_map(Result::ok).collect();
        for (cgroup_id, tag) in all {
            if !keep(cgroup_id, tag) {
                self.remove_tag(cgroup_id);
            }
        }
    }
}
