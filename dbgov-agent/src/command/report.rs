//! `dbgov audit report`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use jiff::{Timestamp, Zoned};

use super::search::directory;
use crate::audit::key::PublicKey;
use crate::audit::report::{Catalogue, Report, Scope, report};
use crate::audit::search::when;
use crate::audit::verify;

#[derive(clap::Args)]
pub struct Args {
    /// The catalogue of controls
    #[arg(long)]
    control: Catalogue,
    /// Beginning of the period: 2026-10-01, 2026-10-01T00:00:00Z, 90d
    #[arg(long, value_name = "TIME")]
    since: String,
    /// End of the period, not included [default: now]
    #[arg(
        long,
        value_name = "TIME",
        default_value = "now",
        hide_default_value = true
    )]
    until: String,
    /// Write report-CONTROL.md and report-CONTROL.json into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    out: Option<PathBuf>,
    /// As JSON, not Markdown
    #[arg(long)]
    json: bool,
    /// A key that the journal must be signed by; what `dbgov audit key` prints
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A journal, or a copy of one [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Exit status 1 where the journal is not intact or could not be read as a whole; the report says so too.
pub fn run(config: Option<&Path>, args: &Args) -> anyhow::Result<ExitCode> {
    let dir = directory(config, args.dir.as_deref())?;
    let now = Zoned::now();
    let (since, since_text) = moment(&args.since, &now)?;
    let (until, until_text) = moment(&args.until, &now)?;
    anyhow::ensure!(
        since < until,
        "--since {since_text} is not before --until {until_text}"
    );
    let scope = Scope {
        catalogue: args.control,
        since,
        until,
        since_text,
        until_text,
    };
    let keys = args
        .key
        .iter()
        .map(|path| PublicKey::read(path))
        .collect::<Result<_, _>>()?;
    let options = verify::Options {
        keys,
        expected: None,
    };
    let report = report(&dir, &scope, options)?;
    match &args.out {
        Some(out) => write(out, &report)?,
        None if args.json => super::print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        None => super::print(&report.markdown())?,
    }
    Ok(
        match report.integrity.intact && report.problems.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    )
}

/// And as it is shown: in UTC, whatever it was given as.
fn moment(text: &str, now: &Zoned) -> anyhow::Result<(u64, String)> {
    let unix_ns = when::parse(text, now)?;
    let moment = Timestamp::from_nanosecond(unix_ns.into())?;
    Ok((unix_ns, moment.to_string()))
}

fn write(out: &Path, report: &Report) -> anyhow::Result<()> {
    let cannot = || format!("cannot write the report into {}", out.display());
    fs::create_dir_all(out).with_context(cannot)?;
    let name = match report.catalogue {
        Catalogue::Soc2 => "soc2",
        Catalogue::Hipaa => "hipaa",
        Catalogue::Fedramp => "fedramp",
    };
    for (suffix, content) in [
        ("md", report.markdown()),
        ("json", serde_json::to_string_pretty(report)?),
    ] {
        let path = out.join(format!("report-{name}.{suffix}"));
        fs::write(&path, content).with_context(cannot)?;
        println!("{}", path.display());
    }
    Ok(())
}
