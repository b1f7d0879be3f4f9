//! What was done: `activity_id` of class 6005.

use std::borrow::Cow;

use crate::audit::view::View;
use crate::sink::encode::facts;

/// `activity_id`, as class Datastore Activity has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Read,
    Update,
    Connect,
    Query,
    Write,
    Create,
    Delete,
    Other,
}

impl Activity {
    pub(crate) fn id(self) -> u64 {
        match self {
            Activity::Read => 1,
            Activity::Update => 2,
            Activity::Connect => 3,
            Activity::Query => 4,
            Activity::Write => 5,
            Activity::Create => 6,
            Activity::Delete => 7,
            Activity::Other => 99,
        }
    }

    /// The caption.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Activity::Read => "Read",
            Activity::Update => "Update",
            Activity::Connect => "Connect",
            Activity::Query => "Query",
            Activity::Write => "Write",
            Activity::Create => "Create",
            Activity::Delete => "Delete",
            Activity::Other => "Other",
        }
    }

    /// Of several in one message the gravest names it.
    fn gravity(self) -> u32 {
        match self {
            Activity::Delete => 6,
            Activity::Update => 5,
            Activity::Create => 4,
            Activity::Write => 3,
            Activity::Read => 2,
            _ => 1,
        }
    }
}

/// Of one of the record's `verbs`.
pub(crate) fn of_verb(verb: &str) -> Activity {
    match verb {
        "select" | "fetch" | "copy_to" | "show" => Activity::Read,
        "insert" | "copy_from" | "import" => Activity::Write,
        "update" | "merge" | "alter" | "grant" | "revoke" | "comment" | "security_label"
        | "reassign" | "refresh" => Activity::Update,
        "create" => Activity::Create,
        "delete" | "truncate" | "drop" => Activity::Delete,
        // What runs code or only governs the session; `unknown`.
        _ => Activity::Query,
    }
}

/// Of a record; of one that is no use of a datastore [`Activity::Other`], and what it is instead.
pub(super) fn of(view: &View) -> (Activity, Cow<'static, str>) {
    let activity = match view.kind.as_str() {
        "statement" | "verdict_unenforced" => view
            .statement
            .verbs
            .iter()
            .map(|verb| of_verb(verb))
            .max_by_key(|activity| activity.gravity())
            .unwrap_or(Activity::Query),
        "approval" => Activity::Query,
        "session_open" => Activity::Connect,
        "session_error" if facts::is_login_failure(view) => Activity::Connect,
        _ => return (Activity::Other, facts::action(view).into()),
    };
    (activity, activity.name().into())
}
