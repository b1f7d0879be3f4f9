//! `dbgov replay`: a capture file through the pipeline, records to stdout.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::audit::line::LineEncoder;
use crate::config::Config;
use crate::judge::Rulebook;
use crate::policy::Policy;
use crate::protocol::postgres::Limits;
use crate::replay::{Replay, ReplayError};
use crate::session::Recorder;
use crate::stream::flow::Servers;

pub fn run(config: Option<&Path>, file: &Path) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let policy = match &config.policy {
        Some(policy) => {
            let text = std::fs::read_to_string(&policy.file)
                .with_context(|| format!("cannot read the policy {}", policy.file.display()))?;
            Some(Policy::parse(&text, &policy.file)?)
        }
        None => None,
    };
    let limits = Limits {
        tell_requests: policy.is_some(),
        statement_bytes_max: config.capture.statement_bytes_max,
        param_bytes_max: config.capture.param_bytes_max,
        ..Limits::default()
    };
    let renderer = crate::agent::terminal();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut encoder = LineEncoder::new(&config.node());
    let mut line = Vec::new();
    let mut replay = Replay::new(limits);
    replay.networks = Arc::clone(&config.networks);
    // A capture file is past: verdicts say what would have been.
    replay.recorder.rulebook = policy.map(|policy| {
        Arc::new(Rulebook {
            policy,
            generation: 1,
        })
    });
    let mut write = |recorder: &mut Recorder| {
        for record in recorder.take() {
            let hash = encoder.encode(&record, &mut line)?;
            encoder.accept(hash);
            match &renderer {
                Some(renderer) => {
                    if let Some(shown) = renderer.render(&line) {
                        writeln!(out, "{shown}")?;
                    }
                }
                None => out.write_all(&line)?,
            }
        }
        Ok(())
    };
    let outcome = replay.run(file, Servers::ports(config.ports()), &mut write);
    let outcome = match outcome {
        Err(ReplayError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            return Ok(());
        }
        other => other,
    };
    out.flush()?;
    let passed = outcome?;
    if passed.connections == 0 {
        let ports: Vec<String> = config.ports().iter().map(u16::to_string).collect();
        anyhow::bail!(
            "none of the {} TCP packets of {} is of a connection to port {}; name the server's port in a configuration: [[server]] port = N",
            passed.packets,
            file.display(),
            ports.join(", ")
        );
    }
    Ok(())
}
