//! The manifests of Kubernetes: they are what its API takes, and what the agent needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dbgov_agent::config::{Config, DEFAULT_PATH, PolicyMode};
use dbgov_tests::deploy::{self, Unit};
use dbgov_tests::manifests::{build, directory, object, objects, validate};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{agent, workspace};
use serde_json::{Value, json};

/// Versions of Kubernetes that are supported, and some before.
const VERSIONS: [&str; 5] = ["1.33", "1.34", "1.35", "1.36", "1.37"];
const BUILT: [&str; 3] = ["base", "overlays/observe", "overlays/enforce"];

/// The overlay enforce with the component, as a user would write it.
fn with_capabilities(scratch: &Scratch) -> PathBuf {
    let dir = scratch.path().join("own");
    fs::create_dir(&dir).unwrap();
    // kustomize takes relative paths only.
    let up = "../".repeat(dir.components().count() - 1);
    let place = |name| {
        format!(
            "{up}{}",
            directory(name).strip_prefix("/").unwrap().display()
        )
    };
    let text = format!(
        "resources: [{}]\ncomponents: [{}]\n",
        place("overlays/enforce"),
        place("components/capabilities")
    );
    fs::write(dir.join("kustomization.yaml"), text).unwrap();
    dir
}

/// Everything a user may apply, as YAML.
fn all(scratch: &Scratch) -> Vec<String> {
    let mut dirs: Vec<PathBuf> = BUILT.iter().map(|name| directory(name)).collect();
    dirs.push(with_capabilities(scratch));
    dirs.iter().map(|dir| build(dir).unwrap()).collect()
}

fn pod(objects: &[Value]) -> &Value {
    &object(objects, "DaemonSet").unwrap()["spec"]["template"]["spec"]
}

fn strings(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect()
}

#[test]
fn they_are_what_the_api_takes() {
    let scratch = Scratch::new("manifests").unwrap();
    let file = scratch.path().join("all.yaml");
    for yaml in all(&scratch) {
        fs::write(&file, &yaml).unwrap();
        let kinds = objects(&yaml).unwrap().len();
        for version in VERSIONS {
            let said = validate(&file, version).unwrap();
            assert_eq!(
                said.matches(" passed for resource ").count(),
                kinds,
                "{said}"
            );
        }
    }
}

/// The validator can say no.
#[test]
fn what_the_api_would_not_take_is_found() {
    let scratch = Scratch::new("manifests").unwrap();
    let file = scratch.path().join("wrong.yaml");
    let right = build(&directory("base")).unwrap();
    for (from, to) in [
        ("hostPID: true", "hostPid: true"),
        ("hostPID: true", "hostPID: \"yes\""),
        (
            "mountPropagation: Bidirectional",
            "propagation: Bidirectional",
        ),
        ("maxUnavailable: 1", "maxUnavailable: [1]"),
        ("kind: ClusterRole\n", "kind: ClusterRule\n"),
    ] {
        assert!(right.contains(from), "{from}");
        fs::write(&file, right.replacen(from, to, 1)).unwrap();
        for version in VERSIONS {
            assert!(validate(&file, version).is_err(), "{to} passes {version}");
        }
    }
}

#[test]
fn the_agent_may_read_pods_and_nothing_else() {
    for name in BUILT {
        let objects = objects(&build(&directory(name)).unwrap()).unwrap();
        let role = object(&objects, "ClusterRole").unwrap();
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]);
        assert_eq!(role["rules"], rules);
        let binding = object(&objects, "ClusterRoleBinding").unwrap();
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        let account = object(&objects, "ServiceAccount").unwrap();
        let subject = json!([{
            "kind": "ServiceAccount",
            "name": account["metadata"]["name"],
            "namespace": account["metadata"]["namespace"],
        }]);
        assert_eq!(binding["subjects"], subject);
        assert_eq!(
            pod(&objects)["serviceAccountName"],
            account["metadata"]["name"]
        );
        let kinds = objects
            .iter()
            .filter(|object| object["kind"].as_str().unwrap().contains("Role"));
        assert_eq!(kinds.count(), 2, "a role and its binding");
    }
}

/// Nothing of the host is mounted that the agent does not use, and everything it uses is.
#[test]
fn the_mounts_are_what_the_agent_uses() {
    let defaults = Config::default();
    let parent = |path: &Path| path.parent().unwrap().to_str().unwrap().to_string();
    let used: BTreeSet<String> = [
        parent(Path::new(DEFAULT_PATH)),
        parent(&defaults.audit.dir),
        parent(&defaults.agent.control_socket),
        parent(&defaults.agent.bpffs),
        "/sys/fs/cgroup".to_string(),
        // getpwuid(3), getgrnam(3).
        "/etc/passwd".to_string(),
        "/etc/group".to_string(),
    ]
    .into();
    for yaml in all(&Scratch::new("manifests").unwrap()) {
        let objects = objects(&yaml).unwrap();
        let container = &pod(&objects)["containers"][0];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let at = |mount: &Value| mount["mountPath"].as_str().unwrap().to_string();
        assert_eq!(mounts.iter().map(at).collect::<BTreeSet<_>>(), used);
        for volume in pod(&objects)["volumes"].as_array().unwrap() {
            let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]);
            let mount = mount.unwrap_or_else(|| panic!("{volume} is not mounted"));
            // What is the host's is where it is on the host.
            let path = &volume["hostPath"]["path"];
            assert!(path.is_null() || *path == mount["mountPath"], "{volume}");
        }
    }
}

#[test]
fn the_configuration_is_what_the_agent_takes() {
    let binary = agent::binary().unwrap();
    for (name, mode) in [
        ("base", None),
        ("overlays/observe", Some(PolicyMode::Observe)),
        ("overlays/enforce", Some(PolicyMode::Enforce)),
    ] {
        let scratch = Scratch::new("manifests").unwrap();
        let objects = objects(&build(&directory(name)).unwrap()).unwrap();
        let sources = pod(&objects)["volumes"][0]["projected"]["sources"]
            .as_array()
            .unwrap();
        for source in sources {
            let name = &source["configMap"]["name"];
            let map = objects
                .iter()
                .find(|o| o["kind"] == "ConfigMap" && o["metadata"]["name"] == *name);
            for (file, text) in map.unwrap()["data"].as_object().unwrap() {
                fs::write(scratch.path().join(file), text.as_str().unwrap()).unwrap();
            }
        }
        let file = scratch.path().join("dbgov.toml");
        let (config, _) = Config::load(Some(&file)).unwrap();
        assert_eq!(config.policy.as_ref().map(|policy| policy.mode), mode);
        let policy = scratch.path().join("policy.toml");
        if let Some(named) = &config.policy {
            assert_eq!(named.file, policy);
        }
        let run = |args: &[&str]| {
            let output = Command::new(&binary)
                .args(args)
                .arg("--config")
                .arg(&file)
                .output();
            let output = output.unwrap();
            assert!(
                output.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run(&["gate", "status"]);
        run(&["policy", "check", policy.to_str().unwrap()]);
    }
}

/// One policy in two places, since kustomize takes no file from outside its directory.
#[test]
fn the_policy_is_the_ready_made_one() {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    assert_eq!(
        read(directory("base/policy.toml")),
        read(workspace().join("deploy/policies/ai-agent-guardrails.toml"))
    );
}

#[test]
fn privileged_or_exactly_the_capabilities_of_the_service() {
    let scratch = Scratch::new("manifests").unwrap();
    let built = all(&scratch);
    let (own, privileged) = built.split_last().unwrap();
    let context =
        |yaml: &str| pod(&objects(yaml).unwrap())["containers"][0]["securityContext"].clone();
    for yaml in privileged {
        assert_eq!(context(yaml)["privileged"], true);
        assert_eq!(context(yaml)["capabilities"], Value::Null);
    }
    let own = context(own);
    assert_eq!(own["privileged"], Value::Null);
    assert_eq!(own["capabilities"]["drop"], json!(["ALL"]));
    let added = strings(&own["capabilities"]["add"]);
    let unit = Unit::read(&workspace().join(deploy::UNIT)).unwrap();
    let service = unit.words("CapabilityBoundingSet");
    let plain = |names: &[String]| -> BTreeSet<String> {
        names
            .iter()
            .map(|name| deploy::setpriv_name(name))
            .collect()
    };
    assert_eq!(plain(&added), plain(&service));
    for context in built.iter().map(|yaml| context(yaml)) {
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

#[test]
fn an_agent_is_replaced_without_a_second_beside_it() {
    for name in BUILT {
        let objects = objects(&build(&directory(name)).unwrap()).unwrap();
        let spec = &object(&objects, "DaemonSet").unwrap()["spec"];
        let rolling =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
        assert_eq!(spec["updateStrategy"], rolling);
        let pod = pod(&objects);
        assert_eq!(pod["hostPID"], true);
        assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        let container = &pod["containers"][0];
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            assert_eq!(
                container[probe]["exec"]["command"],
                json!(["/usr/bin/dbgov", "status"])
            );
        }
        assert_eq!(container["env"][0]["name"], "NODE_NAME");
        assert!(
            container["image"].as_str().unwrap().contains("dbgov:"),
            "a tag"
        );
    }
}
