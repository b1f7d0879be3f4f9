//! `cargo xtask test`: the tests in their groups.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use dbgov_tests::{drivers, workspace};

use crate::setup::{self, Part};
use crate::{build, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these groups [default: unit, kernel]
    #[arg(long = "group", value_enum, value_delimiter = ',')]
    groups: Vec<Group>,
    /// Arguments of the test programs, for instance part of a test's name
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// What needs no privileges: libraries, decoders, replay
    Unit,
    /// End to end: kernel, agent and a real PostgreSQL; as root
    Kernel,
    /// End to end with Python, Node and Java clients; as root
    Drivers,
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Group::Unit => "unit",
            Group::Kernel => "kernel",
            Group::Drivers => "drivers",
        }
    }

    fn parts(self) -> &'static [Part] {
        match self {
            Group::Unit => &[],
            Group::Kernel => &[
                Part::Agent,
                Part::Kernel,
                Part::Postgres,
                Part::Receivers,
                Part::Deploy,
            ],
            Group::Drivers => &[Part::Agent, Part::Kernel, Part::Postgres, Part::Drivers],
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let groups = match &args.groups[..] {
        [] => &[Group::Unit, Group::Kernel],
        chosen => chosen,
    };
    // A test that cannot run is no test that passed: say so before anything starts.
    if groups.iter().any(|group| *group != Group::Unit) {
        shell::need_root("the end-to-end tests (without it: cargo xtask test --group unit)")?;
    }
    for group in groups {
        setup::provide(group.parts())?;
    }
    let agent = match groups {
        [Group::Unit] => None,
        _ => Some(build::everything(true)?),
    };
    let mut failed = Vec::new();
    for group in groups {
        for run in runs(*group)? {
            let mut test = shell::cargo();
            test.args(["test", "--no-fail-fast"])
                .args(&run.selection)
                .arg("--");
            test.args(run.flags).args(&args.args);
            if let Some(agent) = &agent {
                test.env("DBGOV_BIN", agent)
                    .env("DBGOV_DRIVERS", drivers::directory());
            }
            if shell::run(&mut test).is_err() {
                failed.push(group.name());
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// One call of `cargo test`.
struct Run {
    selection: Vec<String>,
    flags: &'static [&'static str],
}

/// The end-to-end tests share the host's hooks: one at a time.
const ONE_AT_A_TIME: &[&str] = &["--test-threads=1"];
/// The harness's own tests of the drivers are ignored where there are none.
const ONLY_IGNORED: &[&str] = &["--test-threads=1", "--ignored"];

fn runs(group: Group) -> Result<Vec<Run>> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let harness = words(&["--package", "dbgov-tests", "--lib"]);
    let run = |selection, flags| Run { selection, flags };
    Ok(match group {
        Group::Unit => vec![run(
            words(&["--workspace", "--exclude", "dbgov-tests"]),
            &[],
        )],
        Group::Kernel => vec![run([harness, programs(false)?].concat(), ONE_AT_A_TIME)],
        Group::Drivers => {
            let mut runs = vec![run(harness, ONLY_IGNORED)];
            let programs = programs(true)?;
            if !programs.is_empty() {
                runs.push(run(
                    [words(&["--package", "dbgov-tests"]), programs].concat(),
                    ONE_AT_A_TIME,
                ));
            }
            runs
        }
    })
}

/// `--test NAME` for each program in `tests/tests`: those whose name begins with `drivers`, or all others.
fn programs(of_drivers: bool) -> Result<Vec<String>> {
    let dir = workspace().join("tests/tests");
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        names.extend(program_name(&entry?.path()));
    }
    names.retain(|name| name.starts_with("drivers") == of_drivers);
    names.sort();
    Ok(names
        .into_iter()
        .flat_map(|name| ["--test".to_string(), name])
        .collect())
}

/// `name.rs` or `name/main.rs`, as cargo finds them.
fn program_name(path: &Path) -> Option<String> {
    let is_program = path.extension().is_some_and(|extension| extension == "rs")
        || path.join("main.rs").exists();
    is_program.then(|| path.file_stem()?.to_str().map(str::to_string))?
}
