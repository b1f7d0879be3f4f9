//! Records -> tables.

use super::controls::Part;
use super::table::{Counts, Table, arguments};
use crate::audit::view::View;

/// Fields of a search that finds what a row has.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// The tables of the report in the making.
pub(super) struct Collector {
    /// ` --since=… --until=…`, what is added to each search.
    period: String,
    access: Counts,
    sessions: Counts,
    privileged: Counts,
    superusers: Counts,
    denials: Counts,
    alerts: Counts,
    failed_logins: Counts,
    approvals: Counts,
    policies: Counts,
    tags: Counts,
    gaps: Counts,
    unenforced: Counts,
    opaque: Counts,
    agent: Counts,
    removed: Counts,
    /// Since when no agent has run, as far as is known.
    stopped: Option<String>,
}

/// How a verb reaches data, for the matrix of access.
fn reach(verb: &str) -> &'static str {
    match verb {
        "select" | "fetch" | "copy_to" => "read",
        "insert" | "update" | "delete" | "merge" | "truncate" | "copy_from" => "write",
        _ => "other",
    }
}

/// Definitions, rights, and what runs code on the server.
fn is_privileged(verb: &str) -> bool {
    matches!(
        verb,
        "create"
            | "alter"
            | "drop"
            | "grant"
            | "revoke"
            | "truncate"
            | "reassign"
            | "security_label"
            | "load"
            | "do"
            | "import"
            | "cluster"
            | "reindex"
            | "checkpoint"
    )
}

/// Names that are superusers by custom; what a server's catalogue says is not in the records.
const SUPERUSERS: [&str; 3] = ["postgres", "root", "rdsadmin"];

impl Collector {
    pub(super) fn new(period: String) -> Self {
        Collector {
            period,
            access: Counts::new(
                "Who reached which data",
                &["Identity", "Database user", "Database", "Table", "Access"],
            ),
            sessions: Counts::new(
                "Sessions",
                &["Identity", "Database user", "Database", "Named by"],
            ),
            privileged: Counts::new(
                "Privileged statements",
                &["Identity", "Database user", "Database", "Action", "Result"],
            ),
            superusers: Counts::new(
                "Sessions under a superuser's name or another role",
                &["Identity", "Database user", "Role", "Database"],
            ),
            denials: Counts::new(
                "Stopped by policy",
                &["Identity", "Database user", "Rule", "Action", "Mode"],
            ),
            alerts: Counts::new(
                "Alerts of the policy",
                &["Identity", "Database user", "Rule"],
            ),
            failed_logins: Counts::new(
                "Errors of sessions, failed log-ins among them",
                &["Client", "Database user", "SQLSTATE"],
            ),
            approvals: Counts::new(
                "Approvals",
                &["Requester", "Rule", "State", "Decided by", "Waited at most"],
            ),
            policies: Counts::new(
                "Changes of the policy",
                &["Event", "File", "SHA-256", "Asked by"],
            ),
            tags: Counts::new(
                "Changes of identity tags",
                &["Event", "Name", "Cgroup", "Origin", "By"],
            ),
            gaps: Counts::new("Gaps in coverage", &["Cause", "Direction", "Session"]),
            unenforced: Counts::new(
                "Verdicts that could not be enforced",
                &["Identity", "Rule", "Action"],
            ),
            opaque: Counts::new(
                "Sessions whose statements could not be read",
                &["Encryption", "Identity", "Database user"],
            ),
            agent: Counts::new(
                "Starts and stops of the agent",
                &["Event", "Version", "Not recorded since"],
            ),
            removed: Counts::new("Records that retention removed", &["From", "To", "Reason"]),
            stopped: None,
        }
    }

    pub(super) fn add(&mut self, view: &View) {
        match view.kind.as_str() {
            "statement" => self.statement(view),
            "session_open" => self.session_open(view),
            "session_error" => self.session_error(view),
            "approval" => self.approval(view),
            "policy" => self.policy(view),
            "tag" => self.tag(view),
            "gap" => self.gap(view),
            "verdict_unenforced" => self.unenforced(view),
            "protocol_error" => self.verdict(view),
            "agent_start" | "agent_stop" => self.agent(view),
            "retention" => self.retention(view),
            _ => {}
        }
    }

    fn statement(&mut self, view: &View) {
        let statement = &view.statement;
        let stopped = view.verdict.stopped();
        let (who, user, database) = who(view);
        for verb in &statement.verbs {
            if is_privileged(verb) {
                let cells = [who, user, database, verb, result(view)];
                let pairs = [
                    ("identity", who),
                    ("user", user),
                    ("database", database),
                    ("verb", verb),
                ];
                add(&mut self.privileged, &self.period, view, &cells, &pairs);
            }
        }
        // What was stopped reached nothing; of several accesses in one message each is counted once.
        if !stopped {
            self.access(view);
        }
        self.verdict(view);
    }

    fn access(&mut self, view: &View) {
        let (who, user, database) = who(view);
        let mut reaches: Vec<&str> = view
            .statement
            .verbs
            .iter()
            .map(|verb| reach(verb))
            .collect();
        reaches.sort_unstable();
        reaches.dedup();
        let reach = match reaches[..] {
            [] => "other",
            [one] => one,
            _ if reaches.contains(&"write") && reaches.contains(&"read") => "read and write",
            _ if reaches.contains(&"write") => "write",
            _ if reaches.contains(&"read") => "read",
            _ => "other",
        };
        for table in &view.statement.tables {
            let cells = [who, user, database, table, reach];
            let pairs = [
                ("identity", who),
                ("user", user),
                ("database", database),
                ("table", table),
            ];
            add(&mut self.access, &self.period, view, &cells, &pairs);
        }
    }

    /// Of a statement, and of what else the policy decides on.
    fn verdict(&mut self, view: &View) {
        let verdict = &view.verdict;
        let (who, user, _) = who(view);
        let pairs = [
            ("identity", who),
            ("user", user),
            ("rule", &verdict.rule),
            ("verdict", &verdict.action),
        ];
        if verdict.stops() && verdict.action != "hold" {
            let cells = [who, user, &verdict.rule, &verdict.action, &verdict.mode];
            add(&mut self.denials, &self.period, view, &cells, &pairs);
        } else if verdict.action == "alert" {
            add(
                &mut self.alerts,
                &self.period,
                view,
                &[who, user, &verdict.rule],
                &pairs,
            );
        }
    }

    fn session_open(&mut self, view: &View) {
        let session = &view.session;
        let (who, user, database) = who(view);
        let pairs = [
            ("identity", who),
            ("user", user),
            ("database", database),
            ("kind", "session_open"),
        ];
        let cells = [who, user, database, &view.identity.source];
        add(&mut self.sessions, &self.period, view, &cells, &pairs);
        let is_superuser = SUPERUSERS.contains(&user);
        if is_superuser || !session.role.is_empty() {
            let cells = [who, user, &session.role, database];
            add(&mut self.superusers, &self.period, view, &cells, &pairs);
        }
        if !session.opaque.is_empty() {
            let cells = [&*session.opaque, who, user];
            let pairs = [("identity", who), ("user", user), ("kind", "session_open")];
            add(&mut self.opaque, &self.period, view, &cells, &pairs);
        }
        self.verdict(view);
    }

    fn session_error(&mut self, view: &View) {
        let client = view
            .session
            .client_addr
            .rsplit_once(':')
            .map_or("", |(host, _)| host);
        let cells = [client, &view.session.user, &view.error.code];
        let pairs = [("user", &*view.session.user), ("kind", "session_error")];
        add(&mut self.failed_logins, &self.period, view, &cells, &pairs);
    }

    fn approval(&mut self, view: &View) {
        let approval = &view.approval;
        let by = approval
            .approver
            .as_ref()
            .map(|person| person.shown())
            .unwrap_or_default();
        let waited = match approval.state.as_str() {
            "pending" => "",
            _ => within(approval.waited_us),
        };
        let cells = [
            &*approval.requester,
            &approval.rule,
            &approval.state,
            &by,
            waited,
        ];
        let pairs = [
            ("identity", &*view.identity.name),
            ("rule", &approval.rule),
            ("kind", "approval"),
        ];
        add(&mut self.approvals, &self.period, view, &cells, &pairs);
    }

    fn policy(&mut self, view: &View) {
        let policy = &view.policy;
        let cells = [&*policy.event, &policy.file, &policy.sha256, &policy.by];
        add(
            &mut self.policies,
            &self.period,
            view,
            &cells,
            &[("kind", "policy")],
        );
    }

    fn tag(&mut self, view: &View) {
        let tag = &view.tag;
        let by = tag
            .by
            .as_ref()
            .map(|person| person.shown())
            .unwrap_or_default();
        // A run has a cgroup of its own.
        let cgroup = if tag.run.is_empty() {
            tag.cgroup.as_str()
        } else {
            "(a run)"
        };
        let cells = [&*tag.event, &tag.name, cgroup, &tag.origin, &by];
        add(
            &mut self.tags,
            &self.period,
            view,
            &cells,
            &[("kind", "tag")],
        );
    }

    fn gap(&mut self, view: &View) {
        let of_session = if view.session.id.is_empty() {
            "no"
        } else {
            "yes"
        };
        let cells = [&*view.gap.cause, &view.gap.direction, of_session];
        add(
            &mut self.gaps,
            &self.period,
            view,
            &cells,
            &[("kind", "gap")],
        );
    }

    fn unenforced(&mut self, view: &View) {
        let cells = [
            &*view.identity.name,
            &view.verdict.rule,
            &view.verdict.action,
        ];
        let pairs = [
            ("identity", cells[0]),
            ("rule", cells[1]),
            ("kind", "verdict_unenforced"),
        ];
        add(&mut self.unenforced, &self.period, view, &cells, &pairs);
    }

    fn agent(&mut self, view: &View) {
        let since = match view.kind.as_str() {
            "agent_stop" => {
                self.stopped = Some(view.time.to_string());
                String::new()
            }
            _ => self.stopped.take().unwrap_or_default(),
        };
        let cells = [&*view.kind, &view.agent.version, &since];
        add(
            &mut self.agent,
            &self.period,
            view,
            &cells,
            &[("kind", &view.kind)],
        );
    }

    fn retention(&mut self, view: &View) {
        let retention = &view.retention;
        let (from, to) = (
            retention.first_seq.to_string(),
            retention.last_seq.to_string(),
        );
        let cells = [from.as_str(), &to, &retention.reason];
        add(
            &mut self.removed,
            &self.period,
            view,
            &cells,
            &[("kind", "retention")],
        );
    }

    pub(super) fn finish(self) -> Vec<(Part, Vec<Table>)> {
        let tables = |counts: Vec<Counts>| counts.into_iter().map(Counts::finish).collect();
        vec![
            (Part::Access, tables(vec![self.access, self.sessions])),
            (
                Part::Privileged,
                tables(vec![self.privileged, self.superusers]),
            ),
            (
                Part::Denials,
                tables(vec![self.denials, self.alerts, self.failed_logins]),
            ),
            (Part::Approvals, tables(vec![self.approvals])),
            (Part::Changes, tables(vec![self.policies, self.tags])),
            (
                Part::Coverage,
                tables(vec![
                    self.gaps,
                    self.unenforced,
                    self.opaque,
                    self.agent,
                    self.removed,
                ]),
            ),
        ]
    }
}

fn add(counts: &mut Counts, period: &str, view: &View, cells: &[&str], pairs: Pairs) {
    counts.add(cells, view.seq, &view.time, || {
        format!("{}{period}", arguments(pairs))
    });
}

/// Identity, database user, database.
fn who<'a>(view: &'a View) -> (&'a str, &'a str, &'a str) {
    (
        &view.identity.name,
        &view.session.user,
        &view.session.database,
    )
}

fn result<'a>(view: &'a View) -> &'a str {
    if view.verdict.stopped() {
        return "stopped";
    }
    view.result.status.some().unwrap_or("none")
}

/// Rounded up, so that few rows come of many waits.
fn within(us: u64) -> &'static str {
    match us / 1_000_000 {
        0..10 => "10 s",
        10..60 => "1 min",
        60..600 => "10 min",
        600..3600 => "1 h",
        _ => "longer than 1 h",
    }
}
