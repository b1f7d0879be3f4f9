//! What was not seen, not understood or not kept.

use super::form::exact_option;
use serde::Serialize;

#[derive(Debug, Clone, Default, Serialize)]
pub struct GapBlock {
    /// How many bytes were not seen, where known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub bytes: Option<u64>,
    pub cause: &'static str,
    /// `request` or `response`; absent where the gap is not of one direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    /// How many records were lost (disk full, crash).
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub records: Option<u64>,
    /// A file that holds what was cut off (torn last line).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side_file: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ErrorBlock {
    /// SQLSTATE, for a session_error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}
