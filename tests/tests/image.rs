//! The image. There is no container engine here, so its content is made by the script that the Dockerfile runs, and run
//! in the confines the manifests give it: root read only, these mounts, these capabilities, cgroups of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::deploy::{checker, setpriv_name};
use dbgov_tests::drivers;
use dbgov_tests::manifests::{build, directory, object, objects};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::process::{self, Place};
use dbgov_tests::scratch::{Scratch, unique};
use dbgov_tests::{agent, wait_for, workspace};
use nix::sys::signal::Signal;
use serde_json::Value;

const DOCKERFILE: &str = "deploy/docker/Dockerfile";
const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &str = r#"
on_agent_down = "closed"
[[rule]]
name = "no-drop"
action = "reset"
verbs = ["drop"]
reason = "not here"
"#;
const PINS: &str = "/sys/fs/bpf/dbgov";

/// What a container runtime does before it starts the program: `$1` is the root, then `source=place` for each mount, a
/// lone `--`, and the program.
const RUNTIME: &str = r#"
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
for device in null urandom; do mount --bind /dev/$device "$root/dev/$device"; done
while [ "$1" != -- ]; do mount --rbind "${1%%=*}" "$root${1#*=}"; shift; done
shift
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"#;

/// A directory in the cgroup v2 hierarchy; its processes are moved to the root when it goes.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Result<Cgroup> {
        let mounts = dbgov_agent::capture::cgroup::mounts()?;
        let mount = dbgov_agent::capture::cgroup::cgroup2_mount(&mounts).context("no cgroup v2")?;
        let dir = mount.mount_point.join(unique("dbgov-test-"));
        fs::create_dir(&dir)?;
        Ok(Cgroup(dir))
    }

    fn path(&self) -> String {
        format!("/{}", self.0.file_name().unwrap_or_default().display())
    }

    /// A shell that enters it and becomes the program.
    fn command(&self, place: &Place, program: &str) -> Command {
        let mut shell = place.command("sh");
        let script = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;
        shell.args(["-euc", script]).arg(&self.0).arg(program);
        shell
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets go of an ended process a moment later.
        let _ = wait_for("the cgroup is empty", Duration::from_secs(5), || {
            Ok(fs::remove_dir(&self.0).ok())
        });
    }
}

/// The agent in its container; ended on drop, its gate taken away.
struct Container {
    scratch: Scratch,
    _cgroup: Cgroup,
    child: Child,
}

impl Container {
    /// As the pod of the DaemonSet says.
    fn start(pod: &Value, config: &str) -> Result<Container> {
        ensure!(
            !Path::new(PINS).exists(),
            "{PINS} is there: an agent of this host's own?"
        );
        let scratch = Scratch::new("image")?;
        let root = scratch.path().join("root");
        let script = workspace().join("deploy/docker/root.sh");
        let made = Command::new(script)
            .arg(agent::binary()?)
            .arg(&root)
            .output()?;
        ensure!(
            made.status.success(),
            "root.sh: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        for dir in ["proc", "sys", "dev"] {
            fs::create_dir(root.join(dir))?;
        }
        for device in ["null", "urandom"] {
            fs::write(root.join("dev").join(device), "")?;
        }
        add_setpriv(&root)?;
        let configuration = scratch.path().join("config");
        fs::create_dir(&configuration)?;
        fs::write(configuration.join("dbgov.toml"), config)?;
        fs::write(configuration.join("policy.toml"), POLICY)?;

        let cgroup = Cgroup::new()?;
        let container = &pod["containers"][0];
        let mut command = cgroup.command(&Place::default(), "unshare");
        command
            .args([
                "--cgroup",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-euc",
                RUNTIME,
                "runtime",
            ])
            .arg(&root)
            .args(mounts(pod, &scratch, &root)?)
            .arg("--")
            .args(confinement(&container["securityContext"]))
            .args(strings(&container["command"]))
            .args(strings(&container["args"]))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(scratch.path().join("log"))?);
        let child = process::spawn(command)?;
        let mut started = Container {
            scratch,
            _cgroup: cgroup,
            child,
        };
        let probe = strings(&container["startupProbe"]["exec"]["command"]);
        wait_for("the startup probe", PATIENCE, || {
            let ended = started.child.try_wait()?;
            ensure!(
                ended.is_none(),
                "the container ended: {ended:?} {}",
                started.log()
            );
            Ok(started.exec(&probe)?.status.success().then_some(()))
        })?;
        Ok(started)
    }

    /// As `kubectl exec` does.
    fn exec(&self, words: &[String]) -> Result<Output> {
        let pid = self.child.id().to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid, "--mount", "--cgroup", "--root"])
            .args(words);
        Ok(command.output()?)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    fn stop(&mut self) -> Result<Vec<Value>> {
        let status = process::stop(&mut self.child, &[(Signal::SIGTERM, PATIENCE)])?;
        ensure!(status.success(), "{status}: {}", self.log());
        agent::read_journal(&self.scratch.path().join("audit/audit"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.child, &[(Signal::SIGTERM, PATIENCE)]);
        if let Ok(dbgov) = agent::binary() {
            let _ = Command::new(dbgov).args(["gate", "off"]).output();
        }
    }
}

/// setpriv, which stands for the runtime's setting of capabilities, and its libraries.
fn add_setpriv(root: &Path) -> Result<()> {
    let listing = Command::new("ldd").arg("/usr/bin/setpriv").output()?;
    let listing = String::from_utf8(listing.stdout)?;
    let libraries = listing
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in libraries.chain(["/usr/bin/setpriv"]) {
        let copy = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().context("no directory")?)?;
        fs::copy(file, copy)?;
    }
    Ok(())
}

/// `source=place` for each mount; what the agent would leave on the host is in the scratch directory.
fn mounts(pod: &Value, scratch: &Scratch, root: &Path) -> Result<Vec<String>> {
    let mut mounts = Vec::new();
    for mount in pod["containers"][0]["volumeMounts"]
        .as_array()
        .context("no mounts")?
    {
        let name = mount["name"].as_str().context("no name")?;
        let place = mount["mountPath"].as_str().context("no path")?;
        let source = match name {
            "config" | "audit" | "run" => scratch.path().join(name),
            _ => PathBuf::from(place),
        };
        let there = root.join(place.trim_start_matches('/'));
        if !source.is_file() {
            fs::create_dir_all(&source)?;
            // Below /sys there are the kernel's own.
            if !place.starts_with("/sys") {
                fs::create_dir_all(&there)?;
            }
        }
        mounts.push(format!("{}={place}", source.display()));
    }
    Ok(mounts)
}

/// setpriv and its arguments for a security context.
fn confinement(context: &Value) -> Vec<String> {
    let mut words = vec!["/usr/bin/setpriv".to_string()];
    if context["privileged"] != true {
        let added = strings(&context["capabilities"]["add"]);
        let added: String = added
            .iter()
            .map(|name| format!(",+{}", setpriv_name(name)))
            .collect();
        words.extend(["--bounding-set".to_string(), format!("-all{added}")]);
    }
    if context["allowPrivilegeEscalation"] == false {
        words.push("--no-new-privs".to_string());
    }
    words.push("--".to_string());
    words
}

fn strings(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect()
}

/// The pod and the configuration of the overlay enforce; with the component where it is asked for.
fn enforcing(scratch: &Scratch, component: bool) -> Result<(Value, String)> {
    let up = "..".to_string() + &"/..".repeat(scratch.path().components().count() - 2);
    let place = |name| format!("{up}{}", directory(name).display());
    let components = match component {
        true => format!("components: [{}]\n", place("components/capabilities")),
        false => String::new(),
    };
    let text = format!("resources: [{}]\n{components}", place("overlays/enforce"));
    fs::write(scratch.path().join("kustomization.yaml"), text)?;
    let objects = objects(&build(scratch.path())?)?;
    let config = objects
        .iter()
        .find_map(|object| object["data"]["dbgov.toml"].as_str());
    let config = config.context("no dbgov.toml")?.to_string();
    let pod = &object(&objects, "DaemonSet")?["spec"]["template"]["spec"];
    Ok((pod.clone(), config))
}

fn runs(component: bool) {
    let scratch = Scratch::new("kustomize").unwrap();
    let (pod, config) = enforcing(&scratch, component).unwrap();
    let server = Server::start(&Options::default()).unwrap();
    server.admin("CREATE TABLE t (id int)").unwrap();
    let mut container = Container::start(&pod, &config).unwrap();

    let cgroup = Cgroup::new().unwrap();
    let target = server.target("127.0.0.1").application("dropper");
    let psql = drivers::psql(&target).unwrap();
    let mut in_cgroup = cgroup.command(&Place::default(), "env");
    in_cgroup
        .arg(psql.get_program())
        .args(psql.get_args())
        .args(["-c", "DROP TABLE t"]);
    // The server is found within 10 s.
    let found = wait_for("the server is found", PATIENCE, || {
        let status = container.exec(&["/usr/bin/dbgov", "status"].map(str::to_string))?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        Ok(text.contains(&server.port().to_string()).then_some(text))
    });
    found.unwrap();
    let refused = drivers::run(in_cgroup, &target).unwrap_err().to_string();
    assert!(
        refused.contains("no-drop"),
        "{refused}\n{}",
        container.log()
    );

    let warned = container.log();
    let warned: Vec<&str> = warned
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .collect();
    assert_eq!(warned, Vec::<&str>::new());

    let records = container.stop().unwrap();
    let denied = records
        .iter()
        .find(|record| record["verdict"]["rule"] == "no-drop")
        .unwrap();
    let identity = &denied["identity"];
    assert!(
        identity["exe"].as_str().unwrap().ends_with("/psql"),
        "{identity}"
    );
    assert_eq!(identity["cgroup"], cgroup.path(), "as on the host");
    assert!(
        Path::new(PINS).join("link-ingress").exists(),
        "the gate outlives the pod"
    );
    drop(container);
    assert!(!Path::new(PINS).exists());
}

#[test]
fn it_runs_privileged() {
    runs(false);
}

#[test]
fn it_runs_with_capabilities() {
    runs(true);
}

#[test]
fn the_dockerfile_is_in_order() {
    let root = workspace();
    let hadolint = |file: &Path| {
        Command::new(checker("hadolint").unwrap())
            .arg(file)
            .output()
            .unwrap()
    };
    let said = hadolint(&root.join(DOCKERFILE));
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );
    let scratch = Scratch::new("image").unwrap();
    let wrong = scratch.path().join("Dockerfile");
    fs::write(&wrong, "FROM debian:latest\nCOPIE a b\n").unwrap();
    assert!(!hadolint(&wrong).status.success(), "it can say no");

    let text = fs::read_to_string(root.join(DOCKERFILE)).unwrap();
    let context = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let copies = text.lines().filter_map(|line| line.strip_prefix("COPY "));
    for source in copies
        .filter(|copy| !copy.starts_with("--from"))
        .flat_map(|copy| {
            let words: Vec<&str> = copy.split(' ').collect();
            words[..words.len() - 1].to_vec()
        })
    {
        assert!(root.join(source).exists(), "COPY {source}");
        let sent = |line: &str| {
            line.strip_prefix('!')
                .is_some_and(|kept| source == kept || source.starts_with(&format!("{kept}/")))
        };
        assert!(
            context.lines().any(sent),
            "{source} is not sent to the build"
        );
    }
    // The commands of CONTRIBUTING.md.
    let runs: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("RUN "))
        .collect();
    assert_eq!(
        runs,
        [
            "cargo xtask setup --only agent,kernel",
            "cargo xtask build --release",
            "deploy/docker/root.sh target/release/dbgov /image"
        ]
    );
}
