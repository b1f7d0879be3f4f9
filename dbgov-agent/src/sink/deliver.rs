//! What every kind of sink can do.

use std::future::Future;
use std::time::Duration;

use super::scrub::Scrub;

/// One record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `seq` of the record.
    pub seq: u64,
    /// `chain.hash`: names the record for ever, so that a receiver can tell a repetition.
    pub id: Box<str>,
    /// `session.id`; records of one session must stay in order.
    pub session: Option<Box<str>>,
    /// `kind`.
    pub kind: Box<str>,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_ns: u64,
    pub severity: Severity,
    /// What the encoder made of it, one line without its newline.
    pub body: Vec<u8>,
}

/// How much a record wants to be looked at; each protocol and format has its own numbers for these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// What happens all the time.
    Informational,
    /// What is unusual: an error of a client's, a change of the agent's own settings.
    Low,
    /// An alert of the policy; an approval that is asked for.
    Medium,
    /// Something was stopped, or dbgov could not see something.
    High,
    /// Something that should have been stopped was not.
    Critical,
}

/// Why a batch is not with the receiver.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// To be tried again as it is, not before `after` where the receiver said so.
    #[error("{what}")]
    Retry {
        what: String,
        after: Option<Duration>,
    },
    /// The receiver took all of the batch but these (by their places in it), and will never take them.
    #[error("{} records were refused: {what}", .places.len())]
    Refused { what: String, places: Vec<usize> },
}

impl DeliverError {
    pub fn retry(what: impl Into<String>) -> Self {
        DeliverError::Retry {
            what: what.into(),
            after: None,
        }
    }

    /// Without the secrets that a receiver may have repeated.
    pub(super) fn scrubbed(self, scrub: &Scrub) -> Self {
        match self {
            DeliverError::Retry { what, after } => DeliverError::Retry {
                what: scrub.text(&what),
                after,
            },
            DeliverError::Refused { what, places } => DeliverError::Refused {
                what: scrub.text(&what),
                places,
            },
        }
    }
}

/// A receiver. It keeps its connection between batches and makes a new one after an error.
pub trait Deliver {
    /// Returns once the receiver has the whole batch, as far as its protocol can tell. Nobody waits for it but the
    /// sink's own thread; the caller bounds the time it may take and drops the future when that is over.
    fn deliver(&mut self, batch: &[Item]) -> impl Future<Output = Result<(), DeliverError>>;

    /// Whether the receiver has, for certain, everything that was delivered so far: the cursor moves only then. For
    /// protocols that do not acknowledge; asked after each batch, now and then while there is nothing to do, and with
    /// `now` before the end. After an error, here or from [`deliver`](Self::deliver), everything since the last `true`
    /// is read and delivered again.
    fn confirm(&mut self, now: bool) -> impl Future<Output = Result<bool, DeliverError>> {
        let _ = now;
        async { Ok(true) }
    }
}
