//! `dbgov tag`.

use std::path::Path;

use super::table;
use crate::config::Config;
use crate::control::{self, ListedTag, Request, TagTarget, Tagged};
use crate::identity::tags::{Tag, TagName};

/// Columns of a purpose in the table; `--json` has all of it.
const PURPOSE_COLUMNS: usize = 60;

/// Which cgroup is tagged.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// A cgroup, by its path in the cgroup v2 hierarchy (as /proc/PID/cgroup shows it) or in the file system
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// The cgroup of a process, if the process started all that is in it
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The cgroup of a systemd unit, such as sync.service
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// The cgroup of a pod of this node
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,
}

impl Target {
    fn target(&self) -> Option<TagTarget> {
        let cgroup = self.cgroup.clone().map(TagTarget::Cgroup);
        cgroup
            .or(self.pid.map(TagTarget::Pid))
            .or_else(|| self.unit.clone().map(TagTarget::Unit))
            .or_else(|| self.pod.clone().map(TagTarget::Pod))
    }
}

pub fn set(config: Option<&Path>, name: &TagName, target: &Target) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let Some(target) = target.target() else {
        anyhow::bail!(
            "say which cgroup: --cgroup PATH, --pid PID, --unit UNIT or --pod NAMESPACE/NAME"
        );
    };
    let request = Request::TagSet {
        name: name.clone(),
        target,
    };
    let tagged: Tagged = control::ask(&config.agent.control_socket, &request)?;
    let instead = match &tagged.replaced {
        Some(before) if before != name => format!(" (it was {before})"),
        _ => String::new(),
    };
    println!("{} goes by {} now{instead}", tagged.cgroup, tagged.name);
    Ok(())
}

pub fn list(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let listed: Vec<ListedTag> = control::ask(&config.agent.control_socket, &Request::TagList)?;
    if json {
        println!("{}", serde_json::to_string(&listed)?);
    } else if listed.is_empty() {
        println!("nothing is tagged");
    } else {
        let head = ["NAME", "CGROUP", "FROM", "BY", "PROCESSES", "PURPOSE"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head)
            .chain(listed.iter().map(row))
            .collect();
        print!("{}", table::aligned(&rows));
    }
    Ok(())
}

pub fn remove(config: Option<&Path>, name: &TagName, cgroup: Option<String>) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let request = Request::TagRemove {
        name: name.clone(),
        cgroup,
    };
    let removed: Vec<Tag> = control::ask(&config.agent.control_socket, &request)?;
    for tag in removed {
        println!("{} no longer goes by {name}", tag.cgroup);
    }
    Ok(())
}

fn row(listed: &ListedTag) -> [String; 6] {
    let tag = &listed.tag;
    let by = tag.by.as_ref().map(|by| match &by.user {
        Some(user) => user.clone(),
        None => format!("uid {}", by.uid),
    });
    let purpose = tag.run.as_ref().and_then(|run| run.purpose.clone());
    [
        tag.name.as_str().to_owned(),
        table::visible(&tag.cgroup, usize::MAX),
        tag.origin.name().to_owned(),
        by.unwrap_or_else(|| "-".to_owned()),
        listed.processes.to_string(),
        purpose.map_or_else(
            || "-".to_owned(),
            |purpose| table::visible(&purpose, PURPOSE_COLUMNS),
        ),
    ]
}
