//! Which records may be under way at once.

use std::collections::HashSet;

use super::config::Order;
use crate::sink::Item;

/// Of `open`, in order, at most `count`. Where the order of sessions counts, only the first record of each session: a
/// server may refuse one message and take the next, which then would be stored before it.
pub(super) fn next(batch: &[Item], open: &[usize], count: usize, order: Order) -> Vec<usize> {
    if order == Order::None {
        return open.iter().copied().take(count).collect();
    }
    let mut sessions = HashSet::new();
    // Records of no session are in order among themselves.
    let is_first = |place: &usize| {
        batch
            .get(*place)
            .is_some_and(|item| sessions.insert(item.session.as_deref()))
    };
    open.iter().copied().filter(is_first).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_items::items;

    #[test]
    fn one_record_of_each_session_is_under_way() {
        // Sessions s-1, s-2, s-0, s-1, s-2, s-0, ...
        let batch = items(9);
        let all: Vec<usize> = (0..9).collect();
        assert_eq!(next(&batch, &all, 10, Order::Session), [0, 1, 2]);
        assert_eq!(next(&batch, &[1, 3, 4, 6], 10, Order::Session), [1, 3]);
        assert_eq!(next(&batch, &all, 2, Order::Session), [0, 1]);
        assert_eq!(next(&batch, &all, 5, Order::None), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn records_without_a_session_are_one_behind_the_other() {
        let mut batch = items(3);
        for item in &mut batch {
            item.session = None;
        }
        assert_eq!(next(&batch, &[0, 1, 2], 10, Order::Session), [0]);
    }
}
