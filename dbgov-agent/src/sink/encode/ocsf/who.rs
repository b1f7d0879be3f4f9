//! Who, from where, and to what: actor, endpoints, datastore.

use uuid::Uuid;

use crate::audit::json::Object;
use crate::audit::view::{Holder, Identity, View};
use crate::sink::encode::address::Address;
use crate::sink::encode::facts;

/// The actor is who dbgov found behind the connection; the user it logged in as is its `account`.
pub(super) fn write_actor(event: &mut Object, view: &View) {
    let mut actor = event.object("actor");
    let application = view.session.application.some();
    actor.optional_text("app_name", application);
    write_process(&mut actor, view);
    if let Some(id) = view.session.id.some() {
        let mut session = actor.object("session");
        session.text("uid", id);
        session.close();
    }
    let named = write_user(&mut actor, view);
    let empty = !named && application.is_none() && view.session.id.is_empty();
    if empty && view.identity.pid.is_none() {
        // What the agent did of itself.
        actor.text("app_name", "dbgov");
    }
    actor.close();
}

/// Whether there is one.
fn write_user(actor: &mut Object, view: &View) -> bool {
    let identity = &view.identity;
    let by = facts::by(view);
    let name = identity
        .name
        .some()
        .or(by.as_deref())
        .or(view.session.user.some());
    let Some(name) = name else {
        return false;
    };
    let mut user = actor.object("user");
    if let Some(login) = view.session.user.some() {
        let mut account = user.object("account");
        account.text("name", login);
        account.text("type", &view.session.protocol);
        account.number("type_id", 99);
        account.close();
    }
    user.text("name", name);
    let (type_id, type_name) = user_type(identity);
    user.text("type", type_name);
    user.number("type_id", type_id);
    if let Some(uid) = identity.uid {
        user.text("uid", &uid.to_string());
    }
    user.close();
    true
}

fn user_type(identity: &Identity) -> (u64, &'static str) {
    match identity.source.as_str() {
        "os_user" if identity.uid == Some(0) => (2, "Admin"),
        "os_user" | "database_user" | "idp" => (1, "User"),
        "service_account" | "systemd" | "tag" => (4, "Service"),
        _ => (0, "Unknown"),
    }
}

fn write_process(actor: &mut Object, view: &View) {
    let identity = &view.identity;
    let Some(pid) = identity.pid else {
        return;
    };
    let mut process = actor.object("process");
    if let Some(login) = identity.login_uid {
        process.number("auid", login);
    }
    if !view.process.command.is_empty() {
        process.text("cmd_line", &command_line(view));
    }
    write_container(&mut process, view);
    if let Some(started) = unix_ms_of(&view.process.started) {
        process.number("created_time", started);
    }
    write_file(&mut process, identity.exe.some());
    process.optional_text("name", identity.comm.some());
    if let Some(parent) = view.process.parents.first() {
        write_parent(&mut process, parent);
    }
    process.number("pid", pid);
    process.close();
}

fn command_line(view: &View) -> String {
    let words: Vec<&str> = view.process.command.iter().map(|word| &**word).collect();
    words.join(" ")
}

fn write_parent(process: &mut Object, parent: &Holder) {
    let Some(pid) = parent.pid else {
        return;
    };
    let mut object = process.object("parent_process");
    write_file(&mut object, parent.exe.some());
    object.optional_text("name", parent.comm.some());
    object.number("pid", pid);
    object.close();
}

fn write_file(process: &mut Object, path: Option<&str>) {
    let Some(path) = path else {
        return;
    };
    let name = path
        .rsplit('/')
        .find(|name| !name.is_empty())
        .unwrap_or(path);
    let mut file = process.object("file");
    file.text("name", name);
    file.text("path", path);
    file.number("type_id", 8);
    file.close();
}

fn write_container(process: &mut Object, view: &View) {
    let identity = &view.identity;
    let Some(id) = identity.container.some() else {
        return;
    };
    let pod = view.pods.client.as_ref();
    let mut container = process.object("container");
    container.optional_text("name", pod.and_then(|pod| pod.container_name.some()));
    if !identity.pod_uid.is_empty() {
        container.text("orchestrator", "Kubernetes");
    }
    // A static pod's is no UUID.
    if let Ok(uid) = identity.pod_uid.parse::<Uuid>() {
        container.text("pod_uuid", &uid.hyphenated().to_string());
    }
    container.optional_text("runtime", identity.runtime.some());
    container.text("uid", id);
    container.close();
}

fn unix_ms_of(time: &str) -> Option<u64> {
    let moment: jiff::Timestamp = time.parse().ok()?;
    moment.as_millisecond().try_into().ok()
}

/// `src_endpoint`, which every event has: of records of no connection it is the node.
pub(super) fn write_source(event: &mut Object, view: &View) {
    let client = Address::client(view);
    // A process that is known runs on this host.
    let local = client.is_none() || view.identity.pid.is_some();
    let mut endpoint = event.object("src_endpoint");
    if local {
        endpoint.optional_text("hostname", view.node.some());
    }
    write_address(&mut endpoint, client, &view.node);
    endpoint.close();
}

pub(super) fn write_destination(event: &mut Object, view: &View) {
    let Some(server) = Address::server(view) else {
        return;
    };
    let mut endpoint = event.object("dst_endpoint");
    if let Some(id) = view.session.server_container.some() {
        let mut container = endpoint.object("container");
        container.text("uid", id);
        container.close();
    }
    endpoint.optional_text("hostname", view.node.some());
    write_address(&mut endpoint, Some(server), &view.node);
    endpoint.optional_text("svc_name", view.session.protocol.some());
    endpoint.close();
}

fn write_address(endpoint: &mut Object, address: Option<Address>, node: &str) {
    if let Some(ip) = address.and_then(|address| address.ip()) {
        endpoint.text("ip", &ip.to_string());
    }
    let name = address.map_or(node, |address| address.text);
    endpoint.text("name", if name.is_empty() { "unknown" } else { name });
    if let Some(port) = address.and_then(|address| address.port()) {
        endpoint.number("port", port.into());
    }
}

/// `database` and `table` of a connection; what concerns none concerns the audit journal, a datastore itself. The class
/// wants one of them.
pub(super) fn write_datastore(event: &mut Object, view: &View) {
    let session = &view.session;
    let (type_id, type_name) = if session.id.is_empty() {
        write_journal(event, view);
        (2, "Databucket")
    } else {
        let mut database = event.object("database");
        database.text("name", session.database.some().unwrap_or("unknown"));
        database.text("type", "Relational");
        database.number("type_id", 1);
        database.close();
        match view.statement.tables.first() {
            Some(name) => {
                let mut table = event.object("table");
                table.text("name", name);
                table.close();
                (3, "Table")
            }
            None => (1, "Database"),
        }
    };
    event.text("type", type_name);
    event.number("type_id", type_id);
}

fn write_journal(event: &mut Object, view: &View) {
    let mut journal = event.object("databucket");
    journal.optional_text("hostname", view.node.some());
    journal.text("name", "dbgov audit journal");
    journal.text("type", "Audit journal");
    journal.number("type_id", 99);
    journal.close();
}
