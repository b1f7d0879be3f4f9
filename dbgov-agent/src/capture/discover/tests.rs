use super::*;

fn server(pid: u32, started_ns: u64, addr: &str) -> FoundServer {
    FoundServer {
        protocol: Protocol::Postgresql,
        addr: addr.parse().unwrap(),
        dual_stack: false,
        netns_inode: 4_026_531_840,
        netns_cookie: Some(1),
        process: ServerFacts {
            pid,
            started_ns,
            exe: Some("/pg/postgres".into()),
            cgroup: Some("/".into()),
            workload: Workload::default(),
            version: Some("15".into()),
        },
    }
}

#[test]
fn changes_between_scans() {
    let a = server(10, 1, "127.0.0.1:5432");
    let b = server(10, 1, "[::1]:5432");
    let restarted = server(11, 2, "127.0.0.1:5432");
    let same_pid = server(10, 9, "127.0.0.1:5432");
    let cases: &[(&[&FoundServer], &[&FoundServer], usize, usize)] = &[
        (&[], &[&a, &b], 2, 0),
        (&[&a, &b], &[&b, &a], 0, 0),
        (&[&a, &b], &[&b], 0, 1),
        (&[&a], &[&restarted], 1, 1),
        (&[&a], &[&same_pid], 1, 1),
    ];
    for (before, now, appeared, gone) in cases {
        let own = |list: &[&FoundServer]| list.iter().map(|&s| s.clone()).collect::<Vec<_>>();
        let changes = difference(&own(before), &own(now));
        assert_eq!(
            (changes.appeared.len(), changes.gone.len()),
            (*appeared, *gone)
        );
        assert_eq!(changes.is_empty(), appeared + gone == 0);
    }
}

/// The own process, taken for a server, is tied to its own sockets and to no others.
#[test]
fn sockets_are_tied_to_their_process() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".s.PGSQL.1");
    let _unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let pid = std::process::id();
    let process = ServerProcess {
        pid,
        protocol: Protocol::Postgresql,
        comm: String::new(),
        exe: None,
        parent: 1,
        started_ns: 7,
    };
    let ns = NetNs {
        inode: netns::own_inode().unwrap(),
        pid,
    };
    let sockets = sockdiag::tcp_sockets(Query::Listening).unwrap().sockets;
    let mut scan = Scan::default();
    join(ns, Some(5), &[&process], &sockets, &mut scan);
    let found = scan.servers.iter().find(|s| s.addr == addr).unwrap();
    assert_eq!((found.netns_cookie, found.process.started_ns), (Some(5), 7));
    assert!(
        scan.unix_listeners
            .iter()
            .any(|u| u.path == path.to_str().unwrap())
    );

    drop(tcp);
    let mut scan = Scan::default();
    join(ns, None, &[&process], &sockets, &mut scan);
    assert!(scan.servers.iter().all(|s| s.addr != addr));
}
