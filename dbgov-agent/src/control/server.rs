//! The socket and its clients: a thread for each, so that one that is slow keeps nobody waiting.

use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::peer::{self, Peer};
use super::{ControlError, REQUEST_BYTES_MAX, Reply, Request};

/// Clients served at once; of root, of the group, and of all others together, so that they cannot lock the first out.
const CLIENTS_MAX: usize = 16;
/// How long a client may take to send its request, and again to read its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests, on the thread of the client.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, peer: &Peer, request: Request) -> Reply;
}

impl<F: Fn(&Peer, Request) -> Reply + Send + Sync + 'static> Handler for F {
    fn handle(&self, peer: &Peer, request: Request) -> Reply {
        self(peer, request)
    }
}

/// A bound control socket; its file is removed when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    pub fn bind(path: &Path) -> Result<Control, ControlError> {
        let failed = |source| ControlError::Bind {
            path: path.to_owned(),
            source,
        };
        if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
            std::fs::create_dir_all(dir).map_err(failed)?;
            // Whatever the umask: members of the group have to get through.
            std::fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed)?;
        }
        match UnixStream::connect(path) {
            Ok(_) => return Err(ControlError::InUse(path.to_owned())),
            // Left behind by an agent that was killed. What is no socket refuses a connection as well, and is not ours.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && is_socket(path) => {
                std::fs::remove_file(path).map_err(failed)?
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let control = Control {
            listener,
            path: path.to_owned(),
        };
        // Whoever knocks is heard, so that an attempt can be recorded and `dbgov exec` works for everybody the
        // configuration lets; what a client may ask is decided by its credentials.
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(control)
    }

    /// Answers on threads of its own.
    pub fn serve(self, handler: impl Handler) -> std::io::Result<Serving> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let path = self.path.clone();
        let handler = Arc::new(handler);
        let clients = [Arc::default(), Arc::default(), Arc::default()];
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                for stream in self.listener.incoming() {
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    match stream {
                        Ok(stream) => take(stream, &handler, &clients),
                        Err(_) => std::thread::sleep(ACCEPT_PAUSE),
                    }
                }
            })?;
        Ok(Serving { thread, stop, path })
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The running control thread.
pub struct Serving {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    path: PathBuf,
}

impl Serving {
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accept; the thread drops the socket and its file.
        let _ = UnixStream::connect(&self.path);
        let _ = self.thread.join();
    }
}

/// A client being served.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(clients: &Arc<AtomicUsize>) -> Option<Place> {
        let taken = clients.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(clients));
        (taken < CLIENTS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Gives the client a thread, or the answer that there is none.
fn take(stream: UnixStream, handler: &Arc<impl Handler>, clients: &[Arc<AtomicUsize>; 3]) {
    let Some(place) = Place::take(&clients[peer::standing(&stream) as usize]) else {
        // Not waited for: this is the thread that accepts.
        let _ = stream.set_nonblocking(true);
        let _ = send(&stream, &Reply::error("too many ask at once; try again"));
        return;
    };
    let handler = Arc::clone(handler);
    // Without a thread the client sees its connection end.
    let _ = std::thread::Builder::new()
        .name("control-client".to_owned())
        .spawn(move || {
            let _place = place;
            // A client that breaks off is its own concern.
            let _ = serve_one(&stream, &*handler);
        });
}

fn serve_one(stream: &UnixStream, handler: &impl Handler) -> std::io::Result<()> {
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let peer = match peer::identify(stream) {
        Ok(peer) => peer,
        Err(words) => return send(stream, &Reply::Error(words)),
    };
    let line = request_line(stream)?;
    let reply = match serde_json::from_slice(&line) {
        Ok(request) => handler.handle(&peer, request),
        // What others than those who may ask say is of no interest.
        Err(_) if !peer.permitted => Reply::Error(peer.refusal()),
        Err(error) => Reply::Error(format!(
            "this agent does not understand the request: {error}"
        )),
    };
    send(stream, &reply)
}

/// Up to the newline, within the time-out as a whole.
fn request_line(mut stream: &UnixStream) -> std::io::Result<Vec<u8>> {
    let deadline = Instant::now() + CLIENT_TIMEOUT;
    let mut line = Vec::new();
    let mut buffer = [0; 1024];
    while !line.contains(&b'\n') && (line.len() as u64) < REQUEST_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(line)
}

fn send(mut stream: &UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}
