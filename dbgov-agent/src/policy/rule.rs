//! One rule, and the settings for what no rule decides.

use std::sync::Arc;
use std::time::Duration;

use super::action::Action;
use super::names::NamePattern;
use super::time::TimeWindow;
use super::verbs::VerbSet;
use crate::glob::Glob;

/// An address block.
pub type Cidr = ipnet::IpNet;

/// How long a `hold` waits where the rule does not say: an approver has to see it, the client has not given up yet.
pub const APPROVAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// An ordered rule. A list that is empty and an option that is none ask for nothing; of a list one entry has to match, of
/// the keys all have to.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: Arc<str>,
    pub action: Action,
    /// What is done.
    pub verbs: Option<VerbSet>,
    /// To what: tables, views, sequences, indexes; functions too where `verbs` says `call` ...
    pub tables: Vec<NamePattern>,
    /// ... or to what functions ...
    pub functions: Vec<NamePattern>,
    /// ... or to what configuration parameters (`role` is one) ...
    pub settings: Vec<Glob>,
    /// ... and in what schemas.
    pub schemas: Vec<Glob>,
    /// UPDATE, DELETE or MERGE of all rows (or `false`: of some).
    pub missing_where: Option<bool>,
    /// With files or programs of the server.
    pub server_side: Option<bool>,
    /// The message has more than one statement (or `false`: has not).
    pub multi_statement: Option<bool>,
    /// The message's text has more bytes than this.
    pub statement_bytes: Option<u64>,
    pub identities: Vec<Glob>,
    pub users: Vec<Glob>,
    pub roles: Vec<Glob>,
    pub databases: Vec<Glob>,
    pub applications: Vec<Glob>,
    pub client_addrs: Vec<Cidr>,
    pub time: Option<TimeWindow>,
    /// Told to the user.
    pub reason: Option<Arc<str>>,
    pub approval_timeout: Duration,
    /// Line of the policy file, from 1.
    pub line: usize,
}

impl Rule {
    pub fn is_restrictive(&self) -> bool {
        self.action.is_restrictive()
    }

    /// It asks nothing of what a message does: any message of whom it is about.
    pub fn takes_every_effect(&self) -> bool {
        self.verbs.is_none()
            && self.tables.is_empty()
            && self.functions.is_empty()
            && self.settings.is_empty()
            && self.schemas.is_empty()
            && self.missing_where.is_none()
            && self.server_side.is_none()
            && self.multi_statement.is_none()
            && self.statement_bytes.is_none()
    }
}

/// What becomes of connections while no agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentDown {
    /// Everything passes.
    #[default]
    Open,
    /// What triggers stays held.
    Closed,
}

impl AgentDown {
    pub fn name(self) -> &'static str {
        match self {
            AgentDown::Open => "open",
            AgentDown::Closed => "closed",
        }
    }
}

/// POLICY.md, "Effects". `deny` is [`Action::Reset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// No rule matched.
    pub default: Action,
    /// A statement that could not be read.
    pub unparsed: Action,
    /// An Execute whose Parse was never seen, the second half of a message.
    pub unseen: Action,
    /// TLS, GSS, compression.
    pub opaque: Action,
    /// Bytes that are not the protocol.
    pub malformed: Action,
    pub on_agent_down: AgentDown,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            default: Action::Allow,
            unparsed: Action::Allow,
            unseen: Action::Alert,
            opaque: Action::Alert,
            malformed: Action::Reset,
            on_agent_down: AgentDown::Open,
        }
    }
}
