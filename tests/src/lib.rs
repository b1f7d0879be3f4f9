//! What the end-to-end tests, the bench and the demo share: a throw-away PostgreSQL, its log as the truth, the agent
//! under test, network namespaces, and client programs to drive the server with.
//!
//! Everything here starts real processes and ends exactly those it started. What a killed run left behind (temporary
//! directories, namespaces) carries the run's pid in its name and is removed by the next run.

pub mod agent;
pub mod asking;
pub mod cgroup;
pub mod deploy;
pub mod drivers;
pub mod extended;
pub mod farewell;
pub mod installation;
pub mod journal;
pub mod kube_api;
pub mod log;
pub mod manifests;
pub mod netns;
pub mod postgres;
pub mod process;
pub mod receivers;
pub mod runs;
pub mod scratch;
pub mod small_disk;
pub mod truth;
pub mod wire;

pub use anyhow::{Result, bail, ensure};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests package lies in the workspace")
        .to_path_buf()
}

/// Cargo's target directory, where set-up keeps what it made.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Asks `probe` until it gives something; an error names what was waited for.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    const POLL_INTERVAL_MS: u64 = 5;
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {timeout:?}");
        std::thread::sleep(Duration::from_millis(POLL_INTERVAL_MS));
    }
}
