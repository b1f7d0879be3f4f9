//! Which processes are a database server's main process.

use std::collections::HashMap;
use std::io;

use super::super::proc;
use super::{Protocol, title};

/// `PG_VERSION` holds one short line.
const PG_VERSION_BYTES_MAX: u64 = 16;

/// A server's main process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerProcess {
    pub pid: u32,
    pub protocol: Protocol,
    pub comm: String,
    pub exe: Option<String>,
    pub parent: u32,
    pub started_ns: u64,
}

/// Every process of a database server that is not the child of another one with the same program: PostgreSQL forks a
/// process for each connection and each job of its own, and only the postmaster listens.
pub(super) fn server_processes() -> io::Result<Vec<ServerProcess>> {
    let all: Vec<ServerProcess> = proc::pids()?.into_iter().filter_map(examine).collect();
    Ok(main_processes(all))
}

fn main_processes(all: Vec<ServerProcess>) -> Vec<ServerProcess> {
    let programs: HashMap<u32, Option<String>> =
        all.iter().map(|p| (p.pid, p.exe.clone())).collect();
    // A script called "postgres" that starts the server is its parent too, but runs another program.
    let is_child = |p: &ServerProcess| programs.get(&p.parent).is_some_and(|exe| *exe == p.exe);
    all.into_iter().filter(|p| !is_child(p)).collect()
}

/// A process is known by its program file; by its name only where that link may not be read. This is done for every
/// process of the host, so it is one system call for those that are no server. What ends meanwhile is passed over.
fn examine(pid: u32) -> Option<ServerProcess> {
    let (exe, protocol) = match proc::exe(pid) {
        Ok(exe) => {
            let protocol = protocol_of_exe(&exe)?;
            (Some(exe), protocol)
        }
        // No program file: a kernel thread, or the process is gone.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(_) => (None, protocol_of_name(&proc::comm(pid).ok()?)?),
    };
    let stat = proc::stat(pid).ok()?;
    Some(ServerProcess {
        pid,
        protocol,
        comm: stat.comm,
        exe,
        parent: stat.parent,
        started_ns: stat.started_ns,
    })
}

/// The kernel appends ` (deleted)` where a package upgrade replaced the file of a running server.
fn protocol_of_exe(exe: &str) -> Option<Protocol> {
    let path = exe.strip_suffix(" (deleted)").unwrap_or(exe);
    protocol_of_name(path.rsplit('/').next()?)
}

fn protocol_of_name(name: &str) -> Option<Protocol> {
    match name {
        "postgres" | "postmaster" | "edb-postgres" => Some(Protocol::Postgresql),
        "mysqld" | "mariadbd" => Some(Protocol::Mysql),
        _ => None,
    }
}

/// The postmaster's working directory is its data directory, also inside a container.
pub(super) fn postgres_version(pid: u32) -> Option<String> {
    let content =
        proc::read_bounded(format!("/proc/{pid}/cwd/PG_VERSION"), PG_VERSION_BYTES_MAX).ok()?;
    let version = String::from_utf8(content).ok()?.trim_end().to_owned();
    let is_number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_number.then_some(version)
}

/// The cluster_name of a PostgreSQL server, empty where it has none, from the title of its checkpointer. `None` if
/// that process is not found.
pub(super) fn cluster_name(postmaster: u32) -> Option<String> {
    let is_child = |pid: &u32| proc::stat(*pid).is_ok_and(|stat| stat.parent == postmaster);
    let mut children = proc::pids().ok()?.into_iter().filter(is_child);
    children.find_map(|pid| title::cluster_name(&proc::title(pid).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, exe: &str) -> ServerProcess {
        ServerProcess {
            pid,
            protocol: Protocol::Postgresql,
            comm: "postgres".into(),
            exe: Some(exe.into()),
            parent,
            started_ns: 0,
        }
    }

    #[test]
    fn programs_and_names() {
        for (exe, expected) in [
            (
                "/usr/lib/postgresql/15/bin/postgres",
                Some(Protocol::Postgresql),
            ),
            (
                "/usr/lib/postgresql/15/bin/postgres (deleted)",
                Some(Protocol::Postgresql),
            ),
            ("/usr/sbin/mariadbd", Some(Protocol::Mysql)),
            ("/usr/sbin/mysqld", Some(Protocol::Mysql)),
            ("/usr/bin/postgres_exporter", None),
            ("/opt/postgres/bin/psql", None),
            ("", None),
        ] {
            assert_eq!(protocol_of_exe(exe), expected, "{exe}");
        }
    }

    #[test]
    fn only_the_postmaster_stays() {
        let found = main_processes(vec![
            process(10, 1, "/usr/bin/bash"),
            process(11, 10, "/pg/postgres"),
            process(12, 11, "/pg/postgres"),
            process(13, 11, "/pg/postgres"),
            process(20, 1, "/pg/postgres"),
        ]);
        let pids: Vec<u32> = found.iter().map(|p| p.pid).collect();
        assert_eq!(pids, [10, 11, 20]);
    }
}
