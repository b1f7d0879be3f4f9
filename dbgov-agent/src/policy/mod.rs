//! (facts, identity) -> verdict. Pure: no I/O, no clock; time comes with the question.
//!
//! One principle decides most corners: what is uncertain matches restrictive rules and never a permissive one.
//!
//! ```text
//! parse      policy.toml -> rules and settings; errors with line and column
//! rule       a rule; action, verbs, glob, names, time: what it is made of
//! context    what is asked and answered
//! evaluate   the question: every effect takes the first rule that matches it, the message the strictest
//! explain    the same, told part by part
//! check      rules that can never match
//! ```
#![forbid(unsafe_code)]

mod action;
mod context;
mod glob;
mod names;
mod rule;
mod time;
mod verbs;

use std::sync::Arc;

pub use action::Action;
pub use context::{Context, Message, Verdict};
pub use glob::{GLOB_BYTES_MAX, Glob, GlobError};
pub use names::{NameError, NamePattern, SearchPath};
pub use rule::{APPROVAL_TIMEOUT_DEFAULT, AgentDown, Cidr, Rule, Settings};
pub use time::{DAY_S, TimeWindow, WEEKDAY_NAMES, Weekdays};
pub use verbs::{GROUPS, VerbSet};

/// A policy file, read. Never changed: another file is another policy.
#[derive(Debug)]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub settings: Settings,
    /// Of the file's bytes, in hex.
    pub sha256: Arc<str>,
}
