//! What the agent can still do when it lacks a capability: docs/capabilities.md says it, this shows it.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::deploy::{self, Unit};
use dbgov_tests::drivers::{self, Target};
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::process::{self, Place};
use dbgov_tests::workspace;
use serde_json::Value;

/// What works takes milliseconds; this is waited for what does not.
const PATIENCE: Duration = Duration::from_secs(4);
const POLICY: &str =
    "[[rule]]\nname = \"no-drop\"\naction = \"reset\"\nverbs = [\"drop\"]\nreason = \"not here\"\n";

/// What an agent with some capabilities came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The client of a denied statement was told so: on the host, and in another network namespace.
    denied_here: bool,
    denied_there: bool,
    /// The program of a client that was connected before the agent came is named.
    older_client: bool,
}

const ALL_OF_IT: Seen = Seen {
    denied_here: true,
    denied_there: true,
    older_client: true,
};

struct Stand {
    here: Server,
    there: Server,
    inside: Netns,
}

impl Stand {
    fn new() -> Result<Stand> {
        let inside = Netns::joined_to_host()?;
        let here = Server::start(&Options::default())?;
        let there = Server::start(&Options {
            netns: Some(&inside),
            ..Options::default()
        })?;
        for server in [&here, &there] {
            server.admin("CREATE TABLE t (id int)")?;
        }
        Ok(Stand {
            here,
            there,
            inside,
        })
    }

    fn here(&self, application: &str) -> Target {
        let someone = Place {
            user: Some("daemon".into()),
            ..Place::default()
        };
        let target = self.here.target("127.0.0.1").application(application);
        target.from(someone)
    }

    fn there(&self) -> Target {
        let address = self.inside.ipv4.to_string();
        self.there.target(&address).application("there")
    }

    /// Plays the same with an agent that has all capabilities of the service but these. An error: it did not start.
    fn without(&self, gone: &[&str]) -> Result<Seen> {
        let unit = Unit::read(&workspace().join(deploy::UNIT))?;
        let mut place = unit.place()?;
        if let Some(capabilities) = &mut place.capabilities {
            let all = capabilities.len();
            capabilities.retain(|name| !gone.contains(&name.as_str()));
            ensure!(all - capabilities.len() == gone.len(), "{gone:?}");
        }
        let mut older = Older::start(&self.here("older"))?;
        let config = Config::watching(&[&self.here, &self.there])
            .policy(POLICY)
            .place(place);
        let mut agent = Agent::start(config)?;
        let denied_here = is_denied(&self.here("here"));
        let denied_there = is_denied(&self.there());
        older.say("SELECT 'after'")?;
        let named = |record: &Value| {
            let exe = record["identity"]["exe"].as_str().unwrap_or_default();
            record["session"]["joined"] == "midstream" && exe.ends_with("psql")
        };
        let older_client = agent.wait_for_record("the older client", PATIENCE, named);
        drop(older);
        agent.stop()?;
        Ok(Seen {
            denied_here,
            denied_there,
            older_client: older_client.is_ok(),
        })
    }
}

/// The statement did not run, and its client was told which rule it was.
fn is_denied(target: &Target) -> bool {
    let told = drivers::psql(target).and_then(|mut psql| {
        psql.args(["-c", "DROP TABLE t"]);
        let mut limited = std::process::Command::new("timeout");
        limited
            .arg("5")
            .arg(psql.get_program())
            .args(psql.get_args());
        drivers::run(limited, target)
    });
    told.is_err_and(|error| error.to_string().contains("no-drop"))
}

/// A client that connects before the agent comes and goes on afterwards.
struct Older(Child);

impl Older {
    fn start(target: &Target) -> Result<Older> {
        let mut command = drivers::psql(target)?;
        command
            .envs(target.environment())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut older = Older(process::spawn(command)?);
        older.say("SELECT 'before'")?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(older)
    }

    fn say(&mut self, sql: &str) -> Result<()> {
        let stdin = self.0.stdin.as_mut().context("no stdin")?;
        Ok(writeln!(stdin, "{sql};")?)
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_capabilities_of_the_service_are_enough() {
    let stand = Stand::new().unwrap();
    assert_eq!(stand.without(&[]).unwrap(), ALL_OF_IT);
    // Without these it works as well, on this kernel and with no group `dbgov`.
    assert_eq!(stand.without(&["sys_nice"]).unwrap(), ALL_OF_IT);
}

/// CAP_SYS_ADMIN stands for CAP_BPF, CAP_PERFMON and, for loading programs, CAP_NET_ADMIN.
#[test]
fn without_the_right_to_load_it_does_not_start() {
    let stand = Stand::new().unwrap();
    assert_eq!(
        stand.without(&["bpf", "perfmon", "net_admin"]).unwrap(),
        ALL_OF_IT
    );
    for (gone, told) in [
        (
            ["sys_admin", "bpf"],
            "no permission to load kernel programs",
        ),
        (
            ["sys_admin", "net_admin"],
            "no permission to load kernel programs",
        ),
        (["sys_admin", "perfmon"], "refuses the kernel program"),
    ] {
        let error = format!("{:#}", stand.without(&gone).unwrap_err());
        assert!(error.contains(told), "without {gone:?}: {error}");
    }
}

#[test]
fn without_others_it_does_less() {
    let stand = Stand::new().unwrap();
    // Servers in other network namespaces are recorded, but what is held there cannot be let go or refused.
    let without = stand.without(&["sys_admin"]).unwrap();
    assert_eq!((without.denied_here, without.denied_there), (true, false));
    // Nothing of /proc/<pid> of others that is a link.
    let without = stand.without(&["sys_ptrace"]).unwrap();
    assert_eq!(
        without,
        Seen {
            denied_there: false,
            older_client: false,
            ..ALL_OF_IT
        }
    );
    // No directory of theirs.
    let without = stand.without(&["dac_read_search"]).unwrap();
    assert_eq!(
        without,
        Seen {
            older_client: false,
            ..ALL_OF_IT
        }
    );
    // What is held stays held.
    let without = stand.without(&["net_raw"]).unwrap();
    assert_eq!((without.denied_here, without.denied_there), (false, false));
}
