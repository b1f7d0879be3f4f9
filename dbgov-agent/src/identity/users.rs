//! Names of the host's users.

use hashlink::LruCache;
use nix::unistd::{Uid, User};

use crate::protocol::TimeNs;

/// Users remembered, about 100 bytes each.
const USERS_MAX: usize = 4096;

/// How long a name, or its absence, is believed: a user may be created while the agent runs.
const USER_NAME_TTL_NS: u64 = 300 * 1_000_000_000;

/// A cache before the name service (getpwuid_r(3)), which may be a directory server on the network.
#[derive(Debug)]
pub(super) struct Users {
    names: LruCache<u32, (TimeNs, Option<String>)>,
}

impl Users {
    pub(super) fn new() -> Self {
        Users {
            names: LruCache::new(USERS_MAX),
        }
    }

    pub(super) fn name(&mut self, uid: u32, now: TimeNs) -> Option<String> {
        if let Some((asked, name)) = self.names.get(&uid)
            && now.saturating_sub(*asked) < USER_NAME_TTL_NS
        {
            return name.clone();
        }
        let name = User::from_uid(Uid::from_raw(uid))
            .ok()
            .flatten()
            .map(|user| user.name);
        self.names.insert(uid, (now, name.clone()));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_for_a_while() {
        let mut users = Users::new();
        assert_eq!(users.name(0, 0).as_deref(), Some("root"));
        assert_eq!(users.name(4_000_000_001, 0), None);
        // What the cache holds is answered until it is too old.
        users.names.insert(0, (0, Some("cached".into())));
        assert_eq!(
            users.name(0, USER_NAME_TTL_NS - 1).as_deref(),
            Some("cached")
        );
        assert_eq!(users.name(0, USER_NAME_TTL_NS).as_deref(), Some("root"));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut users = Users::new();
        for uid in 0..2 * USERS_MAX as u32 {
            users.names.insert(uid, (0, None));
        }
        assert_eq!(users.names.len(), USERS_MAX);
    }
}
