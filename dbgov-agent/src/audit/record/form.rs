//! How values are written, and which are left out.

use std::sync::Arc;

use serde::Serializer;

use super::JSON_INTEGER_MAX;
use crate::audit::time::TimeFormatter;

pub(super) fn absent(value: &bool) -> bool {
    !*value
}

pub(super) fn is_zero(n: &u64) -> bool {
    *n == 0
}

pub(super) fn no_items<T>(items: &Arc<[T]>) -> bool {
    items.is_empty()
}

/// A number as every reader of JSON sees it, at most [`JSON_INTEGER_MAX`].
pub(super) fn exact<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64((*number).min(JSON_INTEGER_MAX))
}

pub(super) fn exact_option<S: Serializer>(
    number: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => exact(number, serializer),
        None => serializer.serialize_none(),
    }
}

/// UTC, RFC 3339, as the `time` of a record.
pub(super) fn instant<S: Serializer>(unix_ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Vec::new();
    TimeFormatter::new().write(*unix_ns, &mut text);
    serializer.serialize_str(&String::from_utf8_lossy(&text))
}
