//! The pods that are known, by uid. One that was deleted stays for a while: its last connections may still be told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pod;

/// Pods kept, at about 1 KiB each. A kubelet runs 110 by default, the largest set-ups a thousand; a node that runs short
/// jobs has as many again that were deleted minutes ago.
pub(super) const PODS_MAX: usize = 4096;

/// How long a deleted pod is kept: the processes of one are ended within its grace period, 30 s by default.
pub(super) const DELETED_KEPT: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
pub(super) struct Table {
    pods: HashMap<String, Entry>,
    /// What a static pod is called on the host: the API gives its mirror another uid.
    static_pods: HashMap<String, String>,
    /// Uids of a list that is being told.
    listed: Option<HashSet<String>>,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    deleted: Option<Instant>,
    /// Uid of the static pod that it mirrors.
    mirrors: Option<String>,
}

/// A pod, and the uid its cgroup has where that is another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) pod: Pod,
    pub(super) mirrors: Option<String>,
}

impl Table {
    pub(super) fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        let uid = self.static_pods.get(uid).map_or(uid, String::as_str);
        self.pods.get(uid).map(|entry| Arc::clone(&entry.pod))
    }

    /// As its cgroup has it, of one that is not deleted: a later pod may have the same name.
    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<String> {
        let entry = self.pods.values().find(|entry| {
            entry.deleted.is_none() && entry.pod.namespace == namespace && entry.pod.name == name
        })?;
        Some(entry.mirrors.as_ref().unwrap_or(&entry.pod.uid).clone())
    }

    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// The list is at its end: what was not in it is no more.
    pub(super) fn end(&mut self, now: Instant) {
        let Some(listed) = self.listed.take() else {
            return;
        };
        for (uid, entry) in &mut self.pods {
            if !listed.contains(uid) {
                entry.deleted.get_or_insert(now);
            }
        }
        self.expire(now);
    }

    /// Gives whether anything about the pod is new.
    pub(super) fn put(&mut self, told: Told, now: Instant) -> bool {
        let Told { pod, mirrors } = told;
        if let Some(listed) = &mut self.listed
            && listed.len() < PODS_MAX
        {
            listed.insert(pod.uid.clone());
        }
        if let Some(known) = self.pods.get_mut(&pod.uid) {
            known.deleted = None;
            if *known.pod == pod && known.mirrors == mirrors {
                return false;
            }
        } else if self.pods.len() >= PODS_MAX && !self.make_room(now) {
            tracing::warn!(
                pod = pod.full_name(),
                "more pods than are kept: it has no name in records"
            );
            return false;
        }
        if let Some(static_uid) = &mirrors {
            self.static_pods.insert(static_uid.clone(), pod.uid.clone());
        }
        let uid = pod.uid.clone();
        let entry = Entry {
            pod: Arc::new(pod),
            deleted: None,
            mirrors,
        };
        self.pods.insert(uid, entry);
        true
    }

    pub(super) fn delete(&mut self, uid: &str, now: Instant) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.deleted = Some(now);
        }
        self.expire(now);
    }

    fn expire(&mut self, now: Instant) {
        self.pods.retain(|_, entry| {
            entry
                .deleted
                .is_none_or(|at| now.saturating_duration_since(at) < DELETED_KEPT)
        });
        let pods = &self.pods;
        self.static_pods.retain(|_, uid| pods.contains_key(uid));
    }

    /// By the pod that was deleted first.
    fn make_room(&mut self, now: Instant) -> bool {
        self.expire(now);
        if self.pods.len() < PODS_MAX {
            return true;
        }
        let deleted = self
            .pods
            .iter()
            .filter_map(|(uid, entry)| Some((entry.deleted?, uid)));
        let oldest = deleted.min().map(|(_, uid)| uid.clone());
        oldest.is_some_and(|uid| self.pods.remove(&uid).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, name: &str) -> Told {
        Told {
            pod: Pod {
                uid: uid.into(),
                namespace: "shop".into(),
                name: name.into(),
                ..Pod::default()
            },
            mirrors: None,
        }
    }

    fn names(table: &Table) -> Vec<String> {
        let mut names: Vec<_> = table.pods.values().map(|e| e.pod.name.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_changed_is_news() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert!(table.put(pod("1", "a"), now));
        assert!(!table.put(pod("1", "a"), now));
        let mut labelled = pod("1", "a");
        labelled.pod.labels.insert("app".into(), "shop".into());
        assert!(table.put(labelled, now));
        assert_eq!(table.by_uid("1").unwrap().labels["app"], "shop");
        assert_eq!(table.find("shop", "a").as_deref(), Some("1"));
        assert_eq!(table.find("other", "a"), None);
        assert_eq!(table.by_uid("2"), None);
    }

    #[test]
    fn a_deleted_pod_stays_for_a_while() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.put(pod("1", "a"), now);
        table.delete("1", now);
        assert!(table.by_uid("1").is_some());
        assert_eq!(table.find("shop", "a"), None, "a new one may have its name");
        table.put(pod("2", "a"), now);
        assert_eq!(table.find("shop", "a").as_deref(), Some("2"));
        table.delete("9", now + DELETED_KEPT);
        assert!(table.by_uid("1").is_none());
        assert!(table.by_uid("2").is_some());
    }

    #[test]
    fn a_list_tells_who_is_gone() {
        let (mut table, now) = (Table::default(), Instant::now());
        for (uid, name) in [("1", "a"), ("2", "b")] {
            table.put(pod(uid, name), now);
        }
        table.begin();
        table.put(pod("2", "b"), now);
        table.put(pod("3", "c"), now);
        table.end(now);
        assert_eq!(table.find("shop", "a"), None);
        assert_eq!(names(&table), ["a", "b", "c"], "kept for a while");
        table.begin();
        table.put(pod("1", "a"), now);
        table.end(now + DELETED_KEPT);
        assert_eq!(table.find("shop", "a").as_deref(), Some("1"), "it is back");
        // A list that was broken off tells nothing.
        table.begin();
        table.begin();
        table.put(pod("1", "a"), now);
        table.end(now);
        assert!(table.find("shop", "a").is_some());
        table.end(now);
        assert!(table.find("shop", "a").is_some());
    }

    #[test]
    fn room_is_made_of_deleted_pods_only() {
        let (mut table, now) = (Table::default(), Instant::now());
        for n in 0..PODS_MAX {
            assert!(table.put(pod(&n.to_string(), "x"), now));
        }
        assert!(!table.put(pod("one more", "y"), now));
        table.delete("7", now);
        assert!(table.put(pod("one more", "y"), now));
        assert!(table.by_uid("7").is_none());
        assert_eq!(table.len(), PODS_MAX);
    }

    #[test]
    fn a_static_pod_is_found_by_the_uid_of_its_cgroup() {
        let (mut table, now) = (Table::default(), Instant::now());
        let mirror = Told {
            mirrors: Some("hash".into()),
            ..pod("1", "etcd")
        };
        table.put(mirror, now);
        assert_eq!(table.by_uid("hash").unwrap().name, "etcd");
        assert_eq!(table.find("shop", "etcd").as_deref(), Some("hash"));
        table.delete("1", now);
        table.delete("1", now + DELETED_KEPT);
        table.delete("x", now + 2 * DELETED_KEPT);
        assert!(table.by_uid("hash").is_none());
        assert!(table.static_pods.is_empty());
    }
}
