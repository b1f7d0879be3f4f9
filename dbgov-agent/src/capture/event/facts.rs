//! What the kernel programs read of a process in connect(2).

use dbgov_common as raw;
use dbgov_common::TaskFacts;

use super::EventError;
use crate::capture::proc::{self, TICK_NS};
use crate::protocol::TimeNs;

/// A process as it was in connect(2): what it did since changes nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// When it started, on the boot clock, in steps of 10 ms as `/proc` has it.
    pub started_ns: TimeNs,
    /// See [`proc::login_uid`].
    pub login_uid: Option<u32>,
    /// The file it runs.
    pub exe: Option<Exe>,
    /// Its arguments, and whether more of them were left out. Absent where they are not to be read, or were not in
    /// memory.
    pub command: Option<(Vec<String>, bool)>,
    /// The processes above it, the nearest first.
    pub parents: Vec<Parent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exe {
    /// As `/proc/<pid>/exe` has it.
    pub path: String,
    /// Its beginning was left out.
    pub cut: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    pub pid: u32,
    pub started_ns: TimeNs,
    pub comm: String,
}

/// `None` where the programs do not know how this kernel keeps its processes.
pub(super) fn facts(task: &TaskFacts) -> Result<Option<Facts>, EventError> {
    if task.started_boot_ns == 0 {
        return Ok(None);
    }
    let exe = head(&task.exe, task.exe_bytes)?;
    let command = head(&task.command, task.command_bytes)?;
    let parents = head(&task.parents, task.parents_len)?;
    let has = |flag| task.flags & flag != 0;
    Ok(Some(Facts {
        started_ns: in_ticks(task.started_boot_ns),
        login_uid: (task.login_uid != u32::MAX).then_some(task.login_uid),
        exe: (has(raw::TASK_EXE) && !exe.is_empty()).then(|| Exe {
            path: path(exe, has(raw::TASK_EXE_DELETED)),
            cut: has(raw::TASK_EXE_CUT),
        }),
        command: has(raw::TASK_COMMAND)
            .then(|| (proc::arguments(command), has(raw::TASK_COMMAND_CUT))),
        parents: parents.iter().map(parent).collect(),
    }))
}

fn head<T>(all: &[T], used: u32) -> Result<&[T], EventError> {
    all.get(..used as usize).ok_or(EventError::Lengths)
}

/// `/proc/<pid>/stat` has no finer steps.
fn in_ticks(boot_ns: u64) -> TimeNs {
    boot_ns - boot_ns % TICK_NS
}

fn parent(parent: &raw::Parent) -> Parent {
    Parent {
        pid: parent.pid,
        started_ns: in_ticks(parent.started_boot_ns),
        comm: comm(&parent.comm),
    }
}

/// The name of a thread: 15 bytes at the most and a zero.
pub fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// `psql`, `bin`, `usr`, each with a zero byte, to `/usr/bin/psql`.
fn path(names: &[u8], deleted: bool) -> String {
    let names = names.strip_suffix(b"\0").unwrap_or(names);
    let mut path = String::with_capacity(names.len() + 1);
    // The root of a file system that is mounted nowhere is called `/`.
    for name in names.rsplit(|byte| *byte == 0).filter(|name| name != b"/") {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    if deleted {
        path.push_str(" (deleted)");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(exe: &[u8], command: &[u8], flags: u32) -> TaskFacts {
        let mut task = TaskFacts {
            started_boot_ns: 123_456_789,
            login_uid: u32::MAX,
            flags,
            exe_bytes: exe.len() as u32,
            command_bytes: command.len() as u32,
            parents_len: 1,
            pad: 0,
            // What is not in use holds anything.
            parents: [raw::Parent {
                started_boot_ns: 99_999_999,
                pid: 7,
                pad: 0,
                comm: *b"sh\0stale records",
            }; raw::PARENTS_MAX],
            exe: [0xFF; raw::EXE_BYTES + raw::FILE_NAME_BYTES],
            command: [0xFF; raw::COMMAND_BYTES],
        };
        task.exe[..exe.len()].copy_from_slice(exe);
        task.command[..command.len()].copy_from_slice(command);
        task
    }

    #[test]
    fn a_process() {
        let all = raw::TASK_EXE | raw::TASK_COMMAND;
        let task = record(b"psql\0bin\0usr\0", b"psql\0-c\0SELECT 1\0", all);
        let found = facts(&task).unwrap().unwrap();
        let expected = Facts {
            started_ns: 120_000_000,
            login_uid: None,
            exe: Some(Exe {
                path: "/usr/bin/psql".into(),
                cut: false,
            }),
            command: Some((vec!["psql".into(), "-c".into(), "SELECT 1".into()], false)),
            parents: vec![Parent {
                pid: 7,
                started_ns: 90_000_000,
                comm: "sh".into(),
            }],
        };
        assert_eq!(found, expected);
        let silent = facts(&record(b"", b"", 0)).unwrap().unwrap();
        assert_eq!((silent.exe, silent.command), (None, None));
        let mut unknown = task;
        unknown.started_boot_ns = 0;
        assert_eq!(facts(&unknown), Ok(None));
    }

    #[test]
    fn paths() {
        for (names, deleted, expected) in [
            (&b"a\0"[..], false, "/a"),
            (b"a\0b\0", true, "/b/a (deleted)"),
            (b"memfd:x\0", true, "/memfd:x (deleted)"),
            (b"a\0/\0", false, "/a"),
            (b"a\xff\0b c\0", false, "/b c/a\u{fffd}"),
            // Without the last zero byte.
            (b"a\0b", false, "/b/a"),
        ] {
            assert_eq!(path(names, deleted), expected);
        }
    }

    #[test]
    fn lengths_beyond_the_record_are_refused() {
        type Set = fn(&mut TaskFacts, u32);
        let lengths: [(Set, usize); 3] = [
            (
                |task, length| task.exe_bytes = length,
                raw::EXE_BYTES + raw::FILE_NAME_BYTES,
            ),
            (
                |task, length| task.command_bytes = length,
                raw::COMMAND_BYTES,
            ),
            (|task, length| task.parents_len = length, raw::PARENTS_MAX),
        ];
        for (set, room) in lengths {
            let mut task = record(b"a\0", b"a\0", u32::MAX);
            set(&mut task, room as u32);
            assert!(facts(&task).is_ok());
            for length in [room as u32 + 1, u32::MAX] {
                set(&mut task, length);
                assert_eq!(facts(&task), Err(EventError::Lengths));
            }
        }
    }
}
