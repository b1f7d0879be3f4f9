//! The same client under many names.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_brief-client");

/// What dbgov keeps of a command line, bytes.
const COMMAND_BYTES: usize = 1024;
/// What it reads of a path in the kernel, at least; of a longer one the beginning may be missing.
const EXE_BYTES: usize = 512;
/// Names of threads end here (TASK_COMM_LEN in the kernel).
const COMM_BYTES: usize = 15;

/// A way to start the client, and what is to be recorded of it.
#[derive(Debug)]
pub(crate) struct Case {
    program: PathBuf,
    name: Option<OsString>,
    arguments: Vec<OsString>,
    directory: PathBuf,
    how: &'static str,
    uid: u32,
    exe: String,
    comm: String,
    /// As the kernel has it.
    command: Vec<OsString>,
    /// Keeps a file that has no name.
    _file: Option<File>,
}

impl Case {
    fn new(program: &Path) -> Self {
        let file_name = program.file_name().unwrap().as_bytes();
        let comm = &file_name[..file_name.len().min(COMM_BYTES)];
        Case {
            program: program.to_owned(),
            name: None,
            arguments: Vec::new(),
            directory: "/".into(),
            how: "_exit",
            uid: 0,
            exe: program.to_str().unwrap().to_owned(),
            comm: String::from_utf8_lossy(comm).into_owned(),
            command: vec![program.into()],
            _file: None,
        }
    }

    fn arguments(mut self, arguments: &[&[u8]]) -> Self {
        self.arguments = arguments
            .iter()
            .map(|argument| OsString::from_vec(argument.to_vec()))
            .collect();
        self.command.extend(self.arguments.iter().cloned());
        self
    }

    pub(crate) fn command(&self, address: SocketAddr) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(name) = &self.name {
            command.arg0(name);
        }
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("BRIEF_ADDRESS", address.to_string())
            .env("BRIEF_HOW", self.how)
            .uid(self.uid)
            .stdin(Stdio::null());
        command
    }

    /// What is wrong in the first record of a session that this process opened. `since`: when no client had started.
    pub(crate) fn mistake(&self, pid: u64, open: &Value, since: &str) -> Option<String> {
        let (identity, process) = (&open["identity"], &open["process"]);
        let heard = open["time"].as_str()?;
        let (arguments, truncated) = self.recorded_command();
        let parent = &process["parents"][0];
        let started = process["started"].as_str();
        let facts = [
            identity["pid"] == pid,
            identity["uid"] == self.uid,
            identity["comm"] == self.comm.as_str(),
            self.is_exe(identity["exe"].as_str()),
            process["command"] == Value::from(arguments),
            process["command_truncated"].as_bool().unwrap_or(false) == truncated,
            parent["pid"] == std::process::id(),
            parent["exe"] == std::env::current_exe().unwrap().to_str().unwrap(),
            started.is_some_and(|started| (since..heard).contains(&started)),
        ];
        facts
            .contains(&false)
            .then(|| format!("{facts:?}\n{self:?}\n{identity}\n{process}"))
    }

    fn is_exe(&self, exe: Option<&str>) -> bool {
        exe.is_some_and(|exe| match exe.strip_prefix('…') {
            Some(end) => {
                self.exe.len() > EXE_BYTES && end.len() > EXE_BYTES / 2 && self.exe.ends_with(end)
            }
            None => exe == self.exe,
        })
    }

    fn recorded_command(&self) -> (Vec<String>, bool) {
        let mut bytes: Vec<u8> = Vec::new();
        for argument in &self.command {
            bytes.extend(argument.as_bytes());
            bytes.push(0);
        }
        let truncated = bytes.len() > COMMAND_BYTES;
        bytes.truncate(COMMAND_BYTES);
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        let arguments = bytes.split(|byte| *byte == 0);
        let arguments = arguments.map(|argument| String::from_utf8_lossy(argument).into_owned());
        (arguments.collect(), truncated)
    }
}

pub(crate) fn all(dir: &Path) -> Vec<Case> {
    // For the users the clients become.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |path: PathBuf| {
        fs::copy(CLIENT, &path).unwrap();
        path
    };
    let plain = copy(dir.join("plain"));
    let other_user = Case {
        uid: 65_534,
        ..Case::new(&plain).arguments(&[b"as", b"nobody"])
    };
    let returns = Case {
        how: "return",
        ..Case::new(&plain)
    };
    let relative = Case {
        program: "./plain".into(),
        directory: dir.to_owned(),
        command: vec!["./plain".into()],
        ..Case::new(&plain)
    };
    let renamed = Case {
        name: Some("not my name".into()),
        command: vec!["not my name".into()],
        ..Case::new(&plain)
    };
    vec![
        Case::new(&plain),
        other_user,
        returns,
        relative,
        renamed,
        linked(dir, &plain),
        script(dir, &plain),
        Case::new(&copy(dir.join("näme with \t spaces"))).arguments(&[
            b"",
            b"\xff\xfe",
            "ü".as_bytes(),
            b"",
        ]),
        Case::new(&plain).arguments(&[&[b'x'; 5000], b"behind"]),
        Case::new(&copy(deep(dir).join("client"))),
        Case::new(&copy(dir.join("n".repeat(200)))),
        deleted(copy(dir.join("deleted"))),
        in_memory(),
    ]
}

fn linked(dir: &Path, plain: &Path) -> Case {
    let link = dir.join("link");
    symlink(plain, &link).unwrap();
    Case {
        exe: plain.to_str().unwrap().to_owned(),
        ..Case::new(&link)
    }
}

/// The kernel runs its interpreter, under the script's name.
fn script(dir: &Path, plain: &Path) -> Case {
    let script = dir.join("script");
    fs::write(&script, format!("#!{} -x\n", plain.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Case {
        exe: plain.to_str().unwrap().to_owned(),
        command: vec![plain.into(), "-x".into(), script.clone().into()],
        ..Case::new(&script)
    }
}

/// Longer than what is read of it.
fn deep(dir: &Path) -> PathBuf {
    let mut deep = dir.to_owned();
    for level in 0..6 {
        deep.push(format!("{level}{}", "d".repeat(150)));
    }
    fs::create_dir_all(&deep).unwrap();
    deep
}

fn deleted(path: PathBuf) -> Case {
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    Case {
        exe: format!("{} (deleted)", path.display()),
        ..by_descriptor(file)
    }
}

/// A program that was never in a file system.
fn in_memory() -> Case {
    let name = CString::new("from memory").unwrap();
    // SAFETY: a string that ends with a zero byte; the descriptor is nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "memfd_create");
        File::from_raw_fd(fd)
    };
    fs::write(
        format!("/proc/self/fd/{}", file.as_raw_fd()),
        fs::read(CLIENT).unwrap(),
    )
    .unwrap();
    // A file that is open for writing cannot be run.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let readable = File::open(path).unwrap();
    drop(file);
    Case {
        exe: "/memfd:from memory (deleted)".to_owned(),
        ..by_descriptor(readable)
    }
}

/// By a path that leads to an open file, from any process.
fn by_descriptor(file: File) -> Case {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Case {
        _file: Some(file),
        ..Case::new(Path::new(&path))
    }
}
