//! Run time of the kernel programs per packet, by the kernel's own statistics.
//!
//! The statistics include the two clock reads around each run; an empty program attached beside ours in the same run
//! shows how much that is, and only the difference is dbgov's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, loaded_programs};
use aya::sys::{Stats, enable_stats};
use dbgov_tests::agent::Agent;
use dbgov_tests::drivers::{self, Target};
use dbgov_tests::target_dir;
use serde_json::{Value, json};

use super::figures::{SETTLE, kernel_count};
use super::stand::Stand;

/// In the object of the kernel programs, attached by nobody but the bench.
const EMPTY_IN: &str = "dbgov_empty_in";
const EMPTY_OUT: &str = "dbgov_empty_out";

pub(super) fn measure(stand: &Stand, seconds: u32) -> Result<Value> {
    let before: BTreeSet<u32> = figures()?.into_keys().collect();
    let _empty = attach_empty()?;
    let agent = stand.agent()?;
    let _enabled = enable_stats(Stats::RunTime)?;
    println!(
        "\n{:<24} {:<18} {:>12} {:>10} {:>12}",
        "packets", "program", "runs", "ns a run", "beyond empty"
    );
    let other = phase(
        &stand.audited.target("127.0.0.1"),
        "another server's",
        seconds,
        &before,
    )?;
    let governed = Governed::of(&agent)?;
    let database = phase(&stand.target(), "a governed server's", seconds, &before)?;
    let governed = Governed::of(&agent)?.since(&governed);
    // On loopback the programs see each packet on both ends; only one of them, and only packets with payload, is
    // governed. The others cost what another server's do.
    let mut payload = Vec::new();
    for (name, packets) in [
        ("dbgov_ingress", governed.requests),
        ("dbgov_egress", governed.responses),
    ] {
        let (Some(all), Some(none)) = (find(&database, name), find(&other, name)) else {
            continue;
        };
        let total_ns = all.beyond_ns * all.count as f64;
        let passed_by = all.count.saturating_sub(packets) as f64;
        let ns = (total_ns - none.beyond_ns * passed_by) / packets.max(1) as f64;
        println!(
            "{:<24} {name:<18} {packets:>12} {:>10} {ns:>12.1}",
            "governed, with payload", ""
        );
        payload.push(json!({ "program": name, "packets": packets, "ns_beyond_empty": ns }));
    }
    Ok(json!({
        "governed_server": rows(&database),
        "other_server": rows(&other),
        "governed_with_payload": payload,
    }))
}

/// Packets with payload the agent's programs took up.
struct Governed {
    requests: u64,
    responses: u64,
}

impl Governed {
    fn of(agent: &Agent) -> Result<Self> {
        thread::sleep(SETTLE);
        let status = agent.status()?;
        Ok(Governed {
            requests: kernel_count(&status, "request_packets")?,
            responses: kernel_count(&status, "response_packets")?,
        })
    }

    fn since(self, before: &Governed) -> Self {
        Governed {
            requests: self.requests - before.requests,
            responses: self.responses - before.responses,
        }
    }
}

/// What one program took in one phase.
struct Row {
    name: String,
    count: u64,
    ns: f64,
    beyond_ns: f64,
}

fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == name)
}

fn rows(rows: &[Row]) -> Value {
    let row = |row: &Row| json!({ "program": row.name, "runs": row.count, "ns": row.ns, "ns_beyond_empty": row.beyond_ns });
    rows.iter().map(row).collect()
}

/// One program's figures; the kernel cuts names to 15 bytes.
#[derive(Debug, Clone)]
pub(super) struct Run {
    name: String,
    pub(super) count: u64,
    pub(super) time_ns: u64,
}

/// By the programs' ids.
pub(super) fn figures() -> Result<BTreeMap<u32, Run>> {
    let mut found = BTreeMap::new();
    for info in loaded_programs() {
        // A program may go away between listing it and asking for it.
        let Ok(info) = info else { continue };
        let run = Run {
            name: info.name_as_str().unwrap_or_default().to_string(),
            count: info.run_count(),
            time_ns: u64::try_from(info.run_time().as_nanos())?,
        };
        found.insert(info.id(), run);
    }
    Ok(found)
}

/// Plays packets of `target` and prints what each program added meanwhile.
fn phase(target: &Target, packets: &str, seconds: u32, older: &BTreeSet<u32>) -> Result<Vec<Row>> {
    let start = figures()?;
    let mut command = drivers::pgbench(target)?;
    command.args([
        "--no-vacuum",
        "--select-only",
        "--client",
        "2",
        "--jobs",
        "2",
        "--time",
        &seconds.to_string(),
    ]);
    drivers::run(command, target).context("pgbench")?;
    let runs: Vec<Run> = figures()?
        .into_iter()
        .filter(|(id, _)| !older.contains(id))
        .filter_map(|(id, end)| {
            let start = start.get(&id)?;
            let count = end
                .count
                .checked_sub(start.count)
                .filter(|count| *count > 0)?;
            Some(Run {
                count,
                time_ns: end.time_ns - start.time_ns,
                ..end
            })
        })
        .collect();
    let mut rows = Vec::new();
    for run in &runs {
        let beyond = run.ns() - empty_ns(&runs, &run.name);
        println!(
            "{packets:<24} {:<18} {:>12} {:>10.1} {beyond:>12.1}",
            run.name,
            run.count,
            run.ns()
        );
        rows.push(Row {
            name: run.name.clone(),
            count: run.count,
            ns: run.ns(),
            beyond_ns: beyond,
        });
    }
    Ok(rows)
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "a figure to print")]
    fn ns(&self) -> f64 {
        self.time_ns as f64 / self.count as f64
    }
}

/// What the empty program of the same direction took.
fn empty_ns(runs: &[Run], name: &str) -> f64 {
    let out = name.contains("egress") || name.ends_with("_out");
    let empty = if out { EMPTY_OUT } else { EMPTY_IN };
    runs.iter()
        .find(|run| run.name == empty)
        .map_or(f64::NAN, Run::ns)
}

/// Attaches the empty programs; they go with the returned value.
fn attach_empty() -> Result<Ebpf> {
    let object = target_dir().join("ebpf/dbgov.bpf.o");
    let mut programs = Ebpf::load_file(&object).with_context(|| object.display().to_string())?;
    let cgroup = File::open(cgroup_root()?)?;
    for (name, direction) in [
        (EMPTY_IN, CgroupSkbAttachType::Ingress),
        (EMPTY_OUT, CgroupSkbAttachType::Egress),
    ] {
        let program: &mut CgroupSkb = programs
            .program_mut(name)
            .with_context(|| format!("{} has no program {name}", object.display()))?
            .try_into()?;
        program.load()?;
        program.attach(&cgroup, direction, CgroupAttachMode::Single)?;
    }
    Ok(programs)
}

/// Where the cgroup v2 tree is mounted: field 5 of a mountinfo line whose file system type, the field after " - ", is
/// cgroup2 (proc_pid_mountinfo(5)).
fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let root = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ")
            .then(|| mount.split(' ').nth(4))?
    });
    root.map(PathBuf::from).context("no cgroup v2 is mounted")
}
