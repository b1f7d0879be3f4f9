//! One connection to a database: what the decoder finds in it becomes audit records.

mod blocks;
mod ends;
mod figures;
mod recorder;
mod redaction;
mod verdict;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use self::blocks::{name, options, result_block};
use self::ends::Ends;
pub use self::figures::{Figures, HELD_BOUNDS_US};
pub use self::recorder::Recorder;
pub use self::verdict::Judgement;
use self::verdict::Noted;
use crate::audit::record::{
    self, CancelBlock, CloseBlock, ErrorBlock, GapBlock, HolderBlock, Kind, Record, Rendered,
    StatementBlock, VerdictBlock,
};
use crate::identity::{Process, identity, process_block};
use crate::policy::Message;
use crate::protocol::postgres::Decoder;
use crate::protocol::{
    Direction, Event, GapCause, Opaque, SessionFacts, Statement, Status, TimeNs,
};

/// Names of a session that are remembered: an operator changes a tag now and then.
const RENAMES_MAX: usize = 8;

/// Where a session's bytes come from, and who is behind it.
pub struct Session {
    pub decoder: Decoder,
    pub client_addr: SocketAddr,
    pub server_addr: SocketAddr,
    pub client: Option<Arc<Process>>,
    /// How it was called until a moment, the oldest first: a statement keeps the name under which it was judged.
    renamed: VecDeque<(TimeNs, Arc<Process>)>,
    /// The client's process has ended; who held the connection then, where that was found out.
    client_ended: Option<Option<Arc<Process>>>,
    pub server_pid: Option<u32>,
    ends: Ends,
    id: String,
    midstream: bool,
    opened_at: TimeNs,
    /// A session_open record was written.
    announced: bool,
    terminated: bool,
    blocks: Option<Blocks>,
    statements: u64,
    errors: u64,
    pub request_lost_bytes: u64,
    pub response_lost_bytes: u64,
    /// Verdicts on messages whose records are not written yet, by ascending number.
    verdicts: VecDeque<Noted>,
    /// What was judged and not yet taken by the gate.
    judged: Vec<Judgement>,
    /// Something the rules ask for is newly known.
    changed: bool,
    /// A record tells how the client's process came to be.
    process_told: bool,
    /// The backend that this connection asks to interrupt.
    cancels: Option<u32>,
    /// Something was sent that may change the current role, which servers before PostgreSQL 18 do not report.
    role_may_change: bool,
    /// Something was sent since the server last was ready that may change how it reads texts.
    settings_may_change: bool,
    /// A statement about a secret was prepared, for EXECUTE to run.
    runs_secrets: bool,
}

/// The rendered parts of a record that stay the same while nothing about the session changes.
struct Blocks {
    facts: Arc<SessionFacts>,
    client: Option<Arc<Process>>,
    session: Rendered<record::Session>,
    identity: Rendered<record::Identity>,
}

impl Blocks {
    fn are_of(&self, facts: &Arc<SessionFacts>, client: Option<&Arc<Process>>) -> bool {
        Arc::ptr_eq(&self.facts, facts)
            && match (&self.client, client) {
                (Some(known), Some(client)) => Arc::ptr_eq(known, client),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Session {
    pub fn new(
        id: String,
        decoder: Decoder,
        client_addr: SocketAddr,
        server_addr: SocketAddr,
        midstream: bool,
        at: TimeNs,
    ) -> Self {
        Session {
            decoder,
            client_addr,
            server_addr,
            client: None,
            renamed: VecDeque::new(),
            client_ended: None,
            server_pid: None,
            ends: Ends::default(),
            id,
            midstream,
            opened_at: at,
            announced: false,
            terminated: false,
            blocks: None,
            statements: 0,
            errors: 0,
            request_lost_bytes: 0,
            response_lost_bytes: 0,
            verdicts: VecDeque::new(),
            judged: Vec::new(),
            changed: false,
            process_told: false,
            cancels: None,
            role_may_change: false,
            settings_may_change: false,
            runs_secrets: false,
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn opened_at(&self) -> TimeNs {
        self.opened_at
    }

    pub fn is_midstream(&self) -> bool {
        self.midstream
    }

    /// The same process, called otherwise from a moment on.
    pub fn rename_client(&mut self, client: Arc<Process>, at: TimeNs) {
        if let Some(before) = self.client.replace(client) {
            self.renamed.push_back((at, before));
        }
        if self.renamed.len() > RENAMES_MAX {
            self.renamed.pop_front();
        }
        self.changed = true;
    }

    /// The client's process as it was called then.
    fn client_at(&self, at: TimeNs) -> Option<&Arc<Process>> {
        let before = self.renamed.iter().find(|(until, _)| at < *until);
        before.map(|(_, client)| client).or(self.client.as_ref())
    }

    /// The client's process has ended, and its connection goes on, held by another: said from the next record on.
    pub fn set_client_ended(&mut self, holder: Option<Arc<Process>>) {
        self.client_ended = Some(holder);
        self.blocks = None;
    }

    pub fn is_client_ended(&self) -> bool {
        self.client_ended.is_some()
    }

    pub fn set_server_pid(&mut self, pid: u32) {
        self.server_pid = Some(pid);
        self.blocks = None;
    }

    /// Turns what the decoder found into records.
    pub fn record(&mut self, events: &mut Vec<Event>, recorder: &mut Recorder) {
        for event in events.drain(..) {
            self.event(event, recorder);
        }
    }

    fn event(&mut self, event: Event, recorder: &mut Recorder) {
        match event {
            Event::Session { at, facts } => {
                self.changed = true;
                if facts.opaque.is_some() {
                    let verdict = self.judge_bytes(Message::Opaque, at, recorder);
                    self.announce_with(at, verdict, recorder);
                }
            }
            Event::Authenticated { at } => self.announce(at, recorder),
            Event::Statement(statement) => self.statement(*statement, recorder),
            Event::Cancel { at, backend_pid } => {
                self.cancels = Some(backend_pid);
                let record = self.base(Kind::Cancel, at, recorder);
                let cancel = CancelBlock {
                    backend_pid,
                    session: None,
                };
                recorder.push(Record {
                    cancel: Some(cancel.into()),
                    ..record
                });
            }
            Event::SessionError { at, error } => {
                self.errors += 1;
                let record = self.base(Kind::SessionError, at, recorder);
                let mut error = ErrorBlock {
                    code: Some(error.code),
                    message: Some(error.message),
                    severity: Some(error.severity),
                    ..ErrorBlock::default()
                };
                self.redact_error(&mut error, recorder);
                recorder.push(Record {
                    error: Some(error.into()),
                    ..record
                });
            }
            Event::ProtocolError {
                at,
                direction,
                reason,
            } => {
                self.changed = true;
                let mut record = self.base(Kind::ProtocolError, at, recorder);
                if direction == Direction::Request {
                    record.verdict = self.judge_bytes(Message::Malformed, at, recorder);
                }
                let error = ErrorBlock {
                    direction: Some(name(direction)),
                    reason: Some(reason.to_owned()),
                    ..ErrorBlock::default()
                };
                recorder.push(Record {
                    error: Some(error.into()),
                    ..record
                });
            }
            Event::Gap {
                at,
                direction,
                bytes,
                cause,
            } => self.gap(at, direction, bytes, cause, recorder),
            Event::Terminate { .. } => self.terminated = true,
            Event::Request(request) => self.judge(request, recorder),
        }
    }

    /// Whether something the rules ask for became known since the last time.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The backend that is to be interrupted, told once.
    pub fn take_cancels(&mut self) -> Option<u32> {
        self.cancels.take()
    }

    fn gap(
        &mut self,
        at: TimeNs,
        direction: Direction,
        bytes: Option<u64>,
        cause: GapCause,
        recorder: &mut Recorder,
    ) {
        let lost_bytes = match cause {
            GapCause::SharedPages => 0,
            _ => bytes.unwrap_or(0),
        };
        match direction {
            Direction::Request => self.request_lost_bytes += lost_bytes,
            Direction::Response => self.response_lost_bytes += lost_bytes,
        }
        let record = self.base(Kind::Gap, at, recorder);
        let gap = GapBlock {
            bytes,
            cause: cause.name(),
            direction: Some(name(direction)),
            ..GapBlock::default()
        };
        recorder.push(Record {
            gap: Some(gap.into()),
            ..record
        });
    }

    /// Writes the session_open record, once.
    pub fn announce(&mut self, at: TimeNs, recorder: &mut Recorder) {
        self.announce_with(at, None, recorder);
    }

    /// With the verdict on the session as it is.
    fn announce_with(
        &mut self,
        at: TimeNs,
        verdict: Option<Box<VerdictBlock>>,
        recorder: &mut Recorder,
    ) {
        if self.announced {
            return;
        }
        self.announced = true;
        let record = self.base(Kind::SessionOpen, at, recorder);
        recorder.push(Record { verdict, ..record });
    }

    /// Writes the session_close record.
    pub fn close(
        &mut self,
        at: TimeNs,
        reason: &'static str,
        bytes: (u64, u64),
        recorder: &mut Recorder,
    ) {
        let record = self.base(Kind::SessionClose, at, recorder);
        let close = CloseBlock {
            duration_us: at.saturating_sub(self.opened_at) / 1000,
            errors: self.errors,
            reason: if self.terminated { "terminate" } else { reason },
            request_bytes: bytes.0,
            request_lost_bytes: self.request_lost_bytes,
            response_bytes: bytes.1,
            response_lost_bytes: self.response_lost_bytes,
            statements: self.statements,
        };
        recorder.push(Record {
            close: Some(close.into()),
            ..record
        });
    }

    fn statement(&mut self, mut statement: Statement, recorder: &mut Recorder) {
        // A statement shows that the session is open, whatever was missed of its beginning.
        self.announce(statement.sent_at, recorder);
        self.statements += 1;
        recorder.statements += 1;
        if statement.result.status == Status::Error {
            self.errors += 1;
        }
        let facts = Arc::clone(&statement.session);
        let mut record = self.base_with(Kind::Statement, statement.sent_at, facts, recorder);
        let seen = self.look_at(&statement, recorder);
        let mut result = result_block(statement.sent_at, &mut statement.result);
        seen.result(&mut result, recorder);
        record.result = Some(result);
        record.verdict = self.verdict(statement.number);
        if let Some(verdict) = &mut record.verdict {
            seen.verdict(verdict);
        }
        record.statement = Some(statement_block(statement, &seen, recorder));
        recorder.push(record);
    }

    fn base(&mut self, kind: Kind, at: TimeNs, recorder: &Recorder) -> Record {
        let facts = Arc::clone(self.decoder.facts());
        self.base_with(kind, at, facts, recorder)
    }

    /// A record with time, session and identity.
    fn base_with(
        &mut self,
        kind: Kind,
        at: TimeNs,
        facts: Arc<SessionFacts>,
        recorder: &Recorder,
    ) -> Record {
        let mut record = Record::new(kind, recorder.clock.unix_ns(at));
        let client = self.client_at(at);
        if self
            .blocks
            .as_ref()
            .is_none_or(|blocks| !blocks.are_of(&facts, client))
        {
            self.blocks = self.render(facts, client.cloned());
        }
        if let Some(blocks) = &self.blocks {
            record.session = Some(blocks.session.clone());
            record.identity = Some(blocks.identity.clone());
        }
        record.pods = self.take_pods();
        if !self.process_told
            && let Some(client) = &self.client
        {
            self.process_told = true;
            record.process = process_block(client).map(Box::new);
        }
        record
    }

    fn render(&self, facts: Arc<SessionFacts>, client: Option<Arc<Process>>) -> Option<Blocks> {
        let opaque = facts.opaque.map(|opaque| match opaque {
            Opaque::Tls => "tls",
            Opaque::Gss => "gss",
        });
        let server = self.ends.server.as_ref();
        let session = record::Session {
            application: facts.application.clone(),
            client_addr: Some(self.client_addr.to_string()),
            database: facts.database.clone(),
            id: self.id.clone(),
            joined: if self.midstream { "midstream" } else { "start" },
            opaque,
            protocol: "postgresql",
            replication: facts.replication,
            role: facts.role.clone(),
            server_addr: Some(self.server_addr.to_string()),
            server_container: server.and_then(|server| server.workload.container.clone()),
            server_pid: facts.backend_pid.or(self.server_pid),
            server_pod: self.ends.server_pod.as_ref().map(|pod| pod.full_name()),
            tls: facts.opaque == Some(Opaque::Tls),
            user: facts.user.clone(),
        };
        let mut who = identity(&self.known_client(client.as_deref(), facts.user.as_deref()));
        who.process_ended = self.client_ended.is_some();
        who.used_by = self.client_ended.as_ref().and_then(|holder| {
            holder.as_ref().map(|holder| HolderBlock {
                comm: holder.comm.clone(),
                exe: holder.exe.clone(),
                pid: holder.pid,
            })
        });
        // Strings and numbers only: rendering them cannot fail.
        let session = Rendered::new(&session).ok()?;
        let identity = Rendered::new(&who).ok()?;
        Some(Blocks {
            facts,
            client,
            session,
            identity,
        })
    }
}

fn statement_block(
    mut statement: Statement,
    seen: &redaction::Seen,
    recorder: &mut Recorder,
) -> StatementBlock {
    let params_redacted = seen.params(&mut statement, recorder);
    let mut block = StatementBlock {
        function_oid: statement.function_oid,
        params: statement.params,
        params_truncated: statement.params_truncated,
        parse: if statement.unseen { "unseen" } else { "ok" },
        via: statement.via.name(),
        ..StatementBlock::default()
    };
    match &statement.text {
        Some(text) => seen.text(&mut block, text, recorder, options(&statement.session)),
        None if statement.function_oid.is_some() => block.count = 1,
        None => {}
    }
    for what in params_redacted {
        if !block.redacted.contains(&what) {
            block.redacted.push(what);
        }
    }
    block
}
