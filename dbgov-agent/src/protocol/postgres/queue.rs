//! The messages whose answers are outstanding, in the order in which the server works on them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::args::Args;
use super::names::Prepared;
use super::scan;
use super::wire::Name;
use crate::protocol::{SessionFacts, StatementResult, Status, Text, TimeNs, Via};

/// When a message was sent and what the session was then.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) at: TimeNs,
    pub(super) session: Arc<SessionFacts>,
}

/// A message that makes the server run something, and its result so far.
pub(super) struct Running {
    pub(super) via: Via,
    pub(super) sent: Sent,
    /// Of a Query; that of an Execute is looked up when its answer comes.
    pub(super) text: Option<Arc<Text>>,
    /// Of a FunctionCall.
    pub(super) args: Option<Box<Args>>,
    /// Of an Execute.
    pub(super) portal: Name,
    pub(super) max_rows: u32,
    pub(super) result: StatementResult,
    /// Command tags that came, also those beyond what is kept.
    pub(super) tag_count: usize,
    /// PREPARE and its kin in the text, by the index of the statement; found once, when the first of their tags comes.
    pub(super) sql_changes: Option<VecDeque<(usize, scan::Prepared)>>,
    /// DataRow messages of this Execute.
    pub(super) data_rows: u64,
    /// Bytes of CopyData bodies from the server, while it sends them. Left-out headers may be counted after their
    /// bodies' first bytes, so the sum is signed on the way.
    pub(super) copy_out_bytes: i64,
    pub(super) is_copy_out: bool,
    pub(super) is_copy_in: bool,
}

impl Running {
    pub(super) fn new(via: Via, sent: Sent) -> Box<Self> {
        Box::new(Running {
            via,
            sent,
            text: None,
            args: None,
            portal: Name::default(),
            max_rows: 0,
            result: StatementResult {
                status: Status::None,
                rows: None,
                tags: Vec::new(),
                error: None,
                finished_at: None,
                copy_in_bytes: 0,
                copy_out_bytes: 0,
            },
            tag_count: 0,
            sql_changes: None,
            data_rows: 0,
            copy_out_bytes: 0,
            is_copy_out: false,
            is_copy_in: false,
        })
    }
}

pub(super) enum Op {
    Query(Box<Running>),
    FunctionCall(Box<Running>),
    Execute(Box<Running>),
    Parse {
        name: Name,
        statement: Arc<Prepared>,
        sent: Sent,
    },
    Bind {
        args: Arc<Args>,
        sent: Sent,
    },
    DescribeStatement {
        name: Name,
        described: bool,
    },
    DescribePortal,
    CloseStatement(Name),
    ClosePortal(Name),
    Sync,
    /// Bytes of CopyData from the client; nothing answers it.
    CopyIn(u64),
    /// CopyDone or CopyFail; nothing answers it.
    CopyEnd,
    Terminate(TimeNs),
    /// Requests were lost here: what the server answers from here on belongs to messages that were not seen.
    Lost,
}

impl Op {
    /// The server says ReadyForQuery when it is done with it.
    pub(super) fn is_sync_point(&self) -> bool {
        matches!(self, Op::Query(_) | Op::FunctionCall(_) | Op::Sync)
    }

    pub(super) fn is_describe(&self) -> bool {
        matches!(self, Op::DescribeStatement { .. } | Op::DescribePortal)
    }

    /// CommandComplete and its kin answer it.
    pub(super) fn runs(&self) -> bool {
        matches!(self, Op::Query(_) | Op::Execute(_))
    }

    fn cost_bytes(&self) -> usize {
        let held = match self {
            Op::Query(run) | Op::FunctionCall(run) | Op::Execute(run) => {
                size_of::<Running>()
                    + run.text.as_ref().map_or(0, |text| text.text.len())
                    + run.args.as_ref().map_or(0, |args| args.cost_bytes())
            }
            Op::Parse { statement, .. } => statement.cost_bytes(),
            Op::Bind { args, .. } => args.cost_bytes(),
            _ => 0,
        };
        held + size_of::<Op>()
    }
}

#[derive(Default)]
pub(super) struct Queue {
    ops: VecDeque<Op>,
    bytes: usize,
    sync_points: usize,
}

/// A queue that is empty again keeps room for this many messages and gives the rest back.
const IDLE_OPS_MAX: usize = 64;

impl Queue {
    pub(super) fn push(&mut self, op: Op) {
        self.bytes += op.cost_bytes();
        self.sync_points += usize::from(op.is_sync_point());
        self.ops.push_back(op);
    }

    pub(super) fn pop(&mut self) -> Option<Op> {
        let op = self.ops.pop_front()?;
        self.forgotten(&op);
        if self.ops.is_empty() && self.ops.capacity() > IDLE_OPS_MAX {
            self.ops.shrink_to(IDLE_OPS_MAX);
        }
        Some(op)
    }

    fn forgotten(&mut self, op: &Op) {
        self.bytes = self.bytes.saturating_sub(op.cost_bytes());
        self.sync_points -= usize::from(op.is_sync_point());
    }

    pub(super) fn front(&self) -> Option<&Op> {
        self.ops.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Op> {
        self.ops.front_mut()
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut Op> {
        self.ops.back_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many ReadyForQuery are outstanding.
    pub(super) fn sync_points(&self) -> usize {
        self.sync_points
    }

    /// The first among the next `count` messages that `wanted` holds for; none behind a loss.
    pub(super) fn find(&self, count: usize, wanted: impl Fn(&Op) -> bool) -> Option<usize> {
        let seen = self
            .ops
            .iter()
            .take(count)
            .take_while(|op| !matches!(op, Op::Lost));
        seen.enumerate()
            .find(|(_, op)| wanted(op))
            .map(|(index, _)| index)
    }

    /// The server reads over Sync while it takes COPY data (documentation, "COPY Operations"): drops those between the
    /// running message and the end of its data. Whether that end is still to come.
    pub(super) fn drop_syncs_in_copy(&mut self) -> bool {
        let end = self.ops.iter().position(|op| matches!(op, Op::CopyEnd));
        let before = self.ops.len();
        let mut index = 0;
        self.ops.retain(|op| {
            index += 1;
            !matches!(op, Op::Sync) || end.is_some_and(|end| index > end)
        });
        let dropped = before - self.ops.len();
        self.sync_points -= dropped;
        self.bytes = self.bytes.saturating_sub(dropped * size_of::<Op>());
        end.is_none()
    }
}
