//! `cargo xtask kernels`: dbgov on kernels of distributions, each in an emulator with a real PostgreSQL.

mod fetch;
mod guest;
mod image;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use dbgov_tests::target_dir;

use crate::setup::{self, Part};
use crate::{build, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these: 5.4, 5.10, 5.15, 6.1, 6.12 [default: all]
    #[arg(value_parser = by_version)]
    versions: Vec<&'static Release>,
    /// Fetch the newest packages of each kernel instead of those of an earlier run
    #[arg(long)]
    refresh: bool,
    /// Try this agent; none is built
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// A kernel to try, and who ships it.
#[derive(Debug)]
struct Release {
    version: &'static str,
    distribution: Distribution,
    /// The distribution's name of its release.
    suite: &'static str,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distribution {
    Debian,
    Ubuntu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Everything works.
    Works,
    /// `dbgov run` refuses and says which kernel it needs.
    TooOld,
}

const RELEASES: [Release; 5] = {
    use Distribution::{Debian, Ubuntu};
    use Expected::{TooOld, Works};
    [
        release("5.4", Ubuntu, "focal", TooOld),
        release("5.10", Debian, "bullseye", Works),
        release("5.15", Ubuntu, "jammy", Works),
        release("6.1", Debian, "bookworm", Works),
        release("6.12", Debian, "trixie", Works),
    ]
};

const fn release(
    version: &'static str,
    distribution: Distribution,
    suite: &'static str,
    expected: Expected,
) -> Release {
    Release {
        version,
        distribution,
        suite,
        expected,
    }
}

impl Release {
    /// Where its packages, its image and its last run's output stay.
    fn dir(&self) -> PathBuf {
        dir().join(self.version)
    }
}

fn by_version(text: &str) -> Result<&'static Release, String> {
    const ALL: &[Release] = &RELEASES;
    let known = || ALL.iter().map(|release| release.version);
    ALL.iter()
        .find(|release| release.version == text)
        .ok_or_else(|| format!("known are {}", known().collect::<Vec<_>>().join(", ")))
}

fn dir() -> PathBuf {
    target_dir().join("kernels")
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels tried here are for x86-64"
    );
    shell::need_root("a guest's files keep their owners, so it")?;
    setup::provide(&[Part::Agent, Part::Kernel, Part::Postgres, Part::Emulator])?;
    let agent = match &args.agent {
        Some(agent) => agent.clone(),
        None => build::everything(true)?,
    };
    let base = image::base(&agent)?;
    const ALL: &[Release] = &RELEASES;
    let all: Vec<&Release> = ALL.iter().collect();
    let chosen = match &args.versions[..] {
        [] => &all[..],
        chosen => chosen,
    };
    let mut failed = Vec::new();
    for release in chosen {
        let start = Instant::now();
        let tried = fetch::kernel(release, args.refresh)
            .and_then(|kernel| image::of(release, &kernel, &base).map(|image| (kernel, image)))
            .and_then(|(kernel, image)| guest::judge(release, &kernel, &image));
        let seconds = start.elapsed().as_secs();
        match tried {
            Ok(told) => println!("{:5} ok    {told} ({seconds} s)", release.version),
            Err(error) => {
                println!("{:5} FAIL  {error:#} ({seconds} s)", release.version);
                failed.push(release.version);
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "failed: {}; what the guests said is in {}/VERSION/console.log",
        failed.join(", "),
        dir().display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_by_their_name() {
        assert_eq!(by_version("5.10").unwrap().suite, "bullseye");
        assert!(by_version("2.4").unwrap_err().contains("5.4, 5.10"));
    }
}
