//! Records -> one request.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;

use super::attributes::{self, Trace};
use super::config::{Body, OtlpConfig};
use super::value::{from_json, pair, text};
use crate::sink::deliver::Severity;
use crate::sink::{Format, Item};

#[derive(Debug)]
pub(super) struct Requests {
    resource: Resource,
    format: Format,
    body: Body,
}

impl Requests {
    pub(super) fn new(config: &OtlpConfig, format: Format, node: &str) -> Self {
        let own = [
            ("service.name", "dbgov"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("host.name", node),
        ];
        let mut attributes: Vec<_> = config
            .resource
            .iter()
            .map(|(key, value)| pair(key, text(value)))
            .collect();
        for (key, value) in own {
            if !config.resource.contains_key(key) {
                attributes.push(pair(key, text(value)));
            }
        }
        Requests {
            resource: Resource {
                attributes,
                ..Resource::default()
            },
            format,
            body: config.body,
        }
    }

    pub(super) fn request(&self, items: &[&Item]) -> ExportLogsServiceRequest {
        let observed = SystemTime::now().duration_since(UNIX_EPOCH);
        let observed = observed.map_or(0, |since| since.as_nanos() as u64);
        let records = items.iter().map(|item| self.record(item, observed));
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(InstrumentationScope {
                        name: "dbgov".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    log_records: records.collect(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        }
    }

    fn record(&self, item: &Item, observed: u64) -> LogRecord {
        let parsed: Option<Value> = match self.format {
            Format::Cef | Format::Leef => None,
            Format::Native | Format::Ocsf | Format::Ecs => serde_json::from_slice(&item.body).ok(),
        };
        let mut attributes = attributes::of_item(item);
        let mut trace: Option<Trace> = None;
        if let (Format::Native, Some(record)) = (self.format, &parsed) {
            attributes.extend(attributes::of_record(record));
            trace = attributes::trace(record);
        }
        let body = match (self.body, parsed) {
            (Body::Structured, Some(record)) => from_json(record),
            _ => text(String::from_utf8_lossy(&item.body)),
        };
        let (number, name) = severity(item.severity);
        LogRecord {
            time_unix_nano: item.time_unix_ns,
            observed_time_unix_nano: observed,
            severity_number: number as i32,
            severity_text: name.to_owned(),
            body: Some(body),
            attributes,
            flags: trace.as_ref().map_or(0, |trace| u32::from(trace.flags)),
            trace_id: trace.as_ref().map_or(Vec::new(), |t| t.trace_id.to_vec()),
            span_id: trace.as_ref().map_or(Vec::new(), |t| t.span_id.to_vec()),
            event_name: format!("dbgov.{}", item.kind),
            ..LogRecord::default()
        }
    }
}

/// opentelemetry.io/docs/specs/otel/logs/data-model, "Field: SeverityNumber". FATAL is for programs that end.
fn severity(severity: Severity) -> (SeverityNumber, &'static str) {
    match severity {
        Severity::Informational => (SeverityNumber::Info, "informational"),
        Severity::Low => (SeverityNumber::Info2, "low"),
        Severity::Medium => (SeverityNumber::Warn, "medium"),
        Severity::High => (SeverityNumber::Error, "high"),
        Severity::Critical => (SeverityNumber::Error3, "critical"),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

    use super::*;
    use crate::sink::test_items::item;

    fn requests(body: &str, format: Format) -> Requests {
        let own = format!("body = \"{body}\"\nresource = {{ \"host.name\" = \"mine\" }}");
        let http = toml::from_str("url = \"http://h:4317\"").unwrap();
        let config = OtlpConfig::new(http, toml::from_str(&own).unwrap()).unwrap();
        Requests::new(&config, format, "db1")
    }

    fn only(request: ExportLogsServiceRequest) -> LogRecord {
        request.resource_logs[0].scope_logs[0].log_records[0].clone()
    }

    #[test]
    fn a_record_with_its_trace() {
        let mut item = item(7);
        item.severity = Severity::High;
        item.body = br#"{"kind":"statement","statement":{"comment":{"claimed":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},"text":"SELECT 1"}}"#.to_vec();
        let record = only(requests("text", Format::Native).request(&[&item]));
        assert_eq!(record.severity_number, 17);
        assert_eq!(record.time_unix_nano, item.time_unix_ns);
        assert!(record.observed_time_unix_nano > 0);
        assert_eq!(record.trace_id.len(), 16);
        assert_eq!(record.span_id.len(), 8);
        assert_eq!(record.flags, 1);
        assert_eq!(record.event_name, "dbgov.statement");
        let Some(Any::StringValue(body)) = record.body.unwrap().value else {
            panic!("the body is no text");
        };
        assert_eq!(body.as_bytes(), item.body);
    }

    #[test]
    fn a_structured_body_and_what_cannot_be_one() {
        let record = only(requests("structured", Format::Native).request(&[&item(1)]));
        assert!(matches!(
            record.body.unwrap().value,
            Some(Any::KvlistValue(_))
        ));
        let mut cef = item(1);
        cef.body = b"CEF:0|a".to_vec();
        let record = only(requests("structured", Format::Cef).request(&[&cef]));
        assert!(matches!(
            record.body.unwrap().value,
            Some(Any::StringValue(_))
        ));
    }

    #[test]
    fn the_resource_can_be_named_otherwise() {
        let requests = requests("text", Format::Native);
        let hosts: Vec<_> = requests
            .resource
            .attributes
            .iter()
            .filter(|pair| pair.key == "host.name")
            .collect();
        assert_eq!(hosts.len(), 1);
        assert_eq!(hosts[0].value, Some(text("mine")));
    }
}
