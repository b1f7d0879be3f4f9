//! `dbgov exec` and other commands of ordinary users.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::agent::{self, Agent};
use crate::drivers::Target;
use crate::process::{self, Place};
use crate::scratch::Scratch;

/// A user who is neither root nor in the group dbgov.
pub const NOBODY: &str = "65534";
pub const NOBODY_ID: u32 = 65534;
/// Lets him run agents.
pub const LET_NOBODY: &str = "[[exec]]\nnames = [\"agent:*\"]\nusers = [\"nobody\"]";

/// Both outputs of a command.
pub fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A place where everybody finds the programs and a configuration that only names the control socket.
#[derive(Debug)]
pub struct Public {
    scratch: Scratch,
    config: PathBuf,
}

impl Public {
    pub fn of(agent: &Agent) -> Result<Self> {
        let scratch = Scratch::new("public")?;
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), everybody.clone())?;
        fs::copy(agent::binary()?, scratch.path().join("dbgov"))?;
        let socket = agent.config_path().with_file_name("control.sock");
        let config = scratch.path().join("dbgov.toml");
        fs::write(&config, format!("[agent]\ncontrol_socket = {socket:?}\n"))?;
        fs::set_permissions(agent.config_path().with_file_name(""), everybody)?;
        Ok(Public { scratch, config })
    }

    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// `dbgov ARGS` as that user.
    pub fn dbgov(&self, user: Option<&str>, args: &[&str]) -> Command {
        let place = Place {
            user: user.map(str::to_owned),
            ..Place::default()
        };
        let mut command = place.command(self.scratch.path().join("dbgov"));
        command.arg("--config").arg(&self.config).args(args);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// A program of its own: a copy under another path.
    pub fn copy(&self, program: &Path, name: &str) -> Result<PathBuf> {
        let dir = self.scratch.path().join(name);
        fs::create_dir_all(&dir)?;
        let copy = dir.join(program.file_name().context("a program")?);
        fs::copy(program, &copy)?;
        Ok(copy)
    }
}

/// `dbgov exec` of a program that says its run's id before it becomes the program.
#[derive(Debug)]
pub struct Run {
    pub child: Child,
    pub id: String,
}

impl Run {
    pub fn start(
        public: &Public,
        target: &Target,
        words: &[&str],
        program: &[&str],
    ) -> Result<Run> {
        let mut command = public.dbgov(Some(NOBODY), &["exec"]);
        command
            .args(words)
            .args(["--", "sh", "-c", "echo $DBGOV_RUN; exec \"$@\"", "sh"])
            .args(program)
            .envs(target.environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process::spawn(command)?;
        let mut id = String::new();
        // Byte by byte: what comes behind is the program's.
        let stdout = child.stdout.as_mut().context("its output")?;
        BufReader::with_capacity(1, stdout).read_line(&mut id)?;
        if id.is_empty() {
            bail!("did not start: {}", text(&child.wait_with_output()?));
        }
        Ok(Run {
            child,
            id: id.trim().to_owned(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn end(self) -> Result<Output> {
        Ok(self.child.wait_with_output()?)
    }
}
