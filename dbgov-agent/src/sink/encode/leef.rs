//! IBM QRadar Log Event Extended Format 2.0 (IBM QRadar, LEEF event components): header, then attributes between tabs.
//! The format has no escapes. Of a text a backslash is `\\` here, a line's end `\n` or `\r`, a tab `\t`.

use super::address::Address;
use super::plain::{Escaping, list};
use super::{EncodeError, facts, severity, time_unix_ns};
use crate::audit::view::{Text, View};
use crate::sink::deliver::Severity;

const HEADER: Escaping = Escaping {
    escapes: &[('|', " "), ('\n', " "), ('\r', " "), ('\t', " ")],
};
const VALUE: Escaping = Escaping {
    escapes: &[('\\', "\\\\"), ('\n', "\\n"), ('\r', "\\r"), ('\t', "\\t")],
};

/// QRadar cuts what is longer than 4,096 bytes unless it is told otherwise: together, and escaped, these stay below it
/// for all but the strangest texts; the statement is last, so that a cut takes the end of that.
const STATEMENT_BYTES_MAX: usize = 1536;
const MESSAGE_BYTES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 128;
const ID_BYTES_MAX: usize = 64;

/// As `java.text.SimpleDateFormat` reads it.
const TIME_FORMAT: &str = "yyyy-MM-dd'T'HH:mm:ss.SSSZ";

pub(super) fn encode(view: &View, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let time = time(time_unix_ns(view)?);
    let version = env!("CARGO_PKG_VERSION");
    out.extend_from_slice(format!("LEEF:2.0|dbgov|dbgov|{version}|").as_bytes());
    HEADER.push(out, &view.kind, ID_BYTES_MAX);
    out.extend_from_slice(b"|x09|");
    let mut attributes = Attributes { out, first: true };
    attributes.text("devTime", &time, ID_BYTES_MAX);
    attributes.text("devTimeFormat", TIME_FORMAT, ID_BYTES_MAX);
    attributes.number("sev", Some(severity_number(severity(view))));
    attributes.write_what(view);
    attributes.write_who(view);
    attributes.write_ends(view);
    attributes.write_statement(view);
    Ok(())
}

fn time(unix_ns: u64) -> String {
    let mut text = Vec::new();
    crate::audit::time::TimeFormatter::new().write(unix_ns, &mut text);
    // Milliseconds, and the zone as TIME_FORMAT has it.
    text.truncate(text.len() - "000000Z".len());
    text.extend_from_slice(b"+0000");
    String::from_utf8_lossy(&text).into_owned()
}

/// 1 to 10.
fn severity_number(severity: Severity) -> u64 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    }
}

struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Attributes<'_> {
    /// Absent where it is empty.
    fn text(&mut self, key: &str, value: &str, bytes_max: usize) {
        if value.is_empty() {
            return;
        }
        if !self.first {
            self.out.push(b'\t');
        }
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
        VALUE.push(self.out, value, bytes_max);
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.text(key, &value.to_string(), ID_BYTES_MAX);
        }
    }

    fn write_what(&mut self, view: &View) {
        self.text("cat", &view.kind, ID_BYTES_MAX);
        self.text("recordId", &view.chain.hash, ID_BYTES_MAX);
        self.number("seq", Some(view.seq));
        let action = view.verdict.action.some().map(str::to_owned);
        let action = action.unwrap_or_else(|| facts::action(view));
        self.text("action", &action, ID_BYTES_MAX);
        if let Some(outcome) = facts::outcome(view) {
            self.text("outcome", outcome.name(), ID_BYTES_MAX);
        }
        self.text(
            "policy",
            facts::rule(view).unwrap_or_default(),
            NAME_BYTES_MAX,
        );
        self.text(
            "reason",
            facts::reason(view).unwrap_or_default(),
            MESSAGE_BYTES_MAX,
        );
        let error = facts::error(view);
        self.text("errorCode", error.code.unwrap_or_default(), ID_BYTES_MAX);
        self.text(
            "errorMessage",
            error.message.unwrap_or_default(),
            MESSAGE_BYTES_MAX,
        );
    }

    fn write_who(&mut self, view: &View) {
        let identity = &view.identity;
        let by = facts::by(view).unwrap_or_default();
        self.text(
            "usrName",
            identity.name.some().unwrap_or(&by),
            NAME_BYTES_MAX,
        );
        self.text("accountName", &view.session.user, NAME_BYTES_MAX);
        self.text("role", &view.session.role, NAME_BYTES_MAX);
        self.text("process", &identity.comm, NAME_BYTES_MAX);
        self.number("pid", identity.pid);
        self.text("run", &identity.run, NAME_BYTES_MAX);
        self.text("container", &identity.container, ID_BYTES_MAX);
        self.text("pod", &identity.pod, NAME_BYTES_MAX);
        self.text("identHostName", &view.node, NAME_BYTES_MAX);
    }

    fn write_ends(&mut self, view: &View) {
        let session = &view.session;
        let (client, server) = (Address::client(view), Address::server(view));
        for (end, ip_key, port_key) in [(client, "src", "srcPort"), (server, "dst", "dstPort")] {
            let Some(end) = end else {
                continue;
            };
            let ip = end.ip().map_or_else(String::new, |ip| ip.to_string());
            self.text(ip_key, &ip, ID_BYTES_MAX);
            self.number(port_key, end.port().map(u64::from));
        }
        if server.is_some_and(|server| server.tcp.is_some()) {
            self.text("proto", "TCP", ID_BYTES_MAX);
        }
        self.text("application", &session.protocol, ID_BYTES_MAX);
        self.text("resource", &session.database, NAME_BYTES_MAX);
        self.text("session", &session.id, ID_BYTES_MAX);
        if view.kind == "session_close" {
            self.number("srcBytes", Some(view.close.request_bytes));
            self.number("dstBytes", Some(view.close.response_bytes));
        }
    }

    fn write_statement(&mut self, view: &View) {
        let statement = &view.statement;
        let verbs = list(statement.verbs.iter().map(Text::as_str));
        self.text("verbs", &verbs, NAME_BYTES_MAX);
        let tables = list(statement.tables.iter().map(Text::as_str));
        self.text("tables", &tables, MESSAGE_BYTES_MAX);
        self.number("rows", view.result.rows);
        self.number("durationUs", facts::duration_us(view));
        self.number("heldUs", view.verdict.held_us);
        match &statement.text {
            Some(text) => self.text("statement", text, STATEMENT_BYTES_MAX),
            None => self.text("message", &facts::message(view), MESSAGE_BYTES_MAX),
        }
    }
}
