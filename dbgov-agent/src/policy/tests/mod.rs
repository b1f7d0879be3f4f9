mod check;
mod errors;
mod evaluate;
mod laws;
mod ready_made;
mod speed;
mod who;
mod windows;

use std::path::Path;

use super::{Context, Message, Policy, SearchPath, Verdict};
use crate::sql::{Dialect, facts};

pub(super) fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new("policy.toml")).unwrap()
}

/// Everybody and nobody: all is known, and plain.
pub(super) fn somebody(path: &SearchPath) -> Context<'_> {
    Context {
        identity: Some("agent:sync"),
        user: Some("app"),
        role: Some("app"),
        database: Some("shop"),
        application: Some("psql"),
        client_addr: Some([10, 9, 0, 2].into()),
        // Monday, 2026-11-23, 12:00 UTC
        unix_ns: 1_795_435_200 * 1_000_000_000,
        search_path: path,
    }
}

pub(super) fn ask(policy: &Policy, context: &Context<'_>, sql: &str) -> Verdict {
    let facts = facts(sql, Dialect::Postgres, false);
    policy.evaluate(
        context,
        &Message::Statement {
            facts: &[&facts],
            bytes: sql.len() as u64,
        },
    )
}

/// `rule action matched`, under an unknown search path.
pub(super) fn told(policy: &Policy, sql: &str) -> String {
    let verdict = ask(policy, &somebody(&SearchPath::Unknown), sql);
    line(&verdict)
}

pub(super) fn line(verdict: &Verdict) -> String {
    let mut line = format!("{} {}", verdict.rule, verdict.action.name());
    if let Some(matched) = &verdict.matched {
        line.push_str(": ");
        line.push_str(matched);
    }
    line
}
