//! `cargo xtask package`: the Debian package.

use anyhow::Result;
use dbgov_tests::{deploy, target_dir};

use crate::setup::{self, Part};
use crate::{build, shell};

pub(crate) fn run() -> Result<()> {
    setup::provide(&[Part::Agent, Part::Kernel, Part::Deploy])?;
    build::everything(true)?;
    let package = deploy::package(&target_dir().join("debian"))?;
    shell::say(format_args!("built {}", package.display()));
    Ok(())
}
