//! What came of a statement.

use super::form::{exact, exact_option, is_zero};
use serde::Serialize;

#[derive(Debug, Clone, Default, Serialize)]
pub struct ResultBlock {
    #[serde(skip_serializing_if = "is_zero", serialize_with = "exact")]
    pub copy_in_bytes: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "exact")]
    pub copy_out_bytes: u64,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub duration_us: Option<u64>,
    /// SQLSTATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exact_option"
    )]
    pub rows: Option<u64>,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}
