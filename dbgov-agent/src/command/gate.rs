//! `dbgov gate`: what is pinned, and how to be rid of it. Both work without an agent.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;

use crate::capture::kernel::{AgentState, GateStatus, gate_off, gate_status};
use crate::clock::boot_ns;
use crate::config::Config;
use crate::control::{self, ControlError, Request};

/// Shows the pinned gate. Exit code 0 whether there is one or not.
pub fn status(config: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let (config, _) = Config::load(config)?;
    only_root()?;
    let status = gate_status(&config.agent.bpffs, boot_ns())?;
    if json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        print!("{}", readable(&status, &config.agent.bpffs));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a running agent to take its gate away.
pub fn ask_agent(config: &Config) -> anyhow::Result<bool> {
    match control::ask::<String>(&config.agent.control_socket, &Request::GateOff) {
        Ok(_) => Ok(true),
        Err(ControlError::NotRunning { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the gate away at once. `ask_agent` asks a running agent to do it and to go on observing; false where there is
/// none, or where it cannot: then the pins are removed over its head.
pub fn off(
    config: Option<&Path>,
    ask_agent: impl FnOnce(&Config) -> anyhow::Result<bool>,
) -> anyhow::Result<ExitCode> {
    let (config, _) = Config::load(config)?;
    only_root()?;
    let asked = ask_agent(&config).unwrap_or_else(|error| {
        eprintln!("dbgov: the running agent did not take its gate away: {error}");
        false
    });
    let removed = gate_off(&config.agent.bpffs)?;
    match (asked, removed.links) {
        (true, _) => println!("the gate is off; the agent goes on observing"),
        (false, 0) => println!("no gate was pinned in {}", config.agent.bpffs.display()),
        (false, links) => println!(
            "the gate is off: {links} kernel programs and {} maps were taken away; what was held passes when its client sends it again",
            removed.maps
        ),
    }
    if !asked && removed.links > 0 && control::status(&config.agent.control_socket).is_ok() {
        println!("the running agent captures nothing any more: restart it");
    }
    Ok(ExitCode::SUCCESS)
}

fn only_root() -> anyhow::Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the gate's pins are root's: run this with sudo"
    );
    Ok(())
}

fn readable(status: &GateStatus, bpffs: &Path) -> String {
    if status.hooks.is_empty() {
        return format!("no gate is pinned in {}\n", bpffs.display());
    }
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "gate pinned in {}: {}",
        bpffs.display(),
        status.hooks.join(", ")
    );
    if !status.readable {
        out.push_str(
            "  of another version of dbgov: start the agent to adopt it, or run `dbgov gate off`\n",
        );
        return out;
    }
    let enforcing = if status.enforcing {
        "enforcing"
    } else {
        "NOT enforcing"
    };
    let agent = match (status.agent, status.heartbeat_age_ms) {
        (Some(AgentState::Beating), Some(age)) => format!("alive {age} ms ago"),
        (_, Some(age)) => format!("DOWN for {age} ms"),
        (_, None) => "never seen".to_owned(),
    };
    let without = if status.closed {
        "what triggers stays held (closed)"
    } else {
        "everything passes (open)"
    };
    let _ = writeln!(out, "  state        {enforcing}");
    let _ = writeln!(out, "  agent        {agent}; without it {without}");
    let _ = writeln!(
        out,
        "  connections  {}, {} of them held",
        status.connections, status.held
    );
    if status.lossless {
        out.push_str("  lossless     packets wait for room in the ring\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> GateStatus {
        GateStatus {
            hooks: vec!["egress".to_owned(), "ingress".to_owned()],
            readable: true,
            enforcing: true,
            closed: true,
            lossless: false,
            agent: Some(AgentState::Down),
            heartbeat_age_ms: Some(5000),
            connections: 3,
            held: 1,
        }
    }

    #[test]
    fn a_gate_whose_agent_is_down_reads_as_that() {
        let text = readable(&status(), Path::new("/sys/fs/bpf/dbgov"));
        for part in [
            "egress, ingress",
            "enforcing",
            "DOWN for 5000 ms",
            "stays held (closed)",
            "3, 1 of them held",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn no_gate_and_another_versions_are_told_apart() {
        let mut other = status();
        other.readable = false;
        assert!(readable(&other, Path::new("/x")).contains("another version"));
        other.hooks.clear();
        assert_eq!(
            readable(&other, Path::new("/x")),
            "no gate is pinned in /x\n"
        );
    }
}
