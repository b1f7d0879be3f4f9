//! A record as a syslog message.
//!
//! ```text
//! <110>1 2026-11-23T10:00:00.123456Z db-1 dbgov 4711 statement [dbgov@32473 id="…" seq="42" session="…"] BOM{"…"}
//! ```

use std::io::Write;

use super::config::{Facility, SyslogConfig};
use crate::chars::head;
use crate::sink::deliver::{Item, Severity};

/// 32473 is the enterprise number that RFC 5612 sets aside for documentation: dbgov has none of its own.
const SD_ID: &str = "dbgov@32473";
const BOM: &[u8] = b"\xef\xbb\xbf";
/// The longest HOSTNAME (RFC 5424, 6), bytes.
const HOSTNAME_BYTES_MAX: usize = 255;
/// The longest MSGID.
const MSGID_BYTES_MAX: usize = 32;

/// Makes messages; what is the same in all of them is made once.
#[derive(Debug)]
pub(super) struct Messages {
    facility: Facility,
    /// `db-1 dbgov 4711 `
    origin: String,
    bom: bool,
    bytes_max: usize,
}

impl Messages {
    pub(super) fn new(config: &SyslogConfig, node: &str) -> Self {
        let hostname = config.hostname.as_ref().map_or(node, |name| &*name.0);
        Messages {
            facility: config.facility,
            origin: format!(
                "{} {} {} ",
                field(hostname, HOSTNAME_BYTES_MAX),
                config.app_name.0,
                std::process::id()
            ),
            bom: config.bom,
            bytes_max: config.message_bytes_max,
        }
    }

    /// Replaces `out` by the message. One that would be longer than configured is cut, and its structured data then
    /// says how many bytes the text had: `truncated="70000"`.
    pub(super) fn write(&self, item: &Item, out: &mut Vec<u8>) {
        self.write_header(item, None, out);
        if out.len() + item.body.len() <= self.bytes_max {
            out.extend_from_slice(&item.body);
            return;
        }
        self.write_header(item, Some(item.body.len()), out);
        let room = self.bytes_max.saturating_sub(out.len());
        // Encoders write UTF-8.
        let text = std::str::from_utf8(&item.body).unwrap_or_default();
        out.extend_from_slice(head(text, room).as_bytes());
    }

    fn write_header(&self, item: &Item, truncated: Option<usize>, out: &mut Vec<u8>) {
        out.clear();
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "<{}>1 {} {}{} [{SD_ID} id=\"{}\" seq=\"{}\"",
            u32::from(self.facility.0) * 8 + severity(item.severity),
            time(item.time_unix_ns),
            self.origin,
            field(&item.kind, MSGID_BYTES_MAX),
            Value(&item.id),
            item.seq
        );
        if let Some(session) = &item.session {
            let _ = write!(out, " session=\"{}\"", Value(session));
        }
        if let Some(bytes) = truncated {
            let _ = write!(out, " truncated=\"{bytes}\"");
        }
        out.extend_from_slice(b"] ");
        if self.bom {
            out.extend_from_slice(BOM);
        }
    }
}

/// RFC 5424, 6.2.1.
fn severity(severity: Severity) -> u32 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Informational => 6,
    }
}

/// With the microseconds that RFC 5424, 6.2.3 allows.
fn time(unix_ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Printable US-ASCII without blanks; `-` where there is nothing.
fn field(text: &str, bytes_max: usize) -> String {
    let kept: String = text
        .chars()
        .take(bytes_max)
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect();
    match kept.is_empty() {
        true => "-".to_owned(),
        false => kept,
    }
}

/// Of a parameter of structured data: three characters have a meaning in it (RFC 5424, 6.3.3).
struct Value<'a>(&'a str);

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;

        for character in self.0.chars() {
            if matches!(character, '"' | '\\' | ']') {
                f.write_char('\\')?;
            }
            f.write_char(character)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(keys: &str) -> SyslogConfig {
        toml::from_str(&format!("address = \"siem\"\n{keys}")).unwrap()
    }

    fn item(body: &str) -> Item {
        Item {
            seq: 42,
            id: "ab12".into(),
            session: Some("0198-x".into()),
            kind: "statement".into(),
            time_unix_ns: 1_795_391_999_123_456_789,
            severity: Severity::High,
            body: body.into(),
        }
    }

    fn message(keys: &str, item: &Item) -> String {
        let mut out = b"what was there".to_vec();
        Messages::new(&config(keys), "db 1.é").write(item, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole() {
        let pid = std::process::id();
        assert_eq!(
            message("transport = \"tcp\"", &item("{}")),
            format!(
                "<107>1 2026-11-22T23:59:59.123456Z db_1._ dbgov {pid} statement \
                 [dbgov@32473 id=\"ab12\" seq=\"42\" session=\"0198-x\"] \u{feff}{{}}"
            )
        );
        let plain = Item {
            session: None,
            severity: Severity::Informational,
            ..item("text")
        };
        assert_eq!(
            message(
                "transport = \"udp\"\nbom = false\nfacility = \"local0\"\napp_name = \"audit\"\nhostname = \"n\"",
                &plain
            ),
            format!(
                "<134>1 2026-11-22T23:59:59.123456Z n audit {pid} statement [dbgov@32473 id=\"ab12\" seq=\"42\"] text"
            )
        );
    }

    #[test]
    fn severities_are_those_of_syslog() {
        for (ours, expected) in [
            (Severity::Informational, "<110>"),
            (Severity::Low, "<109>"),
            (Severity::Medium, "<108>"),
            (Severity::High, "<107>"),
            (Severity::Critical, "<106>"),
        ] {
            let item = Item {
                severity: ours,
                ..item("")
            };
            assert!(message("transport = \"tcp\"", &item).starts_with(expected));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        let keys = "transport = \"udp\"\nmessage_bytes_max = 480";
        let whole = message(keys, &item(""));
        let fits = "x".repeat(480 - whole.len());
        let text = message(keys, &item(&fits));
        assert!(text.len() == 480 && !text.contains("truncated"), "{text}");
        for extra in 0..4 {
            let long = format!("{}{}", "x".repeat(extra), "é".repeat(1000));
            let text = message(keys, &item(&long));
            assert!((478..=480).contains(&text.len()), "{}", text.len());
            assert!(
                text.contains(&format!("truncated=\"{}\"] ", long.len())),
                "{text}"
            );
            assert!(text.ends_with('é'));
        }
    }

    #[test]
    fn nothing_of_a_record_ends_the_structured_data() {
        let item = Item {
            id: "a\"]\\ x".into(),
            kind: "a b\u{7}".into(),
            ..item("")
        };
        let text = message("transport = \"tcp\"\nbom = false", &item);
        assert!(
            text.contains(" a_b_ [dbgov@32473 id=\"a\\\"\\]\\\\ x\" seq="),
            "{text}"
        );
    }
}
