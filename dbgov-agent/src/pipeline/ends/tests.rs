use std::path::Path;

use dbgov_common::gate::{CLASS_PASS, CLASS_TRIGGER};

use super::*;
use crate::capture::cgroup::Workload;
use crate::capture::discover::Protocol;
use crate::capture::event::{Captured, Ends};
use crate::clock::Clock;
use crate::identity::Process;
use crate::identity::networks::Network;
use crate::identity::pods::Pod;
use crate::judge::Rulebook;
use crate::pipeline::{Command, GateCommand, Governed};
use crate::policy::Policy;
use crate::protocol::postgres::Limits;

const COOKIE: u64 = 7;
const CLIENT_COOKIE: u64 = 8;
/// Protocol 3.0, user `app` (PostgreSQL documentation, "StartupMessage").
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";

fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new(Limits::default(), Clock::boot(), true);
    pipeline.govern(Governed {
        ports: HashSet::from([5432]),
        found: Default::default(),
    });
    pipeline.set_networks(Arc::new(Networks::new(vec![Network {
        name: "office".into(),
        blocks: vec!["10.0.0.0/8".parse().unwrap()],
        hosts: HashMap::new(),
    }])));
    pipeline
}

fn ends(client: [u8; 4]) -> Ends {
    Ends {
        local: ([10, 1, 0, 1], 5432).into(),
        remote: (client, 40_000).into(),
    }
}

fn open(pipeline: &mut Pipeline, client: [u8; 4]) {
    pipeline.captured(Captured::Open {
        cookie: COOKIE,
        at: 2,
        ends: ends(client),
        netns_cookie: Some(1),
        request_seq: 100,
        response_seq: 500,
    });
}

fn start_up(pipeline: &mut Pipeline) {
    pipeline.captured(Captured::Request {
        cookie: COOKIE,
        at: 3,
        seq: 100,
        ack: 500,
        lost_bytes: 0,
        held: None,
        shared: false,
        payload: STARTUP,
    });
}

/// What the client's own side of the connection tells.
fn client_established(pipeline: &mut Pipeline, client: [u8; 4]) {
    let ends = ends(client);
    pipeline.captured(Captured::Client {
        cookie: CLIENT_COOKIE,
        at: 2,
        ends: Ends {
            local: ends.remote,
            remote: ends.local,
        },
        connect: None,
    });
}

fn evidence(pipeline: &Pipeline) -> Option<String> {
    pipeline.connections[&COOKIE].session.evidence()
}

fn name(pipeline: &Pipeline) -> String {
    pipeline.connections[&COOKIE].session.requester()
}

const CLIENT: [u8; 4] = [10, 9, 9, 9];

#[test]
fn a_remote_client_goes_by_its_network() {
    let mut pipeline = pipeline();
    open(&mut pipeline, CLIENT);
    assert_eq!(name(&pipeline), "office");
    assert_eq!(evidence(&pipeline).as_deref(), Some("office"));
    open(&mut pipeline, [192, 0, 2, 1]);
    start_up(&mut pipeline);
    assert_eq!(name(&pipeline), "app");
    assert_eq!(
        evidence(&pipeline).as_deref(),
        Some(""),
        "nobody vouches for it"
    );
}

/// Whichever way it shows that the client is on this host: its process was missed, and could be anybody's.
#[test]
fn a_client_of_this_host_never_goes_by_a_network() {
    type Step = fn(&mut Pipeline);
    let listed: Step = |pipeline| {
        pipeline.set_local_addresses(HashSet::from([CLIENT.into()]));
        open(pipeline, CLIENT);
    };
    let seen_before: Step = |pipeline| {
        client_established(pipeline, CLIENT);
        open(pipeline, CLIENT);
    };
    let seen_behind: Step = |pipeline| {
        open(pipeline, CLIENT);
        client_established(pipeline, CLIENT);
    };
    let servers_own: Step = |pipeline| open(pipeline, [10, 1, 0, 1]);
    let loopback: Step = |pipeline| open(pipeline, [127, 0, 0, 1]);
    for (way, step) in [
        ("listed", listed),
        ("seen before", seen_before),
        ("seen behind", seen_behind),
        ("the server's own", servers_own),
        ("loopback", loopback),
    ] {
        let mut pipeline = pipeline();
        step(&mut pipeline);
        start_up(&mut pipeline);
        assert_eq!(name(&pipeline), "app", "{way}");
        assert_eq!(evidence(&pipeline), None, "{way}");
    }
}

fn in_pod() -> Arc<Process> {
    Arc::new(Process {
        pid: 10,
        uid: 1000,
        comm: "psql".into(),
        pod_uid: Some("u-1".into()),
        ..Process::default()
    })
}

fn pod(service_account: &str) -> Pod {
    Pod {
        uid: "u-1".into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        service_account: Some(service_account.into()),
        ..Pod::default()
    }
}

#[test]
fn a_process_joins_and_the_network_is_forgotten() {
    let mut pipeline = pipeline();
    open(&mut pipeline, CLIENT);
    pipeline.connecting(CLIENT_COOKIE, in_pod(), 1);
    client_established(&mut pipeline, CLIENT);
    assert_eq!(name(&pipeline), "uid:1000");
    assert_eq!(evidence(&pipeline).as_deref(), Some("uid:1000"));
}

const POLICY: &str = r#"
default = "allow"
[[rule]]
name = "web-drops-nothing"
action = "reset"
verbs = ["drop"]
identities = ["system:serviceaccount:shop:web"]
"#;

/// The class the kernel was told last.
fn class(pipeline: &mut Pipeline) -> Option<u8> {
    let commands = pipeline.take_commands();
    commands.iter().rev().find_map(|command| match command {
        Command::Gate(GateCommand::Control { control, .. }) => Some(control.class),
        _ => None,
    })
}

#[test]
fn the_class_is_relaxed_only_when_the_pod_is_known() {
    for (account, expected) in [("reports", Some(CLASS_PASS)), ("web", None)] {
        let mut pipeline = pipeline();
        let pods = Arc::new(Pods::default());
        pipeline.set_pods(Arc::clone(&pods));
        pipeline.enforce();
        let policy = Policy::parse(POLICY, Path::new("p")).unwrap();
        pipeline.set_rulebook(Rulebook {
            policy,
            generation: 1,
        });
        pipeline.connecting(CLIENT_COOKIE, in_pod(), 1);
        client_established(&mut pipeline, CLIENT);
        open(&mut pipeline, CLIENT);
        assert_eq!(class(&mut pipeline), None, "as new connections are: strict");
        start_up(&mut pipeline);
        assert_eq!(evidence(&pipeline), None);
        assert_eq!(
            class(&mut pipeline),
            Some(CLASS_TRIGGER),
            "it may be anybody"
        );
        pods.put(pod(account));
        pipeline.pods_changed();
        assert_eq!(class(&mut pipeline), expected, "{account}");
        let user = format!("system:serviceaccount:shop:{account}");
        assert_eq!(evidence(&pipeline), Some(user));
    }
}

fn server(pid: u32, netns_cookie: Option<u64>, addr: [u8; 4]) -> FoundServer {
    FoundServer {
        protocol: Protocol::Postgresql,
        addr: (addr, 5432).into(),
        dual_stack: false,
        netns_inode: 1,
        netns_cookie,
        process: ServerFacts {
            pid,
            started_ns: 0,
            exe: None,
            cgroup: None,
            workload: Workload {
                pod_uid: Some("u-1".into()),
                ..Workload::default()
            },
            version: None,
        },
    }
}

#[test]
fn the_server_is_found_by_its_namespace_and_address() {
    let cases: &[(&[FoundServer], Option<u32>)] = &[
        (&[], None),
        (&[server(1, Some(1), [0, 0, 0, 0])], Some(1)),
        (&[server(1, Some(2), [0, 0, 0, 0])], None),
        (&[server(1, Some(1), [10, 1, 0, 1])], Some(1)),
        (&[server(1, Some(1), [127, 0, 0, 1])], None),
        (
            &[server(1, Some(2), [0; 4]), server(2, Some(1), [0; 4])],
            Some(2),
        ),
        // Where the kernel does not tell the namespace, two are as good as none.
        (&[server(1, None, [0; 4]), server(2, None, [0; 4])], None),
        (&[server(1, None, [0; 4])], Some(1)),
    ];
    for (servers, expected) in cases {
        for known_before in [true, false] {
            let mut pipeline = pipeline();
            pipeline.set_pods(Arc::new(Pods::default()));
            if known_before {
                pipeline.know_servers(servers);
            }
            open(&mut pipeline, CLIENT);
            if !known_before {
                pipeline.know_servers(servers);
            }
            let session = &pipeline.connections[&COOKIE].session;
            assert_eq!(
                session.server().map(|server| server.pid),
                *expected,
                "{servers:?}"
            );
        }
    }
}
