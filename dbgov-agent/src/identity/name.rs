//! The name a record goes by (DESIGN.md, section 3).

use std::net::SocketAddr;

use super::Process;
use crate::audit::record::{Identity, ParentBlock, ProcessBlock};
use crate::clock::process_start_unix_ns;

/// The record's identity. The client's process names it, by the tag of its cgroup, else by its systemd unit, else by its
/// OS user; a remote client is called by the database user it logs in as, and until that is known by its address.
pub fn identity(
    client: Option<&Process>,
    database_user: Option<&str>,
    client_addr: Option<SocketAddr>,
) -> Identity {
    let Some(process) = client else {
        let (name, source) = remote(database_user, client_addr);
        return Identity {
            name,
            source,
            ..Identity::default()
        };
    };
    let (name, source) = match (&process.tag, &process.unit, &process.user) {
        (Some(tag), _, _) => (tag.name.as_str().to_owned(), "tag"),
        (None, Some(unit), _) => (unit.clone(), "systemd"),
        (None, None, Some(user)) => (user.clone(), "os_user"),
        (None, None, None) => (format!("uid:{}", process.uid), "os_user"),
    };
    let run = process.tag.as_ref().and_then(|tag| tag.run.clone());
    let (run, purpose, labels) = match run {
        Some(run) => (Some(run.id), run.purpose, run.labels),
        None => Default::default(),
    };
    Identity {
        cgroup: process.cgroup.clone(),
        comm: Some(process.comm.clone()),
        container: process.container.clone(),
        exe: process.exe.clone(),
        labels,
        login_uid: process.login_uid,
        name,
        pid: Some(process.pid),
        purpose,
        run,
        source,
        uid: Some(process.uid),
        ..Identity::default()
    }
}

fn remote(database_user: Option<&str>, client_addr: Option<SocketAddr>) -> (String, &'static str) {
    match (database_user, client_addr) {
        (Some(user), _) => (user.to_owned(), "database_user"),
        (None, Some(addr)) => (addr.ip().to_canonical().to_string(), "unknown"),
        (None, None) => ("unknown".to_owned(), "unknown"),
    }
}

/// What stands once in a session: how the process came to be. `None` where nothing is known of that.
pub fn process_block(process: &Process) -> Option<ProcessBlock> {
    let started_ns = process.started_ns?;
    Some(ProcessBlock {
        command: process.command.clone(),
        command_truncated: process.command_truncated,
        parents: process
            .parents
            .iter()
            .map(|parent| ParentBlock {
                comm: parent.comm.clone(),
                exe: parent.exe.clone(),
                pid: parent.pid,
            })
            .collect(),
        started: process_start_unix_ns(started_ns),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::tags::{Origin, Run, Tag, TagName};

    fn tag(run: Option<Run>) -> Tag {
        Tag {
            id: 1,
            name: TagName::new("agent:sync").unwrap(),
            cgroup: "/system.slice/sync.service".to_owned(),
            cgroup_id: 7,
            origin: Origin::Command,
            by: None,
            run,
        }
    }

    fn process() -> Process {
        Process {
            pid: 123,
            uid: 1000,
            comm: "python3".into(),
            cgroup_id: Some(7),
            exe: Some("/usr/bin/python3".into()),
            started_ns: Some(1),
            cgroup: Some("/system.slice/sync.service".into()),
            unit: Some("sync.service".into()),
            user: Some("alice".into()),
            ..Process::default()
        }
    }

    #[test]
    fn order_of_names() {
        let full = process();
        let no_unit = Process {
            unit: None,
            ..process()
        };
        let no_user = Process {
            unit: None,
            user: None,
            ..process()
        };
        let tagged = Process {
            tag: Some(Arc::new(tag(None))),
            ..process()
        };
        let addr = Some("[::ffff:10.9.0.2]:41884".parse().unwrap());
        let cases = [
            (Some(&tagged), Some("app"), addr, "agent:sync", "tag"),
            (Some(&full), Some("app"), addr, "sync.service", "systemd"),
            (Some(&no_unit), Some("app"), addr, "alice", "os_user"),
            (Some(&no_user), Some("app"), addr, "uid:1000", "os_user"),
            (None, Some("app"), addr, "app", "database_user"),
            (None, None, addr, "10.9.0.2", "unknown"),
            (None, None, None, "unknown", "unknown"),
        ];
        for (client, user, addr, name, source) in cases {
            let identity = identity(client, user, addr);
            assert_eq!((identity.name.as_str(), identity.source), (name, source));
        }
    }

    #[test]
    fn block_of_the_record() {
        let json = serde_json::to_string(&identity(Some(&process()), None, None)).unwrap();
        assert_eq!(
            json,
            r#"{"cgroup":"/system.slice/sync.service","comm":"python3","exe":"/usr/bin/python3","name":"sync.service","pid":123,"source":"systemd","uid":1000}"#
        );
        let run = Run {
            id: "0190a".to_owned(),
            purpose: Some("nightly clean-up".to_owned()),
            labels: [("ticket".to_owned(), "OPS-17".to_owned())].into(),
        };
        let process = Process {
            tag: Some(Arc::new(tag(Some(run)))),
            pid: 5,
            ..Process::default()
        };
        let json = serde_json::to_string(&identity(Some(&process), None, None)).unwrap();
        assert_eq!(
            json,
            r#"{"comm":"","labels":{"ticket":"OPS-17"},"name":"agent:sync","pid":5,"purpose":"nightly clean-up","run":"0190a","source":"tag","uid":0}"#
        );
        let json = serde_json::to_string(&identity(None, Some("app"), None)).unwrap();
        assert_eq!(json, r#"{"name":"app","source":"database_user"}"#);
    }
}
