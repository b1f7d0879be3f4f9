//! Ways around the gate: statements that the policy denies, written, encoded, cut and sent in every way known to us,
//! against a real server. The database and the server's log say whether any of them ran; the journal has to have each.

mod encodings;
mod ends;
mod later;
mod messages;
mod raw;
mod sql;
mod stand;
mod tricks;
mod wire;

/// What every case is tried under. Case 7's table is `v7`.
const POLICY: &str = r#"
on_agent_down = "closed"

[[rule]]
name = "no-drop"
action = "reset"
verbs = ["drop", "truncate"]
reason = "nothing is dropped here"

[[rule]]
name = "where"
action = "reset"
verbs = ["delete", "update", "merge"]
missing_where = true

[[rule]]
name = "payroll"
action = "reset"
tables = ["payroll.salaries"]

[[rule]]
name = "no-programs"
action = "reset"
server_side = true

[[rule]]
name = "no-wipe"
action = "reset"
verbs = ["call"]
functions = ["wipe_*"]

[[rule]]
name = "boss"
action = "reset"
verbs = ["create"]
roles = ["boss"]
"#;
