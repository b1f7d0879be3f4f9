//! The service's unit: systemd takes it, and what it forbids the agent does not do. systemd is not process 1 where this
//! runs, so the agent is watched at its work (strace) and compared with what the unit allows.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{self, Agent, Config};
use dbgov_tests::deploy::{self, Unit};
use dbgov_tests::drivers;
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::workspace;

const POLICY: &str = "[[rule]]\nname = \"no-drop\"\naction = \"reset\"\nverbs = [\"drop\"]\n";
/// Tenths of systemd's exposure level, 0 to 100: what it is, and a little.
const EXPOSURE_MAX: &str = "38";

fn systemd_analyze(args: &[&str]) -> Result<String> {
    let output = Command::new("systemd-analyze").args(args).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said)?;
    ensure!(output.status.success(), "{args:?}: {said}");
    Ok(said)
}

fn unit() -> Unit {
    Unit::read(&workspace().join(deploy::UNIT)).unwrap()
}

/// The system calls of a word of `SystemCallFilter`: a group's members, or itself.
fn calls(word: &str) -> Result<BTreeSet<String>> {
    if !word.starts_with('@') {
        return Ok([word.to_string()].into());
    }
    let listing = systemd_analyze(&["syscall-filter", "--no-pager", word])?;
    let members = listing.lines().skip(1).map(str::trim);
    let mut found = BTreeSet::new();
    for member in members.filter(|member| !member.is_empty() && !member.starts_with('#')) {
        found.extend(calls(member)?);
    }
    Ok(found)
}

/// What strace saw of an agent that governed a server on the host and one in another network namespace.
fn watched() -> Result<String> {
    let scratch = Scratch::new("strace")?;
    let (program, trace) = (scratch.path().join("dbgov"), scratch.path().join("trace"));
    // -D: the agent keeps its pid, strace is beside it.
    let wrapper = format!(
        "#!/bin/sh\ncase $1 in run) exec strace -D -f -o {} {binary} \"$@\" ;; *) exec {binary} \"$@\" ;; esac\n",
        trace.display(),
        binary = agent::binary()?.display()
    );
    fs::write(&program, wrapper)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;

    let inside = Netns::joined_to_host()?;
    let here = Server::start(&Options::default())?;
    let there = Server::start(&Options {
        netns: Some(&inside),
        ..Options::default()
    })?;
    let config = Config::watching(&[&here, &there]).policy(POLICY);
    let mut agent = Agent::start(config.binary(&program))?;
    let address = inside.ipv4.to_string();
    for target in [here.target("127.0.0.1"), there.target(&address)] {
        for (sql, denied) in [("SELECT 1", false), ("DROP TABLE t", true)] {
            let mut psql = drivers::psql(&target)?;
            psql.args(["-c", sql]);
            let told = drivers::run(psql, &target)
                .err()
                .map(|error| error.to_string());
            let no_drop = told.is_some_and(|told| told.contains("no-drop"));
            ensure!(no_drop == denied, "{sql}");
        }
    }
    agent.stop()?;
    fs::read_to_string(&trace).context("strace wrote nothing")
}

/// The name of the call in a line of strace: `12345 openat(AT_FDCWD, …`.
fn call(line: &str) -> Option<&str> {
    let behind = line.split_once(' ')?.1.trim_start();
    let name = behind.split_once('(')?.0;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

#[test]
fn the_agent_does_nothing_that_the_unit_forbids() {
    let unit = unit();
    let trace = watched().unwrap();
    let mut allowed = calls("@default").unwrap();
    for word in unit.words("SystemCallFilter") {
        allowed.extend(calls(&word).unwrap());
    }
    let used: BTreeSet<&str> = trace.lines().filter_map(call).collect();
    assert!(
        used.contains("bpf") && used.contains("setns"),
        "it was watched: {used:?}"
    );
    let forbidden: Vec<_> = used
        .iter()
        .filter(|call| !allowed.contains(**call))
        .collect();
    assert!(
        forbidden.is_empty(),
        "SystemCallFilter forbids {forbidden:?}"
    );

    let families = unit.words("RestrictAddressFamilies");
    for line in trace.lines().filter(|line| call(line) == Some("socket")) {
        let known = families
            .iter()
            .any(|family| line.contains(&format!("({family},")));
        assert!(known, "RestrictAddressFamilies forbids {line}");
    }
    // RestrictNamespaces=net, MemoryDenyWriteExecute=yes.
    assert_eq!(unit.words("RestrictNamespaces"), ["net"]);
    for line in trace.lines() {
        let entered = call(line) == Some("setns");
        assert!(!entered || line.contains("CLONE_NEWNET"), "{line}");
        assert!(!line.contains("PROT_WRITE|PROT_EXEC"), "{line}");
    }
}

#[test]
fn systemd_takes_it() {
    let unit = unit();
    let text = fs::read_to_string(workspace().join(deploy::UNIT)).unwrap();
    let scratch = Scratch::new("unit").unwrap();
    let verify = |text: &str| {
        // The program has to exist for it.
        let text = text.replace(
            "/usr/bin/dbgov",
            &agent::binary().unwrap().display().to_string(),
        );
        let file = scratch.path().join("dbgov.service");
        fs::write(&file, text).unwrap();
        systemd_analyze(&["verify", "--man=no", file.to_str().unwrap()])
    };
    let said = verify(&text).unwrap();
    assert!(!said.contains("dbgov.service"), "{said}");
    let said = verify(&text.replace("ProtectHome=yes", "ProtectHouse=yes"));
    assert!(
        said.is_err() || said.unwrap().contains("ProtectHouse"),
        "it can say no"
    );

    let path = workspace().join(deploy::UNIT);
    let exposure = [
        "security",
        "--no-pager",
        "--offline=yes",
        "--threshold",
        EXPOSURE_MAX,
    ];
    systemd_analyze(&[&exposure[..], &[path.to_str().unwrap()]].concat()).unwrap();
    // What the agent has by default is where the unit lets it write.
    let defaults = dbgov_agent::config::Config::default();
    assert_eq!(unit.words("StateDirectory"), ["dbgov"]);
    assert!(defaults.audit.dir.starts_with("/var/lib/dbgov"));
    assert_eq!(unit.words("RuntimeDirectory"), ["dbgov"]);
    assert_eq!(unit.words("RuntimeDirectoryPreserve"), ["yes"]);
    assert!(defaults.agent.control_socket.starts_with("/run/dbgov"));
    let writable = unit.words("ReadWritePaths");
    assert!(
        writable
            .iter()
            .any(|path| defaults.agent.bpffs.starts_with(Path::new(path)))
    );
}
