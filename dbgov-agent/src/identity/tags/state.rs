//! The tags on disk: written at each change, read by the next agent. Beside the control socket, on a file system that
//! does not outlive the host's run, as cgroups do not.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Origin, Tag, Tags};

const VERSION: u32 = 1;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot write {path}: {source}; tags will not survive this agent")]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "cannot read {path}: {what}; it is kept as {kept}, and the tags that were set before are gone: set them again"
    )]
    Read {
        path: PathBuf,
        what: String,
        kept: PathBuf,
    },
}

/// What an agent leaves to the next one.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct State {
    v: u32,
    /// Ids of cgroups and tags mean nothing after a restart of the host.
    boot_id: String,
    last_id: u32,
    tags: Vec<Tag>,
}

impl StateFile {
    /// `tags.json` in the directory of the control socket.
    pub fn beside(control_socket: &Path) -> Self {
        StateFile {
            path: control_socket.with_file_name("tags.json"),
        }
    }

    /// What the agent before left; nothing where there is no file, or it is from before the host started.
    pub fn read(&self) -> Result<Tags, StateError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tags::default()),
            Err(error) => return Err(self.unreadable(error.to_string())),
            Ok(bytes) => bytes,
        };
        match serde_json::from_slice::<State>(&bytes) {
            Ok(state) if state.v != VERSION => {
                Err(self.unreadable(format!("it has version {}", state.v)))
            }
            Ok(state) if state.boot_id != boot_id() => Ok(Tags::default()),
            Ok(state) => Ok(Tags::restored(state.tags, state.last_id)),
            Err(error) => Err(self.unreadable(error.to_string())),
        }
    }

    fn unreadable(&self, what: String) -> StateError {
        let kept = self.path.with_extension("json.unreadable");
        let _ = fs::rename(&self.path, &kept);
        StateError::Read {
            path: self.path.clone(),
            what,
            kept,
        }
    }

    /// Those of the configuration are left out: the next agent has its own.
    pub fn write(&self, tags: &Tags) -> Result<(), StateError> {
        let list = tags.list();
        let state = State {
            v: VERSION,
            boot_id: boot_id(),
            last_id: tags.last_id(),
            tags: list
                .iter()
                .filter(|tag| tag.origin != Origin::Config)
                .map(|tag| Tag::clone(tag))
                .collect(),
        };
        self.replace(&state).map_err(|source| StateError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// By a rename: an agent that is killed meanwhile leaves the one or the other.
    fn replace(&self, state: &State) -> io::Result<()> {
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&serde_json::to_vec(state)?)?;
        fs::rename(&new, &self.path)
    }

    /// Nothing is left to remember.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID)
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
