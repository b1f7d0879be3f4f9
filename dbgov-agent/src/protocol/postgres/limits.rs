//! Every bound of the decoder, with its unit and its reason.

/// Longest start-up packet: the server's MAX_STARTUP_PACKET_LENGTH (src/include/libpq/pqcomm.h).
pub(super) const STARTUP_BYTES_MAX: u32 = 10_000;
/// Longest message of the kinds that carry no data: the server's PQ_SMALL_MESSAGE_LIMIT (src/include/libpq/libpq.h).
pub(super) const SMALL_MESSAGE_BYTES_MAX: u32 = 10_000;
/// Longest message of the kinds that carry data: the server's PQ_LARGE_MESSAGE_LIMIT, MaxAllocSize - 1.
pub(super) const LARGE_MESSAGE_BYTES_MAX: u32 = 0x3fff_fffe;
/// Longest answer to an authentication request: the server's PG_MAX_AUTH_TOKEN_LENGTH.
pub(super) const PASSWORD_MESSAGE_BYTES_MAX: u32 = 65_535;
/// Longest secret key of a CancelRequest (protocol 3.2: "BackendKeyData" allows up to 256 bytes).
pub(super) const CANCEL_KEY_BYTES_MAX: u32 = 256;
/// Longest response of a kind this decoder does not know; libpq refuses more for short kinds as well.
pub(super) const UNKNOWN_RESPONSE_BYTES_MAX: u32 = 30_000;
/// How much of a response's body is looked at. The kernel program forwards no more than this.
pub(super) const RESPONSE_BODY_BYTES_MAX: usize = 2048;
/// Significant length of a statement's or portal's name: the server looks them up by NAMEDATALEN - 1 bytes.
pub(super) const NAME_BYTES_MAX: usize = 63;
/// How far an answer is looked for behind requests that should have been answered before it.
pub(super) const SEARCH_OPS_MAX: usize = 64;
/// Names kept of the messages that the server skips after an error; a pipeline with more distinct ones loses texts.
pub(super) const SKIPPED_NAMES_MAX: usize = 256;
/// Silence after ReadyForQuery by which a client that pipelines is taken to be idle, nanoseconds.
pub(super) const IDLE_NS: u64 = 1_000_000_000;

/// Definitions whose answers are outstanding among which a name is looked for, to say what an Execute may run; behind a
/// longer pipeline of definitions it is `unseen`.
pub(super) const OUTSTANDING_MAX: usize = 256;
/// Texts that one name may stand for while answers are outstanding; beyond, it is `unseen` as well.
pub(super) const CANDIDATES_MAX: usize = 16;

/// What one decoder may keep. The defaults bound a connection to some tens of MiB in the worst case.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A longer text is kept as its head, its length and its SHA-256, bytes.
    pub statement_bytes_max: usize,
    /// A longer parameter is cut, bytes.
    pub param_bytes_max: usize,
    /// What is kept of all parameters of one message, bytes.
    pub params_bytes_max: usize,
    /// Prepared statements remembered; the least recently used goes first and is `unseen` from then on.
    pub prepared_statements_max: usize,
    /// Texts of the prepared statements together, bytes.
    pub prepared_bytes_max: usize,
    /// Open portals remembered.
    pub portals_max: usize,
    /// Parameters of the open portals together, bytes.
    pub portal_bytes_max: usize,
    /// Messages that wait for their answer. More fit in no receive buffer (6 MiB of `tcp_rmem`) of small messages.
    pub pending_max: usize,
    /// Texts and parameters of the messages that wait for their answer, bytes.
    pub pending_bytes_max: usize,
    /// Command tags kept of one message; rows are counted beyond it.
    pub tags_max: usize,
    /// Whether each message is told when it is complete ([`crate::protocol::Event::Request`]), for a policy.
    pub tell_requests: bool,
}

impl Limits {
    pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
    pub const PARAM_BYTES_MAX: usize = 4 << 10;
    pub const PARAMS_BYTES_MAX: usize = 1 << 20;
    pub const PREPARED_STATEMENTS_MAX: usize = 4096;
    pub const PREPARED_BYTES_MAX: usize = 8 << 20;
    pub const PORTALS_MAX: usize = 256;
    pub const PORTAL_BYTES_MAX: usize = 4 << 20;
    pub const PENDING_MAX: usize = 1 << 17;
    pub const PENDING_BYTES_MAX: usize = 16 << 20;
    pub const TAGS_MAX: usize = 4096;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            statement_bytes_max: Self::STATEMENT_BYTES_MAX,
            param_bytes_max: Self::PARAM_BYTES_MAX,
            params_bytes_max: Self::PARAMS_BYTES_MAX,
            prepared_statements_max: Self::PREPARED_STATEMENTS_MAX,
            prepared_bytes_max: Self::PREPARED_BYTES_MAX,
            portals_max: Self::PORTALS_MAX,
            portal_bytes_max: Self::PORTAL_BYTES_MAX,
            pending_max: Self::PENDING_MAX,
            pending_bytes_max: Self::PENDING_BYTES_MAX,
            tags_max: Self::TAGS_MAX,
            tell_requests: false,
        }
    }
}
