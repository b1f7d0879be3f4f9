//! The database servers of this host, and what of them this version does not see.

use std::collections::BTreeSet;

use super::Check;
use crate::capture::discover::{FoundServer, Scan};

/// Lines of one kind; a host of containers has hundreds of servers.
const LISTED_MAX: usize = 20;

pub(super) fn checks(scan: &Scan) -> Vec<Check> {
    let mut checks = vec![servers(scan)];
    checks.extend(undecoded(scan));
    checks.extend(unix(scan));
    checks.extend(problems(scan));
    checks
}

fn servers(scan: &Scan) -> Check {
    let decoded = scan.servers.iter().filter(|s| s.protocol.is_decoded());
    let found = list(decoded.map(describe));
    let check = |found: String| Check::ok("database servers", "something to record", found);
    if found.is_empty() {
        return check("none found".into()).warn(
            "start PostgreSQL; one that listens later is found then, one in another place is named by [[server]]",
        );
    }
    check(found)
}

/// `postgresql 15 on 127.0.0.1:5432 (pid 812, container 0123456789ab)`.
fn describe(server: &FoundServer) -> String {
    let process = &server.process;
    let name = server.protocol.name();
    let version = process.version.as_deref();
    let version = version.map_or(String::new(), |v| format!(" {v}"));
    let container = process
        .workload
        .container
        .as_deref()
        .and_then(|id| id.get(..12));
    let container = container.map_or(String::new(), |id| format!(", container {id}"));
    format!(
        "{name}{version} on {} (pid {}{container})",
        server.addr, process.pid
    )
}

fn undecoded(scan: &Scan) -> Option<Check> {
    let others = scan.servers.iter().filter(|s| !s.protocol.is_decoded());
    let found = list(others.map(describe));
    (!found.is_empty()).then(|| {
        Check::ok("other servers", "a complete record", found)
            .warn("this version decodes PostgreSQL only; these servers are not recorded")
    })
}

fn unix(scan: &Scan) -> Option<Check> {
    let listeners = scan.unix_listeners.iter();
    let paths: BTreeSet<String> = listeners
        .filter(|listener| listener.protocol.is_decoded())
        .map(
            |listener| match listener.process.workload.container.as_deref() {
                Some(id) => format!(
                    "{} (container {})",
                    listener.path,
                    id.get(..12).unwrap_or(id)
                ),
                None => listener.path.clone(),
            },
        )
        .collect();
    (!paths.is_empty()).then(|| {
        let found = format!(
            "connections over {} are not seen by this version",
            list(paths.into_iter())
        );
        Check::ok("UNIX sockets", "a complete record", found)
            .warn("let clients connect over TCP (host=127.0.0.1), or set unix_socket_directories = '' in postgresql.conf")
    })
}

fn problems(scan: &Scan) -> Option<Check> {
    let found = list(scan.problems.iter().cloned());
    (!found.is_empty()).then(|| {
        Check::ok("search for servers", "finding every database server", found)
            .warn("run as root; name the ports in [[server]] where a namespace cannot be entered")
    })
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let shown = items[..items.len().min(LISTED_MAX)].join(", ");
    match items.len().saturating_sub(LISTED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::capture::cgroup::Workload;
    use crate::capture::discover::{Protocol, ServerFacts, UnixListener};

    fn process(container: Option<&str>) -> ServerFacts {
        ServerFacts {
            pid: 812,
            started_ns: 1,
            exe: None,
            cgroup: None,
            workload: Workload {
                container: container.map(str::to_owned),
                ..Workload::default()
            },
            version: Some("15".into()),
        }
    }

    fn server(protocol: Protocol, container: Option<&str>) -> FoundServer {
        FoundServer {
            protocol,
            addr: "127.0.0.1:5432".parse().unwrap(),
            dual_stack: false,
            netns_inode: 1,
            netns_cookie: None,
            process: process(container),
        }
    }

    #[test]
    fn nothing_found() {
        let checks = checks(&Scan::default());
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].status, Status::Warn);
    }

    #[test]
    fn what_is_seen_and_what_is_not() {
        let id = "0123456789abcdef".repeat(4);
        let mut mysql = server(Protocol::Mysql, None);
        mysql.process.version = None;
        let scan = Scan {
            servers: vec![server(Protocol::Postgresql, Some(&id)), mysql],
            unix_listeners: vec![UnixListener {
                protocol: Protocol::Postgresql,
                path: "/var/run/postgresql/.s.PGSQL.5432".into(),
                process: process(None),
            }],
            problems: vec!["network namespace 7: Operation not permitted".into()],
        };
        let checks = checks(&scan);
        let found: Vec<(Status, &str)> = checks
            .iter()
            .map(|c| (c.status, c.found.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (
                    Status::Ok,
                    "postgresql 15 on 127.0.0.1:5432 (pid 812, container 0123456789ab)"
                ),
                (Status::Warn, "mysql on 127.0.0.1:5432 (pid 812)"),
                (
                    Status::Warn,
                    "connections over /var/run/postgresql/.s.PGSQL.5432 are not seen by this version"
                ),
                (Status::Warn, "network namespace 7: Operation not permitted"),
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let text = list((0..25).map(|n| n.to_string()));
        assert!(text.ends_with("18, 19 and 5 more"), "{text}");
        assert_eq!(list(std::iter::empty()), "");
    }
}
