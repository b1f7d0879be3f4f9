//! The server's messages, each tied to the request it answers (documentation, "Message Flow").

use std::sync::Arc;

use super::limits::SEARCH_OPS_MAX;
use super::matcher::Matcher;
use super::queue::{Op, Running};
use super::scan;
use super::statement_text::read_types;
use super::wire::{self, HEADER_BYTES, Reader};
use crate::protocol::{Event, ServerError, Status, Text, TimeNs, Via};

impl Matcher {
    /// A message of the server; `body` is its head.
    pub(super) fn answer(&mut self, at: TimeNs, kind: u8, body: &[u8], out: &mut Vec<Event>) {
        self.last_response_at = at;
        if !matches!(kind, b'S' | b'N' | b'A') {
            self.ready = kind == b'Z';
        }
        match kind {
            b'S' => self.session.parameter_status(at, body, out),
            b'K' => self.session.backend_key(at, body, out),
            b'v' => self.session.negotiate_version(at, body, out),
            b'Z' => self.ready_for_query(at, body, out),
            b'E' => self.error(at, body, out),
            b'D' | b'd' => self.rows_began(1),
            b'T' => self.quiet = true,
            b't' => self.parameter_description(body, out),
            b'n' => self.no_data(out),
            b'C' => self.command_complete(at, body, out),
            b'1' | b'2' | b'3' | b's' | b'I' | b'V' | b'G' | b'H' | b'W' => {
                self.simple_answer(at, kind, out);
            }
            _ => return,
        }
        if !matches!(kind, b'T' | b'D' | b'd' | b'S') {
            self.quiet = false;
        }
        self.settle(out);
    }

    /// Goes to the request that this message answers. What stands before it was never answered: that cannot be, so
    /// something was lost unnoticed, and those requests come out without result rather than with another's.
    fn reach(&mut self, wanted: impl Fn(&Op) -> bool, out: &mut Vec<Event>) -> bool {
        let Some(index) = self.queue.find(SEARCH_OPS_MAX, wanted) else {
            return false;
        };
        for _ in 0..index {
            if let Some(op) = self.queue.pop() {
                self.pass_over(op, out);
            }
        }
        true
    }

    /// A Describe is passed over in silence: RowDescription, its answer, is not among what the kernel forwards.
    fn pass_over(&mut self, op: Op, out: &mut Vec<Event>) {
        match op {
            Op::Query(run) | Op::FunctionCall(run) | Op::Execute(run) => self.emit(run, out),
            Op::Terminate(at) => out.push(Event::Terminate { at }),
            _ => {}
        }
    }

    fn running(&mut self) -> Option<&mut Running> {
        match self.queue.front_mut() {
            Some(Op::Query(run) | Op::Execute(run) | Op::FunctionCall(run)) => Some(run),
            _ => None,
        }
    }

    /// DataRow or CopyData messages.
    pub(super) fn rows_began(&mut self, count: u64) {
        if count > 0 {
            while self.queue.front().is_some_and(Op::is_describe) {
                self.queue.pop();
            }
            if let Some(run) = self.running() {
                run.data_rows += count;
            }
        }
    }

    /// Messages that the kernel left out; `rows` of them were DataRow or CopyData.
    pub(super) fn left_out(&mut self, at: TimeNs, bytes: u64, rows: u32) {
        self.last_response_at = at;
        self.quiet = true;
        self.rows_began(u64::from(rows));
        let headers = i64::from(rows) * HEADER_BYTES as i64;
        self.copy_out(
            i64::try_from(bytes)
                .unwrap_or(i64::MAX)
                .saturating_sub(headers),
        );
    }

    /// Bytes of CopyData bodies, if a COPY to the client runs.
    pub(super) fn copy_out(&mut self, bytes: i64) {
        if let Some(run) = self.running().filter(|run| run.is_copy_out) {
            run.copy_out_bytes = run.copy_out_bytes.saturating_add(bytes);
        }
    }

    fn command_complete(&mut self, at: TimeNs, body: &[u8], out: &mut Vec<Event>) {
        if !self.reach(Op::runs, out) {
            return;
        }
        let end = wire::nul(body).unwrap_or(body.len());
        let tag = String::from_utf8_lossy(&body[..end]).into_owned();
        let change = self.sql_prepared(&tag);
        let tags_max = self.limits.tags_max;
        let Some(run) = self.running() else { return };
        run.tag_count += 1;
        if let Some(rows) = wire::tag_rows(&tag) {
            run.result.rows = Some(run.result.rows.unwrap_or(0).saturating_add(rows));
        }
        if run.result.tags.len() < tags_max {
            run.result.tags.push(tag);
        }
        run.is_copy_out = false;
        run.result.finished_at = Some(at);
        self.execute_done(out);
        // Behind the record: DISCARD ALL forgets its own portal.
        if let Some((text, change)) = change {
            self.names.sql(change, &text, true);
        }
    }

    /// PREPARE and DEALLOCATE as SQL take effect with their tag: what the statement that this tag answers changes.
    fn sql_prepared(&mut self, tag: &str) -> Option<(Arc<Text>, scan::Prepared)> {
        if !matches!(
            tag,
            "PREPARE" | "DEALLOCATE" | "DEALLOCATE ALL" | "DISCARD ALL"
        ) {
            return None;
        }
        let (run, text) = match self.queue.front_mut()? {
            Op::Query(run) => {
                let text = run.text.clone()?;
                (run, text)
            }
            Op::Execute(run) => {
                let text = self.names.portal(&run.portal)?.statement?.text.clone();
                (run, text)
            }
            _ => return None,
        };
        let scanned = || scan::prepared_statements(&text.text).into();
        let changes = run.sql_changes.get_or_insert_with(scanned);
        while changes.front().is_some_and(|(of, _)| *of < run.tag_count) {
            changes.pop_front();
        }
        if changes.front()?.0 != run.tag_count {
            return None;
        }
        let (_, change) = changes.pop_front()?;
        let its_tag = match change {
            scan::Prepared::Prepare(_) => "PREPARE",
            scan::Prepared::Deallocate(_) => "DEALLOCATE",
            scan::Prepared::DeallocateAll => "DEALLOCATE ALL",
            scan::Prepared::DiscardAll => "DISCARD ALL",
        };
        (its_tag == tag).then_some((text, change))
    }

    fn simple_answer(&mut self, at: TimeNs, kind: u8, out: &mut Vec<Event>) {
        let wanted = |op: &Op| match kind {
            b'1' => matches!(op, Op::Parse { .. }),
            b'2' => matches!(op, Op::Bind { .. }),
            b'3' => matches!(op, Op::CloseStatement(_) | Op::ClosePortal(_)),
            b's' => matches!(op, Op::Execute(_)),
            b'V' => matches!(op, Op::FunctionCall(_)),
            _ => op.runs(),
        };
        if !self.reach(wanted, out) {
            return;
        }
        match kind {
            b'1' | b'2' | b'3' => self.defined(),
            b's' => self.suspended(at, out),
            b'G' | b'H' | b'W' => self.copy_began(kind),
            _ => {
                if let Some(run) = self.running() {
                    run.result.finished_at = Some(at);
                }
                self.execute_done(out);
            }
        }
    }

    /// Parse, Bind or Close succeeded.
    fn defined(&mut self) {
        match self.queue.pop() {
            Some(Op::Parse {
                name, statement, ..
            }) => self.names.prepare(&name, statement),
            Some(Op::Bind { args, .. }) => self.names.bind(args),
            Some(Op::CloseStatement(name)) => self.names.close_statement(&name),
            Some(Op::ClosePortal(name)) => self.names.close_portal(&name),
            _ => {}
        }
    }

    /// PortalSuspended comes after exactly as many rows as the Execute asked for.
    fn suspended(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        let Some(Op::Execute(mut run)) = self.queue.pop() else {
            return;
        };
        run.result.finished_at = Some(at);
        run.result.rows = Some(match run.data_rows {
            0 => u64::from(run.max_rows),
            rows => rows,
        });
        let portal = run.portal.clone();
        self.finish(run, out);
        self.names.suspend(&portal);
    }

    fn copy_began(&mut self, kind: u8) {
        let Some(run) = self.running() else { return };
        run.is_copy_out = kind != b'G';
        if kind != b'H' && !std::mem::replace(&mut run.is_copy_in, true) {
            self.sync_ignored = self.queue.drop_syncs_in_copy();
        }
    }

    /// An Execute is over with its CommandComplete; a Query goes on until ReadyForQuery.
    fn execute_done(&mut self, out: &mut Vec<Event>) {
        if let Some(Op::Execute(_)) = self.queue.front()
            && let Some(Op::Execute(run)) = self.queue.pop()
        {
            self.finish(run, out);
        }
    }

    /// The record of the message that was at the front, with the COPY data the client sent for it.
    fn finish(&mut self, mut run: Box<Running>, out: &mut Vec<Event>) {
        self.sync_ignored = false;
        if run.result.status == Status::None && run.result.finished_at.is_some() {
            run.result.status = Status::Ok;
        }
        while let Some(Op::CopyIn(_) | Op::CopyEnd) = self.queue.front() {
            if let Some(Op::CopyIn(bytes)) = self.queue.pop() {
                run.result.copy_in_bytes = run.result.copy_in_bytes.saturating_add(bytes);
            }
        }
        self.emit(run, out);
    }

    fn parameter_description(&mut self, body: &[u8], out: &mut Vec<Event>) {
        let undescribed = |op: &Op| {
            matches!(
                op,
                Op::DescribeStatement {
                    described: false,
                    ..
                }
            )
        };
        if !self.reach(undescribed, out) {
            return;
        }
        if let Some(Op::DescribeStatement { name, described }) = self.queue.front_mut() {
            *described = true;
            let name = name.clone();
            self.names.describe(&name, read_types(body));
        }
    }

    /// NoData: the answer to a Describe, unless that has its RowDescription already.
    fn no_data(&mut self, out: &mut Vec<Event>) {
        if self.quiet && self.queue.front().is_some_and(Op::is_describe) {
            self.queue.pop();
        }
        if self.reach(Op::is_describe, out) {
            self.queue.pop();
        }
    }

    fn ready_for_query(&mut self, at: TimeNs, body: &[u8], out: &mut Vec<Event>) {
        self.session.announce(at, out);
        if !std::mem::replace(&mut self.session.authenticated, true) {
            out.push(Event::Authenticated { at });
        }
        if self.queue.sync_points() > 0 && self.reach_sync_point(out) {
            let point = self.queue.pop();
            self.outstanding.answered(self.queue.sync_points() == 0);
            match point {
                Some(Op::Query(run)) => {
                    self.finish(run, out);
                    self.names.simple_query_ran();
                }
                Some(Op::FunctionCall(run)) => self.finish(run, out),
                _ => {}
            }
        }
        if Reader(body).u8() == Some(b'I') {
            self.names.transaction_ended();
        }
    }

    fn reach_sync_point(&mut self, out: &mut Vec<Event>) -> bool {
        let Some(index) = self.queue.find(usize::MAX, Op::is_sync_point) else {
            return false;
        };
        for _ in 0..index {
            if let Some(op) = self.queue.pop() {
                self.pass_over(op, out);
            }
        }
        true
    }

    fn error(&mut self, at: TimeNs, body: &[u8], out: &mut Vec<Event>) {
        let error = wire::server_error(body, &self.session.encoding);
        let fatal = wire::is_fatal(&error);
        self.session.announce(at, out);
        self.settle(out);
        if !self.attached || matches!(self.queue.front(), Some(Op::Lost)) {
            // Of a request that was not seen; but the end of the session concerns all.
            if fatal {
                out.push(Event::SessionError { at, error });
            }
            return;
        }
        // These Describes have their RowDescription, which is left out: it is a later message that failed.
        while let Some(op) = self.queue.front().filter(|op| op.is_describe()) {
            if self.quiet
                || matches!(
                    op,
                    Op::DescribeStatement {
                        described: true,
                        ..
                    }
                )
            {
                self.queue.pop();
            } else {
                break;
            }
        }
        match self.queue.front() {
            Some(Op::Query(_) | Op::FunctionCall(_)) => self.query_failed(at, error, fatal, out),
            Some(Op::Sync | Op::Lost) | None => out.push(Event::SessionError { at, error }),
            Some(_) => self.extended_failed(at, error, out),
        }
    }

    /// ReadyForQuery follows, except after FATAL.
    fn query_failed(&mut self, at: TimeNs, error: ServerError, fatal: bool, out: &mut Vec<Event>) {
        if let Some(run) = self.running() {
            fail(run, at, error);
        }
        if fatal && let Some(Op::Query(run) | Op::FunctionCall(run)) = self.queue.pop() {
            self.finish(run, out);
        }
    }

    /// A message of the extended protocol failed: the server skips to Sync.
    fn extended_failed(&mut self, at: TimeNs, error: ServerError, out: &mut Vec<Event>) {
        match self.queue.pop() {
            Some(Op::Execute(mut run)) => {
                fail(&mut run, at, error);
                self.finish(run, out);
            }
            Some(Op::Parse {
                name,
                statement,
                sent,
            }) => {
                let mut run = Running::new(Via::Prepare, sent);
                run.text = Some(statement.text.clone());
                fail(&mut run, at, error);
                self.emit(run, out);
                if name.is_empty() {
                    // The server drops the unnamed statement before it parses the new one.
                    self.names.close_statement(&name);
                }
                self.names.skip_statement(&name, statement);
            }
            Some(Op::Bind { args, sent }) => {
                let mut run = Running::new(Via::Bind, sent);
                fail(&mut run, at, error);
                self.emit_bind(run, &args, out);
                self.names.skip_portal(args);
            }
            _ => out.push(Event::SessionError { at, error }),
        }
        self.skipping = true;
        while !matches!(
            self.queue.front(),
            Some(Op::Sync | Op::Terminate(_) | Op::Lost) | None
        ) {
            if let Some(op) = self.queue.pop() {
                self.skip(op, out);
            }
        }
        if !self.queue.is_empty() {
            self.skipping = false;
            self.names.skip_ends();
        }
    }
}

fn fail(run: &mut Running, at: TimeNs, error: ServerError) {
    run.result.status = Status::Error;
    run.result.error = Some(error);
    run.result.finished_at = Some(at);
}
