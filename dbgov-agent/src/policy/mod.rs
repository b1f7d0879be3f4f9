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
//! trigger    what the kernel has to look for, so that nothing a rule would stop gets past it
//! ```
#![forbid(unsafe_code)]

mod action;
mod check;
mod context;
mod evaluate;
mod explain;
mod fastpath;
mod index;
mod matching;
mod names;
mod parse;
mod rule;
#[cfg(test)]
mod tests;
mod time;
pub mod trigger;
mod verbs;

use std::sync::Arc;

pub use crate::glob::{GLOB_BYTES_MAX, Glob, GlobError};
pub use action::Action;
pub use check::Warning;
pub use context::{Context, Message, Verdict};
pub use explain::{EffectTold, Explanation, PassedOver};
pub use names::{NameError, NamePattern, SearchPath};
pub(crate) use parse::block;
pub use parse::{POLICY_BYTES_MAX, PolicyError, Problem};
pub use rule::{APPROVAL_TIMEOUT_DEFAULT, AgentDown, Cidr, Rule, Settings};
pub use time::{DAY_S, TimeWindow, WEEKDAY_NAMES, Weekdays};
pub use verbs::{GROUPS, VerbSet};

use evaluate::Setting;
use index::Index;

/// Rules of one policy. A hundred are many; a message's sender is compared with each at most once.
pub const RULES_MAX: usize = 1024;

/// A policy file, read. Never changed: another file is another policy.
#[derive(Debug)]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub settings: Settings,
    /// Of the file's bytes, in hex.
    pub sha256: Arc<str>,
    index: Index,
    labels: [Arc<str>; Setting::ALL.len()],
}

impl Policy {
    fn new(rules: Vec<Rule>, settings: Settings, sha256: Arc<str>) -> Self {
        Policy {
            index: Index::new(&rules),
            labels: Setting::ALL.map(|setting| setting.label().into()),
            rules,
            settings,
            sha256,
        }
    }
}

impl Settings {
    fn of(&self, setting: Setting) -> Action {
        match setting {
            Setting::Default => self.default,
            Setting::Unparsed => self.unparsed,
            Setting::Unseen => self.unseen,
            Setting::Opaque => self.opaque,
            Setting::Malformed => self.malformed,
        }
    }
}
