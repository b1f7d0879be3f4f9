//! Record -> event envelope, one JSON object for each, one behind the other as HEC takes them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::sink::Item;

/// What stands around each event.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) host: String,
    pub(super) source: String,
    pub(super) sourcetype: String,
    /// None: that of the token.
    pub(super) index: Option<String>,
}

#[derive(Serialize)]
struct Event<'a> {
    /// Seconds since the Unix epoch, as a text so that no digit is lost.
    time: String,
    host: &'a str,
    source: &'a str,
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    /// Indexed beside the event: to search for without reading it.
    fields: Fields<'a>,
    event: Content<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    dbgov_id: &'a str,
    dbgov_kind: &'a str,
    dbgov_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dbgov_session: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// Splunk finds the fields of JSON by itself.
    Json(&'a RawValue),
    Text(std::borrow::Cow<'a, str>),
}

impl Envelope {
    pub(super) fn body(&self, items: &[&Item]) -> Vec<u8> {
        /// About what an envelope takes beside its event.
        const ENVELOPE_BYTES: usize = 400;
        let bytes = items.iter().map(|item| item.body.len() + ENVELOPE_BYTES);
        let mut body = Vec::with_capacity(bytes.sum());
        for item in items {
            // Strings and numbers into memory: there is nothing that can fail.
            let _ = serde_json::to_writer(&mut body, &self.event(item));
            body.push(b'\n');
        }
        body
    }

    fn event<'a>(&'a self, item: &'a Item) -> Event<'a> {
        let (seconds, nanos) = (
            item.time_unix_ns / 1_000_000_000,
            item.time_unix_ns % 1_000_000_000,
        );
        Event {
            time: format!("{seconds}.{nanos:09}"),
            host: &self.host,
            source: &self.source,
            sourcetype: &self.sourcetype,
            index: self.index.as_deref(),
            fields: Fields {
                dbgov_id: &item.id,
                dbgov_kind: &item.kind,
                dbgov_seq: item.seq,
                dbgov_session: item.session.as_deref(),
            },
            event: match json(&item.body) {
                Some(value) => Content::Json(value),
                None => Content::Text(String::from_utf8_lossy(&item.body)),
            },
        }
    }
}

/// Records are JSON objects in most formats; CEF and LEEF are text.
fn json(body: &[u8]) -> Option<&RawValue> {
    if body.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_items::items;

    fn envelope() -> Envelope {
        Envelope {
            host: "db1".to_owned(),
            source: "dbgov".to_owned(),
            sourcetype: "dbgov:record".to_owned(),
            index: None,
        }
    }

    #[test]
    fn events_carry_what_splunk_indexes_by() {
        let batch = items(2);
        let all: Vec<&Item> = batch.iter().collect();
        let body = String::from_utf8(envelope().body(&all)).unwrap();
        let lines: Vec<serde_json::Value> = body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["time"], "1795391999.123456790");
        assert_eq!(lines[0]["host"], "db1");
        assert_eq!(lines[0]["event"]["seq"], 1);
        assert_eq!(lines[1]["fields"]["dbgov_seq"], 2);
        assert!(lines[0].get("index").is_none());
    }

    #[test]
    fn what_is_not_json_goes_as_text() {
        let mut item = crate::sink::test_items::item(1);
        item.body = br#"CEF:0|dbgov|"dbgov"|1|{"#.to_vec();
        let body = envelope().body(&[&item]);
        let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["event"], r#"CEF:0|dbgov|"dbgov"|1|{"#);
        item.body = b"{half".to_vec();
        let event: serde_json::Value = serde_json::from_slice(&envelope().body(&[&item])).unwrap();
        assert_eq!(event["event"], "{half");
    }
}
