//! PostgreSQL and the tools around it, from packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use dbgov_tests::installation::Installation;

use super::packages::{self, Need};
use crate::shell::{self, find_program};

/// A server with its clients (pgbench is part of them), and `ip` for clients in namespaces of their own.
pub(super) fn provide() -> Result<()> {
    packages::provide(&[
        Need::new(
            "PostgreSQL, which the tests and the demo start throw-away servers of",
            &["postgresql", "postgresql-contrib"],
            Installation::find().is_ok(),
        ),
        Need::new(
            "ip, for clients in network namespaces",
            &["iproute2"],
            find_program("ip").is_some(),
        ),
        Need::new(
            "openssl, for a server with TLS",
            &["openssl"],
            find_program("openssl").is_some(),
        ),
        Need::new(
            "zstd and python3, which verify a journal without dbgov",
            &["zstd", "python3"],
            find_program("zstd").is_some() && find_program("python3").is_some(),
        ),
    ])?;
    let installation = Installation::find()?;
    shell::say(format_args!("PostgreSQL {}", installation.version()));
    Ok(())
}

/// What the bench compares with, and what it reads the kernel's figures with.
pub(super) fn provide_bench() -> Result<()> {
    let installation = Installation::find()?;
    let pgaudit = format!("postgresql-{}-pgaudit", installation.major());
    let library = shell::capture(Command::new(installation.tool("pg_config")).arg("--pkglibdir"));
    let Some(library) = library else {
        bail!("{} does not run", installation.tool("pg_config").display());
    };
    packages::provide(&[
        Need::new(
            "pgaudit, which the bench compares with",
            &[&pgaudit],
            Path::new(library.trim()).join("pgaudit.so").exists(),
        ),
        Need::new(
            "pgbouncer, which the bench compares with",
            &["pgbouncer"],
            find_program("pgbouncer").is_some(),
        ),
        Need::new(
            "bpftool, which reads the kernel's run times",
            &["bpftool"],
            find_program("bpftool").is_some(),
        ),
    ])
}
