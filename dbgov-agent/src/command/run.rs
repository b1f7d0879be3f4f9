//! `dbgov run`.

use std::path::Path;

use crate::agent::{self, Display};
use crate::config::Config;

pub fn run(config: Option<&Path>, quiet: bool) -> anyhow::Result<()> {
    let (config, path) = Config::load(config)?;
    match path {
        Some(path) => tracing::info!(config = %path.display(), "starting"),
        None => tracing::info!("starting with the built-in defaults"),
    }
    agent::run(&config, if quiet { Display::None } else { Display::Live })?;
    Ok(())
}
