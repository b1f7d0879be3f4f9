//! `agent.listen`: /metrics and /healthz over HTTP, for whoever can reach the address. Nothing can be changed here.
//!
//! One thread with a runtime of its own, so that a client that is slow or hostile costs the agent nothing else.

mod answer;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::status::Shared;
use crate::sink::Boards;
use answer::Answers;

/// A port that is taken is tried again after so long.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Http {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves there from now on, or as soon as the address is free.
pub(crate) fn start(
    address: SocketAddr,
    shared: Arc<Shared>,
    sinks: Boards,
    audit_dir: PathBuf,
) -> std::io::Result<Http> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            let serving = async {
                tokio::select! {
                    () = serve(address, shared, sinks, audit_dir) => {}
                    _ = stopped => {}
                }
            };
            tasks.block_on(&runtime, serving);
        })?;
    Ok(Http {
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(address: SocketAddr, shared: Arc<Shared>, sinks: Boards, audit_dir: PathBuf) {
    let mut told = None;
    let listener = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                let problem = format!(
                    "[agent] listen = \"{address}\": {error}; metrics are not served, and it is tried again"
                );
                if told.as_ref() != Some(&problem) {
                    tracing::warn!("{problem}");
                    told = Some(problem.clone());
                }
                shared.set_http_problem(Some(problem));
            }
        }
        tokio::time::sleep(BIND_AGAIN).await;
    };
    shared.set_http_problem(None);
    tracing::info!(%address, "metrics are served");
    let answers = Answers::new(shared, sinks, audit_dir);
    tokio::join!(
        server::accept(listener, std::rc::Rc::clone(&answers)),
        answers.sample_programs(),
    );
}
