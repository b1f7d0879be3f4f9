//! ArcSight Common Event Format, version 0 (Micro Focus Security ArcSight Common Event Format, version 25): header,
//! then keys of its dictionary, each with the length the dictionary gives it.

use std::net::IpAddr;

use super::address::Address;
use super::plain::{Escaping, list};
use super::{EncodeError, facts, severity, time_unix_ns};
use crate::audit::view::{Text, View};
use crate::sink::deliver::Severity;

/// Between bars; a line cannot go on.
const HEADER: Escaping = Escaping {
    escapes: &[
        ('\\', "\\\\"),
        ('|', "\\|"),
        ('\n', " "),
        ('\r', " "),
        ('\t', " "),
    ],
};
const VALUE: Escaping = Escaping {
    escapes: &[
        ('\\', "\\\\"),
        ('=', "\\="),
        ('\n', "\\n"),
        ('\r', "\\r"),
        ('\t', " "),
    ],
};

/// Lengths the dictionary gives, in bytes here so that no reader counts more.
const SHORT: usize = 63;
const NAME: usize = 100;
const TEXT: usize = 1023;
const CUSTOM: usize = 4000;
/// Of `app` and `proto`.
const PROTOCOL: usize = 31;

pub(super) fn encode(view: &View, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let time_unix_ns = time_unix_ns(view)?;
    let version = env!("CARGO_PKG_VERSION");
    out.extend_from_slice(format!("CEF:0|dbgov|dbgov|{version}|").as_bytes());
    HEADER.push(out, &view.kind, SHORT);
    out.push(b'|');
    HEADER.push(out, name(view), 512);
    out.extend_from_slice(format!("|{}|", severity_number(severity(view))).as_bytes());
    let mut extension = Extension { out, first: true };
    extension.number("rt", facts::unix_ms(time_unix_ns));
    extension.write_what(view);
    extension.write_who(view);
    extension.write_ends(view);
    extension.write_statement(view);
    Ok(())
}

/// For a person's list of events: fixed texts, so that events of a sort have the same name.
fn name<'a>(view: &'a View) -> &'a str {
    match view.kind.as_str() {
        "statement" if view.verdict.stopped() => "Statement stopped by policy",
        "statement" if view.verdict.action == "alert" => "Statement with policy alert",
        "statement" => "Database statement",
        "session_open" => "Database session opened",
        "session_close" => "Database session closed",
        "session_error" => "Database session error",
        "protocol_error" => "Database protocol error",
        "cancel" => "Database cancel request",
        "gap" => "Gap in coverage",
        "verdict_unenforced" => "Statement not stopped in time",
        "approval" => "Approval of a statement",
        "control" => "Control request refused",
        "tag" => "Identity tag changed",
        "policy" => "Policy changed",
        "agent_start" => "Agent started",
        "agent_stop" => "Agent stopped",
        "segment" => "Journal segment begun",
        "checkpoint" => "Journal signed",
        "retention" => "Journal segments removed",
        other => other,
    }
}

/// 0 to 3 is low, to 6 medium, to 8 high, to 10 very high.
fn severity_number(severity: Severity) -> u64 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

struct Extension<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Extension<'_> {
    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b' ');
        }
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    /// Absent where it is empty.
    fn text(&mut self, key: &str, value: &str, bytes_max: usize) {
        if !value.is_empty() {
            self.key(key);
            VALUE.push(self.out, value, bytes_max);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn optional_number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// One of the keys for what the dictionary has no key for, with its label.
    fn custom(&mut self, key: &str, label: &str, value: &str, bytes_max: usize) {
        if !value.is_empty() {
            self.text(key, value, bytes_max);
            self.text(&format!("{key}Label"), label, TEXT);
        }
    }

    fn custom_number(&mut self, key: &str, label: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
            self.text(&format!("{key}Label"), label, TEXT);
        }
    }

    fn write_what(&mut self, view: &View) {
        self.number("externalId", view.seq);
        self.text("cat", &view.kind, TEXT);
        let action = view.verdict.action.some().map(str::to_owned);
        self.text("act", &action.unwrap_or_else(|| facts::action(view)), SHORT);
        if let Some(outcome) = facts::outcome(view) {
            self.text("outcome", outcome.name(), SHORT);
        }
        let error = facts::error(view);
        let reason = facts::reason(view).or(error.code).or(error.message);
        self.text("reason", reason.unwrap_or_default(), TEXT);
        self.text("msg", &facts::message(view), TEXT);
        self.text("dvchost", &view.node, NAME);
        self.custom("cs6", "recordId", &view.chain.hash, CUSTOM);
    }

    fn write_who(&mut self, view: &View) {
        let identity = &view.identity;
        let by = facts::by(view).unwrap_or_default();
        self.text("suser", identity.name.some().unwrap_or(&by), TEXT);
        self.text(
            "suid",
            &identity.uid.map_or_else(String::new, |uid| uid.to_string()),
            TEXT,
        );
        self.text("sproc", identity.exe.some().unwrap_or(&identity.comm), TEXT);
        self.optional_number("spid", identity.pid);
        self.text("duser", &view.session.user, TEXT);
        self.optional_number("dpid", view.session.server_pid);
        self.custom("flexString1", "run", &identity.run, TEXT);
    }

    fn write_ends(&mut self, view: &View) {
        let session = &view.session;
        self.text("app", &session.protocol, PROTOCOL);
        let (client, server) = (Address::client(view), Address::server(view));
        if client.or(server).is_some_and(|end| end.tcp.is_some()) {
            self.text("proto", "TCP", PROTOCOL);
        }
        self.write_end(client, ["src", "c6a2", "spt"], "Source IPv6 Address");
        self.write_end(server, ["dst", "c6a3", "dpt"], "Destination IPv6 Address");
        self.custom("cs2", "database", &session.database, CUSTOM);
        self.custom("cs5", "session", &session.id, CUSTOM);
        if view.kind == "session_close" {
            self.number("in", view.close.request_bytes);
            self.number("out", view.close.response_bytes);
        }
    }

    /// `src` and `dst` are IPv4 addresses.
    fn write_end(&mut self, end: Option<Address>, keys: [&str; 3], label: &str) {
        let [v4, v6, port] = keys;
        let Some(end) = end else {
            return;
        };
        match end.ip() {
            Some(IpAddr::V4(ip)) => self.text(v4, &ip.to_string(), TEXT),
            Some(IpAddr::V6(ip)) => self.custom(v6, label, &ip.to_string(), TEXT),
            None => {}
        }
        self.optional_number(port, end.port().map(u64::from));
    }

    fn write_statement(&mut self, view: &View) {
        let statement = &view.statement;
        let text = statement
            .text
            .as_ref()
            .unwrap_or(&view.approval.statement.head);
        self.custom("cs1", "statement", text, CUSTOM);
        let tables = list(statement.tables.iter().map(Text::as_str));
        self.custom("cs3", "tables", &tables, CUSTOM);
        self.custom("cs4", "rule", facts::rule(view).unwrap_or_default(), CUSTOM);
        let verbs = list(statement.verbs.iter().map(Text::as_str));
        self.custom("flexString2", "verbs", &verbs, TEXT);
        self.custom_number("cn1", "rows", view.result.rows);
        self.custom_number("cn2", "heldUs", view.verdict.held_us);
        self.custom_number("cn3", "durationUs", facts::duration_us(view));
    }
}
