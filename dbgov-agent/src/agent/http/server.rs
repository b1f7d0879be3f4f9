//! Connections, and what one may cost.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::answer::Answers;

/// Connections at once: a few scrapers and probes. One more is closed at once.
const CONNECTIONS_MAX: usize = 16;
/// Of a request's head, bytes (the least that hyper takes): a scraper sends some hundred.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// How long a request's head may take, also the next one's of a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may live: a scraper comes again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// When the process has no descriptor left, for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Counts the connection for as long as it is there.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(taken: &Rc<Cell<usize>>) -> Option<Place> {
        if taken.get() >= CONNECTIONS_MAX {
            return None;
        }
        taken.set(taken.get() + 1);
        Some(Place(Rc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Never ends.
pub(super) async fn accept(listener: TcpListener, answers: Rc<Answers>) {
    let taken = Rc::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = Place::take(&taken) else {
            continue;
        };
        let answers = Rc::clone(&answers);
        tokio::task::spawn_local(async move {
            let _place = place;
            // What goes wrong on a connection is the client's business.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, answers)).await;
        });
    }
}

async fn connection(stream: TcpStream, answers: Rc<Answers>) {
    let service = service_fn(move |request| {
        let answer = answers.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
