//! `dbgov policy check` and `dbgov policy test`.

mod test;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::policy::{Action, POLICY_BYTES_MAX, Policy, PolicyError};

pub use test::{Case, run as test};

/// Says whether the file is a policy, and what in it cannot be meant. Warnings are no failure.
pub fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let policy = match load(file)? {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("{error}");
            let count = error.problems.len();
            let errors = if count == 1 { "error" } else { "errors" };
            eprintln!("{}: {count} {errors}", file.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in policy.check() {
        println!(
            "{}: line {}: warning: {}",
            file.display(),
            warning.line,
            warning.message
        );
    }
    println!("{}: ok, {}", file.display(), summary(&policy));
    Ok(ExitCode::SUCCESS)
}

/// A file that can be read, and what it says.
fn load(file: &Path) -> anyhow::Result<Result<Policy, PolicyError>> {
    let size = std::fs::metadata(file)
        .with_context(|| format!("cannot read the policy {}", file.display()))?
        .len();
    if size > POLICY_BYTES_MAX as u64 {
        bail!(
            "the policy {} is larger than {POLICY_BYTES_MAX} bytes",
            file.display()
        );
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the policy {}", file.display()))?;
    Ok(Policy::parse(&text, file))
}

/// `3 rules (2 reset, 1 hold), default allow, sha256 ...`
fn summary(policy: &Policy) -> String {
    let counts: Vec<String> = Action::ALL
        .iter()
        .rev()
        .map(|action| {
            (
                action,
                policy
                    .rules
                    .iter()
                    .filter(|rule| rule.action == *action)
                    .count(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| format!("{count} {}", action.name()))
        .collect();
    let rules = match (policy.rules.len(), counts.join(", ")) {
        (0, _) => "no rules".to_owned(),
        (1, actions) => format!("1 rule ({actions})"),
        (count, actions) => format!("{count} rules ({actions})"),
    };
    format!(
        "{rules}, default {}, sha256 {}",
        policy.settings.default.name(),
        policy.sha256
    )
}
