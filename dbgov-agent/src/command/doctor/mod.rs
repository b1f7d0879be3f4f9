//! `dbgov doctor`: what this host can do, what is missing, and how to get it.

mod host;
mod kernel;
mod servers;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::sink::{self, SinkConfig};

pub use kernel::{Capability, KernelVersion};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// dbgov runs, but not everything works.
    Warn,
    /// dbgov cannot record.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub found: String,
    pub needed_for: &'static str,
    /// What to do about it; only where `status` is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, needed_for: &'static str, found: impl Into<String>) -> Self {
        Check {
            name,
            status: Status::Ok,
            found: found.into(),
            needed_for,
            fix: None,
        }
    }

    fn bad(self, status: Status, fix: impl Into<String>) -> Self {
        Check {
            status,
            fix: Some(fix.into()),
            ..self
        }
    }

    fn warn(self, fix: impl Into<String>) -> Self {
        self.bad(Status::Warn, fix)
    }

    fn fail(self, fix: impl Into<String>) -> Self {
        self.bad(Status::Fail, fix)
    }
}

/// What the configuration says of places on this host.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    pub audit_dir: &'a Path,
    /// Where the kernel objects are pinned.
    pub bpffs: &'a Path,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the checks.
    pub status: Status,
    pub checks: Vec<Check>,
}

impl Report {
    fn new(checks: Vec<Check>) -> Self {
        let worst = checks.iter().map(|check| check.status).max();
        Report {
            status: worst.unwrap_or(Status::Ok),
            checks,
        }
    }

    /// 0 where dbgov can record, 1 where something keeps it from it.
    pub fn exit_code(&self) -> u8 {
        match self.status {
            Status::Ok | Status::Warn => 0,
            Status::Fail => 1,
        }
    }
}

/// `dbgov doctor`.
pub fn command(config: Option<&Path>, json: bool) -> anyhow::Result<std::process::ExitCode> {
    let (config, _) = crate::config::Config::load(config)?;
    // As the agent does. Where it is not possible, the line about cgroups says so.
    let _ = crate::capture::cgroupns::enter_host();
    let mut checks = run(&Places {
        audit_dir: &config.audit.dir,
        bpffs: &config.agent.bpffs,
    })
    .checks;
    if !config.sinks.is_empty() {
        checks.push(sinks(&config.sinks));
    }
    let report = Report::new(checks);
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(report.exit_code().into())
}

/// Receivers are not asked: `dbgov status` of a running agent tells how they do.
fn sinks(sinks: &[SinkConfig]) -> Check {
    let named = |sink: &SinkConfig| format!("{} ({})", sink.name, sink.kind.name());
    let all: Vec<String> = sinks.iter().map(named).collect();
    let check = Check::ok("sinks", "sending the records elsewhere", all.join(", "));
    match sink::check(sinks) {
        Ok(()) => check,
        Err(error) => check.fail(format!("{error}; the agent would not start")),
    }
}

/// Looks at this host. Changes nothing on it.
pub fn run(places: &Places<'_>) -> Report {
    let capabilities = kernel::own_capabilities();
    let version = kernel::running_version();
    let mut checks = vec![
        kernel::capabilities(capabilities),
        kernel::version(version.as_deref()),
        kernel::gate(capabilities),
        kernel::types(),
        kernel::bpf_syscall(),
        kernel::jit(),
        kernel::lockdown(),
        kernel::memlock(version.as_deref(), capabilities),
        kernel::uprobes(),
        host::cgroup2(),
        host::bpffs(places.bpffs),
        host::pid_namespace(),
        host::sock_diag(),
        host::audit_dir(places.audit_dir),
    ];
    checks.extend(servers::checks(&crate::capture::discover::discover()));
    Report::new(checks)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
        for check in &self.checks {
            let mark = match check.status {
                Status::Ok => "ok  ",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            writeln!(f, "{mark}  {:width$}  {}", check.name, check.found)?;
            if let Some(fix) = &check.fix {
                let indent = width + 6;
                writeln!(f, "{:indent$}  needed for: {}", "", check.needed_for)?;
                writeln!(f, "{:indent$}  fix: {fix}", "")?;
            }
        }
        let count = |status| self.checks.iter().filter(|c| c.status == status).count();
        let (warnings, failures) = (count(Status::Warn), count(Status::Fail));
        match self.status {
            Status::Ok => writeln!(f, "\nThis host is ready for dbgov."),
            Status::Warn => writeln!(f, "\nThis host is ready for dbgov ({warnings} to look at)."),
            Status::Fail => writeln!(
                f,
                "\ndbgov cannot record here yet: {failures} to fix, {warnings} to look at."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Status) -> Check {
        let check = Check::ok("kernel", "the programs", "6.1.0");
        match status {
            Status::Ok => check,
            other => check.bad(other, "do this"),
        }
    }

    #[test]
    fn the_worst_check_decides() {
        use Status::{Fail, Ok, Warn};
        for (statuses, worst, code) in [
            (&[][..], Ok, 0),
            (&[Ok, Ok], Ok, 0),
            (&[Ok, Warn], Warn, 0),
            (&[Fail, Warn, Ok], Fail, 1),
        ] {
            let report = Report::new(statuses.iter().map(|&s| check(s)).collect());
            assert_eq!((report.status, report.exit_code()), (worst, code));
        }
    }

    #[test]
    fn both_forms() {
        let report = Report::new(vec![check(Status::Ok), check(Status::Fail)]);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"status":"fail","checks":[{"name":"kernel","status":"ok","found":"6.1.0","needed_for":"the programs"},{"name":"kernel","status":"fail","found":"6.1.0","needed_for":"the programs","fix":"do this"}]}"#
        );
        let text = report.to_string();
        assert!(text.starts_with("ok    kernel  6.1.0\nFAIL  kernel  6.1.0\n"));
        assert!(text.contains("fix: do this\n") && text.contains("1 to fix"));
    }

    #[test]
    fn a_sink_whose_files_are_not_there_keeps_the_agent_from_starting() {
        let text = "[[sink]]\nname = \"siem\"\ntype = \"syslog\"\naddress = \"siem.example\"\ntransport = \"tls\"\n";
        let check = |text: &str| {
            let config = crate::config::Config::parse(text, Path::new("/dbgov.toml")).unwrap();
            sinks(&config.sinks)
        };
        let bad = check(&format!("{text}tls = {{ ca = \"/nowhere/ca.pem\" }}"));
        assert_eq!(
            (bad.status, bad.found.as_str()),
            (Status::Fail, "siem (syslog)")
        );
        assert!(
            bad.fix
                .unwrap()
                .contains("tls.ca: cannot read /nowhere/ca.pem")
        );
        let good = check(&text.replace("tls", "tcp"));
        assert_eq!((good.status, good.fix), (Status::Ok, None));
    }

    /// Whatever this host is: every check that is not ok says what to do, and none is left out.
    #[test]
    fn this_host() {
        let directory = tempfile::tempdir().unwrap();
        let report = run(&Places {
            audit_dir: directory.path(),
            bpffs: Path::new("/sys/fs/bpf/dbgov"),
        });
        for check in &report.checks {
            assert_eq!(check.status == Status::Ok, check.fix.is_none(), "{check:?}");
            assert!(!check.found.is_empty() && !check.needed_for.is_empty());
        }
        let named = |name| report.checks.iter().any(|check| check.name == name);
        for name in ["capabilities", "kernel", "cgroup v2", "audit directory"] {
            assert!(named(name), "{name}");
        }
    }
}
