//! `dbgov audit verify` and `dbgov audit key`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::key::{PrivateKey, PublicKey};
use crate::audit::verify::{Options, verify};
use crate::config::Config;

/// What is to be verified.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The journal's directory, or a copy of it
    dir: PathBuf,
    /// The host's public key, as `dbgov audit key` prints it; only what is signed with it counts. Once for each key that
    /// the host had
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// A record that must be there, such as the newest one a SIEM holds
    #[arg(long, value_name = "N", requires = "expect_hash")]
    expect_seq: Option<u64>,
    /// Its `chain.hash`
    #[arg(long, value_name = "HASH", requires = "expect_seq")]
    expect_hash: Option<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(command: &Verify) -> anyhow::Result<ExitCode> {
    let keys: Result<Vec<PublicKey>, _> = command
        .keys
        .iter()
        .map(|path| PublicKey::read(path))
        .collect();
    let options = Options {
        keys: keys?,
        expected: command.expect_seq.zip(command.expect_hash.clone()),
    };
    let report = verify(&command.dir, &options)?;
    super::print(&match command.json {
        true => format!("{}\n", serde_json::to_string(&report)?),
        false => report.to_string(),
    })?;
    Ok(match report.intact {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

pub fn key(config: Option<&Path>) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let key = PrivateKey::load(&config.audit.key_path())?;
    // Text around the PEM is passed over by all who read it (RFC 7468 section 2).
    println!("# dbgov journal key {}", key.public().id());
    print!("{}", key.public().to_pem());
    Ok(())
}
