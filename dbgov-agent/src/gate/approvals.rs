//! Statements that wait for a person's decision.
//!
//! The store only remembers and decides who was first: whoever owns the connection releases or refuses on an
//! [`Outcome`]. Time is passed in.
#![forbid(unsafe_code)]

mod block;
mod model;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::chars::cut;
use crate::protocol::TimeNs;

pub use model::{
    ApprovalError, ApprovalId, Approver, Decision, Listed, Outcome, Request, State, Statement,
};

/// Statements that wait at once; each holds up one connection, and nobody reads a longer list. About 2 KiB each.
pub const PENDING_MAX: usize = 1024;
/// What was decided is remembered, so that a second answer can be told who was first. About 2 KiB each.
const DECIDED_MAX: usize = 256;
/// Of a statement's text, what is shown to the person who decides and kept in the record, bytes.
pub const HEAD_BYTES_MAX: usize = 1024;
/// Of the reason a person gives, bytes: a sentence or two.
pub const REASON_BYTES_MAX: usize = 500;
/// Waits longer than this are cut to it, nanoseconds (a week): a connection is held for as long.
pub const TIMEOUT_NS_MAX: u64 = 7 * 24 * 3600 * 1_000_000_000;

#[derive(Debug)]
struct Pending {
    id: ApprovalId,
    request: Arc<Request>,
    since: TimeNs,
    deadline: TimeNs,
}

/// The requests that wait, and the last ones that did.
#[derive(Debug)]
pub struct Approvals {
    run: String,
    opened: u64,
    /// By their number, so that the oldest comes first.
    pending: BTreeMap<u64, Pending>,
    /// Those numbers by the cookie of the connection.
    by_connection: HashMap<u64, u64>,
    decided: VecDeque<Outcome>,
}

impl Approvals {
    /// `started`: when the agent did, seconds since the Unix epoch.
    pub fn new(started: u64) -> Self {
        Approvals {
            run: run_name(started),
            opened: 0,
            pending: BTreeMap::new(),
            by_connection: HashMap::new(),
            decided: VecDeque::new(),
        }
    }

    /// A statement begins to wait. Errors: the store is full, or its connection waits already (it has one statement at
    /// a time at its head).
    pub fn open(
        &mut self,
        mut request: Request,
        now: TimeNs,
        timeout_ns: u64,
    ) -> Result<ApprovalId, ApprovalError> {
        if self.pending.len() >= PENDING_MAX {
            return Err(ApprovalError::Full);
        }
        if let Some(waiting) = self.of_connection(request.cookie) {
            return Err(ApprovalError::Waiting(request.cookie, waiting.id.clone()));
        }
        cut(&mut request.statement.head, HEAD_BYTES_MAX);
        self.opened += 1;
        self.by_connection.insert(request.cookie, self.opened);
        let id = ApprovalId::new(&self.run, self.opened);
        let pending = Pending {
            id: id.clone(),
            request: Arc::new(request),
            since: now,
            deadline: now.saturating_add(timeout_ns.min(TIMEOUT_NS_MAX)),
        };
        self.pending.insert(self.opened, pending);
        Ok(id)
    }

    /// A person's answer; the first one counts. One that comes after the time was up finds it timed out, also when
    /// [`expire`](Self::expire) was not called since: what that returns is the outcome then.
    pub fn decide(
        &mut self,
        id: &ApprovalId,
        decision: Decision,
        approver: Approver,
        reason: Option<String>,
        now: TimeNs,
    ) -> Result<Outcome, ApprovalError> {
        let found = self.pending.iter().find(|(_, pending)| pending.id == *id);
        let Some((&number, pending)) = found else {
            return Err(self.not_pending(id));
        };
        if pending.deadline <= now {
            return Err(ApprovalError::Decided {
                id: id.clone(),
                what: "timed out".to_owned(),
            });
        }
        let state = match decision {
            Decision::Approve => State::Approved,
            Decision::Deny => State::Denied,
        };
        let reason = reason.filter(|reason| !reason.trim().is_empty());
        let reason = reason.map(|mut reason| {
            cut(&mut reason, REASON_BYTES_MAX);
            reason
        });
        self.end(number, state, Some(approver), reason, now)
            .ok_or_else(|| ApprovalError::Unknown(id.clone()))
    }

    /// The client of this connection has gone; nothing of it runs any more.
    pub fn client_gone(&mut self, cookie: u64, now: TimeNs) -> Option<Outcome> {
        let number = *self.by_connection.get(&cookie)?;
        self.end(number, State::ClientGone, None, None, now)
    }

    /// Ends those whose time is up.
    pub fn expire(&mut self, now: TimeNs) -> Vec<Outcome> {
        let due: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(number, _)| *number)
            .collect();
        due.into_iter()
            .filter_map(|number| self.end(number, State::TimedOut, None, None, now))
            .collect()
    }

    /// Ends all of them: the gate is gone, and nothing is held any more.
    pub fn give_up(&mut self, now: TimeNs) -> Vec<Outcome> {
        let all: Vec<u64> = self.pending.keys().copied().collect();
        all.into_iter()
            .filter_map(|number| self.end(number, State::GateOff, None, None, now))
            .collect()
    }

    /// When the next one is to be ended.
    pub fn next_deadline(&self) -> Option<TimeNs> {
        self.pending.values().map(|pending| pending.deadline).min()
    }

    /// Those that wait, the oldest first.
    pub fn list(&self, now: TimeNs) -> Vec<Listed> {
        let listed = |pending: &Pending| {
            let request = &pending.request;
            Listed {
                id: pending.id.clone(),
                session: request.session.clone(),
                requester: request.requester.clone(),
                user: request.user.clone(),
                database: request.database.clone(),
                rule: request.rule.clone(),
                reason: request.reason.clone(),
                statement: request.statement.clone(),
                waited_us: now.saturating_sub(pending.since) / 1000,
                left_us: pending.deadline.saturating_sub(now) / 1000,
            }
        };
        self.pending.values().map(listed).collect()
    }

    /// The request a connection waits for.
    pub fn waiting(&self, cookie: u64) -> Option<&ApprovalId> {
        self.of_connection(cookie).map(|pending| &pending.id)
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn of_connection(&self, cookie: u64) -> Option<&Pending> {
        self.pending.get(self.by_connection.get(&cookie)?)
    }

    fn end(
        &mut self,
        number: u64,
        state: State,
        approver: Option<Approver>,
        reason: Option<String>,
        now: TimeNs,
    ) -> Option<Outcome> {
        let pending = self.pending.remove(&number)?;
        self.by_connection.remove(&pending.request.cookie);
        let outcome = Outcome {
            id: pending.id,
            request: pending.request,
            state,
            approver,
            reason,
            since: pending.since,
            ended: now,
        };
        if self.decided.len() >= DECIDED_MAX {
            self.decided.pop_front();
        }
        self.decided.push_back(outcome.clone());
        Some(outcome)
    }

    fn not_pending(&self, id: &ApprovalId) -> ApprovalError {
        let Some(outcome) = self.decided.iter().find(|outcome| outcome.id == *id) else {
            return ApprovalError::Unknown(id.clone());
        };
        let what = match (outcome.state, &outcome.approver) {
            (State::Approved, Some(approver)) => format!("approved by {approver}"),
            (State::Denied, Some(approver)) => format!("denied by {approver}"),
            (State::ClientGone, _) => "given up: its client has gone".to_owned(),
            (State::GateOff, _) => "let go: the gate was taken away".to_owned(),
            _ => "timed out".to_owned(),
        };
        ApprovalError::Decided {
            id: id.clone(),
            what,
        }
    }
}

/// Four characters that another start, unless just twelve days and a bit later, does not have. Digits and letters that
/// nobody takes for one another (Crockford's base 32).
fn run_name(started: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..4)
        .rev()
        .map(|place| char::from(DIGITS[(started >> (5 * place)) as usize & 31]))
        .collect()
}

#[cfg(test)]
mod tests;
