//! Who, from where, to what.

use crate::audit::json::Object;
use crate::audit::view::View;
use crate::sink::encode::address::Address;
use crate::sink::encode::facts;

pub(super) fn write(document: &mut Object, view: &View) {
    let (client, server) = (Address::client(view), Address::server(view));
    let sent = (view.kind == "session_close").then_some(view.close.request_bytes);
    let received = (view.kind == "session_close").then_some(view.close.response_bytes);
    write_end(document, "client", client, sent, None);
    write_end(document, "destination", server, received, None);
    write_container(document, view);
    write_host(document, view);
    write_network(document, view, server);
    write_observer(document, view);
    write_orchestrator(document, view);
    write_process(document, view);
    write_related(document, view);
    write_end(document, "server", server, received, None);
    write_service(document, view, server);
    write_end(document, "source", client, sent, view.identity.name.some());
    write_user(document, view);
}

fn write_end(
    document: &mut Object,
    key: &'static str,
    end: Option<Address>,
    bytes: Option<u64>,
    user: Option<&str>,
) {
    let Some(end) = end else {
        return;
    };
    let mut object = document.object(key);
    object.text("address", end.text);
    if let Some(bytes) = bytes {
        object.number("bytes", bytes);
    }
    if let Some(ip) = end.ip() {
        object.text("ip", &ip.to_string());
    }
    if let Some(port) = end.port() {
        object.number("port", port.into());
    }
    if let Some(name) = user {
        let mut user = object.object("user");
        user.text("name", name);
        user.close();
    }
    object.close();
}

fn write_container(document: &mut Object, view: &View) {
    let identity = &view.identity;
    let Some(id) = identity.container.some() else {
        return;
    };
    let pod = view.pods.client.as_ref();
    let mut container = document.object("container");
    container.text("id", id);
    container.optional_text("name", pod.and_then(|pod| pod.container_name.some()));
    container.optional_text("runtime", identity.runtime.some());
    container.close();
}

fn write_host(document: &mut Object, view: &View) {
    let Some(node) = view.node.some() else {
        return;
    };
    let mut host = document.object("host");
    host.text("hostname", node);
    host.text("name", node);
    host.close();
}

fn write_network(document: &mut Object, view: &View, server: Option<Address>) {
    let Some(protocol) = view.session.protocol.some() else {
        return;
    };
    let mut network = document.object("network");
    network.text("protocol", protocol);
    if let Some(ip) = server.and_then(|server| server.ip()) {
        network.text("transport", "tcp");
        network.text("type", if ip.is_ipv4() { "ipv4" } else { "ipv6" });
    }
    network.close();
}

fn write_observer(document: &mut Object, view: &View) {
    let mut observer = document.object("observer");
    observer.optional_text("hostname", view.node.some());
    observer.text("product", "dbgov");
    observer.text("type", "sensor");
    observer.text("vendor", "dbgov");
    observer.text("version", env!("CARGO_PKG_VERSION"));
    observer.close();
}

fn write_orchestrator(document: &mut Object, view: &View) {
    let Some((namespace, name)) = view.identity.pod.split_once('/') else {
        return;
    };
    let mut orchestrator = document.object("orchestrator");
    orchestrator.text("namespace", namespace);
    let mut resource = orchestrator.object("resource");
    resource.optional_text("id", view.identity.pod_uid.some());
    resource.text("name", name);
    resource.text("type", "pod");
    resource.close();
    orchestrator.text("type", "kubernetes");
    orchestrator.close();
}

fn write_process(document: &mut Object, view: &View) {
    let identity = &view.identity;
    let Some(pid) = identity.pid else {
        return;
    };
    let block = &view.process;
    let mut process = document.object("process");
    if !block.command.is_empty() {
        process.texts("args", block.command.iter().map(|word| Some(&**word)));
        process.number("args_count", block.command.len() as u64);
        let words: Vec<&str> = block.command.iter().map(|word| &**word).collect();
        process.text("command_line", &words.join(" "));
    }
    process.optional_text("executable", identity.exe.some());
    process.optional_text("name", identity.comm.some());
    if let Some(parent) = block.parents.first() {
        let mut object = process.object("parent");
        object.optional_text("executable", parent.exe.some());
        object.optional_text("name", parent.comm.some());
        if let Some(pid) = parent.pid {
            object.number("pid", pid);
        }
        object.close();
    }
    process.number("pid", pid);
    if block.started.parse::<jiff::Timestamp>().is_ok() {
        process.text("start", &block.started);
    }
    if let Some(uid) = identity.uid {
        let mut user = process.object("user");
        user.text("id", &uid.to_string());
        user.close();
    }
    process.close();
}

fn write_related(document: &mut Object, view: &View) {
    let ips: Vec<String> = facts::ips(view).iter().map(ToString::to_string).collect();
    let by = facts::by(view);
    let named = [
        view.session.user.some(),
        view.session.role.some(),
        view.identity.name.some(),
        by.as_deref(),
    ];
    let mut users: Vec<&str> = Vec::new();
    for user in named.into_iter().flatten() {
        if !users.contains(&user) {
            users.push(user);
        }
    }
    let mut related = document.object("related");
    related.texts("hosts", view.node.some().into_iter().map(Some));
    related.texts("ip", ips.iter().map(|ip| Some(ip.as_str())));
    related.texts("user", users.into_iter().map(Some));
    related.close();
}

fn write_service(document: &mut Object, view: &View, server: Option<Address>) {
    let Some(protocol) = view.session.protocol.some() else {
        return;
    };
    let mut service = document.object("service");
    service.optional_text("address", server.map(|server| server.text));
    service.text("type", protocol);
    service.close();
}

/// The user of the database; of records of no session who asked the agent.
fn write_user(document: &mut Object, view: &View) {
    let by = facts::by(view);
    let Some(name) = view.session.user.some().or(by.as_deref()) else {
        return;
    };
    let mut user = document.object("user");
    if let Some(role) = view.session.role.some() {
        let mut effective = user.object("effective");
        effective.text("name", role);
        effective.close();
    }
    user.text("name", name);
    user.close();
}
