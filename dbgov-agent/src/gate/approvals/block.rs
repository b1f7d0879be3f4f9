//! What the audit record has of an approval.

use super::{Approvals, Outcome, Request, State};
use crate::audit::record::{ApprovalBlock, ApprovalStatement, ApproverBlock};

impl Outcome {
    /// For the record of the decision, or of its want.
    pub fn block(&self) -> ApprovalBlock {
        ApprovalBlock {
            approver: self.approver.as_ref().map(|approver| ApproverBlock {
                uid: approver.uid,
                user: approver.user.clone(),
            }),
            reason: self.reason.clone(),
            waited_us: self.waited_ns() / 1000,
            ..block(self.id.as_str(), self.state, &self.request)
        }
    }
}

impl Approvals {
    /// For the record that the statement of this connection begins to wait.
    pub fn pending_block(&self, cookie: u64) -> Option<ApprovalBlock> {
        let pending = self.of_connection(cookie)?;
        Some(block(pending.id.as_str(), State::Pending, &pending.request))
    }
}

fn block(id: &str, state: State, request: &Request) -> ApprovalBlock {
    let statement = &request.statement;
    ApprovalBlock {
        id: id.to_owned(),
        requester: request.requester.clone(),
        rule: request.rule.clone(),
        state: state.name(),
        statement: ApprovalStatement {
            bytes: statement.bytes,
            head: statement.head.clone(),
            sha256: statement.sha256.clone(),
        },
        ..ApprovalBlock::default()
    }
}
