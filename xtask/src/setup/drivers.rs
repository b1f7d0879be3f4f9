//! The foreign drivers of the test group `drivers`, into the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use dbgov_tests::drivers::{JDBC_JAR, directory};

use super::node::NodePackage;
use super::packages::{self, Need};
use super::python::Venv;
use crate::shell::{self, find_program};

const PYTHON_PACKAGES: &[&str] = &["psycopg[binary]>=3.1,<4", "asyncpg>=0.29,<1"];
const NODE_PACKAGE: &str = "pg@8";

pub(super) fn provide() -> Result<()> {
    let made = directory();
    fs::create_dir_all(&made)?;
    let made = made.canonicalize()?;
    let python = Venv {
        dir: &made.join("venv"),
        packages: PYTHON_PACKAGES,
    };
    let node = NodePackage {
        dir: &made.join("node"),
        package: NODE_PACKAGE,
    };
    packages::provide(&[
        python.need("Python with venv, for psycopg and asyncpg"),
        node.need("Node and npm, for node-postgres"),
        Need::new(
            "a Java compiler, for JDBC",
            &["default-jdk-headless"],
            find_program("javac").is_some(),
        ),
        Need::new(
            "PostgreSQL's JDBC driver",
            &["libpostgresql-jdbc-java"],
            Path::new(JDBC_JAR).exists(),
        ),
    ])?;
    python.provide()?;
    node.provide()?;
    java(&made)?;
    shell::say(format_args!("foreign drivers: {}", made.display()));
    Ok(())
}

fn java(made: &Path) -> Result<()> {
    let source = dbgov_tests::workspace().join("tests/drivers/JdbcDriver.java");
    let text = fs::read_to_string(&source)?;
    let classes = made.join("java");
    if stamp(made, "java").holds(&text) && classes.join("JdbcDriver.class").exists() {
        return Ok(());
    }
    shell::run(
        Command::new("javac")
            .args(["-cp", JDBC_JAR, "-d"])
            .arg(&classes)
            .arg(&source),
    )?;
    stamp(made, "java").set(&text)
}

/// A file that remembers what a part was made from.
struct Stamp(PathBuf);

fn stamp(made: &Path, part: &str) -> Stamp {
    Stamp(made.join(format!("{part}.stamp")))
}

impl Stamp {
    fn holds(&self, content: &str) -> bool {
        fs::read_to_string(&self.0).is_ok_and(|stamped| stamped == content)
    }

    fn set(&self, content: &str) -> Result<()> {
        Ok(fs::write(&self.0, content)?)
    }
}
