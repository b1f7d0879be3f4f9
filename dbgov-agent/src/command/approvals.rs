//! `dbgov approvals`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

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
        print!("{}", table(&listed));
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

fn table(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "nothing waits for approval\n".to_owned();
    }
    let head = ["ID", "WAITS", "LEFT", "WHO", "AS", "RULE", "STATEMENT"].map(str::to_owned);
    let rows = listed.iter().map(row);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            // Nothing follows the last one.
            let width = match column {
                6 => 0,
                _ => {
                    rows.iter()
                        .map(|row| row[column].chars().count())
                        .max()
                        .unwrap_or(0)
                        + 2
                }
            };
            // Writing to a String cannot fail.
            let _ = write!(out, "{cell:width$}");
        }
        out.push('\n');
    }
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

fn duration(us: u64) -> String {
    let seconds = Duration::from_micros(us).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// On one line, and nothing that plays with the terminal: statements and names are what clients say.
fn visible(text: &str, columns: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let format_only = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let mut shown: String = text.chars().filter(|c| !format_only(*c)).collect();
    if let Some((at, _)) = shown.char_indices().nth(columns) {
        shown.truncate(at);
        shown.push('…');
    }
    shown
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
                sha256: String::new(),
            },
            waited_us: 61_000_000,
            left_us: 539_000_000,
        }
    }

    #[test]
    fn the_table_is_readable() {
        assert_eq!(table(&[]), "nothing waits for approval\n");
        let text = table(&[listed("UPDATE t\n   SET x = 1"), listed(&"x".repeat(500))]);
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
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}c\r\nd", 80), "a [2Jbc d");
    }

    #[test]
    fn durations_are_short() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3_660, "1h01m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(duration(seconds * 1_000_000), expected);
        }
    }
}
