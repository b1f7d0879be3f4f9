//! What is asked of a policy, and what it answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::action::Action;
use super::names::SearchPath;
use crate::sql::Facts;

/// Who sends a message, and when. `None` is "not known", which a restrictive rule takes for a match and an `allow` rule
/// does not; what is known to be absent is `Some("")`.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// By kernel evidence only.
    pub identity: Option<&'a str>,
    /// Of the start-up message.
    pub user: Option<&'a str>,
    /// The current role.
    pub role: Option<&'a str>,
    pub database: Option<&'a str>,
    /// What the client last said.
    pub application: Option<&'a str>,
    pub client_addr: Option<IpAddr>,
    /// Nanoseconds since 1970.
    pub unix_ns: i128,
    pub search_path: &'a SearchPath,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    Statement {
        /// More than one: what a name may stand for, or a text and what it runs; the strictest counts. None: unseen.
        facts: &'a [&'a Facts],
        /// Of the text, as sent.
        bytes: u64,
    },
    /// By the function's OID, on the protocol's fast path.
    FunctionCall { oid: u32 },
    /// An Execute whose Parse was never seen, the second half of a message.
    Unseen,
    /// Encrypted or compressed.
    Opaque,
    /// Not the protocol.
    Malformed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub action: Action,
    /// The rule's name, or the setting's in parentheses.
    pub rule: Arc<str>,
    pub reason: Option<Arc<str>>,
    /// The effect (`"drop public.t"`), where the action is not `allow`.
    pub matched: Option<String>,
    /// For [`Action::Hold`].
    pub approval_timeout: Duration,
}
