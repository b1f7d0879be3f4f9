//! The Debian package on this host: built, looked at, installed, its agent started as its unit says, and purged.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::deploy::{self, Unit};
use dbgov_tests::process;
use dbgov_tests::scratch::Scratch;
use nix::sys::signal::Signal;

const NAME: &str = "dbgov";
const INSTALLED_UNIT: &str = "/usr/lib/systemd/system/dbgov.service";
const PINS: &str = "/sys/fs/bpf/dbgov";
const GATE: &str = "/sys/fs/bpf/dbgov/link-ingress";
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    ensure!(output.status.success(), "{program} {args:?}: {printed}");
    Ok(printed)
}

/// What is on this host of the package, or of an agent: everything that has the name. (Namespaces are of other tests.)
fn traces() -> Vec<String> {
    let places = ["/etc", "/usr", "/var", "/run"];
    let named = ["-xdev", "-name", "*dbgov*", "-not", "-path", "/run/netns/*"];
    let listing = run("find", &[&places[..], &named].concat()).expect("find");
    let mut found: Vec<String> = listing.lines().map(str::to_string).collect();
    if Path::new(PINS).exists() {
        found.push(PINS.to_string());
    }
    if run("getent", &["group", NAME]).is_ok() {
        found.push("the group dbgov".to_string());
    }
    if run("dpkg-query", &["--show", NAME]).is_ok() {
        found.push("the package dbgov".to_string());
    }
    found
}

/// Cgroups that an agent makes others in, in whatever hierarchy.
fn cgroups() -> Vec<String> {
    let places = ["/sys/fs/cgroup/dbgov", "/sys/fs/cgroup/unified/dbgov"];
    let there = places.iter().filter(|path| Path::new(path).exists());
    there.map(ToString::to_string).collect()
}

/// The installed package; purged on drop.
struct Installed {
    /// Those that were there before: agents of other tests leave theirs.
    cgroups: Vec<String>,
}

impl Installed {
    fn new(package: &Path) -> Result<Installed> {
        // Empty, it is what an agent leaves that was run by hand.
        let _ = fs::remove_dir("/run/dbgov");
        let found = traces();
        ensure!(
            found.is_empty(),
            "this host has something of dbgov already, which the test would destroy: {found:?}"
        );
        // From here on drop purges it.
        let installed = Installed { cgroups: cgroups() };
        run("dpkg", &["--install", &package.display().to_string()])?;
        Ok(installed)
    }

    /// Purges it; nothing may be left.
    fn purge(mut self) -> Result<()> {
        let before = std::mem::take(&mut self.cgroups);
        drop(self);
        let mut left = traces();
        left.extend(cgroups().into_iter().filter(|path| !before.contains(path)));
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Err(error) = run("dpkg", &["--purge", NAME]) {
            eprintln!("{error:#}");
        }
    }
}

/// An agent started as the unit says, with its capabilities; killed on drop.
struct Service {
    child: std::process::Child,
    notifications: UnixDatagram,
    log: PathBuf,
}

impl Service {
    fn start(unit: &Unit, scratch: &Scratch) -> Result<Service> {
        let socket = scratch.path().join("notify");
        let _ = fs::remove_file(&socket);
        let notifications = UnixDatagram::bind(&socket)?;
        notifications.set_read_timeout(Some(READY_TIMEOUT))?;
        let words = unit.words("ExecStart");
        let (program, args) = words.split_first().context("no ExecStart")?;
        let mut command = unit.place()?.command(program);
        let log = scratch.path().join("log");
        // systemd makes these two before the start.
        fs::create_dir_all("/run/dbgov")?;
        command
            .args(args)
            .env("NOTIFY_SOCKET", &socket)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let child = process::spawn(command)?;
        Ok(Service {
            child,
            notifications,
            log,
        })
    }

    fn wait_for(&self, word: &str) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let heard = self.notifications.recv(&mut buffer).with_context(|| {
                format!(
                    "no {word}: {}",
                    fs::read_to_string(&self.log).unwrap_or_default()
                )
            })?;
            let text = String::from_utf8_lossy(&buffer[..heard]);
            if text.lines().any(|line| line == word) {
                return Ok(());
            }
        }
    }

    fn stop(&mut self) -> Result<()> {
        let status = process::stop(&mut self.child, &[(Signal::SIGTERM, STOP_TIMEOUT)])?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = process::stop(&mut self.child, &[(Signal::SIGTERM, STOP_TIMEOUT)]);
    }
}

/// Lines of `dpkg-deb --contents`: mode, owner and path.
fn contents(package: &Path) -> Result<BTreeSet<String>> {
    let listing = run("dpkg-deb", &["--contents", &package.display().to_string()])?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        Some(format!(
            "{} {} {}",
            words.first()?,
            words.get(1)?,
            words.get(5)?
        ))
    };
    Ok(listing
        .lines()
        .filter_map(line)
        .filter(|line| !line.ends_with('/'))
        .collect())
}

#[test]
fn the_package_is_in_order() {
    let scratch = Scratch::new("package").unwrap();
    let package = deploy::package(scratch.path()).unwrap();
    let shown = package.display().to_string();
    run("lintian", &["--allow-root", "--fail-on", "error", &shown]).unwrap();

    let fields = run("dpkg-deb", &["--field", &shown]).unwrap();
    for expected in [
        "Package: dbgov",
        "Architecture: ",
        "libc6 (>=",
        "libgcc-s1",
        "adduser",
    ] {
        assert!(fields.contains(expected), "{expected} in {fields}");
    }
    let version = run("dpkg-deb", &["--field", &shown, "Version"]).unwrap();
    let changelog = dbgov_tests::workspace().join("deploy/debian/changelog");
    let newest = fs::read_to_string(changelog).unwrap();
    let newest = newest.lines().next().unwrap();
    assert!(
        newest.starts_with(&format!("dbgov ({}) ", version.trim())),
        "the changelog ends before {version}: {newest}"
    );
    let contents = contents(&package).unwrap();
    for expected in [
        "-rwxr-xr-x 0/0 ./usr/bin/dbgov",
        "-rw-r--r-- 0/0 ./etc/dbgov/dbgov.toml",
        "-rw-r--r-- 0/0 ./etc/dbgov/policy.toml",
        "-rw-r--r-- 0/0 ./usr/lib/systemd/system/dbgov.service",
        "-rw-r--r-- 0/0 ./usr/share/dbgov/policies/read-only-analyst.toml",
        "-rw-r--r-- 0/0 ./usr/share/doc/dbgov/policy.md",
    ] {
        assert!(contents.contains(expected), "{expected} in {contents:?}");
    }
    let conffiles = run("dpkg-deb", &["--info", &shown, "conffiles"]).unwrap();
    assert_eq!(conffiles, "/etc/dbgov/dbgov.toml\n/etc/dbgov/policy.toml\n");
}

#[test]
fn installed_started_by_its_unit_and_purged() {
    let scratch = Scratch::new("package").unwrap();
    let package = deploy::package(scratch.path()).unwrap();
    let installed = Installed::new(&package).unwrap();
    run("getent", &["group", NAME]).unwrap();
    run("systemd-analyze", &["verify", "--man=no", INSTALLED_UNIT]).unwrap();
    for policy in [
        "/etc/dbgov/policy.toml",
        "/usr/share/dbgov/policies/change-window.toml",
    ] {
        run("/usr/bin/dbgov", &["policy", "check", policy]).unwrap();
    }
    assert!(run("/usr/bin/dbgov", &["status"]).is_err(), "no agent yet");

    let unit = Unit::read(Path::new(INSTALLED_UNIT)).unwrap();
    let mut service = Service::start(&unit, &scratch).unwrap();
    service.wait_for("READY=1").unwrap();
    run("/usr/bin/dbgov", &["status"]).unwrap();
    let socket = fs::metadata("/run/dbgov/control.sock").unwrap();
    assert_eq!(
        mode_and_group(&socket),
        (0o666, 0),
        "whoever knocks is heard; the credentials decide"
    );
    service.stop().unwrap();
    service.wait_for("STOPPING=1").unwrap();
    assert!(Path::new("/var/lib/dbgov/audit").is_dir());

    installed.purge().unwrap();
}

/// A policy in force: the gate stays when the agent ends, and goes with the package.
#[test]
fn removal_takes_the_gate_away() {
    let scratch = Scratch::new("package").unwrap();
    let package = deploy::package(scratch.path()).unwrap();
    let installed = Installed::new(&package).unwrap();
    let config = "/etc/dbgov/dbgov.toml";
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, text + "\n[policy]\nfile = \"policy.toml\"\n").unwrap();
    let unit = Unit::read(Path::new(INSTALLED_UNIT)).unwrap();
    let mut service = Service::start(&unit, &scratch).unwrap();
    service.wait_for("READY=1").unwrap();
    service.stop().unwrap();
    assert!(Path::new(GATE).exists(), "the gate stays");
    // As in an upgrade: the next one takes over what it finds.
    run("dpkg", &["--install", &package.display().to_string()]).unwrap();
    assert!(Path::new(GATE).exists(), "an upgrade leaves the gate");
    assert!(
        fs::read_to_string(config)
            .unwrap()
            .ends_with("policy.toml\"\n")
    );

    run("dpkg", &["--remove", NAME]).unwrap();
    assert!(!Path::new(PINS).exists(), "the gate is gone");
    assert!(
        Path::new("/var/lib/dbgov/audit").is_dir(),
        "the audit trail stays until it is purged"
    );
    installed.purge().unwrap();
}

fn mode_and_group(meta: &fs::Metadata) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    (meta.mode() & 0o777, meta.gid())
}
