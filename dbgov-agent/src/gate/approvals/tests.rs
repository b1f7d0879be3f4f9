use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn request(cookie: u64) -> Request {
    Request {
        cookie,
        session: format!("s-{cookie}"),
        requester: "agent:sync".to_owned(),
        user: Some("app".to_owned()),
        database: Some("prod".to_owned()),
        rule: "write-needs-where".to_owned(),
        reason: Some("name the rows".to_owned()),
        statement: Statement {
            head: "UPDATE t SET x = 1".to_owned(),
            bytes: 18,
            sha256: Some("00".repeat(32)),
        },
    }
}

fn alice() -> Approver {
    Approver {
        uid: 1000,
        user: Some("alice".to_owned()),
    }
}

fn approve(
    approvals: &mut Approvals,
    id: &ApprovalId,
    now: TimeNs,
) -> Result<Outcome, ApprovalError> {
    approvals.decide(id, Decision::Approve, alice(), Some("ok".to_owned()), now)
}

#[test]
fn an_approved_statement_is_approved_once() {
    let mut approvals = Approvals::new(1_795_391_999);
    let id = approvals
        .open(request(1), 5 * SECOND, 600 * SECOND)
        .unwrap();
    assert_eq!(approvals.waiting(1), Some(&id));
    let outcome = approve(&mut approvals, &id, 65 * SECOND).unwrap();
    assert_eq!(outcome.state, State::Approved);
    assert_eq!(outcome.approver, Some(alice()));
    assert_eq!(outcome.reason.as_deref(), Some("ok"));
    assert_eq!(outcome.waited_ns(), 60 * SECOND);
    assert_eq!(outcome.request.cookie, 1);
    assert!(approvals.is_empty());
    let again = approve(&mut approvals, &id, 66 * SECOND).unwrap_err();
    assert_eq!(
        again.to_string(),
        format!("{id} was approved by alice already")
    );
    assert_eq!(approvals.client_gone(1, 67 * SECOND), None);
    // The connection's next statement may wait again, under another name.
    let next = approvals.open(request(1), 70 * SECOND, SECOND).unwrap();
    assert_ne!(next, id);
}

#[test]
fn the_time_runs_out_whether_or_not_somebody_looked() {
    let mut approvals = Approvals::new(0);
    let first = approvals.open(request(1), 0, 10 * SECOND).unwrap();
    let second = approvals.open(request(2), 0, 20 * SECOND).unwrap();
    assert_eq!(approvals.next_deadline(), Some(10 * SECOND));
    let late = approve(&mut approvals, &first, 10 * SECOND).unwrap_err();
    assert_eq!(late.to_string(), format!("{first} was timed out already"));
    let ended = approvals.expire(10 * SECOND);
    assert_eq!(ended.len(), 1, "the outcome is still told to the gate");
    assert_eq!((&ended[0].id, ended[0].state), (&first, State::TimedOut));
    assert!(ended[0].refusal().contains("in time"));
    assert!(approvals.expire(10 * SECOND).is_empty());
    assert_eq!(approvals.list(15 * SECOND)[0].id, second);
    assert_eq!(approvals.list(15 * SECOND)[0].waited_us, 15_000_000);
    assert_eq!(approvals.list(15 * SECOND)[0].left_us, 5_000_000);
}

#[test]
fn a_client_that_goes_ends_its_wait() {
    let mut approvals = Approvals::new(0);
    let id = approvals.open(request(1), 0, SECOND).unwrap();
    let outcome = approvals.client_gone(1, 3).unwrap();
    assert_eq!((&outcome.id, outcome.state), (&id, State::ClientGone));
    let error = approve(&mut approvals, &id, 4).unwrap_err().to_string();
    assert!(error.contains("its client has gone"), "{error}");
    assert_eq!(approvals.client_gone(1, 4), None);
}

#[test]
fn a_denial_says_who_and_why() {
    let mut approvals = Approvals::new(0);
    let id = approvals.open(request(1), 0, SECOND).unwrap();
    let reason = Some("not on a Friday".to_owned());
    let outcome = approvals
        .decide(&id, Decision::Deny, alice(), reason, 1)
        .unwrap();
    assert_eq!(outcome.refusal(), "alice denied it: not on a Friday");
    let id = approvals.open(request(1), 0, SECOND).unwrap();
    let nobody = Approver {
        uid: 4242,
        user: None,
    };
    let outcome = approvals
        .decide(&id, Decision::Deny, nobody, Some("  ".to_owned()), 1)
        .unwrap();
    assert_eq!(outcome.refusal(), "uid 4242 denied it");
}

#[test]
fn what_is_unknown_or_too_much_is_refused() {
    let mut approvals = Approvals::new(0);
    for cookie in 0..PENDING_MAX as u64 {
        approvals.open(request(cookie), 0, SECOND).unwrap();
    }
    assert_eq!(
        approvals.open(request(u64::MAX), 0, SECOND),
        Err(ApprovalError::Full)
    );
    approvals.client_gone(0, 0).unwrap();
    assert!(matches!(
        approvals.open(request(1), 0, SECOND),
        Err(ApprovalError::Waiting(1, _))
    ));
    let unknown = ApprovalId::parse("zzzz-1");
    assert_eq!(
        approve(&mut approvals, &unknown, 0).unwrap_err(),
        ApprovalError::Unknown(unknown)
    );
    // Those decided are remembered, but not all of them for ever.
    assert_eq!(approvals.expire(SECOND).len(), PENDING_MAX - 1);
    assert_eq!(approvals.decided.len(), DECIDED_MAX);
}

#[test]
fn names_fit_one_run_only_and_are_typed_easily() {
    let mut one = Approvals::new(1_795_391_999);
    let mut other = Approvals::new(1_795_392_000);
    let id = one.open(request(1), 0, SECOND).unwrap();
    assert_ne!(id, other.open(request(1), 0, SECOND).unwrap());
    assert_eq!(id.as_str().len(), "xxxx-1".len());
    assert_eq!(
        ApprovalId::parse(&format!(" {} ", id.as_str().to_uppercase())),
        id
    );
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let mut approvals = Approvals::new(0);
    let mut long = request(1);
    long.statement.head = "é".repeat(HEAD_BYTES_MAX);
    let id = approvals.open(long, 0, u64::MAX).unwrap();
    assert_eq!(approvals.next_deadline(), Some(TIMEOUT_NS_MAX));
    let listed = approvals.list(0);
    assert_eq!(listed[0].statement.head.len(), HEAD_BYTES_MAX);
    let reason = Some("漢".repeat(REASON_BYTES_MAX));
    let outcome = approvals
        .decide(&id, Decision::Deny, alice(), reason, 1)
        .unwrap();
    assert_eq!(
        outcome.reason.unwrap().len(),
        REASON_BYTES_MAX / 3 * 3,
        "whole characters of three bytes"
    );
}

#[test]
fn records_have_the_facts_of_the_decision() {
    let mut approvals = Approvals::new(0);
    let id = approvals.open(request(1), 0, 600 * SECOND).unwrap();
    let pending = approvals.pending_block(1).unwrap();
    assert_eq!((pending.state, pending.waited_us), ("pending", 0));
    assert!(pending.approver.is_none());
    let outcome = approve(&mut approvals, &id, 60 * SECOND).unwrap();
    let block = outcome.block();
    assert_eq!(block.id, id.as_str());
    assert_eq!((block.state, block.waited_us), ("approved", 60_000_000));
    assert_eq!(block.rule, "write-needs-where");
    assert_eq!(block.requester, "agent:sync");
    assert_eq!(block.approver.unwrap().user.as_deref(), Some("alice"));
    assert_eq!(block.statement.head, "UPDATE t SET x = 1");
}

proptest! {
    /// Whatever happens in whatever order, each statement that began to wait ends exactly once.
    #[test]
    fn every_wait_ends_once(steps in prop::collection::vec((0u8..5, 0u64..6, 0u64..5), 0..200)) {
        let mut approvals = Approvals::new(7);
        let (mut now, mut opened, mut ended) = (0, Vec::new(), Vec::new());
        for (step, cookie, wait) in steps {
            now += wait;
            match step {
                0 | 1 => {
                    let waits = approvals.waiting(cookie).is_some();
                    match approvals.open(request(cookie), now, 10) {
                        Ok(id) => { prop_assert!(!waits); opened.push(id) }
                        Err(_) => prop_assert!(waits),
                    }
                }
                2 => {
                    let id = opened.get(cookie as usize).cloned();
                    if let Some(id) = id && let Ok(outcome) = approve(&mut approvals, &id, now) {
                        prop_assert!(outcome.waited_ns() < 10);
                        ended.push(outcome.id);
                    }
                }
                3 => ended.extend(approvals.client_gone(cookie, now).map(|outcome| outcome.id)),
                _ => ended.extend(approvals.expire(now).into_iter().map(|outcome| outcome.id)),
            }
            prop_assert_eq!(approvals.len(), opened.len() - ended.len());
        }
        ended.extend(approvals.expire(now + 10).into_iter().map(|outcome| outcome.id));
        opened.sort();
        ended.sort();
        prop_assert_eq!(opened, ended);
    }
}
