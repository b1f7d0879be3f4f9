//! `dbgov exec`: this process is given a tagged cgroup of its own, and then becomes the command. So signals, exit status,
//! terminal and process id are the command's own.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::config::{Config, ConfigError};
use crate::control::{self, Request, Started};
use crate::identity::tags::{TagName, check_run, label};

/// As env(1), nohup(1) and timeout(1): ours failed ...
const FAILED: u8 = 125;
/// ... the command is there but cannot be run ...
const CANNOT_RUN: u8 = 126;
/// ... there is no such command.
const NOT_FOUND: u8 = 127;

/// What is run, and as whom.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The tag it goes by, such as agent:sync
    #[arg(long = "as", value_name = "NAME")]
    name: TagName,
    /// Why it is run; stands in every record of it
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// What else is to stand in every record of it; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

/// Returns only where the command did not come to run.
pub fn run(config: Option<&Path>, run: &Run) -> ExitCode {
    match exec(config, run) {
        Err(error) => {
            eprintln!("dbgov exec: {error}");
            let io = error.downcast_ref::<std::io::Error>();
            ExitCode::from(match io.map(std::io::Error::kind) {
                None => FAILED,
                Some(ErrorKind::NotFound) => NOT_FOUND,
                Some(_) => CANNOT_RUN,
            })
        }
    }
}

/// As the configuration has it. One that is only for root to read is no hindrance: the socket then is where it usually is.
fn control_socket(config: Option<&Path>) -> Result<PathBuf, ConfigError> {
    match Config::load(config) {
        Err(ConfigError::Read { source, .. })
            if config.is_none() && source.kind() == ErrorKind::PermissionDenied =>
        {
            Ok(Config::default().agent.control_socket)
        }
        loaded => Ok(loaded?.0.agent.control_socket),
    }
}

fn exec(config: Option<&Path>, run: &Run) -> anyhow::Result<Infallible> {
    let labels = run
        .labels
        .iter()
        .map(|text| label(text))
        .collect::<Result<_, _>>()?;
    check_run(run.purpose.as_deref(), &labels)?;
    let [program, arguments @ ..] = &run.command[..] else {
        anyhow::bail!("give a command");
    };
    let control_socket = control_socket(config)?;
    let request = Request::Exec {
        name: run.name.clone(),
        purpose: run.purpose.clone(),
        labels,
    };
    let started: Started =
        control::ask(&control_socket, &request).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("DBGOV_IDENTITY", run.name.as_str())
        .env("DBGOV_RUN", &started.run)
        .env_remove("DBGOV_PURPOSE");
    if let Some(purpose) = &run.purpose {
        command.env("DBGOV_PURPOSE", purpose);
    }
    let error = command.exec();
    let kind = error.kind();
    let told = std::io::Error::new(kind, format!("{}: {error}", program.to_string_lossy()));
    Err(told.into())
}
