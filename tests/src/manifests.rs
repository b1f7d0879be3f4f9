//! The manifests of Kubernetes, built as `kubectl apply -k` would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{deploy, workspace};

/// Reads YAML documents and prints them as one JSON array.
const YAML_TO_JSON: &str =
    "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";

/// A directory below deploy/kubernetes.
pub fn directory(name: &str) -> PathBuf {
    workspace().join("deploy/kubernetes").join(name)
}

/// What kustomize makes of a directory, as YAML.
pub fn build(dir: &Path) -> Result<String> {
    let output = Command::new(deploy::kustomize()?)
        .arg("build")
        .arg(dir)
        .output()?;
    printed(&output).with_context(|| dir.display().to_string())
}

/// The objects of a built manifest.
pub fn objects(yaml: &str) -> Result<Vec<Value>> {
    let mut python = Command::new(deploy::checker("python")?)
        .args(["-c", YAML_TO_JSON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    python
        .stdin
        .take()
        .context("no stdin")?
        .write_all(yaml.as_bytes())?;
    Ok(serde_json::from_str(&printed(
        &python.wait_with_output()?,
    )?)?)
}

/// The object of a kind, of which there is one.
pub fn object<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found
        .next()
        .with_context(|| format!("there is no {kind}"))?;
    ensure!(found.next().is_none(), "there is more than one {kind}");
    Ok(first)
}

/// Checks against the schemas of a version of Kubernetes; properties and kinds it does not have are errors. What it says
/// has a line for each object.
pub fn validate(file: &Path, version: &str) -> Result<String> {
    let output = Command::new(deploy::checker("kubernetes-validate")?)
        .args(["--strict", "-k", version])
        .arg(file)
        .output()?;
    let said = [&output.stderr[..], &output.stdout].concat();
    let said = String::from_utf8(said)?;
    // A kind without a schema is a warning only.
    let fine = output.status.success() && !said.contains("WARN");
    ensure!(fine, "Kubernetes {version}: {said}");
    Ok(said)
}

fn printed(output: &Output) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(String::from_utf8(output.stdout.clone())?)
}
