//! The command line of dbgov.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dbgov_agent::command;
use dbgov_agent::gate::approvals::Decision;
use dbgov_agent::identity::tags::TagName;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Shows what people, services and AI agents do to databases, from the kernel of the host.
#[derive(Parser)]
#[command(name = "dbgov", version, propagate_version = true)]
struct Cli {
    /// Configuration file [default: /etc/dbgov/dbgov.toml, or the built-in defaults where there is none]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent: capture, decode, write the audit journal; live statements on stdout
    Run {
        /// Nothing on stdout; the journal is written all the same
        #[arg(long)]
        quiet: bool,
    },
    /// Show whether the agent is capturing, what it watches and what it lost; exit 0 only when capturing
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Show what this host can do, what is missing and how to get it
    Doctor {
        #[arg(long)]
        json: bool,
    },
    /// Run a command under a tag: what it does to databases goes by that name, with this run's id and purpose
    Exec(command::exec::Run),
    /// Say by which names the processes of cgroups go; for root and the group dbgov
    Tag {
        #[command(subcommand)]
        command: TagCommand,
    },
    /// Decide on statements that wait for approval; for root and the group dbgov
    Approvals {
        #[command(subcommand)]
        command: ApprovalsCommand,
    },
    /// Look at a policy file, without an agent
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Read the audit journal
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Show the gate that is pinned in the kernel, or take it away
    Gate {
        #[command(subcommand)]
        command: GateCommand,
    },
    /// Run the pipeline on a pcap or pcapng file, without privileges; records to stdout
    Replay { file: PathBuf },
}

#[derive(Subcommand)]
enum TagCommand {
    /// Give a cgroup, and all below it, a name
    Set {
        name: TagName,
        #[command(flatten)]
        target: command::tag::Target,
    },
    /// Show what is tagged
    List {
        #[arg(long)]
        json: bool,
    },
    /// Take a name off its cgroups
    Rm {
        name: TagName,
        /// Only off this one
        #[arg(long, value_name = "PATH")]
        cgroup: Option<String>,
    },
}

#[derive(Subcommand)]
enum ApprovalsCommand {
    /// Show the statements that wait
    List {
        #[arg(long)]
        json: bool,
    },
    /// Let a statement run
    Approve {
        id: String,
        /// Why; it stands in the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Refuse a statement; its client is told
    Deny {
        id: String,
        /// Why; it stands in the record, and the client is told
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Say what is wrong with a policy, and which of its rules can never match; exit 0 unless something is wrong
    Check { file: PathBuf },
    /// Tell what a policy would do about a statement, and why
    Test {
        file: PathBuf,
        #[command(flatten)]
        case: Box<command::policy::Case>,
    },
}

#[derive(Subcommand)]
enum GateCommand {
    /// Show what is pinned, whether it enforces and whether its agent is alive
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Take the gate away at once, whether an agent runs or not
    Off,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Show the newest records
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u64,
        /// Go on with the records to come
        #[arg(short, long)]
        follow: bool,
        /// The records as they stand in the journal
        #[arg(long)]
        json: bool,
    },
    /// Find records; without an agent too. A filter that is given several times asks for either, several filters for all
    Search(Box<command::search::Args>),
    /// Say whether a journal is what dbgov wrote, or where it first is not; needs no agent; exit 0 only when it is
    Verify(command::verify::Verify),
    /// Print the public key that the journal's signatures are checked with, and its id
    Key,
    /// What an auditor asks of the journal, by the controls of a catalogue: who reached which data, what was denied and
    /// approved, what was not seen, whether the journal is intact
    Report(command::report::Args),
}

/// What is logged without `DBGOV_LOG`. The clients of Kubernetes, NATS and Kafka would tell each of their
/// attempts, which status and warnings of their owners sum up.
const LOG_DEFAULT: &str = "info,kube_client=off,async_nats=off,rdkafka=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let asked =
        EnvFilter::try_from_env("DBGOV_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    let log = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(asked.and(filter_fn(may_be_logged)));
    tracing_subscriber::registry().with(log).init();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dbgov: {error}");
            for cause in error.chain().skip(1) {
                // Causes that the message above already ends with say nothing new.
                let cause = cause.to_string();
                if !error.to_string().contains(&cause) {
                    eprintln!("  because: {cause}");
                }
            }
            ExitCode::FAILURE
        }
    }
}

/// Whatever `DBGOV_LOG` asks for: the parser logs the literals it reads, and what the clients of other servers log of their
/// requests nobody here has looked through for secrets.
fn may_be_logged(about: &tracing::Metadata<'_>) -> bool {
    let is_of = |name: &&str| about.target().starts_with(name);
    if is_of(&"sqlparser") {
        return false;
    }
    ["dbgov", "aya"].iter().any(is_of) || *about.level() <= tracing::Level::INFO
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = cli.config.as_deref();
    match &cli.command {
        Command::Run { quiet } => command::run::run(config, *quiet)?,
        Command::Status { json } => return command::status::run(config, *json),
        Command::Doctor { json } => return command::doctor::command(config, *json),
        Command::Exec(run) => return Ok(command::exec::run(config, run)),
        Command::Tag { command } => match command {
            TagCommand::Set { name, target } => command::tag::set(config, name, target)?,
            TagCommand::List { json } => command::tag::list(config, *json)?,
            TagCommand::Rm { name, cgroup } => {
                command::tag::remove(config, name, cgroup.clone())?;
            }
        },
        Command::Approvals { command } => match command {
            ApprovalsCommand::List { json } => command::approvals::list(config, *json)?,
            ApprovalsCommand::Approve { id, reason } => {
                command::approvals::decide(config, id, Decision::Approve, reason.clone())?;
            }
            ApprovalsCommand::Deny { id, reason } => {
                command::approvals::decide(config, id, Decision::Deny, reason.clone())?;
            }
        },
        Command::Policy { command } => {
            return match command {
                PolicyCommand::Check { file } => command::policy::check(file),
                PolicyCommand::Test { file, case } => command::policy::test(file, case),
            };
        }
        Command::Audit { command } => match command {
            AuditCommand::Tail {
                lines,
                follow,
                json,
            } => command::tail::run(config, *lines, *follow, *json)?,
            AuditCommand::Search(args) => return command::search::run(config, args),
            AuditCommand::Verify(verify) => return command::verify::run(verify),
            AuditCommand::Key => command::verify::key(config)?,
            AuditCommand::Report(args) => return command::report::run(config, args),
        },
        Command::Gate { command } => {
            return match command {
                GateCommand::Status { json } => command::gate::status(config, *json),
                GateCommand::Off => command::gate::off(config, command::gate::ask_agent),
            };
        }
        Command::Replay { file } => command::replay::run(config, file)?,
    }
    Ok(ExitCode::SUCCESS)
}
