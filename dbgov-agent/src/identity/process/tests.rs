use std::process::{Command, Stdio};

use super::*;

fn resolver() -> Resolver {
    Resolver::new(true).unwrap()
}

fn own_cgroup_id() -> u64 {
    let path = cgroup::of_process(std::process::id()).unwrap().v2;
    let fs = CgroupFs::open().unwrap();
    fs.zip(path)
        .and_then(|(fs, path)| fs.id(&path).ok())
        .unwrap_or(0)
}

fn task(pid: u32, at: TimeNs) -> Task<'static> {
    Task {
        pid,
        uid: nix::unistd::getuid().as_raw(),
        comm: "tester",
        cgroup_id: own_cgroup_id(),
        at,
        facts: None,
    }
}

#[test]
fn this_process() {
    let pid = std::process::id();
    let mut resolver = resolver();
    if !resolver.proc_is_the_hosts {
        return;
    }
    let process = resolver.resolve(&task(pid, u64::MAX));
    let exe = std::env::current_exe().unwrap();
    assert_eq!(process.exe.as_deref(), exe.to_str());
    assert_eq!((process.pid, process.comm.as_str()), (pid, "tester"));
    assert_eq!(
        process.started_ns,
        Some(proc::stat(pid).unwrap().started_ns)
    );
    assert_eq!(process.cgroup, cgroup::of_process(pid).unwrap().v2);
    let arguments: Vec<_> = std::env::args().collect();
    assert_eq!(process.command, arguments);
    assert_eq!(process.parents[0].pid, proc::stat(pid).unwrap().parent);
    resolver.command_lines = false;
    resolver.processes.clear();
    assert!(resolver.resolve(&task(pid, u64::MAX)).command.is_empty());
    let process = resolver.resolve(&task(pid, u64::MAX));
    let again = resolver.resolve(&task(pid, u64::MAX));
    assert!(Arc::ptr_eq(&process, &again), "shared by its connections");
    let renamed = Task {
        comm: "other",
        ..task(pid, u64::MAX)
    };
    assert_eq!(resolver.resolve(&renamed).comm, "other");

    let by_pid = resolver.by_pid(pid, u64::MAX).unwrap();
    assert_eq!(
        (by_pid.exe.as_ref(), by_pid.uid),
        (process.exe.as_ref(), process.uid)
    );
    assert_eq!(by_pid.cgroup, process.cgroup);
}

#[test]
fn a_process_that_ended_keeps_what_the_kernel_gave() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let mut resolver = resolver();
    let process = resolver.resolve(&task(pid, u64::MAX));
    assert_eq!(
        (process.pid, process.exe.as_ref(), process.started_ns),
        (pid, None, None)
    );
    assert_eq!(process.comm, "tester");
    assert_eq!(process.cgroup_id, Some(own_cgroup_id()));
    if nix::unistd::geteuid().is_root() && resolver.cgroups.is_some() {
        assert!(process.cgroup.is_some(), "found by the cgroup's id");
    }
    assert_eq!(resolver.by_pid(pid, 0), None);
    assert!(resolver.processes.is_empty());
}

#[test]
fn a_number_given_away_since_is_not_the_client() {
    let pid = std::process::id();
    let before_it_started = proc::stat(pid).unwrap().started_ns - 1;
    let process = resolver().resolve(&task(pid, before_it_started));
    assert_eq!(process.exe, None);
}

#[test]
fn an_exec_is_noticed() {
    let mut resolver = resolver();
    if !resolver.proc_is_the_hosts {
        return;
    }
    let mut child = Command::new("sh")
        .args(["-c", "read line; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let shell = resolver.resolve(&task(child.id(), u64::MAX));
    // cat answers, so the exec is over.
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    std::io::Write::write_all(&mut input, b"go\n").unwrap();
    std::io::Write::write_all(&mut input, b"x").unwrap();
    std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
    let cat = resolver.resolve(&task(child.id(), u64::MAX));
    drop(input);
    child.wait().unwrap();
    assert_eq!(shell.started_ns, cat.started_ns);
    assert_ne!(shell.exe, cat.exe);
    assert!(cat.exe.as_ref().unwrap().ends_with("cat"));
}

#[test]
fn units_and_containers_of_paths() {
    let id = "0123456789abcdef".repeat(4);
    let mut resolver = resolver();
    resolver.hybrid = true;
    let nobody = ProcessCgroups::default();
    let of = |resolver: &mut Resolver, path: &str, cgroups: &ProcessCgroups| {
        let task = Task {
            uid: 65_000,
            ..task(1, 0)
        };
        resolver.process(&task, None, Some(path.into()), cgroups)
    };
    let service = of(&mut resolver, "/system.slice/app.service", &nobody);
    assert_eq!(
        (service.unit.as_deref(), service.container),
        (Some("app.service"), None)
    );
    let container = of(&mut resolver, &format!("/docker/{id}"), &nobody);
    assert_eq!(
        (container.unit, container.container),
        (None, Some(id.clone()))
    );
    let v1 = ProcessCgroups {
        v2: Some("/".into()),
        v1: vec![format!("/docker/{id}")],
    };
    assert_eq!(of(&mut resolver, "/", &v1).container, Some(id));
}

#[test]
fn users_of_containers_are_not_the_hosts() {
    let mut resolver = resolver();
    let path = format!("/docker/{}", "0123456789abcdef".repeat(4));
    let none = ProcessCgroups::default();
    // Uid 1 is "daemon" or "bin" on the host, and somebody else in a container.
    let host_name = resolver.users.name(1, 0).unwrap();
    for (uid, path, user) in [
        (1, path.as_str(), None),
        (0, path.as_str(), Some("root")),
        (1, "/", Some(host_name.as_str())),
    ] {
        let task = Task { uid, ..task(1, 0) };
        let process = resolver.process(&task, None, Some(path.into()), &none);
        assert_eq!(process.user.as_deref(), user, "uid {uid} in {path}");
    }
}
