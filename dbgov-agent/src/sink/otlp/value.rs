//! JSON -> AnyValue (opentelemetry.io/docs/specs/otel/common, "AnyValue").

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use serde_json::Value;

pub(super) fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(super) fn text(text: impl Into<String>) -> AnyValue {
    any(Any::StringValue(text.into()))
}

pub(super) fn pair(key: impl Into<String>, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(value),
        ..KeyValue::default()
    }
}

/// serde_json reads no deeper than 128 levels, so neither does this go.
pub(super) fn from_json(value: Value) -> AnyValue {
    let value = match value {
        Value::Null => return AnyValue { value: None },
        Value::Bool(is) => Any::BoolValue(is),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Any::StringValue(text),
        Value::Array(values) => Any::ArrayValue(ArrayValue {
            values: values.into_iter().map(from_json).collect(),
        }),
        Value::Object(map) => Any::KvlistValue(KeyValueList {
            values: map
                .into_iter()
                .map(|(key, value)| pair(key, from_json(value)))
                .collect(),
        }),
    };
    any(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value() {
        let value = serde_json::json!({"a": [1, "x", true, null, 1.5], "b": {"c": -1}});
        let Some(Any::KvlistValue(map)) = from_json(value).value else {
            panic!("no map");
        };
        assert_eq!(map.values[0].key, "a");
        let Some(Any::ArrayValue(list)) = &map.values[0].value.as_ref().unwrap().value else {
            panic!("no list");
        };
        assert_eq!(
            list.values,
            [
                any(Any::IntValue(1)),
                text("x"),
                any(Any::BoolValue(true)),
                AnyValue { value: None },
                any(Any::DoubleValue(1.5)),
            ]
        );
    }
}
