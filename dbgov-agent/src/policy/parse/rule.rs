//! One `[[rule]]`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;

use super::reader::{Reader, Section, did_you_mean};
use super::window;
use crate::glob::Glob;
use crate::policy::action::Action;
use crate::policy::names::NamePattern;
use crate::policy::rule::{APPROVAL_TIMEOUT_DEFAULT, Cidr, Rule};
use crate::policy::verbs::{GROUPS, VerbSet};

const KEYS: &[&str] = &[
    "name",
    "action",
    "verbs",
    "tables",
    "functions",
    "settings",
    "schemas",
    "missing_where",
    "server_side",
    "multi_statement",
    "statement_bytes",
    "identities",
    "users",
    "roles",
    "databases",
    "applications",
    "client_addrs",
    "time",
    "reason",
    "approval_timeout",
];

/// Characters of a rule's name, which clients get to see in an error message, and which has to fit into a statement.
const NAME_CHARS_MAX: usize = 100;

/// Characters of a reason, likewise.
const REASON_CHARS_MAX: usize = 500;

/// A week: no client waits longer.
const APPROVAL_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// `None` where it has no name or no action.
pub(super) fn read(reader: &mut Reader<'_>, section: Section<'_>) -> Option<Rule> {
    reader.known_keys(section, "a rule", KEYS);
    let actions: Vec<_> = Action::ALL
        .iter()
        .map(|action| (action.name(), *action))
        .collect();
    for key in ["name", "action"] {
        if !section.table.contains_key(key) {
            let (start, end) = section.span;
            reader.problem(start..end, format!("the rule has no `{key}`"));
        }
    }
    let name = text(reader, section, "name", NAME_CHARS_MAX);
    let action = reader.choice(section, "action", &actions);
    let verbs = reader
        .list(section, "verbs", verb)
        .into_iter()
        .reduce(VerbSet::union);
    let mut globs = |key| reader.list(section, key, Glob::new);
    let (schemas, identities, users) = (globs("schemas"), globs("identities"), globs("users"));
    let settings = globs("settings");
    let (roles, databases, applications) =
        (globs("roles"), globs("databases"), globs("applications"));
    let mut names = |key| reader.list(section, key, NamePattern::new);
    let (tables, functions) = (names("tables"), names("functions"));
    let rule = Rule {
        name: "".into(),
        action: Action::Reset,
        verbs,
        tables,
        functions,
        settings,
        schemas,
        missing_where: reader.boolean(section, "missing_where"),
        server_side: reader.boolean(section, "server_side"),
        multi_statement: reader.boolean(section, "multi_statement"),
        statement_bytes: reader.integer(section, "statement_bytes"),
        identities,
        users,
        roles,
        databases,
        applications,
        client_addrs: reader.list(section, "client_addrs", block),
        time: window::read(reader, section),
        reason: text(reader, section, "reason", REASON_CHARS_MAX),
        approval_timeout: approval_timeout(reader, section).unwrap_or(APPROVAL_TIMEOUT_DEFAULT),
        line: reader.text[..section.span.0].matches('\n').count() + 1,
    };
    Some(Rule {
        name: name?,
        action: action?,
        ..rule
    })
}

/// Something to be shown to people.
fn text(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    key: &str,
    chars_max: usize,
) -> Option<Arc<str>> {
    let (text, span) = reader.string(section, key)?;
    if text.trim().is_empty() {
        reader.problem(span, format!("`{key}` is empty"));
    } else if text.chars().count() > chars_max {
        reader.problem(
            span,
            format!("`{key}` has more than {chars_max} characters"),
        );
    } else if text.chars().any(char::is_control) {
        reader.problem(
            span,
            format!("`{key}` has control characters; it is shown to users on one line"),
        );
    } else if key == "name" && text.starts_with('(') {
        reader.problem(
            span,
            "names in parentheses are those of settings, such as `(default)`",
        );
    } else {
        return Some(text.into());
    }
    None
}

fn verb(name: &str) -> Result<VerbSet, String> {
    VerbSet::named(name).ok_or_else(|| {
        let slip = did_you_mean(name, VerbSet::names());
        let groups: Vec<&str> = GROUPS.iter().map(|(group, _)| *group).collect();
        if slip.is_empty() {
            format!(
                "no verb is called so; expected a verb such as `select` or `drop`, or a group: {}",
                groups.join(", ")
            )
        } else {
            format!("no verb is called so{slip}")
        }
    })
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
pub(crate) fn block(text: &str) -> Result<Cidr, String> {
    let block = match text.parse::<IpNet>() {
        Ok(block) => block,
        Err(_) => text
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| "expected an address or a block such as `10.0.0.0/8`".to_owned())?,
    };
    if block != block.trunc() {
        return Err(format!(
            "the block's address has bits behind its prefix; did you mean `{}`?",
            block.trunc()
        ));
    }
    Ok(block)
}

fn approval_timeout(reader: &mut Reader<'_>, section: Section<'_>) -> Option<Duration> {
    let (text, span) = reader.string(section, "approval_timeout")?;
    let timeout = text
        .parse::<SignedDuration>()
        .ok()
        .and_then(|timeout| Duration::try_from(timeout).ok())
        .filter(|timeout| !timeout.is_zero() && *timeout <= APPROVAL_TIMEOUT_MAX);
    if timeout.is_none() {
        reader.problem(
            span,
            format!("`approval_timeout` cannot be {text:?}; expected a time such as `30s`, `10m` or `1h 30m`, up to `7d`"),
        );
    }
    timeout
}
