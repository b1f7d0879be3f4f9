//! Ties answers to requests. The requests are queued as they come; names are resolved when their answers come, which is
//! the order in which the server resolves them, so that a definition that fails or is skipped never counts.

use std::sync::Arc;

use super::args::Args;
use super::limits::{IDLE_NS, Limits};
use super::names::{Names, Prepared};
use super::outstanding::Outstanding;
use super::queue::{Op, Queue, Running, Sent};
use super::scan;
use super::session::Session;
use crate::protocol::{Event, Statement, Status, TimeNs, Via};

pub(super) struct Matcher {
    pub(super) limits: Limits,
    pub(super) session: Session,
    pub(super) names: Names,
    pub(super) queue: Queue,
    /// Answers are tied to requests. Not so while either side is out of step, and after it until what the server sends
    /// can only be the answer to what was seen: statements come out at once then, with no result.
    pub(super) attached: bool,
    /// An error was answered and its Sync has not come yet: the server skips what comes.
    pub(super) skipping: bool,
    /// A COPY from the client runs: the server reads over Sync until its end.
    pub(super) sync_ignored: bool,
    /// The last message was one that the server answers with ReadyForQuery.
    pub(super) at_segment_start: bool,
    /// The client sends messages before the ReadyForQuery of those before, so that it cannot be taken to be idle when
    /// it sends one.
    pub(super) pipelines: bool,
    /// Something was left out or skipped since the last message of the server that was looked at.
    pub(super) quiet: bool,
    /// When the server last sent something, and whether that was ReadyForQuery.
    pub(super) last_response_at: TimeNs,
    pub(super) ready: bool,
    /// The response stream is followed.
    pub(super) response_in_step: bool,
    /// Of the next message.
    number: u64,
    /// What names may stand for before the answers are there.
    pub(super) outstanding: Outstanding,
    /// The message that a gate refused: it makes a record though nothing answers it.
    pub(super) refused: Option<u64>,
}

impl Matcher {
    pub(super) fn new(start: bool, limits: Limits) -> Self {
        Matcher {
            names: Names::new(&limits),
            limits,
            session: Session::new(!start),
            queue: Queue::default(),
            attached: start,
            skipping: false,
            sync_ignored: false,
            at_segment_start: true,
            pipelines: false,
            quiet: false,
            last_response_at: 0,
            ready: false,
            response_in_step: start,
            number: 0,
            outstanding: Outstanding::default(),
            refused: None,
        }
    }

    pub(super) fn sent(&mut self, at: TimeNs) -> Sent {
        self.number += 1;
        Sent {
            number: self.number,
            at,
            session: self.session.facts.clone(),
        }
    }

    /// The start-up packet has come: ReadyForQuery answers it as it does a Sync.
    pub(super) fn started(&mut self) {
        self.outstanding.segment_ends();
        if self.attached {
            self.queue.push(Op::Sync);
        }
    }

    /// A message of the client.
    pub(super) fn push(&mut self, at: TimeNs, op: Op, out: &mut Vec<Event>) {
        self.track_segments(at, &op);
        match op {
            _ if !self.attached => self.give_up(op, out),
            Op::Sync if self.sync_ignored => {}
            Op::Sync | Op::Terminate(_) | Op::Lost => {
                self.skipping = false;
                self.names.skip_ends();
                self.queue.push(op);
            }
            _ if self.skipping => self.skip(op, out),
            Op::CopyIn(more) => match self.queue.back_mut() {
                Some(Op::CopyIn(bytes)) => *bytes = bytes.saturating_add(more),
                Some(_) => self.queue.push(op),
                None => {}
            },
            Op::CopyEnd => {
                self.sync_ignored = false;
                self.queue.push(op);
            }
            _ => self.queue.push(op),
        }
        if self.queue.len() > self.limits.pending_max
            || self.queue.bytes() > self.limits.pending_bytes_max
        {
            self.detach(out);
        }
        self.settle(out);
    }

    /// Keeps track of where the client starts something new, and takes up the matching of answers there if that is safe.
    fn track_segments(&mut self, at: TimeNs, op: &Op) {
        if matches!(
            op,
            Op::CopyIn(_) | Op::CopyEnd | Op::Terminate(_) | Op::Lost
        ) {
            return;
        }
        if self.at_segment_start && !matches!(op, Op::Sync) {
            self.pipelines |= self.attached && self.queue.sync_points() > 0;
            let idle = self.ready && at.saturating_sub(self.last_response_at) >= IDLE_NS;
            if !self.attached && self.response_in_step && (!self.pipelines || idle) {
                self.attached = true;
            }
        }
        self.at_segment_start = op.is_sync_point();
    }

    /// From here on answers cannot be told to belong to what was sent: what is pending has no result.
    pub(super) fn detach(&mut self, out: &mut Vec<Event>) {
        self.outstanding.lose_track();
        self.attached = false;
        self.skipping = false;
        self.sync_ignored = false;
        self.names.skip_ends();
        while let Some(op) = self.queue.pop() {
            self.give_up(op, out);
        }
    }

    /// Drops what must not be at the front: nothing answers it.
    pub(super) fn settle(&mut self, out: &mut Vec<Event>) {
        while let Some(Op::CopyIn(_) | Op::CopyEnd | Op::Terminate(_)) = self.queue.front() {
            if let Some(Op::Terminate(at)) = self.queue.pop() {
                out.push(Event::Terminate { at });
            }
        }
    }

    /// The answer to this message will not be seen: its statement has no result, its definitions are taken to hold.
    fn give_up(&mut self, op: Op, out: &mut Vec<Event>) {
        match op {
            Op::Query(run) => {
                if let Some(text) = &run.text {
                    for (_, change) in scan::prepared_statements(&text.text) {
                        self.names.sql(change, text, false);
                    }
                }
                self.emit(run, out);
                self.names.simple_query_ran();
            }
            Op::FunctionCall(run) | Op::Execute(run) => self.emit(run, out),
            Op::Parse {
                statement, sent, ..
            } if self.refused == Some(sent.number) => self.emit_parse(&statement, sent, out),
            Op::Parse {
                name, statement, ..
            } => self.names.prepare_unconfirmed(&name, statement),
            Op::Bind { args, .. } => self.names.bind(args),
            Op::CloseStatement(name) => self.names.close_statement(&name),
            Op::ClosePortal(name) => self.names.close_portal(&name),
            Op::Terminate(at) => out.push(Event::Terminate { at }),
            _ => {}
        }
    }

    /// The server skips this message: its statement has no result and its definitions do not hold.
    pub(super) fn skip(&mut self, op: Op, out: &mut Vec<Event>) {
        match op {
            Op::Query(run) | Op::FunctionCall(run) | Op::Execute(run) => self.emit(run, out),
            Op::Parse {
                name, statement, ..
            } => self.names.skip_statement(&name, statement),
            Op::Bind { args, .. } => self.names.skip_portal(args),
            Op::Terminate(at) => out.push(Event::Terminate { at }),
            _ => {}
        }
    }

    /// The record of a message, as far as its result is known.
    pub(super) fn emit(&mut self, run: Box<Running>, out: &mut Vec<Event>) {
        let mut run = *run;
        self.session.announce(run.sent.at, out);
        run.result.copy_out_bytes = run.copy_out_bytes.max(0) as u64;
        if run.result.status == Status::None {
            // Some of its statements may have been answered; that does not make it complete.
            run.result.finished_at = None;
        }
        let mut statement = Statement {
            number: run.sent.number,
            via: run.via,
            text: run.text,
            unseen: false,
            function_oid: None,
            params: Vec::new(),
            params_truncated: false,
            sent_at: run.sent.at,
            session: run.sent.session,
            result: run.result,
        };
        match run.via {
            Via::Execute => self.complete_execute(&mut statement, &run.portal),
            Via::FunctionCall => {
                if let Some(args) = &run.args {
                    statement.function_oid = Some(args.function_oid);
                    (statement.params, statement.params_truncated) =
                        args.texts(&[], &self.session.encoding);
                }
            }
            _ => {}
        }
        out.push(Event::Statement(Box::new(statement)));
    }

    fn complete_execute(&mut self, statement: &mut Statement, portal: &[u8]) {
        let Some(portal) = self.names.portal(portal) else {
            statement.unseen = true;
            return;
        };
        if portal.suspended {
            statement.via = Via::Fetch;
        }
        self.bound(statement, portal.statement.as_deref(), &portal.args);
    }

    /// Text and parameters of a bound statement.
    fn bound(&self, statement: &mut Statement, prepared: Option<&Prepared>, args: &Args) {
        statement.text = prepared.map(|prepared| prepared.text.clone());
        statement.unseen = prepared.is_none();
        let types = prepared.map_or(&[][..], |prepared| &prepared.types);
        (statement.params, statement.params_truncated) = args.texts(types, &self.session.encoding);
    }

    /// A Parse that was refused.
    fn emit_parse(&mut self, statement: &Prepared, sent: Sent, out: &mut Vec<Event>) {
        let mut run = Running::new(Via::Prepare, sent);
        run.text = Some(statement.text.clone());
        self.emit(run, out);
    }

    /// A Bind that failed.
    pub(super) fn emit_bind(&mut self, run: Box<Running>, args: &Arc<Args>, out: &mut Vec<Event>) {
        let portal = self.names.bound(args.clone());
        self.emit(run, out);
        if let Some(Event::Statement(statement)) = out.last_mut() {
            self.bound(statement, portal.statement.as_deref(), args);
        }
    }

    /// The connection is over.
    pub(super) fn end(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        self.session.announce(at, out);
        self.detach(out);
    }
}
