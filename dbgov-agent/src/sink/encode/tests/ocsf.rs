use serde_json::{Value, json};

use super::ocsf_schema::Schema;
use super::*;

fn event(line: &[u8]) -> Value {
    encoded_json(Format::Ocsf, line)
}

#[test]
fn every_record_is_a_valid_event() {
    let schema = Schema::load();
    for line in records::lines() {
        let event = event(line);
        let errors = schema.errors(&event);
        assert!(errors.is_empty(), "{errors:#?}\n{event:#}");
    }
}

#[test]
fn records_with_anything_in_them_are_valid_events() {
    let schema = Schema::load();
    for seed in 0..MANGLED {
        let line = records::mangled(seed);
        let errors = schema.errors(&event(&line));
        assert!(errors.is_empty(), "seed {seed}: {errors:#?}");
    }
}

/// The validator would find what is wrong.
#[test]
fn wrong_events_are_found() {
    let schema = Schema::load();
    let right = event(&records::statement_line("DELETE FROM carts"));
    assert_eq!(schema.errors(&right), Vec::<String>::new());
    let changes: [(&str, Option<Value>); 22] = [
        ("/time", None),
        ("/metadata", None),
        ("/metadata/product", None),
        ("/metadata/version", Some(json!("1.9.0"))),
        ("/metadata/profiles", Some(json!(["host"]))),
        ("/metadata/profiles/0", Some(json!("no_such"))),
        ("/src_endpoint", None),
        ("/src_endpoint/ip", Some(json!("10.0.0.256"))),
        ("/src_endpoint/port", Some(json!(65536))),
        ("/activity_id", Some(json!(11))),
        ("/activity_id", Some(json!(1))),
        ("/activity_name", Some(json!("Read"))),
        ("/type_uid", Some(json!(600_501))),
        ("/severity_id", Some(json!("1"))),
        ("/severity", Some(json!(1))),
        ("/disposition_id", Some(json!(28))),
        ("/action", Some(json!("allowed"))),
        ("/query_info/query_string", None),
        ("/actor/process/pid", None),
        ("/observables", Some(json!({}))),
        ("/unmapped", Some(json!([]))),
        ("/database/type_id", None),
    ];
    for (pointer, value) in changes {
        let mut wrong = right.clone();
        match value {
            Some(value) => *wrong.pointer_mut(pointer).unwrap() = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                let parent = wrong.pointer_mut(parent).unwrap();
                assert!(parent.as_object_mut().unwrap().remove(name).is_some());
            }
        }
        assert!(!schema.errors(&wrong).is_empty(), "{pointer}");
    }
    for (object, member) in [
        ("", "verb"),
        ("/actor", "iam_role"),
        ("/database", "uid_numeric"),
        ("", "time_dt"),
    ] {
        let mut wrong = right.clone();
        wrong.pointer_mut(object).unwrap()[member] = json!(1);
        assert!(!schema.errors(&wrong).is_empty(), "{object} {member}");
    }
    let mut neither = right;
    neither
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !["database", "table"].contains(&key.as_str()));
    assert!(!schema.errors(&neither).is_empty());
}

#[test]
fn a_statement() {
    let event = event(&records::statement_line("DELETE FROM carts"));
    for (pointer, value) in [
        ("/type_uid", json!(600_507)),
        ("/time", json!(1_795_391_999_123_u64)),
        ("/end_time", json!(1_795_391_999_124_u64)),
        ("/duration", json!(1)),
        ("/status_id", json!(1)),
        ("/actor/user/name", json!("agent:sync")),
        ("/actor/user/account/name", json!("app")),
        ("/actor/process/file/name", json!("python3")),
        ("/actor/session/uid", json!("s-1")),
        ("/src_endpoint/ip", json!("10.9.0.2")),
        ("/dst_endpoint/port", json!(5432)),
        ("/database/name", json!("shop")),
        ("/table/name", json!("carts")),
        ("/query_info/query_string", json!("DELETE FROM carts")),
        ("/metadata/uid", json!("ab".repeat(32))),
        ("/metadata/sequence", json!(7)),
        (
            "/unmapped/dbgov/statement/tables",
            json!(["carts", "shop.orders"]),
        ),
        ("/unmapped/dbgov/chain/prev", json!("00".repeat(32))),
        ("/action_id", json!(3)),
        ("/disposition_id", json!(17)),
    ] {
        assert_eq!(event.pointer(pointer), Some(&value), "{pointer}");
    }
    // The text is there already.
    assert_eq!(event.pointer("/unmapped/dbgov/statement/text"), None);
}

/// Nothing of a record is lost: what is not mapped is there as it was.
#[test]
fn the_rest_is_unmapped() {
    for line in records::lines() {
        let record: Value = serde_json::from_slice(line).unwrap();
        let event = event(line);
        for (key, value) in record.as_object().unwrap() {
            if ["seq", "time", "statement", "identity", "pods", "tag"].contains(&key.as_str()) {
                continue;
            }
            assert_eq!(&event["unmapped"]["dbgov"][key], value, "{key}");
        }
    }
}
