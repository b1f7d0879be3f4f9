//! A block of which the JSON is made before the record.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A value whose JSON is made once and written many times (a session's block stands in each of its records).
#[derive(Debug, Clone)]
pub struct Rendered<T> {
    json: Arc<RawValue>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize> Rendered<T> {
    pub fn new(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Rendered {
            json: serde_json::value::to_raw_value(value)?.into(),
            of: PhantomData,
        })
    }
}

impl<T> Rendered<T> {
    /// The value as canonical JSON.
    pub fn json(&self) -> &str {
        self.json.get()
    }
}

impl<T> Serialize for Rendered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}
