//! What became of the records of a batch, kept while the batch is tried again: what the receiver has taken is not sent
//! a second time, also where the caller dropped the attempt because its time was over.

use super::deliver::{DeliverError, Item};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Taken,
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// `id` of the first and the last record: names the batch.
    ends: Option<(Box<str>, Box<str>)>,
    states: Vec<State>,
    /// Why the first of the refused was refused.
    why: Option<String>,
    /// Records the receiver had already, by its own word, since the sink was made.
    pub(super) known: u64,
}

impl Progress {
    /// Goes on with `batch`. True where it is another one than the last time.
    pub(super) fn begin(&mut self, batch: &[Item]) -> bool {
        let ends = match (batch.first(), batch.last()) {
            (Some(first), Some(last)) => Some((first.id.clone(), last.id.clone())),
            _ => None,
        };
        if self.ends == ends && self.states.len() == batch.len() {
            return false;
        }
        self.ends = ends;
        self.states.clear();
        self.states.resize(batch.len(), State::Open);
        self.why = None;
        true
    }

    /// Places in the batch of what is neither taken nor refused, in order.
    pub(super) fn open(&self) -> Vec<usize> {
        let open = |(place, state): (usize, &State)| (*state == State::Open).then_some(place);
        self.states.iter().enumerate().filter_map(open).collect()
    }

    pub(super) fn is_open(&self, place: usize) -> bool {
        self.states.get(place) == Some(&State::Open)
    }

    pub(super) fn taken(&mut self, place: usize) {
        self.set(place, State::Taken);
    }

    pub(super) fn refused(&mut self, place: usize, why: impl Into<String>) {
        self.set(place, State::Refused);
        self.why.get_or_insert_with(|| why.into());
    }

    /// To be sent once more.
    pub(super) fn reopen(&mut self, place: usize) {
        self.set(place, State::Open);
    }

    fn set(&mut self, place: usize, state: State) {
        if let Some(slot) = self.states.get_mut(place) {
            *slot = state;
        }
    }

    /// What the caller is told once nothing is open.
    ///
    /// A receiver that takes none of several records does not object to a record but to all that this sink sends (the
    /// wrong index, another format): then the records stay here and the batch is tried again.
    pub(super) fn outcome(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        let refused = |(place, state): (usize, &State)| (*state == State::Refused).then_some(place);
        let places: Vec<usize> = self.states.iter().enumerate().filter_map(refused).collect();
        if places.is_empty() {
            return Ok(());
        }
        let why = self.why.clone().unwrap_or_default();
        if places.len() == batch.len() && batch.len() > 1 {
            self.states.fill(State::Open);
            self.why = None;
            return Err(DeliverError::Retry {
                what: format!("all {} records were refused: {why}", batch.len()),
                after: Some(super::MISCONFIGURED_RETRY),
            });
        }
        Err(DeliverError::Refused { what: why, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_items::items;

    #[test]
    fn a_batch_goes_on_where_it_was_and_another_one_begins_anew() {
        let batch = items(4);
        let mut progress = Progress::default();
        assert!(progress.begin(&batch));
        progress.taken(0);
        progress.taken(2);
        assert!(!progress.begin(&batch));
        assert_eq!(progress.open(), [1, 3]);
        assert!(progress.begin(&batch[1..]));
        assert_eq!(progress.open(), [0, 1, 2]);
    }

    #[test]
    fn refused_records_are_named_by_their_places() {
        let batch = items(3);
        let mut progress = Progress::default();
        progress.begin(&batch);
        progress.taken(0);
        progress.refused(1, "too long");
        progress.taken(2);
        let Err(DeliverError::Refused { what, places }) = progress.outcome(&batch) else {
            panic!("nothing was refused");
        };
        assert_eq!((what.as_str(), places), ("too long", vec![1]));
    }

    #[test]
    fn a_receiver_that_takes_nothing_is_asked_again_and_loses_nothing() {
        let batch = items(2);
        let mut progress = Progress::default();
        progress.begin(&batch);
        progress.refused(0, "no such field");
        progress.refused(1, "no such field");
        let outcome = progress.outcome(&batch);
        assert!(matches!(
            outcome,
            Err(DeliverError::Retry { after: Some(_), .. })
        ));
        assert_eq!(progress.open(), [0, 1]);

        // One record alone is refused: nothing would ever go on behind it.
        let batch = items(1);
        progress.begin(&batch);
        progress.refused(0, "no such field");
        assert!(matches!(
            progress.outcome(&batch),
            Err(DeliverError::Refused { .. })
        ));
    }
}
