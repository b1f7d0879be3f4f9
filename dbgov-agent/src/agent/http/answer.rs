//! What is answered.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::agent::health::is_capturing;
use crate::agent::metrics::files;
use crate::agent::metrics::programs::{self, Counting, ProgramTimes};
use crate::agent::metrics::{self, Snapshot};
use crate::agent::status::Shared;
use crate::sink::Boards;

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str =
    "dbgov\n\n/metrics   figures, for Prometheus\n/healthz   200 while it captures\n";
/// Nobody reads the figures any more, and nothing is sampled for them.
const READ_WITHIN: Duration = Duration::from_secs(300);

pub(super) struct Answers {
    shared: Arc<Shared>,
    sinks: Boards,
    audit_dir: PathBuf,
    programs: RefCell<Vec<ProgramTimes>>,
    read: Cell<Instant>,
}

impl Answers {
    pub(super) fn new(shared: Arc<Shared>, sinks: Boards, audit_dir: PathBuf) -> Rc<Self> {
        Rc::new(Answers {
            shared,
            sinks,
            audit_dir,
            programs: RefCell::default(),
            read: Cell::new(Instant::now()),
        })
    }

    pub(super) fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            let mut answer = response(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET\n".to_owned(),
            );
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/healthz" => self.health(),
            "/" => response(StatusCode::OK, TEXT, INDEX.to_owned()),
            _ => response(
                StatusCode::NOT_FOUND,
                TEXT,
                "there are /metrics and /healthz\n".to_owned(),
            ),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.shared.snapshot();
        snapshot.status.sinks = self.sinks.shown();
        snapshot.files = files::look(&self.audit_dir).ok();
        snapshot.programs.clone_from(&self.programs.borrow());
        snapshot
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.read.set(Instant::now());
        match metrics::text(self.snapshot()) {
            Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => response(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                format!("{error}\n"),
            ),
        }
    }

    fn health(&self) -> Response<Full<Bytes>> {
        match is_capturing(&self.shared.snapshot()) {
            Ok(()) => response(StatusCode::OK, TEXT, "capturing\n".to_owned()),
            Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        }
    }

    /// Never ends.
    pub(super) async fn sample_programs(&self) {
        loop {
            if self.read.get().elapsed() < READ_WITHIN
                && let Some(counting) = Counting::begin()
            {
                tokio::time::sleep(programs::SAMPLE).await;
                drop(counting);
                let hooks = self.shared.get().hooks;
                *self.programs.borrow_mut() = programs::times(&hooks);
            }
            tokio::time::sleep(programs::EVERY.saturating_sub(programs::SAMPLE)).await;
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
