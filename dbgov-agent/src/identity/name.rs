//! The name a record goes by (DESIGN.md, section 3).

use std::net::SocketAddr;

use super::networks::NamedAddress;
use super::pods::Pod;
use super::{Process, command};
use crate::audit::record::{Identity, ParentBlock, PodBlock, ProcessBlock};
use crate::clock::process_start_unix_ns;

/// What is known of a client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client<'a> {
    /// Absent for one of another host.
    pub process: Option<&'a Process>,
    /// The pod the process runs in.
    pub pod: Option<&'a Pod>,
    /// Where no process is known: what the configuration calls its address.
    pub address_name: Option<&'a NamedAddress>,
    pub database_user: Option<&'a str>,
    pub addr: Option<SocketAddr>,
}

/// The record's identity. The client's process names it, by the tag of its cgroup, else by the service account of its
/// pod, else by its systemd unit, else by its OS user; a remote client is called what the configuration calls its
/// address, else by the database user it logs in as, and until that is known by its address.
pub fn identity(client: &Client<'_>) -> Identity {
    let Some(process) = client.process else {
        let (name, source) = remote(client);
        return Identity {
            name,
            network: client.address_name.map(|named| named.network.to_string()),
            source,
            ..Identity::default()
        };
    };
    let service_account = client.pod.and_then(Pod::user_name);
    let (name, source) = match (&process.tag, service_account, &process.unit, &process.user) {
        (Some(tag), _, _, _) => (tag.name.as_str().to_owned(), "tag"),
        (None, Some(user), _, _) => (user, "service_account"),
        (None, None, Some(unit), _) => (unit.clone(), "systemd"),
        (None, None, None, Some(user)) => (user.clone(), "os_user"),
        (None, None, None, None) => (format!("uid:{}", process.uid), "os_user"),
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
        network: None,
        pid: Some(process.pid),
        pod: client.pod.map(Pod::full_name),
        pod_uid: process.pod_uid.clone(),
        purpose,
        run,
        runtime: runtime(process, client.pod),
        service_account: client.pod.and_then(Pod::full_service_account),
        source,
        uid: Some(process.uid),
        ..Identity::default()
    }
}

/// By the cgroup, else by what the kubelet says of the container.
fn runtime(process: &Process, pod: Option<&Pod>) -> Option<&'static str> {
    let told = || {
        let container = pod?.container(process.container.as_deref(), None)?;
        container.runtime
    };
    process.runtime.or_else(told)
}

fn remote(client: &Client<'_>) -> (String, &'static str) {
    match (client.address_name, client.database_user, client.addr) {
        (Some(named), _, _) => (named.name().to_owned(), "network"),
        (None, Some(user), _) => (user.to_owned(), "database_user"),
        (None, None, Some(addr)) => (addr.ip().to_canonical().to_string(), "unknown"),
        (None, None, None) => ("unknown".to_owned(), "unknown"),
    }
}

/// What stands once in a session: the pod of one of its ends.
pub fn pod_block(pod: &Pod, container: Option<&str>, cgroup: Option<&str>) -> PodBlock {
    PodBlock {
        container_name: pod
            .container(container, cgroup)
            .map(|container| container.name.clone()),
        labels: pod.labels.clone(),
        labels_truncated: pod.labels_truncated,
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        service_account: pod.full_service_account(),
        uid: pod.uid.clone(),
    }
}

/// What stands once in a session: how the process came to be. `None` where nothing is known of that.
pub fn process_block(process: &Process) -> Option<ProcessBlock> {
    let started_ns = process.started_ns?;
    Some(ProcessBlock {
        command: command::redacted(&process.command),
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
    use crate::identity::pods::Container;
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

    fn pod(service_account: Option<&str>) -> Pod {
        Pod {
            uid: "u-1".into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            service_account: service_account.map(str::to_owned),
            ..Pod::default()
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
        let host = NamedAddress {
            network: "office".into(),
            host: Some("etl-1".into()),
        };
        let network = NamedAddress {
            host: None,
            ..host.clone()
        };
        let (web, no_account) = (pod(Some("web")), pod(None));
        let account = "system:serviceaccount:shop:web";
        let all = Client {
            process: Some(&full),
            pod: Some(&web),
            address_name: Some(&host),
            database_user: Some("app"),
            addr: Some("[::ffff:10.9.0.2]:41884".parse().unwrap()),
        };
        let remote = Client {
            process: None,
            pod: None,
            ..all
        };
        let unnamed = Client {
            address_name: None,
            ..remote
        };
        let silent = Client {
            database_user: None,
            ..unnamed
        };
        let process = |process, pod| Client {
            process: Some(process),
            pod,
            ..all
        };
        let cases = [
            (process(&tagged, Some(&web)), "agent:sync", "tag"),
            (all, account, "service_account"),
            (process(&full, Some(&no_account)), "sync.service", "systemd"),
            (process(&full, None), "sync.service", "systemd"),
            (process(&no_unit, None), "alice", "os_user"),
            (process(&no_user, None), "uid:1000", "os_user"),
            (remote, "etl-1", "network"),
            (
                Client {
                    address_name: Some(&network),
                    ..remote
                },
                "office",
                "network",
            ),
            (unnamed, "app", "database_user"),
            (silent, "10.9.0.2", "unknown"),
            (Client::default(), "unknown", "unknown"),
        ];
        for (client, name, source) in cases {
            let identity = identity(&client);
            assert_eq!((identity.name.as_str(), identity.source), (name, source));
            assert_eq!(identity.network.is_some(), source == "network");
        }
    }

    #[test]
    fn block_of_the_record() {
        let full = process();
        let mut client = Client {
            process: Some(&full),
            ..Client::default()
        };
        let json = |client: &Client<'_>| serde_json::to_string(&identity(client)).unwrap();
        assert_eq!(
            json(&client),
            r#"{"cgroup":"/system.slice/sync.service","comm":"python3","exe":"/usr/bin/python3","name":"sync.service","pid":123,"source":"systemd","uid":1000}"#
        );
        let remote = Client {
            database_user: Some("app"),
            ..Client::default()
        };
        assert_eq!(json(&remote), r#"{"name":"app","source":"database_user"}"#);

        let contained = Process {
            pid: 1,
            container: Some("abc".into()),
            pod_uid: Some("u-1".into()),
            ..Process::default()
        };
        let mut web = pod(Some("web"));
        web.containers.push(Container {
            id: "abc".into(),
            name: "app".into(),
            runtime: Some("cri-o"),
        });
        client.process = Some(&contained);
        client.pod = Some(&web);
        assert_eq!(
            json(&client),
            r#"{"comm":"","container":"abc","name":"system:serviceaccount:shop:web","pid":1,"pod":"shop/web-1","pod_uid":"u-1","runtime":"cri-o","service_account":"shop/web","source":"service_account","uid":0}"#
        );
        let block = pod_block(&web, Some("abc"), None);
        assert_eq!(
            serde_json::to_string(&block).unwrap(),
            r#"{"container_name":"app","name":"web-1","namespace":"shop","service_account":"shop/web","uid":"u-1"}"#
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
        client = Client {
            process: Some(&process),
            ..Client::default()
        };
        let json = serde_json::to_string(&identity(&client)).unwrap();
        assert_eq!(
            json,
            r#"{"comm":"","labels":{"ticket":"OPS-17"},"name":"agent:sync","pid":5,"purpose":"nightly clean-up","run":"0190a","source":"tag","uid":0}"#
        );
    }
}
