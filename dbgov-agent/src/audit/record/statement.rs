//! What a client sent.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::form::{absent, exact, no_items};
use crate::protocol::Text;
use crate::sql::Claims;

#[derive(Debug, Clone, Default, Serialize)]
pub struct StatementBlock {
    /// Length of the text on the wire without the terminator, bytes.
    #[serde(serialize_with = "exact")]
    pub bytes: u64,
    #[serde(skip_serializing_if = "CommentBlock::is_empty")]
    pub comment: CommentBlock,
    pub count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_oid: Option<u32>,
    #[serde(skip_serializing_if = "absent")]
    pub lossy: bool,
    #[serde(skip_serializing_if = "absent")]
    pub missing_where: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Option<String>>,
    #[serde(skip_serializing_if = "absent")]
    pub params_truncated: bool,
    /// `ok`, `partial`, `failed`, or `unseen` where the Parse was never seen.
    pub parse: &'static str,
    /// What was taken out of text and parameters: `password`, `literals`, `params`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "no_items")]
    pub tables: Arc<[Box<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<Text>>,
    pub truncated: bool,
    #[serde(skip_serializing_if = "no_items")]
    pub verbs: Arc<[&'static str]>,
    pub via: &'static str,
}

/// What the client says about its statement in a comment; nobody vouches for it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommentBlock {
    pub claimed: Claims,
}

impl CommentBlock {
    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
