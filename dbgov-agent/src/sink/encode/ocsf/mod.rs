//! OCSF 1.8.0, class 6005 Datastore Activity, with the profiles `container`, `host`, `linux/linux_users` and
//! `security_control` (<https://schema.ocsf.io/1.8.0/classes/datastore_activity>). Every record is an event of this one
//! class, so that a SIEM has one table of them.

pub(crate) mod activity;
mod control;
mod who;

use super::facts::{self, Outcome};
use super::{EncodeError, own, severity, time_unix_ns};
use crate::audit::json::Object;
use crate::audit::view::View;
use crate::sink::deliver::Severity;

/// Of the schema.
const VERSION: &str = "1.8.0";
const CATEGORY_UID: u64 = 6;
const CLASS_UID: u64 = 6005;
/// `observable.type_id`.
const USER_NAME: (u64, &str) = (4, "User Name");
const IP_ADDRESS: (u64, &str) = (2, "IP Address");
const PROCESS_NAME: (u64, &str) = (9, "Process Name");

pub(super) fn encode(line: &[u8], view: &View, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let time_unix_ns = time_unix_ns(view)?;
    let mut event = Object::open(out);
    write_classification(&mut event, view);
    write_time(&mut event, view, time_unix_ns);
    write_status(&mut event, view);
    write_control(&mut event, view);
    who::write_actor(&mut event, view);
    who::write_source(&mut event, view);
    who::write_destination(&mut event, view);
    who::write_datastore(&mut event, view);
    let with_query = write_query(&mut event, view, time_unix_ns);
    write_device(&mut event, view);
    write_metadata(&mut event, view);
    write_observables(&mut event, view);
    event.text("message", &facts::message(view));
    let mut unmapped = event.object("unmapped");
    own::write(&mut unmapped, line, !with_query, view.seq)?;
    unmapped.close();
    event.close();
    Ok(())
}

fn write_classification(event: &mut Object, view: &View) {
    let (activity, name) = activity::of(view);
    event.number("activity_id", activity.id());
    event.text("activity_name", &name);
    event.text("category_name", "Application Activity");
    event.number("category_uid", CATEGORY_UID);
    event.text("class_name", "Datastore Activity");
    event.number("class_uid", CLASS_UID);
    let (severity_id, severity) = severity_number(severity(view));
    event.text("severity", severity);
    event.number("severity_id", severity_id);
    let type_name = format!("Datastore Activity: {}", activity.name());
    event.text("type_name", &type_name);
    event.number("type_uid", CLASS_UID * 100 + activity.id());
}

fn severity_number(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// Milliseconds, as all times and durations of the schema; `metadata.original_time` has the nanoseconds.
fn write_time(event: &mut Object, view: &View, time_unix_ns: u64) {
    let time = facts::unix_ms(time_unix_ns);
    event.number("time", time);
    event.number("timezone_offset", 0);
    let Some(duration_us) = facts::duration_us(view) else {
        return;
    };
    event.number("duration", duration_us / 1000);
    // A statement has the time of its request, what ends has that of its end.
    let duration_ns = duration_us.saturating_mul(1000);
    let (start, end) = match view.kind.as_str() {
        "statement" => (time_unix_ns, time_unix_ns.saturating_add(duration_ns)),
        _ => (time_unix_ns.saturating_sub(duration_ns), time_unix_ns),
    };
    event.number("end_time", facts::unix_ms(end));
    event.number("start_time", facts::unix_ms(start));
}

fn write_status(event: &mut Object, view: &View) {
    let error = facts::error(view);
    if let Some(outcome) = facts::outcome(view) {
        let (id, name) = match outcome {
            Outcome::Success => (1, "Success"),
            Outcome::Failure => (2, "Failure"),
            Outcome::Unknown => (0, "Unknown"),
        };
        event.text("status", name);
        event.number("status_id", id);
    }
    event.optional_text("status_code", error.code);
    let decided = facts::by(view).map(|by| match facts::reason(view) {
        Some(reason) => format!("{} by {by}: {reason}", facts::action(view)),
        None => format!("{} by {by}", facts::action(view)),
    });
    event.optional_text("status_detail", error.message.or(decided.as_deref()));
}

fn write_control(event: &mut Object, view: &View) {
    let (action, disposition) = control::of(view);
    event.text("action", action.name());
    event.number("action_id", action.id());
    event.text("disposition", disposition.name());
    event.number("disposition_id", disposition.id());
    event.flag("is_alert", severity(view) >= Severity::Medium);
    if let Some(name) = facts::rule(view) {
        let mut rule = event.object("firewall_rule");
        rule.optional_text("condition", view.verdict.matched.some());
        rule.optional_text("desc", view.verdict.reason.some());
        rule.text("name", name);
        let wanted = view.verdict.wanted.some();
        rule.optional_text("type", wanted.or(view.verdict.action.some()));
        rule.close();
    }
    if view.kind == "policy" {
        write_policy(event, view);
    }
}

fn write_policy(event: &mut Object, view: &View) {
    let policy = &view.policy;
    let mut object = event.object("policy");
    object.flag("is_applied", policy.event == "loaded");
    object.text("name", policy.file.some().unwrap_or("policy"));
    object.optional_text("uid", policy.sha256.some());
    object.text("version", &policy.generation.to_string());
    object.close();
}

/// Whether there is a text.
fn write_query(event: &mut Object, view: &View, time_unix_ns: u64) -> bool {
    let statement = &view.statement;
    let Some(text) = &statement.text else {
        return false;
    };
    let mut query = event.object("query_info");
    query.optional_text("name", statement.via.some());
    query.text("query_string", text);
    query.number("query_time", facts::unix_ms(time_unix_ns));
    // The same for texts that differ in literals only.
    query.text(
        "uid",
        statement.fingerprint.some().unwrap_or(&view.chain.hash),
    );
    query.close();
    true
}

fn write_device(event: &mut Object, view: &View) {
    let name = view.node.some().unwrap_or("unknown");
    let mut device = event.object("device");
    device.text("hostname", name);
    device.text("name", name);
    device.text("type", "Server");
    device.number("type_id", 1);
    device.close();
}

fn write_metadata(event: &mut Object, view: &View) {
    let mut metadata = event.object("metadata");
    metadata.optional_text("correlation_uid", view.session.id.some());
    metadata.text("event_code", &view.kind);
    if view.statement.truncated {
        metadata.flag("is_truncated", true);
    }
    metadata.text("log_name", "audit");
    metadata.text("log_provider", "dbgov");
    metadata.text("original_time", &view.time);
    let mut product = metadata.object("product");
    product.text("name", "dbgov");
    product.text("vendor_name", "dbgov");
    product.text("version", env!("CARGO_PKG_VERSION"));
    product.close();
    let profiles = ["container", "host", "linux/linux_users", "security_control"];
    metadata.texts("profiles", profiles.into_iter().map(Some));
    metadata.number("sequence", view.seq);
    metadata.text("uid", &view.chain.hash);
    metadata.text("version", VERSION);
    metadata.close();
}

/// What a search over all classes finds the event by.
fn write_observables(event: &mut Object, view: &View) {
    let by = facts::by(view);
    let ends = [
        ("src_endpoint.ip", super::Address::client(view)),
        ("dst_endpoint.ip", super::Address::server(view)),
    ];
    let user = view
        .identity
        .name
        .some()
        .or(by.as_deref())
        .or(view.session.user.some());
    let mut list = event.list("observables");
    let mut add = |name: &str, (type_id, type_name): (u64, &str), value: &str| {
        let mut observable = list.object();
        observable.text("name", name);
        observable.text("type", type_name);
        observable.number("type_id", type_id);
        observable.text("value", value);
        observable.close();
    };
    if let Some(user) = user {
        add("actor.user.name", USER_NAME, user);
    }
    if let Some(login) = view.session.user.some() {
        add("actor.user.account.name", USER_NAME, login);
    }
    if let (Some(_), Some(name)) = (view.identity.pid, view.identity.comm.some()) {
        add("actor.process.name", PROCESS_NAME, name);
    }
    for (name, end) in ends {
        if let Some(ip) = end.and_then(|end| end.ip()) {
            add(name, IP_ADDRESS, &ip.to_string());
        }
    }
    list.close();
}
