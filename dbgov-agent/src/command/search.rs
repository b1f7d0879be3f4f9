//! `dbgov audit search`.

use std::io::{BufWriter, Stdout, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use jiff::{Timestamp, Zoned};

use crate::agent;
use crate::audit::live::Renderer;
use crate::audit::reader::Reader;
use crate::audit::search::{Filters, Order, Query, Stats, search, when};
use crate::audit::tail::POLL_INTERVAL;
use crate::audit::view::{KINDS, View};
use crate::config::Config;
use crate::glob::Glob;
use crate::sql::Verb;

#[derive(clap::Args)]
pub struct Args {
    /// From this time on: 2026-11-22T10:00:00Z, 2026-11-22, yesterday, or how long ago: 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Who: `agent:*`
    #[arg(long, value_name = "GLOB")]
    identity: Vec<String>,
    /// The user of the database
    #[arg(long)]
    user: Vec<String>,
    #[arg(long)]
    database: Vec<String>,
    /// With its schema where the statement has it, or without
    #[arg(long)]
    table: Vec<String>,
    /// select, update, drop, ...
    #[arg(long)]
    verb: Vec<Verb>,
    #[arg(long, value_parser = PossibleValuesParser::new(["allow", "alert", "hold", "reject", "reset"]))]
    verdict: Vec<String>,
    /// The rule that decided
    #[arg(long)]
    rule: Vec<String>,
    #[arg(long, value_parser = PossibleValuesParser::new(KINDS), hide_possible_values = true)]
    kind: Vec<String>,
    /// A part of the statement or of a parameter, upper and lower case alike
    #[arg(long)]
    text: Vec<String>,
    #[arg(long, value_name = "ID")]
    session: Vec<String>,
    /// Of `dbgov exec`
    #[arg(long, value_name = "ID")]
    run: Vec<String>,
    /// Of the client
    #[arg(long)]
    pid: Vec<u64>,
    #[arg(long, conflicts_with = "follow")]
    newest_first: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on with the records to come
    #[arg(short, long)]
    follow: bool,
    /// The records as they stand in the journal
    #[arg(long)]
    json: bool,
    /// A journal, or a copy of one [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Say on stderr how much was read
    #[arg(long)]
    stats: bool,
}

/// Exit status 1 where something could not be read.
pub fn run(config: Option<&Path>, args: &Args) -> anyhow::Result<ExitCode> {
    let dir = directory(config, args.dir.as_deref())?;
    let mut query = Query::new(filters(args, &Zoned::now())?);
    let order = match args.newest_first {
        true => Order::NewestFirst,
        false => Order::OldestFirst,
    };
    let mut output = Output::new(args);
    let stats = search(&dir, &mut query, order, |line, view| {
        output.write(line, view)
    })?;
    if args.follow && output.is_open() {
        output.flush();
        follow(&dir, stats.last_seq, &mut query, &mut output)?;
    }
    output.finish()?;
    tell(&stats, args.stats);
    Ok(match stats.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The journal to be read: the one named, else that of the configuration.
pub(super) fn directory(config: Option<&Path>, dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    match dir {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(Config::load(config)?.0.audit.dir),
    }
}

fn filters(args: &Args, now: &Zoned) -> anyhow::Result<Filters> {
    let time = |text: &Option<String>| {
        text.as_deref()
            .map(|text| when::parse(text, now))
            .transpose()
    };
    let globs = args
        .identity
        .iter()
        .map(|text| Glob::new(text).with_context(|| format!("--identity {text:?} is no pattern")));
    Ok(Filters {
        since: time(&args.since)?,
        until: time(&args.until)?,
        identities: globs.collect::<Result<_, _>>()?,
        users: args.user.clone(),
        databases: args.database.clone(),
        tables: args.table.clone(),
        verbs: args.verb.iter().map(ToString::to_string).collect(),
        verdicts: args.verdict.clone(),
        rules: args.rule.clone(),
        kinds: args.kind.clone(),
        sessions: args.session.clone(),
        runs: args.run.clone(),
        pids: args.pid.clone(),
        texts: args.text.clone(),
    })
}

struct Output {
    out: BufWriter<Stdout>,
    renderer: Option<Renderer>,
    left: u64,
    /// Why nothing more is written.
    ended: Option<std::io::Result<()>>,
}

impl Output {
    fn new(args: &Args) -> Self {
        Output {
            out: BufWriter::new(std::io::stdout()),
            renderer: if args.json { None } else { agent::terminal() },
            left: args.limit.unwrap_or(u64::MAX),
            ended: None,
        }
    }

    fn is_open(&self) -> bool {
        self.left > 0 && self.ended.is_none()
    }

    fn write(&mut self, line: &[u8], view: &View) -> ControlFlow<()> {
        if !self.is_open() {
            return ControlFlow::Break(());
        }
        let written = match &self.renderer {
            Some(renderer) => {
                // Also what nobody who watches wants to see: it was asked for.
                let shown = renderer.render_all(line);
                writeln!(self.out, "{}{shown}", day(renderer, view))
            }
            None => self
                .out
                .write_all(line)
                .and_then(|()| self.out.write_all(b"\n")),
        };
        self.note(written);
        self.left -= 1;
        match self.is_open() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    fn flush(&mut self) {
        let flushed = self.out.flush();
        self.note(flushed);
    }

    /// A reader that has gone (`| head`) is the end, not an error.
    fn note(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written {
            let is_end = error.kind() == std::io::ErrorKind::BrokenPipe;
            self.ended
                .get_or_insert(if is_end { Ok(()) } else { Err(error) });
        }
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.flush();
        self.ended.unwrap_or(Ok(()))
    }
}

/// The live lines have the time of day only.
fn day(renderer: &Renderer, view: &View) -> String {
    match view.time.parse::<Timestamp>() {
        Ok(moment) => format!("{} ", renderer.zone.to_datetime(moment).date()),
        Err(_) => String::new(),
    }
}

/// Until the output ends, or the agent's journal cannot be read any more.
fn follow(dir: &Path, seq: u64, query: &mut Query, output: &mut Output) -> anyhow::Result<()> {
    let mut reader = Reader::open_after(dir, seq)?;
    while output.is_open() {
        while let Some(line) = reader.next_line()? {
            if let Ok(view) = View::parse(line)
                && query.matches(&view)
                && output.write(line, &view).is_break()
            {
                return Ok(());
            }
        }
        output.flush();
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

fn tell(stats: &Stats, all: bool) {
    for problem in &stats.problems {
        eprintln!("dbgov: {problem}");
    }
    if stats.more_problems > 0 {
        eprintln!("dbgov: and {} more", stats.more_problems);
    }
    if all {
        eprintln!(
            "{} records found; {} of {} blocks read, with {} records; {} segments, {} of them with an index",
            stats.matches,
            stats.blocks_read,
            stats.blocks,
            stats.records,
            stats.segments,
            stats.indexed
        );
    }
}
