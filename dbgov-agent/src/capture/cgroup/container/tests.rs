use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "2f4c8a1e-7b3d-4e5f-9a6b-0c1d2e3f4a5b";
const STATIC: &str = "a3f1c2d4e5b60718293a4b5c6d7e8f90";

#[test]
fn container_ids() {
    for path in [
        "/docker/{}",
        "/docker/{}/init",
        "/system.slice/docker-{}.scope",
        "/system.slice/docker-{}.scope/system.slice/nginx.service",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b_3c.slice/cri-containerd-{}.scope",
        "/kubepods.slice/kubepods-pod1a2b.slice/crio-{}.scope",
        "/kubepods.slice/kubepods-pod1a2b.slice/crio-{}.scope/container",
        "/kubepods/besteffort/pod1a2b-3c4d/{}",
        "/machine.slice/libpod-{}.scope/container",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{}.scope",
        "/system.slice/db.service/libpod-payload-{}",
        "/system.slice/containerd.service/kubepods-burstable-pod1a2b.slice:cri-containerd:{}",
        "/docker/ffffffffffffffffffffffffffffffff00000000000000000000000000000000/docker/{}",
    ] {
        let path = path.replace("{}", ID);
        assert_eq!(container_id(&path), Some(ID), "{path}");
    }
    for path in [
        "/",
        "",
        "/system.slice/postgresql@15-main.service",
        "/docker/0123",
        "/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
        "/machine.slice/libpod-conmon-{}.scope",
        "/kubepods.slice/crio-conmon-{}.scope",
        "/docker/{}0",
        "/docker-{}.service",
    ] {
        let path = path.replace("{}", ID);
        assert_eq!(container_id(&path), None, "{path}");
    }
}

/// Paths as runtimes and kubelets make them: `{id}` stands for a container, `{uid}` and `{u_id}` for a pod in the
/// spelling of cgroupfs and of systemd, `{static}` for a static pod.
const PATHS: &[(&str, Option<&str>, Option<&str>, bool)] = &[
    // Docker, both drivers.
    (
        "/system.slice/docker-{id}.scope",
        Some("docker"),
        None,
        true,
    ),
    ("/docker/{id}", Some("docker"), None, true),
    // containerd, systemd driver: guaranteed, burstable, best effort.
    (
        "/kubepods.slice/kubepods-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    // A static pod; one that runs systemd and has groups of its own below.
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{static}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(STATIC),
        true,
    ),
    (
        "/kubepods.slice/kubepods-pod{u_id}.slice/cri-containerd-{id}.scope/system.slice/cron.service",
        Some("containerd"),
        Some(UID),
        true,
    ),
    // Of the pod, outside of its containers.
    (
        "/kubepods.slice/kubepods-pod{u_id}.slice",
        None,
        Some(UID),
        false,
    ),
    ("/kubepods/burstable/pod{uid}", None, Some(UID), false),
    // cgroupfs driver (also k3s): the runtime cannot be told.
    ("/kubepods/pod{uid}/{id}", None, Some(UID), true),
    ("/kubepods/burstable/pod{uid}/{id}", None, Some(UID), true),
    ("/kubepods/besteffort/pod{uid}/{id}", None, Some(UID), true),
    (
        "/kubepods/burstable/pod{static}/{id}",
        None,
        Some(STATIC),
        true,
    ),
    // Drivers mixed up.
    (
        "/system.slice/containerd.service/kubepods-burstable-pod{u_id}.slice:cri-containerd:{id}",
        Some("containerd"),
        Some(UID),
        true,
    ),
    (
        "/system.slice/k3s.service/kubepods-burstable-pod{u_id}.slice:cri-containerd:{id}",
        Some("containerd"),
        Some(UID),
        true,
    ),
    // CRI-O: with the group crun makes inside, and its monitor, which is outside of the container.
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_id}.slice/crio-{id}.scope",
        Some("cri-o"),
        Some(UID),
        true,
    ),
    (
        "/kubepods.slice/kubepods-pod{u_id}.slice/crio-{id}.scope/container",
        Some("cri-o"),
        Some(UID),
        true,
    ),
    (
        "/kubepods/burstable/pod{uid}/crio-{id}",
        Some("cri-o"),
        Some(UID),
        true,
    ),
    (
        "/kubepods.slice/kubepods-pod{u_id}.slice/crio-conmon-{id}.scope",
        None,
        Some(UID),
        false,
    ),
    // Docker below a kubelet (cri-dockerd).
    (
        "/kubepods.slice/kubepods-pod{u_id}.slice/docker-{id}.scope",
        Some("docker"),
        Some(UID),
        true,
    ),
    // kind: the node is a container; systemd and cgroupfs. As a reader inside of the node sees it. k3d.
    (
        "/system.slice/docker-{id}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    (
        "/docker/{id}/kubelet/kubepods/besteffort/pod{uid}/{id}",
        None,
        Some(UID),
        true,
    ),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    (
        "/docker/{id}/kubepods/burstable/pod{uid}/{id}",
        None,
        Some(UID),
        true,
    ),
    (
        "/machine.slice/libpod-{id}.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    // /proc read from a cgroup namespace further down.
    (
        "/../../kubepods-pod{u_id}.slice/cri-containerd-{id}.scope",
        Some("containerd"),
        Some(UID),
        true,
    ),
    // Podman: root's, a user's, a unit's, of a Podman pod.
    (
        "/machine.slice/libpod-{id}.scope/container",
        Some("podman"),
        None,
        true,
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container",
        Some("podman"),
        None,
        true,
    ),
    (
        "/system.slice/db.service/libpod-payload-{id}",
        Some("podman"),
        None,
        true,
    ),
    (
        "/machine.slice/machine-libpod_pod_{id}.slice/libpod-{id}.scope",
        Some("podman"),
        None,
        true,
    ),
    ("/libpod_parent/libpod-{id}", Some("podman"), None, true),
    // nerdctl, systemd driver.
    (
        "/system.slice/nerdctl-{id}.scope",
        Some("containerd"),
        None,
        true,
    ),
    // Amazon ECS.
    (
        "/ecs/0f9de17a6465404e8b1b2356dc13c2f8/{id}",
        None,
        None,
        true,
    ),
    // None of them.
    ("/", None, None, false),
    ("", None, None, false),
    ("/kubepods.slice", None, None, false),
    (
        "/kubepods.slice/kubepods-burstable.slice",
        None,
        None,
        false,
    ),
    ("/kubepods/burstable/podx", None, None, false),
    ("/kubepods/burstable/pod{uid}0/{id}", None, None, true),
    ("/system.slice/podman.service", None, None, false),
    ("/kubepods/burstable/other/pod{uid}", None, None, false),
];

fn filled(path: &str) -> String {
    path.replace("{id}", ID)
        .replace("{uid}", UID)
        .replace("{u_id}", &UID.replace('-', "_"))
        .replace("{static}", STATIC)
}

#[test]
fn runtimes_and_pods() {
    for (path, runtime, pod_uid, has_container) in PATHS {
        let path = filled(path);
        let expected = Workload {
            container: has_container.then(|| ID.to_owned()),
            runtime: *runtime,
            pod_uid: pod_uid.map(str::to_owned),
        };
        assert_eq!(Workload::of_path(&path), expected, "{path}");
    }
}

/// Who may make groups below his own cannot make himself another pod.
#[test]
fn nobody_takes_the_place_of_another_pod() {
    const OTHER: &str = "99999999-7b3d-4e5f-9a6b-0c1d2e3f4a5b";
    for path in [
        "/kubepods/burstable/pod{uid}/{id}/kubepods/burstable/pod99999999-7b3d-4e5f-9a6b-0c1d2e3f4a5b/{id}",
        "/kubepods.slice/kubepods-pod{u_id}.slice/cri-containerd-{id}.scope/kubepods-pod99999999_7b3d_4e5f_9a6b_0c1d2e3f4a5b.slice",
    ] {
        let path = filled(path);
        assert_eq!(pod_uid(&path).as_deref(), Some(UID), "{path}");
    }
    for path in [
        "/user.slice/user-1000.slice/user@1000.service/kubepods/burstable/pod{uid}/{id}",
        "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{u_id}.slice",
        "/system.slice/ci.service/kubepods/burstable/pod{uid}/{id}",
        "/agents/sync/kubepods/burstable/pod{uid}",
    ] {
        let path = filled(path);
        assert_eq!(pod_uid(&path), None, "{path}");
        assert_eq!(pod_uid(&path.replace(UID, OTHER)), None, "{path}");
    }
}

#[test]
fn the_first_path_that_tells() {
    let v1 = filled("/kubepods/burstable/pod{uid}/{id}");
    let found = Workload::of_paths(["/", v1.as_str(), "/docker/x"]);
    assert_eq!(found.pod_uid.as_deref(), Some(UID));
    assert_eq!(Workload::of_paths(["/"]), Workload::default());
}
