//! `dbgov approvals`.

use std::path::Path;

use super::table::{self, visible};
use crate::audit::live::text::duration;
use crate::config::Config;
use crate::control::{self, Request};
use crate::gate::approvals::{ApprovalId, Decision, Listed, State};

/// Columns of a statement's head in the table; `--json` has all of it.
const HEAD_COLUMNS: usize = 60;

/// Shows which statements wait.
pub fn list(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let listed = control::approvals(&config.agent.control_socket)?;
    if json {
        println!("{}", serde_json::to_string(&listed)?);
    } else {
        print!("{}", shown(&listed));
    }
    Ok(())
}

/// Answers one of them.
pub fn decide(
    config: Option<&Path>,
    id: &str,
    decision: Decision,
    reason: Option<String>,
) -> anyhow::Result<()> {
    let (config, _) = Config::load(config)?;
    let id = ApprovalId::parse(id);
    let request = match decision {
        Decision::Approve => Request::Approve { id, reason },
        Decision::Deny => Request::Deny { id, reason },
    };
    let decided: control::Decided = control::ask(&config.agent.control_socket, &request)?;
    let fate = match decided.state {
        State::Approved => "it runs now",
        _ => "its client is told",
    };
    println!(
        "{} {} after {}: {fate}",
        decided.id,
        decided.state.name(),
        duration(decided.waited_us)
    );
    Ok(())
}

fn shown(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "nothing waits for approval\n".to_owned();
    }
    let head = ["ID", "WAITS", "LEFT", "WHO", "AS", "RULE", "STATEMENT"].map(str::to_owned);
    let rows = listed.iter().map(row);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    let mut out = table::aligned(&rows);
    out.push_str(
        "dbgov approvals approve ID, or deny ID [--reason TEXT]; --json has the whole of it\n",
    );
    out
}

fn row(listed: &Listed) -> [String; 7] {
    let role = match (&listed.user, &listed.database) {
        (Some(user), Some(database)) => format!("{user}@{database}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "-".to_owned(),
    };
    [
        listed.id.to_string(),
        duration(listed.waited_us),
        duration(listed.left_us),
        visible(&listed.requester, usize::MAX),
        visible(&role, usize::MAX),
        visible(&listed.rule, usize::MAX),
        visible(&listed.statement.head, HEAD_COLUMNS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::approvals::Statement;

    fn listed(head: &str) -> Listed {
        Listed {
            id: ApprovalId::parse("k7qx-12"),
            session: "s".to_owned(),
            requester: "agent:sync".to_owned(),
            user: Some("app".to_owned()),
            database: Some("prod".to_owned()),
            rule: "write-needs-where".to_owned(),
            reason: None,
            statement: Statement {
                head: head.to_owned(),
                bytes: 18,
                sha256: None,
            },
            waited_us: 61_000_000,
            left_us: 539_000_000,
        }
    }

    #[test]
    fn the_table_is_readable() {
        assert_eq!(shown(&[]), "nothing waits for approval\n");
        let text = shown(&[listed("UPDATE t\n   SET x = 1"), listed(&"x".repeat(500))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "ID       WAITS  LEFT   WHO         AS        RULE               STATEMENT"
        );
        assert_eq!(
            lines[1],
            "k7qx-12  1m01s  8m59s  agent:sync  app@prod  write-needs-where  UPDATE t SET x = 1"
        );
        assert!(lines[2].ends_with("xxx…"));
        assert!(lines[3].contains("approve ID"));
    }

    #[test]
    fn a_statement_does_not_play_with_the_terminal() {
        let text = shown(&[listed("a\u{1b}[2J\r\nb")]);
        assert!(text.contains(r"a\x1b[2J b"), "{text}");
    }
}
