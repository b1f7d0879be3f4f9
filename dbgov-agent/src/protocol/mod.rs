//! Bytes to sessions, statements and results. Pure: no socket, no clock, no runtime; times are passed in.
//!
//! A decoder is fed the ordered bytes of both directions of one connection and answers with [`Event`]s.
#![forbid(unsafe_code)]

pub mod postgres;

use std::sync::Arc;

/// The side of the connection a byte came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Client to server.
    Request,
    /// Server to client.
    Response,
}

/// A moment on the kernel's boot clock, nanoseconds (`bpf_ktime_get_boot_ns`); in a replay, of the capture file.
pub type TimeNs = u64;

/// Why bytes of a stream were not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The ring buffer was full when the packet passed.
    RingFull,
    /// The connection is older than the agent.
    Midstream,
    /// More out-of-order data than is kept for one connection.
    ReassemblyLimit,
    /// The packet had headers the kernel program does not walk.
    Unparsed,
    /// The packets never came (a capture file that misses them, or the hook was away).
    Missing,
    /// A table of the kernel or the agent had no room for the connection.
    TableFull,
    /// Nothing is missing, but others could still write to the packet: the server may have read something else.
    SharedPages,
}

impl GapCause {
    /// The name in the audit record (`gap.cause`).
    pub fn name(self) -> &'static str {
        match self {
            GapCause::RingFull => "ring_full",
            GapCause::Midstream => "midstream",
            GapCause::ReassemblyLimit => "reassembly_limit",
            GapCause::Unparsed => "unparsed_packet",
            GapCause::Missing => "missing",
            GapCause::TableFull => "table_full",
            GapCause::SharedPages => "shared_pages",
        }
    }
}

/// What a session is known to be at one moment. Shared by the statements sent while it held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFacts {
    pub user: Option<String>,
    pub database: Option<String>,
    pub application: Option<String>,
    /// Current role where ParameterStatus tells it (SET ROLE / SET SESSION AUTHORIZATION).
    pub role: Option<String>,
    /// The start-up packet set a role, of which no ParameterStatus tells.
    pub role_at_start: bool,
    /// PostgreSQL's name of the client_encoding (`UTF8`, `LATIN1`, ...), absent when not known.
    pub encoding: Option<String>,
    /// Physical or logical replication was asked for at start-up.
    pub replication: bool,
    /// `3.0`, `3.2`.
    pub protocol_version: Option<(u16, u16)>,
    pub backend_pid: Option<u32>,
    pub server_version: Option<String>,
    /// As the server last reported it.
    pub standard_conforming_strings: Option<bool>,
    /// As the server last reported it (PostgreSQL 18 and later do): the names in it, folded.
    pub search_path: Option<Arc<[Box<str>]>>,
    /// The session runs under TLS or GSS encryption, so that its statements cannot be read.
    pub opaque: Option<Opaque>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opaque {
    Tls,
    Gss,
}

/// The message that made the server run something (`statement.via` in the record).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    Simple,
    Execute,
    /// A later Execute of the same, suspended portal.
    Fetch,
    /// A Parse that failed.
    Prepare,
    /// A Bind that failed.
    Bind,
    FunctionCall,
    /// A command on a replication connection.
    Replication,
}

impl Via {
    pub fn name(self) -> &'static str {
        match self {
            Via::Simple => "simple",
            Via::Execute => "execute",
            Via::Fetch => "fetch",
            Via::Prepare => "prepare",
            Via::Bind => "bind",
            Via::FunctionCall => "function_call",
            Via::Replication => "replication",
        }
    }
}

/// A statement's text as UTF-8, with what is needed to say how it differs from the bytes on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Head of the text where `truncated`, cut at a character boundary.
    pub text: Box<str>,
    /// Length on the wire without the terminator, bytes.
    pub bytes: u64,
    pub truncated: bool,
    /// Something in it was no valid text of its encoding and became U+FFFD.
    pub lossy: bool,
    /// Something behind the head hit the trigger ([`postgres::Decoder::set_trigger`]); true as well where none is set.
    pub tail_hit: bool,
    /// Of all bytes on the wire; only where `truncated`.
    pub sha256: Option<[u8; 32]>,
    /// PostgreSQL's name of the encoding it was sent in, where that is not UTF8.
    pub encoding: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    Error,
    /// Nothing came back: skipped after an error, connection ended, gap.
    None,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Error => "error",
            Status::None => "none",
        }
    }
}

/// An ErrorResponse (or FATAL) as far as the record wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    pub message: String,
}

/// The answer to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementResult {
    pub status: Status,
    /// Sum over the message of rows returned or affected.
    pub rows: Option<u64>,
    /// Command tag of each statement of the message.
    pub tags: Vec<String>,
    pub error: Option<ServerError>,
    /// When the byte came that completed the result; absent with [`Status::None`].
    pub finished_at: Option<TimeNs>,
    /// Bytes of COPY data sent by the client and by the server.
    pub copy_in_bytes: u64,
    pub copy_out_bytes: u64,
}

/// A message of the client that makes the server run something or defines what a later one runs (Parse), as soon as its
/// last byte is there: what a gate decides on before the server gets that byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Of the messages of this session, ascending; its [`Statement`] has the same.
    pub number: u64,
    /// When the byte came that completed the message.
    pub at: TimeNs,
    /// [`Via::Prepare`] for a Parse.
    pub via: Via,
    /// What it runs. More than one where answers are outstanding that decide which of them a name stands for.
    pub texts: Vec<Arc<Text>>,
    /// It may also run something that was never seen.
    pub unseen: bool,
    pub function_oid: Option<u32>,
    /// Where in the stream of request bytes the message begins and where the next one does, bytes since the decoder's
    /// start (lost ones included).
    pub start: u64,
    pub end: u64,
    /// Where the text of a Query or a Parse begins; it is as long as [`Text::bytes`] says.
    pub text_at: Option<u64>,
    /// The session as it was when the message was sent.
    pub session: Arc<SessionFacts>,
}

/// One message that made the server run something, with its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The number of its [`Request`].
    pub number: u64,
    pub via: Via,
    /// Absent for a FunctionCall and where the Parse was never seen.
    pub text: Option<Arc<Text>>,
    /// The Parse of this Execute was never seen.
    pub unseen: bool,
    pub function_oid: Option<u32>,
    /// In order, PostgreSQL's text form; `None` is SQL NULL.
    pub params: Vec<Option<String>>,
    pub params_truncated: bool,
    /// When the byte came that completed the message.
    pub sent_at: TimeNs,
    /// The session as it was when the message was sent.
    pub session: Arc<SessionFacts>,
    pub result: StatementResult,
}

/// What a decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something in [`SessionFacts`] is newly known or changed (start-up message, ParameterStatus, TLS accepted...).
    Session {
        at: TimeNs,
        facts: Arc<SessionFacts>,
    },
    /// Authentication is over and the server is ready for the first query.
    Authenticated {
        at: TimeNs,
    },
    /// A message is complete. Only told where [`postgres::Limits::tell_requests`] asks for it.
    Request(Box<Request>),
    Statement(Box<Statement>),
    /// A CancelRequest (this connection carries nothing else); the secret key is never kept.
    Cancel {
        at: TimeNs,
        backend_pid: u32,
    },
    /// An error tied to no statement: failed log-in, a FATAL while idle, a deferred constraint at Sync.
    SessionError {
        at: TimeNs,
        error: ServerError,
    },
    /// Bytes that are not the protocol. Decoding of the session has ended.
    ProtocolError {
        at: TimeNs,
        direction: Direction,
        reason: &'static str,
    },
    /// Bytes that were not decoded: lost before the decoder, or passed over while it looked for a message boundary.
    Gap {
        at: TimeNs,
        direction: Direction,
        bytes: Option<u64>,
        cause: GapCause,
    },
    /// The client said Terminate.
    Terminate {
        at: TimeNs,
    },
}
