//! The control socket: one request line in, one answer line out, both JSON.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::status::{Shared, Status};

/// Bytes of a request; ours have a few dozen.
const REQUEST_BYTES_MAX: u64 = 4096;
/// Bytes of an answer: a status with a thousand servers.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long one side waits for the other.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "another dbgov is running and answers on {0}: stop it, or set another [agent] control_socket"
    )]
    InUse(PathBuf),
    #[error("cannot make the control socket {path}: {source}; set another [agent] control_socket")]
    Bind {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "no dbgov answers on {path} ({source}): start it with `dbgov run`, or name its configuration with --config"
    )]
    NotRunning {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the control socket {0} is root's: run this with sudo")]
    NotPermitted(PathBuf),
    #[error("the agent on {0} did not answer in its own words; is it another version?")]
    Answer(PathBuf),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
enum Request {
    Status,
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
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
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
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(control)
    }

    /// Answers on a thread of its own.
    pub fn serve(self, shared: Arc<Shared>) -> std::io::Result<Serving> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let path = self.path.clone();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                for stream in self.listener.incoming() {
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    // A client that breaks off is its own concern.
                    let _ = stream.and_then(|stream| answer(&stream, &shared));
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

fn answer(mut stream: &UnixStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let mut reply = match serde_json::from_str(&line) {
        Ok(Request::Status) => serde_json::to_vec(&shared.get())?,
        Err(error) => serde_json::to_vec(&serde_json::json!({ "error": error.to_string() }))?,
    };
    reply.push(b'\n');
    stream.write_all(&reply)
}

/// Asks the running agent for its status.
pub fn status(path: &Path) -> Result<Status, ControlError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::PermissionDenied => ControlError::NotPermitted(path.to_owned()),
        _ => ControlError::NotRunning {
            path: path.to_owned(),
            source,
        },
    };
    let stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    let mut request =
        serde_json::to_vec(&Request::Status).map_err(|_| ControlError::Answer(path.to_owned()))?;
    request.push(b'\n');
    (&stream).write_all(&request).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX))
        .read_line(&mut line)
        .map_err(failed)?;
    serde_json::from_str(&line).map_err(|_| ControlError::Answer(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_crosses_the_socket_and_the_file_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/control.sock");
        assert!(matches!(
            status(&path),
            Err(ControlError::NotRunning { .. })
        ));
        let shared = Arc::new(Shared::new(Status {
            node: "host-1".to_owned(),
            ..Status::default()
        }));
        let serving = Control::bind(&path).unwrap().serve(shared).unwrap();
        assert_eq!(status(&path).unwrap().node, "host-1");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(matches!(Control::bind(&path), Err(ControlError::InUse(_))));
        serving.stop();
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Control::bind(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        std::fs::write(&path, "kept").unwrap();
        assert!(matches!(
            Control::bind(&path),
            Err(ControlError::Bind { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn garbage_gets_an_error_and_the_next_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let serving = Control::bind(&path)
            .unwrap()
            .serve(Arc::new(Shared::new(Status::default())))
            .unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.contains("error"));
        assert!(status(&path).is_ok());
        serving.stop();
    }
}
