//! A batch as one request, or as several where the receiver finds it too large or cannot say which record it objects to.

use std::future::Future;
use std::time::Duration;

use super::deliver::{DeliverError, Item};
use super::progress::Progress;

/// What the receiver said to one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it was taken.
    Taken,
    /// Not as one request: it is too large, or one of the records is at fault. Halves are sent, and of those halves; a
    /// record that is refused alone is refused.
    Divide(String),
    /// Record by record. Places in the request.
    Each(Each),
    /// Nothing was taken, as far as is known.
    Later {
        what: String,
        after: Option<Duration>,
    },
}

/// Answers to single records; the others were taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Each {
    pub refused: Vec<(usize, String)>,
    /// To be sent again, not before `after`, because of `what`.
    pub again: Vec<usize>,
    pub what: String,
    pub after: Option<Duration>,
    /// How many the receiver had already.
    pub known: u64,
}

impl Answer {
    pub fn later(what: impl Into<String>) -> Self {
        Answer::Later {
            what: what.into(),
            after: None,
        }
    }

    /// What only a person can mend (a wrong token, no such index): tried again, but seldom.
    pub fn misconfigured(what: impl Into<String>) -> Self {
        Answer::Later {
            what: what.into(),
            after: Some(super::MISCONFIGURED_RETRY),
        }
    }
}

/// Sends requests.
pub(super) trait Send {
    fn send(&mut self, items: &[&Item]) -> impl Future<Output = Answer>;
}

/// Sends what is open of `batch`, in order, in as few requests as the receiver lets.
pub(super) async fn deliver(
    progress: &mut Progress,
    batch: &[Item],
    sender: &mut impl Send,
) -> Result<(), DeliverError> {
    progress.begin(batch);
    let mut requests = vec![progress.open()];
    while let Some(places) = requests.pop() {
        let items: Vec<&Item> = places
            .iter()
            .filter_map(|&place| batch.get(place))
            .collect();
        if items.is_empty() {
            continue;
        }
        match sender.send(&items).await {
            Answer::Taken => places.iter().for_each(|&place| progress.taken(place)),
            Answer::Divide(why) => match places.as_slice() {
                [one] => progress.refused(*one, why),
                several => {
                    let (first, second) = several.split_at(several.len() / 2);
                    requests.push(second.to_vec());
                    requests.push(first.to_vec());
                }
            },
            Answer::Each(each) => settle(progress, &places, each)?,
            Answer::Later { what, after } => return Err(DeliverError::Retry { what, after }),
        }
    }
    progress.outcome(batch)
}

fn settle(progress: &mut Progress, places: &[usize], each: Each) -> Result<(), DeliverError> {
    progress.known += each.known;
    for &place in places {
        progress.taken(place);
    }
    for (at, why) in each.refused {
        if let Some(&place) = places.get(at) {
            progress.refused(place, why);
        }
    }
    if each.again.is_empty() {
        return Ok(());
    }
    for at in each.again {
        if let Some(&place) = places.get(at) {
            progress.reopen(place);
        }
    }
    Err(DeliverError::Retry {
        what: each.what,
        after: each.after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_items::{items, now};

    /// Takes requests of so many records at most, never one of the `bad`; remembers what it took.
    struct Receiver {
        records_max: usize,
        bad: Vec<u64>,
        took: Vec<u64>,
        requests: usize,
        /// Answers so many requests, then says to come later.
        patience: usize,
    }

    impl Send for Receiver {
        async fn send(&mut self, items: &[&Item]) -> Answer {
            self.requests += 1;
            if self.requests > self.patience {
                return Answer::later("busy");
            }
            if items.len() > self.records_max || items.iter().any(|i| self.bad.contains(&i.seq)) {
                return Answer::Divide("cannot".to_owned());
            }
            self.took.extend(items.iter().map(|item| item.seq));
            Answer::Taken
        }
    }

    fn receiver(records_max: usize, bad: &[u64]) -> Receiver {
        Receiver {
            records_max,
            bad: bad.to_vec(),
            took: Vec::new(),
            requests: 0,
            patience: usize::MAX,
        }
    }

    #[test]
    fn what_is_too_large_goes_in_parts_and_in_order() {
        let batch = items(100);
        let mut to = receiver(7, &[]);
        now(deliver(&mut Progress::default(), &batch, &mut to)).unwrap();
        assert_eq!(to.took, (1..=100).collect::<Vec<u64>>());
    }

    #[test]
    fn the_record_at_fault_is_found_and_the_others_arrive() {
        let batch = items(64);
        let mut to = receiver(64, &[17, 40]);
        let result = now(deliver(&mut Progress::default(), &batch, &mut to));
        let Err(DeliverError::Refused { places, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(places, [16, 39]);
        assert_eq!(to.took.len(), 62);
        assert!(to.took.is_sorted());
        assert!(to.requests < 30, "{} requests", to.requests);
    }

    #[test]
    fn a_second_attempt_sends_only_the_rest() {
        let batch = items(16);
        let mut progress = Progress::default();
        let mut to = receiver(4, &[]);
        to.patience = 4;
        assert!(now(deliver(&mut progress, &batch, &mut to)).is_err());
        assert_eq!(to.took, [1, 2, 3, 4, 5, 6, 7, 8]);
        to.patience = usize::MAX;
        now(deliver(&mut progress, &batch, &mut to)).unwrap();
        assert_eq!(to.took, (1..=16).collect::<Vec<u64>>());
    }

    #[test]
    fn single_answers_are_told_apart() {
        struct Mixed(usize);
        impl Send for Mixed {
            async fn send(&mut self, items: &[&Item]) -> Answer {
                self.0 += 1;
                if self.0 > 1 {
                    assert_eq!(items.iter().map(|i| i.seq).collect::<Vec<_>>(), [3]);
                    return Answer::Taken;
                }
                Answer::Each(Each {
                    refused: vec![(1, "mapping".to_owned())],
                    again: vec![2],
                    what: "queue full".to_owned(),
                    after: None,
                    known: 1,
                })
            }
        }
        let batch = items(4);
        let mut progress = Progress::default();
        let mut to = Mixed(0);
        let first = now(deliver(&mut progress, &batch, &mut to)).unwrap_err();
        assert_eq!(first.to_string(), "queue full");
        let Err(DeliverError::Refused { places, what }) =
            now(deliver(&mut progress, &batch, &mut to))
        else {
            panic!("the refused one is forgotten");
        };
        assert_eq!((places, what.as_str()), (vec![1], "mapping"));
        assert_eq!(progress.known, 1);
    }
}
