use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const INNER: &str = "ffffffffffffffffffffffffffffffff00000000000000000000000000000000";

#[test]
fn workload_units() {
    let cases: &[(&str, Option<&str>)] = &[
        ("/system.slice/nginx.service", Some("nginx.service")),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            Some("postgresql@15-main.service"),
        ),
        ("/system.slice/app.service/worker", Some("app.service")),
        ("/system.slice/backup.scope", Some("backup.scope")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service",
            Some("sync.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope",
            None,
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            None,
        ),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/init.scope", None),
        ("/", None),
        ("/agents/sync", None),
        ("/system.slice/docker-{}.scope", None),
        (
            "/system.slice/docker-{}.scope/system.slice/cron.service",
            Some("cron.service"),
        ),
        ("/system.slice/docker.service/docker/{}", None),
        ("/system.slice/docker.service", Some("docker.service")),
        (
            "/system.slice/db.service/libpod-payload-{}",
            Some("db.service"),
        ),
        (
            "/kubepods.slice/kubepods-pod1.slice/cri-containerd-{}.scope",
            None,
        ),
        ("/machine.slice/libpod-conmon-{}.scope", None),
    ];
    for (path, unit) in cases {
        let path = path.replace("{}", ID);
        assert_eq!(workload_unit(&path), *unit, "{path}");
    }
}

#[test]
fn mountinfo_lines() {
    let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/unified rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw
garbage
41 31 0:38 / /mnt/with\\040blank\\134and\\011tab\\x rw - ext4 /dev/a rw";
    let mounts = parse_mountinfo(hybrid);
    assert_eq!(mounts.len(), 4);
    assert_eq!(
        cgroup2_mount(&mounts).unwrap().mount_point,
        Path::new("/sys/fs/cgroup/unified")
    );
    assert_eq!(
        mounts[3].mount_point,
        Path::new("/mnt/with blank\\and\ttab\\x")
    );

    let partial = "\
30 23 0:26 /kubepods/x /sys/fs/cgroup ro - cgroup2 cgroup ro
31 23 0:26 / /host/cgroup rw - cgroup2 cgroup rw";
    let mounts = parse_mountinfo(partial);
    assert_eq!(
        cgroup2_mount(&mounts).unwrap().mount_point,
        Path::new("/host/cgroup")
    );
    assert_eq!(
        cgroup2_mount(&mounts[..1]).unwrap().root,
        Path::new("/kubepods/x")
    );
    assert_eq!(
        cgroup2_mount(&parse_mountinfo("1 2 0:1 / /proc rw - proc proc rw")),
        None
    );
}

#[test]
fn process_cgroup_files() {
    let text = format!("9:name=systemd:/docker/{ID}\n4:cpu,cpuacct:/a:b\nx\n0::/\n");
    let cgroups = parse_process_cgroups(&text);
    assert_eq!(cgroups.v2.as_deref(), Some("/"));
    assert_eq!(cgroups.v1, [format!("/docker/{ID}"), "/a:b".into()]);
    assert_eq!(cgroups.workload().container.as_deref(), Some(ID));
    let both = parse_process_cgroups(&format!("0::/docker/{INNER}\n1:cpu:/docker/{ID}\n"));
    assert_eq!(both.workload().container.as_deref(), Some(INNER));
    assert_eq!(parse_process_cgroups(""), ProcessCgroups::default());
}

/// The id and the path of a cgroup lead to each other: of this process's own, and of one below the root, if any.
#[test]
fn cgroups_by_id() {
    let Some(fs) = CgroupFs::open().unwrap() else {
        return;
    };
    let own = of_process(std::process::id()).unwrap().v2;
    let below = std::fs::read_dir(fs.mount_point())
        .unwrap()
        .flatten()
        .find(|entry| entry.path().is_dir())
        .map(|entry| format!("/{}", entry.file_name().to_string_lossy()));
    for path in own.into_iter().chain(below) {
        let Ok(id) = fs.id(&path) else {
            continue; // Outside of this mount's root.
        };
        match fs.path(id) {
            Ok(found) => assert_eq!(found, path),
            Err(e) => assert!(!nix::unistd::geteuid().is_root(), "{e}"),
        }
    }
    assert!(fs.path(u64::MAX).is_err());
}
