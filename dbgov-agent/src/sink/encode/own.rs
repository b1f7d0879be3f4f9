//! The record itself, under the names docs/records.md gives its fields, for what a schema has no place for.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::EncodeError;
use crate::audit::json::Object;
use crate::audit::view::Text;

/// Objects within objects that are looked into. Records have four; what a changed journal may have more is passed on as
/// it is.
const DEPTH_MAX: u32 = 6;

/// What every format has a place of its own for.
const PLACED: [&str; 2] = ["seq", "time"];

/// Objects whose keys come from users and clients. A receiver that makes a column of each key (Elasticsearch does)
/// could be filled with columns, or made to refuse records (`app` and `app.kubernetes.io/name` cannot both be): they
/// become lists of `key=value`.
const FREE_KEYS: [&str; 2] = ["claimed", "labels"];

/// The members of an object, in order, each as JSON.
struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// Writes the member `dbgov`; `with_text`: also the statement's text.
pub(super) fn write(
    object: &mut Object,
    line: &[u8],
    with_text: bool,
    seq: u64,
) -> Result<(), EncodeError> {
    let failed = |source| EncodeError::Block { seq, source };
    let members: Members = serde_json::from_slice(line).map_err(failed)?;
    let mut own = object.object("dbgov");
    for (key, value) in &members.0 {
        if PLACED.contains(&key.as_str()) {
            continue;
        }
        let left_out = (key == "statement" && !with_text).then_some("text");
        copy(&mut own, key, value, left_out, DEPTH_MAX).map_err(failed)?;
    }
    own.close();
    Ok(())
}

fn copy(
    object: &mut Object,
    key: &str,
    value: &RawValue,
    left_out: Option<&str>,
    depth_left: u32,
) -> Result<(), serde_json::Error> {
    let json = value.get();
    if depth_left == 0 || !json.starts_with('{') {
        object.raw(key, json);
        return Ok(());
    }
    let members: Members = serde_json::from_str(json)?;
    if FREE_KEYS.contains(&key) {
        object.entry_texts(key, members.0.iter().map(pair));
        return Ok(());
    }
    let mut inner = object.entry_object(key);
    for (key, value) in &members.0 {
        if left_out != Some(key.as_str()) {
            copy(&mut inner, key, value, None, depth_left - 1)?;
        }
    }
    inner.close();
    Ok(())
}

fn pair((key, value): &(Text, &RawValue)) -> String {
    match serde_json::from_str::<Text>(value.get()) {
        Ok(text) => format!("{key}={text}"),
        Err(_) => format!("{key}={}", value.get()),
    }
}
