//! One connection to a database: what the decoder finds in it becomes audit records.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::audit::record::{
    self, ApprovalBlock, CancelBlock, CloseBlock, ErrorBlock, GapBlock, Kind, Record, Rendered,
    ResultBlock, StatementBlock, VerdictBlock,
};
use crate::clock::Clock;
use crate::config::PolicyMode;
use crate::identity::{Process, identity};
use crate::judge::{Judged, Rulebook, Who};
use crate::policy::Message;
use crate::protocol::postgres::Decoder;
use crate::protocol::{
    Direction, Event, GapCause, Opaque, Request, SessionFacts, Statement, StatementResult, Status,
    Text, TimeNs,
};
use crate::sql::{Dialect, FactsCache, Options};

/// Verdicts that wait for the results of their messages: more than messages can wait for their answers.
const VERDICTS_MAX: usize = 1 << 18;

/// What sessions share on their way to records.
pub struct Recorder {
    pub clock: Clock,
    facts: FactsCache,
    records: Vec<Record>,
    /// Statements that became records, since start.
    pub statements: u64,
    /// The policy in force ...
    pub rulebook: Option<Arc<Rulebook>>,
    /// ... and whether its verdicts are carried out.
    pub mode: PolicyMode,
    /// The kernel's boot clock, for how long something was held; a capture file has none.
    pub boot_clock: fn() -> TimeNs,
}

impl Recorder {
    pub fn new(clock: Clock) -> Self {
        Recorder {
            clock,
            facts: FactsCache::new(Dialect::Postgres),
            records: Vec::new(),
            statements: 0,
            rulebook: None,
            mode: PolicyMode::Observe,
            boot_clock: || 0,
        }
    }

    pub fn now(&self) -> TimeNs {
        (self.boot_clock)()
    }

    pub fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    pub fn waiting(&self) -> usize {
        self.records.len()
    }

    /// The records so far; what is not read of them is dropped.
    pub fn take(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.records.drain(..)
    }
}

/// Where a session's bytes come from, and who is behind it.
pub struct Session {
    pub decoder: Decoder,
    pub client_addr: SocketAddr,
    pub server_addr: SocketAddr,
    pub client: Option<Arc<Process>>,
    pub server_pid: Option<u32>,
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
    /// The backend that this connection asks to interrupt.
    cancels: Option<u32>,
    /// Something was sent that may change the current role, which servers before PostgreSQL 18 do not report.
    role_may_change: bool,
    /// Something was sent since the server last was ready that may change how it reads texts.
    settings_may_change: bool,
}

/// A verdict that waits for the result of its message.
struct Noted {
    number: u64,
    block: Box<VerdictBlock>,
}

/// A message, or bytes that are none, with the verdict on it.
pub struct Judgement {
    /// Absent where the verdict is on the connection as it is: opaque, malformed.
    pub request: Option<Box<Request>>,
    pub judged: Judged,
}

/// The rendered parts of a record that stay the same while nothing about the session changes.
struct Blocks {
    facts: Arc<SessionFacts>,
    session: Rendered<record::Session>,
    identity: Rendered<record::Identity>,
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
            server_pid: None,
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
            cancels: None,
            role_may_change: false,
            settings_may_change: false,
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

    /// Names the process behind the session, from its next record on.
    pub fn set_client(&mut self, client: Arc<Process>) {
        self.client = Some(client);
        self.blocks = None;
        self.changed = true;
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
                let error = ErrorBlock {
                    code: Some(error.code),
                    message: Some(error.message),
                    severity: Some(error.severity),
                    ..ErrorBlock::default()
                };
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

    /// Takes what was judged since the last time.
    pub fn take_judged(&mut self) -> Vec<Judgement> {
        std::mem::take(&mut self.judged)
    }

    /// Whether something the rules ask for became known since the last time.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The backend that is to be interrupted, told once.
    pub fn take_cancels(&mut self) -> Option<u32> {
        self.cancels.take()
    }

    /// `identity.name` of the record.
    pub fn requester(&self) -> String {
        let user = self.decoder.facts().user.as_deref();
        identity(self.client.as_deref(), user, Some(self.client_addr)).name
    }

    fn judge(&mut self, request: Box<Request>, recorder: &mut Recorder) {
        let Some(rulebook) = recorder.rulebook.clone() else {
            return;
        };
        // What was decided but is never recorded: a Parse that succeeded. Its number is below that of what is answered.
        if self.verdicts.len() >= VERDICTS_MAX {
            self.verdicts.pop_front();
        }
        if self.decoder.is_ready_before(request.number) {
            self.settings_may_change = false;
        }
        let facts = Arc::clone(&request.session);
        let evidence = self.evidence();
        let who = Who {
            identity: evidence.as_deref(),
            client_addr: self.client_addr.ip(),
            facts: &facts,
            midstream: self.midstream,
            role_may_change: self.role_may_change,
            settings_may_change: self.settings_may_change,
            unix_ns: recorder.clock.unix_ns(request.at),
        };
        let judged = rulebook.judge(&request, &who, &mut self.decoder, &mut recorder.facts);
        self.role_may_change |= judged.may_change_role;
        self.settings_may_change |= judged.may_change_settings;
        self.verdicts.push_back(Noted {
            number: request.number,
            block: judged.block(recorder.mode),
        });
        self.judged.push(Judgement {
            request: Some(request),
            judged,
        });
    }

    /// The verdict on bytes that are no statement, and what of it the record has.
    fn judge_bytes(
        &mut self,
        message: Message<'_>,
        at: TimeNs,
        recorder: &Recorder,
    ) -> Option<Box<VerdictBlock>> {
        let rulebook = recorder.rulebook.as_ref()?;
        let evidence = self.evidence();
        let who = Who {
            identity: evidence.as_deref(),
            client_addr: self.client_addr.ip(),
            facts: self.decoder.facts(),
            midstream: self.midstream,
            role_may_change: self.role_may_change,
            settings_may_change: self.settings_may_change,
            unix_ns: recorder.clock.unix_ns(at),
        };
        let judged = rulebook.judge_bytes(message, &who);
        let block = judged.block(recorder.mode);
        self.judged.push(Judgement {
            request: None,
            judged,
        });
        Some(block)
    }

    /// The gate holds bytes that belong to no message that was seen from its start. Refused, they have a record; let go,
    /// they are in the gap that says what was not seen.
    pub fn judge_unseen(&mut self, at: TimeNs, recorder: &mut Recorder) {
        let verdict = self.judge_bytes(Message::Unseen, at, recorder);
        let last = self.judged.last();
        if !last.is_some_and(|judgement| judgement.judged.verdict.action.stops()) {
            return;
        }
        let error = ErrorBlock {
            direction: Some(name(Direction::Request)),
            reason: Some("a message whose beginning was not seen".to_owned()),
            ..ErrorBlock::default()
        };
        let record = self.base(Kind::ProtocolError, at, recorder);
        recorder.push(Record {
            error: Some(error.into()),
            verdict,
            ..record
        });
    }

    /// What the kernel knows of who is behind the session: see [`Who::identity`].
    pub fn evidence(&self) -> Option<String> {
        match &self.client {
            Some(client) => Some(identity(Some(client), None, None).name),
            // A client of this host whose process was not found.
            None if self.client_addr.ip().to_canonical().is_loopback() => None,
            None => Some(String::new()),
        }
    }

    /// Changes the verdict of a message whose record is not written yet.
    pub fn change_verdict(&mut self, number: u64, change: impl FnOnce(&mut VerdictBlock)) {
        if let Some(noted) = self.verdicts.iter_mut().find(|n| n.number == number) {
            change(&mut noted.block);
        }
    }

    /// The verdict on the message of this number; those on messages before it will not be asked for.
    fn verdict(&mut self, number: u64) -> Option<Box<VerdictBlock>> {
        while let Some(noted) = self.verdicts.front() {
            if noted.number > number {
                return None;
            }
            let noted = self.verdicts.pop_front()?;
            if noted.number == number {
                return Some(noted.block);
            }
        }
        None
    }

    /// What was decided on this message, but the server has it already.
    pub fn unenforced(&mut self, judgement: &Judgement, recorder: &mut Recorder) {
        let at = judgement
            .request
            .as_ref()
            .map_or(self.opened_at, |request| request.at);
        let mut record = self.base(Kind::VerdictUnenforced, at, recorder);
        if let Some(request) = &judgement.request {
            let mut block = StatementBlock {
                function_oid: request.function_oid,
                parse: if request.unseen { "unseen" } else { "ok" },
                via: request.via.name(),
                ..StatementBlock::default()
            };
            if let Some(text) = request.texts.first() {
                let options = options(&request.session);
                text_facts(&mut block, Arc::clone(text), options, &mut recorder.facts);
            }
            record.statement = Some(block);
        }
        record.verdict = Some(judgement.judged.block(recorder.mode));
        recorder.push(record);
    }

    /// A statement waits for a person, or no longer does.
    pub fn approval(&mut self, at: TimeNs, approval: ApprovalBlock, recorder: &mut Recorder) {
        let record = self.base(Kind::Approval, at, recorder);
        recorder.push(Record {
            approval: Some(approval.into()),
            ..record
        });
    }

    fn gap(
        &mut self,
        at: TimeNs,
        direction: Direction,
        bytes: Option<u64>,
        cause: GapCause,
        recorder: &mut Recorder,
    ) {
        match direction {
            Direction::Request => self.request_lost_bytes += bytes.unwrap_or(0),
            Direction::Response => self.response_lost_bytes += bytes.unwrap_or(0),
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
        record.result = Some(result_block(statement.sent_at, &mut statement.result));
        record.verdict = self.verdict(statement.number);
        record.statement = Some(statement_block(statement, &mut recorder.facts));
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
        if self
            .blocks
            .as_ref()
            .is_none_or(|blocks| !Arc::ptr_eq(&blocks.facts, &facts))
        {
            self.blocks = self.render(facts);
        }
        if let Some(blocks) = &self.blocks {
            record.session = Some(blocks.session.clone());
            record.identity = Some(blocks.identity.clone());
        }
        record
    }

    fn render(&self, facts: Arc<SessionFacts>) -> Option<Blocks> {
        let opaque = facts.opaque.map(|opaque| match opaque {
            Opaque::Tls => "tls",
            Opaque::Gss => "gss",
        });
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
            server_pid: facts.backend_pid.or(self.server_pid),
            tls: facts.opaque == Some(Opaque::Tls),
            user: facts.user.clone(),
        };
        let who = identity(
            self.client.as_deref(),
            facts.user.as_deref(),
            Some(self.client_addr),
        );
        // Strings and numbers only: rendering them cannot fail.
        let session = Rendered::new(&session).ok()?;
        let identity = Rendered::new(&who).ok()?;
        Some(Blocks {
            facts,
            session,
            identity,
        })
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

fn result_block(sent_at: TimeNs, result: &mut StatementResult) -> ResultBlock {
    let (error, message) = match result.error.take() {
        Some(error) => (Some(error.code), Some(error.message)),
        None => (None, None),
    };
    ResultBlock {
        copy_in_bytes: result.copy_in_bytes,
        copy_out_bytes: result.copy_out_bytes,
        duration_us: result
            .finished_at
            .map(|at| at.saturating_sub(sent_at) / 1000),
        error,
        message,
        rows: result.rows,
        status: result.status.name(),
        tags: std::mem::take(&mut result.tags),
    }
}

fn statement_block(statement: Statement, cache: &mut FactsCache) -> StatementBlock {
    let mut block = StatementBlock {
        function_oid: statement.function_oid,
        params: statement.params,
        params_truncated: statement.params_truncated,
        parse: if statement.unseen { "unseen" } else { "ok" },
        via: statement.via.name(),
        ..StatementBlock::default()
    };
    if let Some(text) = statement.text {
        text_facts(&mut block, text, options(&statement.session), cache);
    } else if statement.function_oid.is_some() {
        block.count = 1;
    }
    block
}

/// How the server reads texts of this session. What it has not said is its default.
fn options(facts: &SessionFacts) -> Options {
    Options {
        standard_conforming_strings: Some(facts.standard_conforming_strings.unwrap_or(true)),
    }
}

fn text_facts(
    block: &mut StatementBlock,
    text: Arc<Text>,
    options: Options,
    cache: &mut FactsCache,
) {
    let facts = cache.get_text_with(&text, options);
    block.bytes = text.bytes;
    block.count = facts.count;
    block.encoding = text.encoding.as_deref().map(str::to_owned);
    block.fingerprint = Some(Arc::clone(&facts.fingerprint));
    block.lossy = text.lossy;
    block.missing_where = facts.missing_where;
    block.parse = facts.parse.name();
    block.sha256 = text.sha256.map(hex::encode);
    block.tables = Arc::clone(&facts.tables);
    block.truncated = text.truncated;
    block.verbs = Arc::clone(&facts.verbs);
    block.text = Some(text);
}
