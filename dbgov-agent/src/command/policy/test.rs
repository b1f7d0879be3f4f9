//! `dbgov policy test`: what a policy would do about a text, and why.

use std::fmt::Write as _;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::config::ServerProtocol;
use crate::policy::trigger::Trigger;
use crate::policy::{Action, Context, EffectTold, Explanation, Policy, SearchPath};
use crate::sql::{Dialect, Facts, facts};

/// Longest text read from stdin, bytes: the longest statement the agent can be told to keep.
const SQL_BYTES_MAX: u64 = 64 << 20;

/// Who says what, where and when.
#[derive(Debug, clap::Args)]
pub struct Case {
    /// The statement; `-` reads it from stdin
    #[arg(long, value_name = "TEXT")]
    sql: String,
    /// Of the server
    #[arg(long, value_enum, default_value = "postgresql")]
    protocol: ServerProtocol,
    /// The client's identity; without it, nobody vouches for the client
    #[arg(long = "as", value_name = "NAME")]
    identity: Option<String>,
    /// Database user
    #[arg(long)]
    user: Option<String>,
    /// Current role [default: the user]
    #[arg(long)]
    role: Option<String>,
    #[arg(long)]
    database: Option<String>,
    /// The client's application_name
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client_addr: IpAddr,
    /// Such as 2026-11-23T09:00:00+01:00 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Schemas, with commas between them [default: not known, as in a session that says nothing of it]
    #[arg(long, value_name = "SCHEMAS")]
    search_path: Option<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(file: &Path, case: &Case) -> anyhow::Result<ExitCode> {
    let policy = match super::load(file)? {
        Ok(policy) => policy,
        Err(error) => bail!("{error}"),
    };
    let sql = case.sql()?;
    let dialect = match case.protocol {
        ServerProtocol::Postgresql => Dialect::Postgres,
    };
    let facts = facts(&sql, dialect, false);
    let path = case.search_path();
    let context = case.context(&path);
    let explanation = policy.explain(&context, &facts, sql.len() as u64);
    let gate = Gate::of(&policy, &context, &sql);
    if case.json {
        println!("{}", as_json(&facts, &explanation, &gate));
    } else {
        print!("{}", as_text(&facts, &explanation, &gate));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the kernel would do with the statement on its own, on a connection whose client is known.
struct Gate {
    holds: bool,
    /// The word, or why every statement is looked at.
    on: Option<String>,
}

impl Gate {
    fn of(policy: &Policy, context: &Context<'_>, sql: &str) -> Gate {
        match Trigger::compile(policy.rules_for(context), &policy.settings) {
            Trigger::Pass => Gate {
                holds: false,
                on: None,
            },
            Trigger::Automaton(words) => Gate {
                holds: words.hits(sql.as_bytes()),
                on: words
                    .explain(sql.as_bytes())
                    .map(|word| format!("the word `{word}`")),
            },
            Trigger::Strict(why) => Gate {
                holds: true,
                on: Some(format!("every statement, since {why}")),
            },
        }
    }
}

impl Case {
    fn sql(&self) -> anyhow::Result<String> {
        if self.sql != "-" {
            return Ok(self.sql.clone());
        }
        let mut sql = String::new();
        std::io::stdin()
            .take(SQL_BYTES_MAX + 1)
            .read_to_string(&mut sql)
            .context("cannot read the statement from stdin")?;
        if sql.len() as u64 > SQL_BYTES_MAX {
            bail!("the statement on stdin is larger than {SQL_BYTES_MAX} bytes");
        }
        Ok(sql)
    }

    /// What is not given is known to be absent.
    fn context<'a>(&'a self, search_path: &'a SearchPath) -> Context<'a> {
        let user = self.user.as_deref().or(Some(""));
        Context {
            identity: self.identity.as_deref().or(Some("")),
            user,
            role: self.role.as_deref().or(user),
            database: self.database.as_deref().or(Some("")),
            application: self.application.as_deref().or(Some("")),
            client_addr: Some(self.client_addr),
            unix_ns: self.at.unwrap_or_else(Timestamp::now).as_nanosecond(),
            search_path,
        }
    }

    fn search_path(&self) -> SearchPath {
        let Some(list) = &self.search_path else {
            return SearchPath::Unknown;
        };
        let schemas = list
            .split(',')
            .map(|schema| schema.trim().trim_matches('"'))
            .map(|schema| match (schema, &self.user) {
                ("$user", Some(user)) => user.as_str(),
                _ => schema,
            })
            .filter(|schema| !schema.is_empty() && *schema != "$user");
        SearchPath::Known(schemas.map(Into::into).collect())
    }
}

fn as_text(facts: &Facts, explanation: &Explanation, gate: &Gate) -> String {
    let verdict = &explanation.verdict;
    let mut out = format!("{}: {}", verdict.action.name(), verdict.rule);
    if let Some(matched) = &verdict.matched {
        let _ = write!(out, ", by `{matched}`");
    }
    if let Some(reason) = &verdict.reason {
        let _ = write!(out, "\nreason: {reason}");
    }
    if verdict.action == Action::Hold {
        let _ = write!(
            out,
            "\nwaits for an approval: {} s",
            verdict.approval_timeout.as_secs()
        );
    }
    let _ = match (&gate.on, gate.holds) {
        (Some(on), true) => write!(out, "\nin the kernel: held, on {on}"),
        (None, true) => write!(out, "\nin the kernel: held"),
        (_, false) => write!(out, "\nin the kernel: passes"),
    };
    let _ = writeln!(
        out,
        "\n\n{} {}, {}",
        facts.count,
        if facts.count == 1 {
            "statement"
        } else {
            "statements"
        },
        match facts.parse {
            crate::sql::Parse::Ok => "read",
            crate::sql::Parse::Partial => "read in part: what the rest could mean is uncertain",
            crate::sql::Parse::Failed => "not read: what it could mean is uncertain",
        }
    );
    for effect in &explanation.effects {
        effect_text(&mut out, effect);
    }
    out
}

fn effect_text(out: &mut String, told: &EffectTold) {
    let _ = write!(out, "  {}{}", told.effect, notes(told));
    let _ = write!(out, "\n    {}: {}", told.action.name(), told.rule);
    if let Some(line) = told.line {
        let _ = write!(out, " (line {line})");
    }
    let _ = writeln!(out);
    for because in &told.because {
        let _ = writeln!(out, "      {because}");
    }
    for passed in &told.passed_over {
        let _ = writeln!(out, "    not {}: {}", passed.rule, passed.key);
    }
}

fn notes(told: &EffectTold) -> String {
    let notes: Vec<&str> = [
        (told.dynamic, "may be anything"),
        (told.uncertain && !told.dynamic, "uncertain"),
        (told.missing_where, "all rows"),
        (told.server_side, "on the server's side"),
    ]
    .into_iter()
    .filter_map(|(is, note)| is.then_some(note))
    .collect();
    if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join(", "))
    }
}

/// What is absent is left out, as in a record.
fn as_json(facts: &Facts, explanation: &Explanation, gate: &Gate) -> Value {
    let verdict = &explanation.verdict;
    let mut told = Map::new();
    told.insert("action".into(), verdict.action.name().into());
    told.insert("rule".into(), (*verdict.rule).into());
    if let Some(matched) = &verdict.matched {
        told.insert("matched".into(), matched.as_str().into());
    }
    if let Some(reason) = &verdict.reason {
        told.insert("reason".into(), (**reason).into());
    }
    if verdict.action == Action::Hold {
        let timeout = verdict.approval_timeout.as_secs();
        told.insert("approval_timeout_s".into(), timeout.into());
    }
    let mut kernel = Map::new();
    kernel.insert("held".into(), gate.holds.into());
    if let Some(on) = &gate.on {
        kernel.insert("on".into(), on.as_str().into());
    }
    json!({
        "verdict": told,
        "kernel": kernel,
        "count": facts.count,
        "parse": facts.parse.name(),
        "verbs": &*facts.verbs,
        "tables": &*facts.tables,
        "effects": explanation.effects.iter().map(effect_json).collect::<Vec<_>>(),
    })
}

fn effect_json(told: &EffectTold) -> Value {
    let mut effect = Map::new();
    effect.insert("effect".into(), told.effect.as_str().into());
    for (name, is) in [
        ("uncertain", told.uncertain),
        ("dynamic", told.dynamic),
        ("missing_where", told.missing_where),
        ("server_side", told.server_side),
    ] {
        if is {
            effect.insert(name.into(), true.into());
        }
    }
    effect.insert("action".into(), told.action.name().into());
    effect.insert("rule".into(), told.rule.as_str().into());
    if let Some(line) = told.line {
        effect.insert("line".into(), line.into());
    }
    effect.insert("because".into(), told.because.clone().into());
    let passed = told.passed_over.iter();
    effect.insert(
        "passed_over".into(),
        passed
            .map(|passed| json!({"rule": passed.rule, "key": passed.key}))
            .collect(),
    );
    Value::Object(effect)
}
