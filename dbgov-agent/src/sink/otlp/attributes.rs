//! What a record says -> attributes by OpenTelemetry's semantic conventions (opentelemetry.io/docs/specs/semconv:
//! database client spans, general attributes), and what they have no name for under `dbgov.`.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::Value;

use super::value::{any, from_json, pair, text};
use crate::sink::Item;

/// Trace and span of the request that a statement says it belongs to (W3C Trace Context), which nobody vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) flags: u8,
}

/// What is known of every record, whatever its format.
pub(super) fn of_item(item: &Item) -> Vec<KeyValue> {
    let mut list = List(Vec::new());
    list.text("log.record.uid", Some(&item.id));
    list.text("dbgov.kind", Some(&item.kind));
    list.int("dbgov.seq", i64::try_from(item.seq).ok());
    list.text("session.id", item.session.as_deref());
    list.0
}

/// What a record of the native format says.
pub(super) fn of_record(record: &Value) -> Vec<KeyValue> {
    let mut list = List(Vec::new());
    session(&mut list, &record["session"]);
    identity(&mut list, &record["identity"]);
    statement(&mut list, &record["statement"]);
    result(&mut list, &record["result"]);
    for key in ["action", "mode", "rule"] {
        list.text(
            &format!("dbgov.verdict.{key}"),
            record["verdict"][key].as_str(),
        );
    }
    list.0
}

fn session(list: &mut List, session: &Value) {
    list.text("db.system.name", session["protocol"].as_str());
    list.text("db.namespace", session["database"].as_str());
    list.text("dbgov.session.user", session["user"].as_str());
    list.text("dbgov.session.application", session["application"].as_str());
    list.address("server", &session["server_addr"]);
    list.address("client", &session["client_addr"]);
}

fn identity(list: &mut List, identity: &Value) {
    list.text("dbgov.identity.name", identity["name"].as_str());
    list.text("dbgov.identity.source", identity["source"].as_str());
    list.text("dbgov.run", identity["run"].as_str());
    list.int("process.pid", identity["pid"].as_i64());
    list.text("process.executable.path", identity["exe"].as_str());
    list.text("container.id", identity["container"].as_str());
    list.text("k8s.pod.uid", identity["pod_uid"].as_str());
    if let Some((namespace, name)) = identity["pod"].as_str().and_then(|pod| pod.split_once('/')) {
        list.text("k8s.namespace.name", Some(namespace));
        list.text("k8s.pod.name", Some(name));
    }
}

fn statement(list: &mut List, statement: &Value) {
    list.text("db.query.text", statement["text"].as_str());
    // One of many would mislead: these are for statements with one operation and one table.
    if let Some([Value::String(verb)]) = statement["verbs"].as_array().map(Vec::as_slice) {
        list.text("db.operation.name", Some(&verb.to_uppercase()));
    }
    match statement["tables"].as_array().map(Vec::as_slice) {
        None | Some([]) => {}
        Some([Value::String(table)]) => list.text("db.collection.name", Some(table)),
        Some(_) => list.0.push(pair(
            "dbgov.statement.tables",
            from_json(statement["tables"].clone()),
        )),
    }
    let count = statement["count"].as_i64().filter(|count| *count > 1);
    list.int("db.operation.batch.size", count);
    list.text(
        "dbgov.statement.fingerprint",
        statement["fingerprint"].as_str(),
    );
}

fn result(list: &mut List, result: &Value) {
    list.text("db.response.status_code", result["error"].as_str());
    list.text("error.type", result["error"].as_str());
    list.int("db.response.returned_rows", result["rows"].as_i64());
    list.int("dbgov.result.duration_us", result["duration_us"].as_i64());
}

/// Of the comment that sqlcommenter writes.
pub(super) fn trace(record: &Value) -> Option<Trace> {
    let claimed = &record["statement"]["comment"]["claimed"];
    parse_trace(claimed["traceparent"].as_str()?)
}

/// W3C Trace Context section 3.2.2, version 00 and what later ones begin with.
fn parse_trace(header: &str) -> Option<Trace> {
    let mut parts = header.split('-');
    let version: [u8; 1] = lowercase_hex(parts.next()?)?;
    let trace_id = lowercase_hex(parts.next()?)?;
    let span_id = lowercase_hex(parts.next()?)?;
    let [flags] = lowercase_hex(parts.next()?)?;
    let is_over = parts.next().is_none();
    let is_valid = version != [0xff]
        && (is_over || version != [0])
        && trace_id != [0; 16]
        && span_id != [0; 8];
    is_valid.then_some(Trace {
        trace_id,
        span_id,
        flags,
    })
}

fn lowercase_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

struct List(Vec<KeyValue>);

impl List {
    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.push(pair(key, text(value)));
        }
    }

    fn int(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.0.push(pair(key, any(Any::IntValue(value))));
        }
    }

    /// `1.2.3.4:5432`; where it is no such thing (a socket's path), the whole.
    fn address(&mut self, whose: &str, value: &Value) {
        let Some(value) = value.as_str() else {
            return;
        };
        match value.parse::<SocketAddr>() {
            Ok(address) => {
                let ip = address.ip().to_string();
                self.text(&format!("{whose}.address"), Some(&ip));
                self.int(&format!("{whose}.port"), Some(i64::from(address.port())));
            }
            Err(_) => self.text(&format!("{whose}.address"), Some(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute<'a>(list: &'a [KeyValue], key: &str) -> Option<&'a Any> {
        let found: Vec<_> = list.iter().filter(|pair| pair.key == key).collect();
        assert!(found.len() <= 1, "{key} is there twice");
        found.first()?.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn a_statement_by_the_semantic_conventions() {
        let record = serde_json::json!({
            "session": {"protocol": "postgresql", "database": "shop", "user": "app",
                "server_addr": "[2001:db8::1]:5432", "client_addr": "10.0.0.7:41000"},
            "identity": {"name": "agent:sync", "source": "tag", "pid": 42, "pod": "web/api-0"},
            "statement": {"text": "SELECT 1", "verbs": ["select"], "tables": ["orders"], "count": 1},
            "result": {"error": "42501", "rows": 3},
            "verdict": {"action": "allow", "rule": "r"},
        });
        let list = of_record(&record);
        let text = |key| match attribute(&list, key) {
            Some(Any::StringValue(text)) => text.as_str(),
            other => panic!("{key}: {other:?}"),
        };
        for (key, expected) in [
            ("db.system.name", "postgresql"),
            ("db.namespace", "shop"),
            ("db.query.text", "SELECT 1"),
            ("db.operation.name", "SELECT"),
            ("db.collection.name", "orders"),
            ("db.response.status_code", "42501"),
            ("server.address", "2001:db8::1"),
            ("client.address", "10.0.0.7"),
            ("k8s.namespace.name", "web"),
            ("k8s.pod.name", "api-0"),
            ("dbgov.identity.name", "agent:sync"),
            ("dbgov.verdict.action", "allow"),
        ] {
            assert_eq!(text(key), expected, "{key}");
        }
        assert_eq!(attribute(&list, "server.port"), Some(&Any::IntValue(5432)));
        assert_eq!(attribute(&list, "db.operation.batch.size"), None);
    }

    #[test]
    fn several_verbs_or_tables_name_no_single_one() {
        let record = serde_json::json!({"statement":
            {"verbs": ["select", "delete"], "tables": ["a", "b"], "count": 2}});
        let list = of_record(&record);
        assert_eq!(attribute(&list, "db.operation.name"), None);
        assert_eq!(attribute(&list, "db.collection.name"), None);
        assert!(attribute(&list, "dbgov.statement.tables").is_some());
        assert_eq!(
            attribute(&list, "db.operation.batch.size"),
            Some(&Any::IntValue(2))
        );
    }

    #[test]
    fn a_traceparent_is_taken_only_where_it_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = parse_trace(good).unwrap();
        assert_eq!(trace.trace_id[0], 0x0a);
        assert_eq!(trace.span_id[7], 0x31);
        assert_eq!(trace.flags, 1);
        assert!(parse_trace(&good.replacen("00", "01", 1)).is_some());
        assert!(parse_trace(&format!("01{}-more", &good[2..])).is_some());
        for bad in [
            "",
            "00",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-äaf7651916cd43dd8448eb211c8031c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse_trace(bad), None, "{bad}");
        }
    }
}
