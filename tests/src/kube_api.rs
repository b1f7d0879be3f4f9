//! As much of a Kubernetes API server as the watch of a node's pods needs: lists with a field selector, watches as chunked
//! streams of events, bookmarks, `410 Gone`. It can be killed and comes back on the same port.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A server on a port of loopback; ended on drop.
#[derive(Debug)]
pub struct KubeApi {
    port: u16,
    state: Arc<Mutex<State>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    pods: BTreeMap<String, Value>,
    /// Type, pod and resource version.
    events: Vec<(&'static str, Value, u64)>,
    /// A watch that begins or goes on before this version is told that it is too old.
    oldest: u64,
    /// Targets of the requests, in order.
    requests: Vec<String>,
    streams: Vec<TcpStream>,
}

impl KubeApi {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut api = KubeApi {
            port: listener.local_addr()?.port(),
            state: Arc::default(),
            running: None,
        };
        api.serve(listener)?;
        Ok(api)
    }

    fn serve(&mut self, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (state, ended) = (Arc::clone(&self.state), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(POLL_INTERVAL);
                    continue;
                };
                let (state, ended) = (Arc::clone(&state), Arc::clone(&ended));
                // Ends with the connection.
                std::thread::spawn(move || answer(stream, &state, &ended));
            }
        });
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// Ends all connections and listens no more.
    pub fn kill(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.stop.store(true, Ordering::Release);
        let _ = running.thread.join();
        for stream in lock(&self.state).streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again where it did.
    pub fn revive(&mut self) -> Result<()> {
        self.serve(TcpListener::bind(("127.0.0.1", self.port))?)
    }

    /// Makes a pod or changes it.
    pub fn put(&self, pod: &Value) {
        let mut state = lock(&self.state);
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let known = state.pods.contains_key(uid);
        let stored = state.stamp(pod);
        state.pods.insert(uid.to_string(), stored.clone());
        state.tell(if known { "MODIFIED" } else { "ADDED" }, stored);
    }

    pub fn delete(&self, uid: &str) {
        let mut state = lock(&self.state);
        if let Some(pod) = state.pods.remove(uid) {
            let last = state.stamp(&pod);
            state.tell("DELETED", last);
        }
    }

    /// A bookmark for whoever watches.
    pub fn bookmark(&self) {
        let mut state = lock(&self.state);
        let bookmark = state.stamp(&json!({"metadata": {}}));
        state.tell("BOOKMARK", bookmark);
    }

    /// Forgets all events: watches are told `410 Gone`, also those that are under way.
    pub fn forget_events(&self) {
        let mut state = lock(&self.state);
        state.version += 1;
        state.oldest = state.version;
        state.events.clear();
    }

    /// Targets of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// Writes a kubeconfig that leads here.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             users: [{{name: test, user: {{}}}}]\n",
            self.port
        );
        Ok(std::fs::write(path, text)?)
    }
}

impl Drop for KubeApi {
    fn drop(&mut self) {
        self.kill();
    }
}

impl State {
    /// The object with the next resource version.
    fn stamp(&mut self, object: &Value) -> Value {
        self.version += 1;
        let mut object = object.clone();
        object["apiVersion"] = "v1".into();
        object["kind"] = "Pod".into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object
    }

    fn tell(&mut self, kind: &'static str, object: Value) {
        self.events.push((kind, object, self.version));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection until it or the server ends.
fn answer(stream: TcpStream, state: &Mutex<State>, ended: &AtomicBool) {
    let Ok(kept) = stream.try_clone() else { return };
    let _ = stream.set_nonblocking(false);
    lock(state).streams.push(kept);
    let mut reader = BufReader::new(&stream);
    while let Some(target) = request(&mut reader) {
        lock(state).requests.push(target.clone());
        let done = match parameter(&target, "watch").as_deref() {
            Some("true" | "1") => watch(&stream, &target, state, ended),
            _ => list(&stream, &target, state),
        };
        if done.is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// The target of the next request.
fn request(reader: &mut impl BufRead) -> Option<String> {
    let mut first = String::new();
    reader
        .read_line(&mut first)
        .ok()
        .filter(|bytes| *bytes > 0)?;
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
    }
    Some(first.split(' ').nth(1)?.to_string())
}

/// Of the query, decoded as far as the client encodes it.
fn parameter(target: &str, name: &str) -> Option<String> {
    let query = target.split_once('?')?.1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value.replace("%3D", "=").replace("%2C", ","))
}

/// Whether the request's field selector lets a pod through.
fn is_selected(target: &str, pod: &Value) -> bool {
    match parameter(target, "fieldSelector") {
        Some(selector) => match selector.strip_prefix("spec.nodeName=") {
            Some(node) => pod["spec"]["nodeName"].is_null() || pod["spec"]["nodeName"] == node,
            None => false,
        },
        None => true,
    }
}

fn list(mut stream: &TcpStream, target: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let (items, version) = {
        let state = lock(state);
        let selected = state.pods.values().filter(|pod| is_selected(target, pod));
        let items: Vec<Value> = selected
            .map(|pod| {
                let mut item = pod.clone();
                if let Some(fields) = item.as_object_mut() {
                    // Only the list itself says what it is of.
                    fields.remove("apiVersion");
                    fields.remove("kind");
                }
                item
            })
            .collect();
        (items, state.version)
    };
    let body = json!({
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string()},
        "items": items,
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn watch(
    mut stream: &TcpStream,
    target: &str,
    state: &Mutex<State>,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let since = parameter(target, "resourceVersion").and_then(|version| version.parse().ok());
    let mut seen: u64 = since.unwrap_or(0);
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    while !ended.load(Ordering::Acquire) {
        let (news, gone) = {
            let state = lock(state);
            let gone = seen < state.oldest;
            let news: Vec<_> = state
                .events
                .iter()
                .filter(|(_, object, version)| *version > seen && is_selected(target, object))
                .cloned()
                .collect();
            (news, gone)
        };
        if gone {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": format!("too old resource version: {seen}"), "reason": "Expired", "code": 410});
            chunk(stream, &json!({"type": "ERROR", "object": status}))?;
            return stream.write_all(b"0\r\n\r\n");
        }
        for (kind, object, version) in news {
            chunk(stream, &json!({"type": kind, "object": object}))?;
            seen = version;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// One event, cut in two as a network may.
fn chunk(mut stream: &TcpStream, event: &Value) -> std::io::Result<()> {
    let line = format!("{event}\n");
    let (head, tail) = line.split_at(line.len() / 2);
    for part in [head, tail] {
        write!(stream, "{:x}\r\n{part}\r\n", part.len())?;
    }
    Ok(())
}
