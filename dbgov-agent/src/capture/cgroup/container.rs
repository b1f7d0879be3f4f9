//! What the path of a cgroup tells of the container and the pod it belongs to. Runtimes and the kubelet choose these
//! names; there is no standard for them, only what they do.

/// Hexadecimal digits in a container id of Docker, containerd, CRI-O and Podman (a SHA-256).
const CONTAINER_ID_DIGITS: usize = 64;

/// Hexadecimal digits of a static pod's uid: the kubelet takes the MD5 of its manifest (`pkg/kubelet/config/file.go`).
const STATIC_POD_UID_DIGITS: usize = 32;

/// Lengths of the groups of a UUID (RFC 9562, section 4), which all other pods have for their uid.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// What stands before the id, and whose habit that is.
const RUNTIME_PREFIXES: [(&str, &str); 7] = [
    // systemd driver: `<prefix><id>.scope`.
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    // containerd told to use the cgroupfs driver below a kubelet that uses systemd's: `….slice:cri-containerd:<id>`.
    (":cri-containerd:", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("libpod-payload-", "podman"),
];

/// The parent of a bare id (cgroupfs driver). Below a pod it may be of any runtime.
const RUNTIME_PARENTS: [(&str, &str); 3] = [
    ("docker", "docker"),
    ("libpod_parent", "podman"),
    // containerd's name space of the kubelet.
    ("k8s.io", "containerd"),
];

/// Services that run containers. A process inside a container is not one of theirs, even where its cgroup is below.
pub(super) const CONTAINER_RUNTIMES: [&str; 7] = [
    "docker.service",
    "containerd.service",
    "crio.service",
    "podman.service",
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
];

/// Groups of root's that the kubelet's may be below: a reader's view from inside a cgroup namespace, `--cgroup-root`
/// as kind has it, systemd's slices, and what is around a node that is a container (kind, k3d).
const ABOVE_KUBEPODS: [&str; 8] = [
    "..",
    "kubelet",
    "kubelet.slice",
    "system.slice",
    "machine.slice",
    "docker",
    "libpod_parent",
    "container",
];

/// The container and the pod of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Id of the container: the innermost where containers are nested.
    pub container: Option<String>,
    /// `docker`, `containerd`, `cri-o`, `podman`. Absent where the path does not tell.
    pub runtime: Option<&'static str>,
    /// As the Kubernetes API writes it: a UUID, or of a static pod 32 digits.
    pub pod_uid: Option<String>,
}

impl Workload {
    pub fn of_path(path: &str) -> Self {
        let found = innermost(path);
        Workload {
            container: found.map(|(id, _)| id.to_owned()),
            runtime: found.and_then(|(_, runtime)| runtime),
            pod_uid: pod_uid(path),
        }
    }

    /// Of the first of these paths that tells anything.
    pub fn of_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = paths.into_iter().map(Workload::of_path);
        all.find(|found| *found != Workload::default())
            .unwrap_or_default()
    }
}

/// The container a cgroup path belongs to: the innermost where containers are nested.
pub fn container_id(path: &str) -> Option<&str> {
    innermost(path).map(|(id, _)| id)
}

fn innermost(path: &str) -> Option<(&str, Option<&'static str>)> {
    let mut components = path.rsplit('/').peekable();
    while let Some(component) = components.next() {
        if let Some((prefix, id)) = split_id(component) {
            let parent = components.peek().copied().unwrap_or_default();
            return Some((id, runtime(prefix, parent)));
        }
    }
    None
}

/// Whether a component of a path is a container's own.
pub(super) fn is_container(component: &str) -> bool {
    split_id(component).is_some()
}

/// What stands before the id, and the id.
fn split_id(component: &str) -> Option<(&str, &str)> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let id = name.rsplit(['-', ':']).next()?;
    let prefix = &name[..name.len() - id.len()];
    let is_id = id.len() == CONTAINER_ID_DIGITS && id.bytes().all(is_hex);
    // conmon watches a container of CRI-O or Podman from outside of it.
    (is_id && !prefix.ends_with("conmon-")).then_some((prefix, id))
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn runtime(prefix: &str, parent: &str) -> Option<&'static str> {
    let known = match prefix {
        "" => RUNTIME_PARENTS.iter().find(|(name, _)| *name == parent),
        _ => RUNTIME_PREFIXES.iter().find(|(name, _)| {
            // A mixture has the slice of the pod before it.
            prefix == *name || name.starts_with(':') && prefix.ends_with(name)
        }),
    };
    known.map(|(_, runtime)| *runtime)
}

/// The pod a cgroup path belongs to: the outermost, and only where the kubelet can have made it. Whoever is given a part
/// of the hierarchy for himself (a user by his service manager, a container) may call the groups in it what he likes,
/// and must not pass for another pod.
pub fn pod_uid(path: &str) -> Option<String> {
    let mut below_kubepods = false;
    for component in path.split('/').filter(|component| !component.is_empty()) {
        // systemd wants the whole path in the name of a slice, and no `-` within a part of it.
        let (slice, is_slice) = match component.split_once(".slice") {
            Some((name, _)) => (name.strip_prefix("kubelet-").unwrap_or(name), true),
            None => (component, false),
        };
        if is_slice
            && slice.starts_with("kubepods")
            && let Some((_, uid)) = slice.rsplit_once("-pod")
        {
            return uid_of(&uid.replace('_', "-"));
        }
        if below_kubepods && let Some(uid) = component.strip_prefix("pod") {
            return uid_of(uid);
        }
        let is_quality_of_service = matches!(
            slice,
            "burstable" | "besteffort" | "kubepods-burstable" | "kubepods-besteffort"
        );
        let goes_on = match below_kubepods {
            true => is_quality_of_service,
            false => {
                below_kubepods = slice == "kubepods";
                below_kubepods || may_be_above_kubepods(component)
            }
        };
        if !goes_on {
            return None;
        }
    }
    None
}

fn may_be_above_kubepods(component: &str) -> bool {
    ABOVE_KUBEPODS.contains(&component)
        || CONTAINER_RUNTIMES.contains(&component)
        || is_container(component)
}

fn uid_of(text: &str) -> Option<String> {
    let is_hash = text.len() == STATIC_POD_UID_DIGITS && text.bytes().all(is_hex);
    let groups = text
        .split('-')
        .map(|group| match group.bytes().all(is_hex) {
            true => group.len(),
            false => 0,
        });
    (is_hash || groups.eq(UUID_GROUPS)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
