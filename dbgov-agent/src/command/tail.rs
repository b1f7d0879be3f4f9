//! `dbgov audit tail`.

use std::io::Write;
use std::path::Path;

use crate::agent;
use crate::audit::live;
use crate::audit::tail::{self, POLL_INTERVAL};
use crate::config::Config;

/// The newest `lines` records and, with `follow`, those to come. Needs no running agent.
pub fn run(config: Option<&Path>, lines: u64, follow: bool, json: bool) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let renderer = if json { None } else { agent::terminal() };
    let is_wanted = |line: &[u8]| renderer.is_none() || live::is_shown(line);
    let mut tail = tail::open(&config.audit.dir, lines, is_wanted)?;
    let mut out = std::io::BufWriter::new(std::io::stdout());
    loop {
        while let Some(line) = tail.next_line()? {
            let written = match &renderer {
                Some(renderer) => match renderer.render(line) {
                    Some(line) => writeln!(out, "{line}"),
                    None => Ok(()),
                },
                None => out.write_all(line).and_then(|()| out.write_all(b"\n")),
            };
            if ended(written)? {
                return Ok(());
            }
        }
        if ended(out.flush())? || !follow {
            return Ok(());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A reader that has gone (`| head`) is the end, not an error.
fn ended(written: std::io::Result<()>) -> std::io::Result<bool> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        other => other.map(|()| false),
    }
}
