//! The blocks of a statement's record as canonical JSON: what serde makes of [`StatementBlock`] and [`ResultBlock`],
//! member by member. They are most of what is written, and `json` is several times as fast.

use super::json::Object;
use super::record::{ResultBlock, StatementBlock};

pub(super) fn write_statement(block: &StatementBlock, json: &mut Vec<u8>) {
    let mut object = Object::open(json);
    object.number("bytes", block.bytes);
    if !block.comment.is_empty() {
        let mut comment = object.object("comment");
        let mut claimed = comment.object("claimed");
        for (key, value) in &block.comment.claimed {
            claimed.entry(key, value);
        }
        claimed.close();
        comment.close();
    }
    object.number("count", block.count.into());
    object.optional_text("encoding", block.encoding.as_deref());
    object.optional_text("fingerprint", block.fingerprint.as_deref());
    if let Some(oid) = block.function_oid {
        object.number("function_oid", oid.into());
    }
    object.flag_if_set("lossy", block.lossy);
    object.flag_if_set("missing_where", block.missing_where);
    object.texts("params", block.params.iter().map(Option::as_deref));
    object.flag_if_set("params_truncated", block.params_truncated);
    object.text("parse", block.parse);
    object.texts("redacted", block.redacted.iter().map(|what| Some(*what)));
    object.optional_text("sha256", block.sha256.as_deref());
    object.texts("tables", block.tables.iter().map(|table| Some(&**table)));
    object.optional_text("text", block.text.as_ref().map(|text| &*text.text));
    object.flag("truncated", block.truncated);
    object.texts("verbs", block.verbs.iter().map(|verb| Some(*verb)));
    object.text("via", block.via);
    object.close();
}

pub(super) fn write_result(block: &ResultBlock, json: &mut Vec<u8>) {
    let mut object = Object::open(json);
    for (key, bytes) in [
        ("copy_in_bytes", block.copy_in_bytes),
        ("copy_out_bytes", block.copy_out_bytes),
    ] {
        if bytes > 0 {
            object.number(key, bytes);
        }
    }
    if let Some(duration_us) = block.duration_us {
        object.number("duration_us", duration_us);
    }
    object.optional_text("error", block.error.as_deref());
    object.optional_text("message", block.message.as_deref());
    if let Some(rows) = block.rows {
        object.number("rows", rows);
    }
    object.text("status", block.status);
    object.texts("tags", block.tags.iter().map(|tag| Some(tag.as_str())));
    object.close();
}
