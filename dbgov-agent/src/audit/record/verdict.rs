//! What the policy decided.

use std::sync::Arc;

use super::form::exact_option;
use serde::Serialize;

/// What the policy decided on a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerdictBlock {
    /// `allow`, `alert`, `hold`, `reject`, `reset`.
    pub action: &'static str,
    /// Id of the approval the message waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Arc<str>>,
    /// How long the gate held the message, microseconds; only if it did.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub held_us: Option<u64>,
    /// The effect that decided: `drop public.t`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// `enforce`, or `observe`: nothing was held.
    pub mode: &'static str,
    /// As the rule gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Name of the rule, or `(default)`, `(unparsed)`, `(unseen)`, `(opaque)`, `(malformed)`.
    pub rule: Arc<str>,
    /// The action the rule asks for, where another was taken instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<&'static str>,
}
